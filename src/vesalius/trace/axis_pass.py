"""One pass over a graph that works out what the axes of every value are, by a rule for each kind of op."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch.fx import Node

from vesalius.trace.axes import BATCH, POSITIONS, UNITS, UNKNOWN, Axes, Axis, axis_kind, axis_size, fit_axis, new_axis
from vesalius.trace.graph import ModelGraph, Value, downstream_nodes
from vesalius.trace.opset import readable_op_name

Rule = Callable[["AxisPass", Node, Value], "Axes | None"]
"""Axes of a value that a node computes; ``None`` where the rule does not know."""
NO_EVIDENCE = -1
"""In the place of an axis of features, where no axis of an input is."""
RESHAPES = frozenset("view reshape flatten unflatten view_as reshape_as _reshape_alias reshape_alias unsafe_view".split())
"""Ops after which an axis as long as the batch need not be the batch: elements may have been dealt out in another order."""


def op_of(node: Node) -> str:
    """Readable name of the op of a node; empty where it calls none."""
    return readable_op_name(node.target) if callable(node.target) else ""


def argument(node: Node, place: int, name: str, default: Any = None) -> Any:
    """An argument of a node, by position or by name."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


class AxisPass:
    """One pass over a graph, in order of computation.

    Args:
        model_graph: the graph.
        rules: how axes go through ops, by the op's readable name.
        features: axis of each input's features, as far as it is known.
    """

    def __init__(self, model_graph: ModelGraph, rules: Mapping[str, Rule], features: Mapping[str, int | None]) -> None:
        self.model_graph, self.rules, self.features = model_graph, rules, features
        self.found: dict[Node, Axes] = {}
        self.order: dict[Node, int] = {}
        self.varying = downstream_nodes(model_graph.nodes[name] for name in model_graph.inputs)
        self.evidence: dict[str, list[int]] = {}
        """Axes of inputs along which layers read them."""

    def run(self) -> None:
        for place, node in enumerate(self.model_graph.graph.nodes):
            self.order[node] = place
            if node.op == "get_attr":
                sizes = tuple(self.model_graph.tensors[str(node.target)].shape)
                self.found[node] = tuple(new_axis(UNKNOWN, side, "", -1) for side in sizes)
            elif "value" in node.meta:
                value: Value = node.meta["value"]
                self.found[node] = self._input_axes(node, value) if node.op == "placeholder" else self._axes_after(node, value)

    def _input_axes(self, node: Node, value: Value) -> Axes:
        axis = self.features.get(value.name)
        kinds = [UNKNOWN if axis is None else UNITS if place == axis else POSITIONS for place in range(len(value.shape))]
        return self.label(node, value, kinds)

    def _axes_after(self, node: Node, value: Value) -> Axes:
        source = node.args[0] if value.op == "getitem" and isinstance(node.args[0], Node) else node
        axes = self._apply_rule(source, value)
        lost = op_of(source) in RESHAPES if axes is not None else False
        if axes is None or len(axes) != len(value.shape):
            axes = tuple(new_axis(UNKNOWN, side, "", -1) for side in value.shape)
        since = self.order[node]
        fitted = [fit_axis(axis, side, f"{value.name}:{at}", since) for at, (axis, side) in enumerate(zip(axes, value.shape, strict=True))]
        known = any(axis_kind(axis) == BATCH for axis in fitted) or lost or self._is_dealt_out(source)
        if not known and value.batch_axis is not None:
            fitted[value.batch_axis] = new_axis(BATCH, None, f"{value.name}:{value.batch_axis}", since)
        return tuple(fitted)

    def _apply_rule(self, node: Node, value: Value) -> Axes | None:
        rule = self.rules.get(op_of(node))
        try:
            return rule(self, node, value) if rule is not None else None
        except (TypeError, ValueError, IndexError, KeyError, RuntimeError):
            return None  # an op that is called in a way its rule does not expect: then its axes are unknown

    def _is_dealt_out(self, node: Node) -> bool:
        """Whether samples were lost on the way to an op, so that an axis as long as the batch need not be the batch."""
        axes = self.tensors([*node.args, *node.kwargs.values()])
        kinds = {(axis_kind(axis), axis_size(axis)) for one in axes for axis in one}
        return (UNKNOWN, None) in kinds and (BATCH, None) not in kinds

    # ---- for rules ----------------------------------------------------------------------------------------------------------------

    def label(self, node: Node, value: Value, kinds: Sequence[str]) -> Axes:
        """New axes, one that is exactly the batch among them."""
        since = self.order.get(node, -1)
        return tuple(
            new_axis(BATCH if at == value.batch_axis else kind, side, f"{value.name}:{at}", since)
            for at, (kind, side) in enumerate(zip(kinds, value.shape, strict=True))
        )

    def new(self, kind: str, node: Node, value: Value, axis: int) -> Axis:
        """One axis that begins here."""
        return new_axis(kind, value.shape[axis], f"{value.name}:{axis % len(value.shape)}", self.order.get(node, -1))

    def of(self, argument: Any) -> Axes | None:
        """Axes of an argument; ``None`` of what is no tensor of the graph."""
        return self.found.get(argument) if isinstance(argument, Node) else None

    def tensors(self, arguments: Iterable[Any]) -> list[Axes]:
        """Axes of all tensors among some arguments, those in lists included."""
        flat = [item for one in arguments for item in (one if isinstance(one, (tuple, list)) else [one])]
        return [axes for one in flat if (axes := self.of(one)) is not None]

    def note_reading(self, axes: Axes, axis: int) -> None:
        """Remember along which of its axes an input is read, where its elements were only moved."""
        held = {part.origin for parts in axes for part in parts}
        for name in self.model_graph.inputs:
            own = {f"{name}:{at}": at for at in range(len(self.model_graph.value(name).shape))}
            if {origin for origin, at in own.items() if self.model_graph.value(name).shape[at] != 1} <= held:
                along = [own[part.origin] for part in axes[axis] if part.origin in own]
                if len(along) < 2:
                    self.evidence.setdefault(name, []).append(along[0] if along else NO_EVIDENCE)
