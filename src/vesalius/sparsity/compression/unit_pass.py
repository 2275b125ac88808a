"""One pass over a graph that follows units from the weights that make them to the weights that read them.

Every value carries labels, one per element, that say which unit it belongs to; moving elements moves labels, and where elements of two
values meet, their labels become one. What a rule does not understand keeps its units where they are, with the reason.

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.fx import Node

from vesalius.sparsity.compression.unit_labels import FIXED, UnitLabels
from vesalius.trace.axis_pass import op_of
from vesalius.trace.graph import ModelGraph, Value

BATCH = 2
"""Samples that labels are laid out for; more than one, so that no op takes the batch for an axis of one element."""


@dataclass(frozen=True, eq=False)
class Moving:
    """A value that depends on inputs, or is laid out like one.

    Attributes:
        labels: of its elements.
        zero: whether elements of a unit are 0 once the weights into it are.
        places: whole numbers, where the value itself is known; what elements are picked by.
    """

    labels: Int[Tensor, "..."]
    zero: bool = True
    places: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Stored:
    """A parameter or buffer, whole or with its axes moved: labels along each axis.

    Attributes:
        axes: labels along each axis.
        names: of the parameters it is made of.
        order: which axis of the parameter each axis is; -1 for one that was added.
        zero: whether pruning may write zeros to it.
    """

    axes: tuple[Int[Tensor, " _"], ...]
    names: tuple[str, ...]
    order: tuple[int, ...]
    zero: bool = True


Tracked = Moving | Stored
Rule = Callable[["UnitPass", Node], Any]
"""From a node to what is known of its value: :class:`Moving`, :class:`Stored`, a tuple of them; ``None`` where the rule does not know."""


@dataclass(frozen=True, eq=False)
class ReadAxis:
    """A layer that reads units along an axis of its weight.

    Attributes:
        value: name of its output.
        source: name of what it reads.
        weight: of the weight.
        axis: of the weight.
        labels: along that axis.
        along: axis of what it reads; by default that of channels or features.
    """

    value: str
    source: str
    weight: str
    axis: int
    labels: Int[Tensor, " _"]
    along: int | None = None


@dataclass(eq=False)
class UnitPass:
    """The state of a pass.

    Attributes:
        model_graph: what is followed.
        rules: by the op's readable name.
        parameters: names of tensors that pruning may write zeros to.
        labels: of units.
        found: what is known of each node's value; numbers of those that are sizes.
        stored: labels of parameters by name, and by memory, under all their names.
        made: labels of the units that layers make, by value; and names of the parameters that make them.
        reads: layers that read units.
    """

    model_graph: ModelGraph
    rules: Mapping[str, Rule]
    parameters: frozenset[str]
    labels: UnitLabels = field(default_factory=UnitLabels)
    found: dict[Node, Any] = field(default_factory=dict)
    stored: dict[str, Stored] = field(default_factory=dict)
    made: dict[str, Int[Tensor, " _"]] = field(default_factory=dict)
    reads: list[ReadAxis] = field(default_factory=list)

    def run(self) -> None:
        """Follow all units, then let those be one that can only go together in values of several axes."""
        self._store_parameters()
        for node in self.model_graph.graph.nodes:
            self.found[node] = self._visit(node)
        while self._join_ragged():
            pass

    def _store_parameters(self) -> None:
        homes: dict[tuple[Any, ...], Stored] = {}
        shapes: dict[int, set[tuple[Any, ...]]] = {}
        for name, tensor in self.model_graph.tensors.items():
            place = tensor.data_ptr() or -len(homes) - 1
            key = (place, tuple(tensor.shape), tensor.stride())
            shapes.setdefault(place, set()).add(key)
            if key not in homes:
                homes[key] = Stored(tuple(self.labels.fresh(side) for side in tensor.shape), (name,), tuple(range(tensor.ndim)))
            self.stored[name] = replace(homes[key], names=(name,), zero=name in self.parameters)
        for keys in shapes.values():
            for key in keys if len(keys) > 1 else ():
                self.fix(homes[key], "its weights are stored as parts of others")

    def _visit(self, node: Node) -> Any:
        value: Value | None = node.meta.get("value")
        if node.op == "placeholder":
            return Moving(torch.full([1] * len(value.shape), FIXED).expand([BATCH if side is None else side for side in value.shape]))  # type: ignore[union-attr]
        if node.op == "get_attr":
            return self.stored[str(node.target)]
        if node.op == "output":
            for source in node.all_input_nodes:
                self.fix(self.found[source], "its units are the network's output")
            return None
        if value is None:
            return self._number(node)
        try:
            known = self.rules[op_of(node)](self, node) if op_of(node) in self.rules else None
        except (TypeError, ValueError, IndexError, KeyError, RuntimeError, NotImplementedError):
            known = None  # an op that is called in a way its rule does not expect
        if known is None:
            return self.give_up(node, f"{value.name!r} ({value.op}) mixes or joins its units")
        return known

    def _number(self, node: Node) -> Any:
        """A size, for as many samples as labels are laid out for."""
        if node.meta.get("batch_size"):
            return BATCH
        args = [self.found[one] if isinstance(one, Node) else one for one in node.args]
        return node.target(*args) if callable(node.target) and all(isinstance(one, (int, float)) for one in args) else None

    def give_up(self, node: Node, reason: str) -> Any:
        """Leave all units that a node reads where they are."""
        for source in node.all_input_nodes:
            self.fix(self.found[source], reason)
        return self.unlabelled(node)

    def unlabelled(self, node: Node) -> Any:
        """A value without units."""
        value: Value = node.meta["value"]
        if not value.is_tensor:
            return None
        sides = self._sizes(node)
        return Moving(torch.full([1] * len(sides), FIXED).expand(sides))

    def _sizes(self, node: Node) -> list[int]:
        """Sizes of a value; where the batch enters as a multiple, the graph's own arguments say what it is."""
        value: Value = node.meta["value"]
        if value.shape.count(None) <= 1 and value.batch_axis is not None:
            return [BATCH if side is None else side for side in value.shape]
        known = [one.labels for source in node.all_input_nodes if isinstance(one := self.found.get(source), Moving)]
        multiples = [side for labels in known for side in labels.shape if side % BATCH == 0]
        return [(multiples[0] if multiples else BATCH) if side is None else side for side in value.shape]

    @cached_property
    def modules(self) -> dict[str, str]:
        """Module path of each value, by its name."""
        return {node.meta["value"].name: node.meta["value"].module for node in self.model_graph.graph.nodes if "value" in node.meta}

    # ---- for rules ----------------------------------------------------------------------------------------------------------------

    def fix(self, known: Any, reason: str) -> None:
        """Leave units where they are."""
        for one in known if isinstance(known, (tuple, list)) else [known]:
            if isinstance(one, Moving):
                self.labels.fix(one.labels, reason)
            elif isinstance(one, Stored):
                for axis in one.axes:
                    self.labels.fix(axis, reason)

    def of(self, argument: Any) -> Any:
        """What is known of an argument; itself if it is no node."""
        return self.found.get(argument) if isinstance(argument, Node) else argument

    def moving(self, argument: Any) -> Moving:
        """An argument as a value with one label per element; of a parameter, along its last axis that is longer than 1."""
        known = self.of(argument)
        if isinstance(known, Moving):
            return known
        if not isinstance(known, Stored):
            raise TypeError("no tensor")
        sides = [len(axis) for axis in known.axes]
        last = max((at for at, side in enumerate(sides) if side > 1), default=len(sides) - 1)
        for at, axis in enumerate(known.axes):
            if at != last:
                self.labels.fix(axis, "a parameter is used along several axes")
        tensor = self.model_graph.tensors[known.names[0]]
        places = tensor if len(known.names) == 1 and not tensor.is_floating_point() and list(tensor.shape) == sides else None
        if not sides:
            return Moving(torch.tensor(FIXED), zero=False, places=places)
        shape = [side if at == last else 1 for at, side in enumerate(sides)]
        return Moving(known.axes[last].reshape(shape).expand(sides), zero=known.zero, places=places)

    def along(self, known: Moving, axis: int, reason: str) -> Int[Tensor, " _"]:
        """Labels along an axis; what differs along others stays."""
        labels, own = known.labels, axis % known.labels.ndim
        for other in self.labels.varies(labels):
            if other != own:
                self.labels.fix(labels, reason)
        for other in reversed(range(labels.ndim)):
            if other != own:
                labels = labels.select(other, 0)
        return labels

    def _join_ragged(self) -> bool:
        """Values from which whole slices cannot be taken: their units become one along all axes but that with the most of them."""
        changed = False
        for node, known in self.found.items():
            axes = self.labels.varies(known.labels) if isinstance(known, Moving) else []
            if len(axes) < 2:
                continue
            changed, widest = True, max(axes, key=lambda axis: known.labels.shape[axis])
            for axis in axes:
                if axis != widest:
                    self.labels.join_along(known.labels, axis, f"{node.meta['value'].name!r} takes its units apart")
        return changed
