"""The one loop: a program run under a table of rules.

A rule says how an op is *computed* so that autograd's backward pass through it does what the rule wants. There are five ways to write one:
*zero* (the result is a constant), *linear* (plain autograd), *by decomposition* (in terms of ops that have rules, ``decompositions.py``),
*by slope* (one multiplier per element, ``two_point.py``) and *full* (a function of the tables' own).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from vesalius.core.errors import NoRule, VesaliusError
from vesalius.core.out_of_memory import is_out_of_memory
from vesalius.rules.op_kinds import op_kind, op_name
from vesalius.rules.plan import Plan, PlanStep
from vesalius.rules.signal import Places, Signal, places_in, signals_in, to_tensors
from vesalius.trace.graph import Value

LIKE_ANOTHER = frozenset("expand_as view_as reshape_as type_as".split())
"""Ops that ask a second tensor for its shape or its type alone."""
UNFORESEEN = (ArithmeticError, AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What a rule raises on arguments that it was not written for."""


@dataclass(eq=False, slots=True)
class OpCall:
    """An op and its arguments, some of them signals; never written to, and not frozen only since that costs a microsecond.

    Attributes:
        target: the op.
        args: by position.
        kwargs: by name.
        node: where in the graph, ``None`` within an op that was decomposed.
    """

    target: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    node: Node | None = None
    _signals: list[Signal] | None = field(default=None, init=False, repr=False)

    @property
    def signals(self) -> list[Signal]:
        """All signals among the arguments."""
        found = self._signals
        if found is None:
            found = self._signals = signals_in([*self.args, *self.kwargs.values()] if self.kwargs else self.args)
        return found

    def evaluate(self) -> Any:
        """The op on plain tensors, as torch would compute it."""
        return self.target(*to_tensors(self.args), **{key: to_tensors(value) for key, value in self.kwargs.items()})

    def on(self, replaced: Sequence[Tensor]) -> Any:
        """The op with other tensors in place of its signals."""
        signals = self.signals
        if len(signals) == 1 and signals[0] is self.args[0]:  # what most ops are
            return self.target(replaced[0], *self.args[1:], **self.kwargs)
        fresh = iter(replaced)
        return self.target(*_substitute(self.args, fresh), **{key: _substitute(value, fresh) for key, value in self.kwargs.items()})

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """An argument given by position or by name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)


Rule = Callable[["Interpreter", OpCall], Any]


@dataclass(frozen=True, eq=False)
class RuleTable:
    """Rules by kind of op, and by an op's own name: names and kinds may be the same words (``norm``), and mean different things.

    Attributes:
        name: of the method, for messages.
        rules: how each kind is computed.
        decompositions: ops, by name, that are computed by way of simpler ones where their kind has no rule.
        ops: ops, by name, whose rule is not their kind's.
        by_places: ops, by name, that have a rule for places which depend on the input.
        opened: what to do with all other ops.
    """

    name: str
    rules: Mapping[str, Rule]
    decompositions: Mapping[str, Rule]
    ops: Mapping[str, Rule] = field(default_factory=dict)
    by_places: Mapping[str, Rule] = field(default_factory=dict)
    opened: Callable[[Callable[..., Any]], Rule | None] = lambda target: None

    def find(self, target: Callable[..., Any]) -> Rule | None:
        """The rule for an op: its own, its kind's, its decomposition, or what is done with all others."""
        return self.find_written(target) or self.opened(target)  # not remembered, since rules may be added at any time

    def find_written(self, target: Callable[..., Any]) -> Rule | None:
        """The rule that is written down for an op."""
        name = op_name(target)
        return self.ops.get(name) or self.rules.get(op_kind(target)) or self.decompositions.get(name)

    def require_rules(self, plan: Plan) -> None:
        """Refuse a program that holds an op without a rule.

        Raises:
            NoRule: listing all such ops, each with its place.
        """
        nodes = [node for node in plan.traced if node.op == "call_function"]
        missing = [describe_op(node) for node in nodes if self.find(node.target) is None]  # type: ignore[arg-type]
        if missing:
            raise NoRule(self.name, missing)


