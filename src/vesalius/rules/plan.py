"""A program made ready for passes under rules: what every pass would work out anew about each op is worked out once.

On a small network that is what a pass costs: an op of a batch of one takes a few microseconds, and finding its arguments took thirty.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from vesalius.rules.masked_assignment import open_masked_assignments
from vesalius.rules.op_kinds import op_kind, op_name
from vesalius.rules.signal import Signal
from vesalius.trace.graph import data_inputs

Fact = TypeVar("Fact")
KEPT_BYTES = 1 << 20
"""Most that is kept of what follows from sizes."""
LAST = 2**63 - 1
"""Where a slice ends that goes to the end."""
Read = Callable[[list[Any]], Any]
"""An argument, from the values of a pass so far."""


@dataclass(frozen=True, eq=False)
class PlanStep:
    """An op or a parameter of a program.

    Attributes:
        node: where in the graph.
        slot: place of its value among those of a pass.
        given: its arguments by position, nodes where they are values.
        reads: which of them are values, and their slots.
        nested: which of them hold values, and how they are read.
        kwargs: its arguments by name, or how they are read where they hold values.
        done: slots of values that nothing reads any more.
        parameter: the module that holds it and its name there; ``None`` for an op.
        alias: slot of the value that the op hands on as it is, such as a dropout that is off; ``None`` for all others.
    """

    node: Node
    slot: int
    given: tuple[Any, ...]
    reads: tuple[tuple[int, int], ...]
    nested: tuple[tuple[int, Read], ...]
    kwargs: Mapping[str, Any] | Read
    done: tuple[int, ...]
    parameter: tuple[Any, str] | None = None
    alias: int | None = None

    def arguments(self, values: list[Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """By position and by name."""
        args = [*self.given]
        for place, slot in self.reads:
            args[place] = values[slot]
        for place, read in self.nested:
            args[place] = read(values)
        return tuple(args), self.kwargs(values) if callable(self.kwargs) else self.kwargs


class Plan:
    """A program as steps, each with what may be forgotten after it.

    Args:
        program: its first placeholders are the explained tensors, the others context.
        explained: how many those are.

    Attributes:
        traced: nodes that relevance may reach, in order.
        sized: steps that do the same in every pass over as many rows: positions, masks.
        still: steps that do the same in every pass over the same rows: parameters, and what is made of them, of the context and of sizes.
        moving: all others, in order.
        slots: number of values of a pass.
        output_slot: the slot of the output among them.
    """

    def __init__(self, program: GraphModule, explained: int) -> None:
        program = open_masked_assignments(program)
        self.program = program
        self.nodes = [node for node in program.graph.nodes if node.op != "output"]
        output = next(node for node in program.graph.nodes if node.op == "output")
        self.output: Node = output.args[0][0]
        self.inputs = [node for node in self.nodes if node.op == "placeholder"]
        self.explained = self.inputs[:explained]
        self.traced = self._downstream()
        self._facts: dict[Any, Any] = {}
        self._sized_values: tuple[Any, list[Any]] | None = None
        self._compile()

    def remember(self, name: object, find: Callable[[Plan], Fact]) -> Fact:
        """What follows from the program alone, found when it is first asked for."""
        if name not in self._facts:
            self._facts[name] = find(self)
        fact: Fact = self._facts[name]
        return fact

    def start(self, explained: Sequence[Signal], context: Sequence[Tensor]) -> list[Any]:
        """The values of a pass before its first step."""
        values: list[Any] = [None] * self.slots
        for slot, value in zip(self._input_slots, [*explained, *context], strict=True):
            values[slot] = value
        return values

    def fill_sized(self, values: list[Any], run: Callable[[Sequence[PlanStep], list[Any]], None]) -> None:
        """Values that follow from sizes alone; those of the latest sizes are kept, where they are small."""
        tensors = [values[slot].value for slot in self._input_slots[: len(self.explained)]]
        key = tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in tensors)
        kept = self._sized_values  # read once: another thread may put its own there
        if kept is None or kept[0] != key:
            run(self.sized, values)
            found = [values[slot] for slot in self._sized_slots]
            taken = sum(item.untyped_storage().nbytes() for item in found if isinstance(item, Tensor))
            self._sized_values = (key, found) if taken <= KEPT_BYTES else None
            return
        for slot, value in zip(self._sized_slots, kept[1], strict=True):
            values[slot] = value

    def _downstream(self) -> list[Node]:
        """Nodes that relevance may reach, in order."""
        reached: dict[Node, None] = dict.fromkeys(self.explained)
        for node in self.nodes:
            made_of_sizes = node.op == "call_function" and op_kind(node.target) == "shape"
            if not made_of_sizes and any(source in reached for source in data_inputs(node)):
                reached[node] = None
        return list(reached)

    def _compile(self) -> None:
        slots = {node: slot for slot, node in enumerate(self.nodes)}
        still = self._still_nodes()
        steps = [node for node in self.nodes if node.op != "placeholder"]
        first, then = [node for node in steps if node in still], [node for node in steps if node not in still]
        sized = self._sized_nodes(first)
        kept = {source for node in then for source in node.all_input_nodes if source in still} | {self.output, *self.inputs}
        shown = kept | {source for node in first if node not in sized for source in node.all_input_nodes}
        self.slots, self.output_slot = len(slots), slots[self.output]
        self._input_slots = [slots[node] for node in self.inputs]
        self.still_slots = [slots[node] for node in first if node in kept]
        self._sized_slots = [slots[node] for node in first if node in sized and node in shown]
        self.sized: list[PlanStep] = _compile_steps(self.program, [node for node in first if node in sized], slots, shown)
        self.still = _compile_steps(self.program, [node for node in first if node not in sized], slots, kept)
        self.moving = _compile_steps(self.program, then, slots, kept)

    def _still_nodes(self) -> set[Node]:
        """Nodes that nothing explained reaches but by its sizes; and the context."""
        explained, moving = set(self.explained), set(self.traced)
        still: set[Node] = set()
        for node in self.nodes:
            sizes = node.op == "call_function" and op_kind(node.target) == "shape"
            if node not in moving and all(source in still or (sizes and source in explained) for source in node.all_input_nodes):
                still.add(node)
        return still

    def _sized_nodes(self, still: Sequence[Node]) -> set[Node]:
        """Nodes that read nothing but sizes and each other, and draw nothing."""
        explained = set(self.explained)
        found: set[Node] = set()
        for node in still:
            drawn = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
            known = isinstance(node.target, torch._ops.OpOverload) and not drawn
            if known and all(source in found or source in explained for source in node.all_input_nodes):
                found.add(node)
        return found


def plan_of(program: GraphModule, explained: int) -> Plan:
    """The plan of a program, kept with it."""
    plans: dict[int, Plan] = program.meta.setdefault("plans", {})
    if explained not in plans:
        plans[explained] = Plan(program, explained)
    return plans[explained]


def _compile_steps(program: GraphModule, nodes: Sequence[Node], slots: Mapping[Node, int], kept: Container[Node]) -> list[PlanStep]:
    last = {source: node for node in nodes for source in node.all_input_nodes if source not in kept}
    done: dict[Node, list[int]] = {}
    for source, node in last.items():
        done.setdefault(node, []).append(slots[source])
    return [_compile_step(program, node, slots, tuple(done.get(node, ()))) for node in nodes]


def _compile_step(program: GraphModule, node: Node, slots: Mapping[Node, int], done: tuple[int, ...]) -> PlanStep:
    args: Sequence[Any] = node.args if node.op == "call_function" else ()
    reads = tuple((place, slots[item]) for place, item in enumerate(args) if isinstance(item, Node))
    nested = tuple((place, _reader(item, slots)) for place, item in enumerate(args) if not isinstance(item, Node) and _holds_values(item))
    by_name: Any = node.kwargs if node.op == "call_function" else {}
    kwargs = _reader(by_name, slots) if _holds_values(by_name) else dict(by_name)
    parameter = None if node.op == "call_function" else _owner_of(program, node)
    alias = slots[args[0]] if args and isinstance(args[0], Node) and _hands_on(node) else None
    return PlanStep(node, slots[node], tuple(args), reads, nested, kwargs, done, parameter, alias)


def _hands_on(node: Node) -> bool:
    """Whether an op does nothing: dropout in eval mode, all of an axis."""
    name, args = op_name(node.target), node.args
    if node.kwargs:
        return False
    return (name == "dropout" and args[2:] == (False,)) or (name == "slice" and args[2:] == (0, LAST))


def _holds_values(argument: Any) -> bool:
    found: list[Node] = []
    map_arg(argument, found.append)
    return bool(found)


def _reader(argument: Any, slots: Mapping[Node, int]) -> Read:
    """How an argument is read that holds values somewhere inside."""
    return lambda values: map_arg(argument, lambda node: values[slots[node]])


def _owner_of(program: GraphModule, node: Node) -> tuple[Any, str]:
    """The module that holds a parameter, and its name there: the parameter itself may be another one in the next pass."""
    path, _, name = str(node.target).rpartition(".")
    return (attrgetter(path)(program) if path else program), name
