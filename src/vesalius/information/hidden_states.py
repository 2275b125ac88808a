"""Hidden states of recurrent layers: of an LSTM, GRU or RNN that is one op, and of a cell that a loop calls step by step.

What is read is what the network reads itself: the step that it selects, its last state, or all steps. Other steps are chosen by number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.fx import Node

from vesalius.core.errors import InvalidInput
from vesalius.trace.graph import Value, data_inputs
from vesalius.trace.graph_axes import GraphAxes

RECURRENT_OPS = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
CELL_OPS = frozenset({"lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"})
PASSING_OPS = frozenset({"slice", "select", "dropout", "contiguous", "clone", "squeeze", "transpose", "permute", "to"})
"""Ops between a state and where it is read that take whole states."""
MOST_STEPS = 8
"""Steps of a loop that are all read by default; of a longer one, the last."""
BIDIRECTIONAL_PLACE = {"lstm": 7, "gru": 7, "rnn_tanh": 7, "rnn_relu": 7}


@dataclass(frozen=True, kw_only=True)
class HiddenState:
    """A state to read.

    Attributes:
        module: the layer's path, or the value's name at the top.
        value: name of the value.
        step: of the sequence that the value is; ``None`` for all of it, or where the value is one state.
        number: of the step among all, where it is one of several.
    """

    module: str
    value: str
    step: int | None = None
    number: int | None = None

    @property
    def name(self) -> str:
        """For people: the layer's name, and the step where it is one of several."""
        return self.module if self.number is None else f"{self.module}[{self.number}]"


@dataclass(frozen=True, kw_only=True)
class RecurrentLayer:
    """A recurrent layer and what there is to read of it.

    Attributes:
        module: its path.
        sequence: name of the value that holds all states; empty where the network reads the last alone.
        steps: how many states that has.
        read: values by which the network reads the states.
        cells: values of single steps, where a loop calls a cell.
        two_ways: whether it runs backwards too.
        remembers: whether it keeps more from step to step than its state.
    """

    module: str
    sequence: str = ""
    steps: int = 0
    read: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    two_ways: bool = False
    remembers: bool = False

    def states(self, steps: str | Sequence[int] | None) -> list[HiddenState]:
        """What to read, by :class:`vesalius.information.MeasurementOptions`'s ``steps``.

        Raises:
            InvalidInput: a step that there is not, or several of a layer that runs both ways.
        """
        if steps is None or (steps == "pooled" and not self.sequence) or (steps == "last" and not (self.sequence or self.cells)):
            names = self.read or self.cells[-1:]
            alone = len(names) == 1
            return [HiddenState(module=self.module if alone else name, value=name) for name in names]
        if steps == "pooled":
            return [HiddenState(module=self.module, value=self.sequence)]
        if steps == "last":
            return [self.state(-1, alone=True)]
        assert not isinstance(steps, str)
        numbers = sorted({self._number(step) for step in steps})
        if self.two_ways and len(numbers) > 1:
            raise InvalidInput(f"{self.module!r} runs both ways, so its steps do not follow one another; choose one step")
        return [self.state(number) for number in numbers]

    def state(self, step: int, *, alone: bool = False) -> HiddenState:
        """The state at one step.

        Raises:
            InvalidInput: there is no such step, or the network does not read it.
        """
        number = self._number(step)
        shown = None if alone else number
        if self.cells:
            return HiddenState(module=self.module, value=self.cells[number], number=shown)
        return HiddenState(module=self.module, value=self.sequence, step=number, number=shown)

    def _number(self, step: int) -> int:
        count = len(self.cells) or self.steps
        if not count:
            raise InvalidInput(
                f"the network reads the last state of {self.module!r} alone, so no other steps are in its graph; take steps='last'"
            )
        if not -count <= step < count:
            raise InvalidInput(f"{self.module!r} has steps 0 to {count - 1}, no step {step}")
        return step % count