class Interpreter:
    """One pass of a program under a table.

    Attributes:
        table: the rules.
        state: what the table keeps during a pass.
    """

    def __init__(self, table: RuleTable, state: Any = None) -> None:
        self.table = table
        self.state = state

    def through(
        self,
        plan: Plan,
        explained: Sequence[Signal],
        context: Sequence[Tensor] = (),
        still: dict[Any, list[Any]] | None = None,
    ) -> Any:
        """Run a program.

        Args:
            plan: the program.
            explained: its first inputs.
            context: the others.
            still: values that were the same in an earlier pass with this context, by the shapes of what is explained; filled in here.
        """
        values = plan.start(explained, context)
        shapes = tuple(signal.value.shape for signal in explained)
        known = None if still is None else still.get(shapes)
        if known is None:
            plan.fill_sized(values, self._run_steps)
            self._run_steps(plan.still, values)
            known = [values[slot] for slot in plan.still_slots]
            if still is not None:
                still[shapes] = known
        for slot, value in zip(plan.still_slots, known, strict=True):
            values[slot] = value
        self._run_steps(plan.moving, values)
        return values[plan.output_slot]

    def _run_steps(self, steps: Sequence[PlanStep], values: list[Any]) -> None:
        for step in steps:
            if step.parameter is not None:
                values[step.slot] = getattr(*step.parameter)
            elif step.alias is not None:
                values[step.slot] = values[step.alias]
            else:
                values[step.slot] = self._step_of_graph(OpCall(step.node.target, *step.arguments(values), step.node))  # type: ignore[arg-type]
            for finished in step.done:
                values[finished] = None

    def __call__(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """One op, for rules that decompose an op into others."""
        return self._step(OpCall(target, args, kwargs))

    def _step_of_graph(self, call: OpCall) -> Any:
        """An op of the program; one that a rule cannot do with such arguments has none, and ends in no error of Python's."""
        try:
            return self._step(call)
        except UNFORESEEN as error:
            if isinstance(error, VesaliusError) or is_out_of_memory(error):
                raise
            said = str(error).strip().split("\n")[0][:200]
            raise NoRule(self.table.name, [f"{describe_call(call)} as it is used here ({type(error).__name__}: {said})"]) from error

    def _step(self, call: OpCall) -> Any:
        target, args = call.target, call.args
        name = op_name(target)
        if name in LIKE_ANOTHER:
            call = OpCall(target, (args[0], *to_tensors(args[1:])), call.kwargs, call.node)
        if name == "getitem" and isinstance(args[0], (tuple, list)):
            return target(*args)
        if places := places_in(args):
            return self._step_of_places(call, places[0])
        if not call.signals:
            return target(*call.args, **call.kwargs)
        if op_kind(target) == "shape":
            return call.evaluate()
        rule = self.table.find(target)
        if rule is None:
            raise NoRule(self.table.name, [describe_call(call)])
        return rule(self, call)

    def _step_of_places(self, call: OpCall, places: Places) -> Any:
        """An op of places that depend on the input: few have rules for them."""
        name, here = op_name(call.target), places.to_tensor()
        if op_kind(call.target) == "shape" and here is not None:
            return OpCall(call.target, (here, *call.args[1:]), call.kwargs).evaluate()
        if name in self.table.by_places:
            return self.table.by_places[name](self, call)
        raise NoRule(self.table.name, [f"{describe_call(call)} with places found by {places.op}"])


def linear(run: Interpreter, call: OpCall) -> Any:
    """The rule of an op that is linear in its signals: autograd's own."""
    del run
    signals = call.signals
    if len(signals) == 1 and signals[0].base is None:
        found, boolean = call.on([signals[0].value]), signals[0].boolean
        if isinstance(found, (tuple, list)):
            return type(found)([_to_signal(value, boolean, None) for value in found])
        return Signal(found, boolean)
    values = call.on([signal.value for signal in signals])
    bases = None
    if all([signal.base is not None for signal in signals]):
        with torch.no_grad():
            bases = call.on([signal.base for signal in signals])  # type: ignore[misc]
    boolean = all([signal.boolean for signal in signals])
    if isinstance(values, (tuple, list)):
        ends = bases if bases is not None else [None] * len(values)
        return type(values)(_to_signal(value, boolean, base) for value, base in zip(values, ends, strict=True))
    return Signal(values, boolean, bases)


def _to_signal(value: Any, boolean: bool, base: Tensor | None) -> Any:
    """One of several results: a signal where it is a floating tensor."""
    return Signal(value, boolean, base) if isinstance(value, Tensor) and is_number(value) else value


def is_number(value: Tensor) -> bool:
    """Whether a tensor is of real or complex numbers, which have derivatives."""
    return value.is_floating_point() or value.is_complex()


def constant(run: Interpreter, call: OpCall) -> Any:
    """The rule of an op that passes no relevance on."""
    del run
    with torch.no_grad():
        return call.evaluate()


def _substitute(argument: Any, fresh: Any) -> Any:
    if isinstance(argument, Signal):
        return next(fresh)
    if isinstance(argument, (tuple, list)):
        return type(argument)(_substitute(item, fresh) for item in argument)
    return argument


def describe_op(node: Node) -> str:
    """An op with its place: value, module and source line."""
    value: Value | None = node.meta.get("value")
    if value is None:
        return op_name(node.target)
    where = [f"in module {value.module!r}"] * bool(value.module) + [value.line] * bool(value.line)
    return f"{op_name(node.target)} ({', '.join([f'value {value.name!r}', *where])})"


def describe_call(call: OpCall) -> str:
    """The same of a call, which has no place where it is part of a decomposition."""
    return op_name(call.target) if call.node is None else describe_op(call.node)