def find_recurrent_layers(axes: GraphAxes) -> dict[str, RecurrentLayer]:
    """All recurrent layers whose states have units, by path of the module."""
    graph = axes.model_graph
    found: dict[str, RecurrentLayer] = {}
    cells: dict[tuple[Any, ...], list[Node]] = {}
    for node in graph.graph.nodes:
        value: Value | None = node.meta.get("value")
        if value is not None and value.op in RECURRENT_OPS:
            layer = _whole_layer(axes, node, value)
            found |= {layer.module: layer} if layer.read else {}
        elif value is not None and value.op in CELL_OPS:
            weights = tuple(source for source in node.all_input_nodes if source.op == "get_attr")
            cells.setdefault(weights, []).append(node)
    for nodes in cells.values():
        layer = _loop_of_cells(axes, nodes)
        found |= {layer.module: layer} if layer.cells else {}
    return found


def _whole_layer(axes: GraphAxes, node: Node, value: Value) -> RecurrentLayer:
    """A layer that is one op: its outputs are all states, the last of each of its layers and directions, and what it keeps besides."""
    parts = {int(str(user.args[1])): user for user in node.users if "value" in user.meta}
    states = [parts[place] for place in (0, 1) if place in parts]
    sequence = parts[0].meta["value"].name if 0 in parts else ""
    shape = axes.values[sequence].shape if sequence else ()
    whole = len(shape) == 3 and axes.values[sequence].units is not None
    return RecurrentLayer(
        module=value.module or value.name,
        sequence=sequence if whole else "",
        steps=int(shape[1] or 0) if whole else 0,
        read=tuple(dict.fromkeys(name for part in states for name in _read_values(axes, part))),
        two_ways=_runs_both_ways(node),
        remembers=value.op == "lstm",
    )


def _runs_both_ways(node: Node) -> bool:
    place = BIDIRECTIONAL_PLACE[node.meta["value"].op]
    return bool(node.args[place]) if len(node.args) > place and isinstance(node.args[place], bool) else False


def _loop_of_cells(axes: GraphAxes, nodes: Sequence[Node]) -> RecurrentLayer:
    """A cell that is called once for each step."""
    values = [_cell_state(node) for node in nodes]
    names = [value.meta["value"].name for value in values if value is not None and axes.values[value.meta["value"].name].units is not None]
    cells, first = set(nodes), nodes[0].meta["value"]
    outside = [
        value.meta["value"].name
        for value in values
        if value is not None
        and value.meta["value"].name in names
        and not all(user in cells for user in value.users if not user.meta.get("batch_size"))
    ]
    read = outside if 0 < len(outside) <= MOST_STEPS else names[-1:]
    return RecurrentLayer(module=first.module or first.name, cells=tuple(names), read=tuple(read), remembers=first.op == "lstm_cell")


def _cell_state(node: Node) -> Node | None:
    if node.meta["value"].op != "lstm_cell":
        return node
    return next((user for user in node.users if "value" in user.meta and user.args[1] == 0), None)


def _read_values(axes: GraphAxes, node: Node) -> list[str]:
    """Values by which a tensor of states is read: single states where the network selects some, else the tensor itself."""
    name = node.meta["value"].name
    found = axes.values[name]
    if found.units is None:
        return []
    users = [user for user in node.users if not user.meta.get("batch_size")]
    if len(found.shape) > 2 and users and all("value" in user.meta and user.meta["value"].op in PASSING_OPS for user in users):
        inner = [_read_values(axes, user) for user in users]
        if all(inner) and all(len(axes.values[one].shape) == 2 for part in inner for one in part):
            return [one for part in inner for one in part]
    return [name]


def reads_step(axes: GraphAxes, node: Node) -> int | None:
    """The step that a value takes from the sequence of states that it reads; ``None`` where it takes all or it is not known."""
    value: Value = node.meta["value"]
    if value.op != "select" or len(node.args) < 3:
        return None
    source = data_inputs(node)[0]
    found = axes.values[source.meta["value"].name] if "value" in source.meta else None
    if found is None or found.units is None or found.batch is None or len(found.shape) != 3:
        return None
    axis, step = int(str(node.args[1])) % len(found.shape), int(str(node.args[2]))
    time = next(at for at in range(3) if at not in (found.batch.axis, _plain_axis(found.batch.axis, found.units)))
    return step % int(found.shape[1] or 1) if axis == time else None


def _plain_axis(batch: int, axis: int) -> int:
    """An axis of the batch-first form, in the value as the network computes it."""
    return axis if axis > batch else axis - 1
