"""Where samples and units are in the values of a graph, or the error that says at which value they can be found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor
from torch.fx import Node

from vesalius.core.errors import InvalidInput
from vesalius.trace.any_length import AnyLength
from vesalius.trace.axes import BatchLayout, ValueAxes
from vesalius.trace.axis_rules import find_axes
from vesalius.trace.graph import ModelGraph, data_inputs
from vesalius.trace.interior import Interior
from vesalius.trace.layers import Layer


@dataclass(frozen=True, eq=False)
class GraphAxes:
    """The axes of all values of a graph.

    Attributes:
        model_graph: the graph.
    """

    model_graph: ModelGraph

    @cached_property
    def values(self) -> Mapping[str, ValueAxes]:
        """Axes by the value's name; the graph is followed when they are first asked for."""
        found = find_axes(self.model_graph)
        whole: AnyLength | None = self.model_graph.any_length
        if whole is not None and not whole.batch_layouts:
            layouts = {name: axes.batch for name, axes in found.items()}
            whole.batch_layouts.update(
                (name, layout)
                for name, layout in layouts.items()
                if layout is not None and layout.is_plain and layout.axis == self.model_graph.value(name).batch_axis
            )
        return found

    @cached_property
    def interior(self) -> Interior:
        """Heads, neurons, experts and the residual stream, as the graph shows them."""
        return Interior(self.model_graph, self.values)

    def batch_layout(self, name: str) -> BatchLayout:
        """Where the samples are in a value.

        Raises:
            InvalidInput: they cannot be told apart along its axes, with a value before or after it where they can.
        """
        whole: AnyLength | None = self.model_graph.any_length
        known = None if whole is None else whole.batch_layouts.get(name)
        if (layout := known or self.values[name].batch) is not None:
            return layout
        shape = list(self.model_graph.value(name).shape)
        raise InvalidInput(
            f"{name!r} has shape {shape}, in which no axis is the batch; choose a value before or after it"
            + self._suggest(name, lambda other: self.values[other].batch is not None)
        )

    def unit_axis(self, name: str) -> int:
        """The axis of a value, batch first, that runs over units.

        Raises:
            InvalidInput: as :meth:`batch_layout`; several axes share the units, or the graph does not say which one it is.
        """
        self.batch_layout(name)
        found = self.values[name]
        if found.units is not None:
            return found.units
        shape = ["batch", *found.shape[1:]]
        if len(shape) < 2:
            raise InvalidInput(f"{name!r} has one number per sample, which is no row of units")
        split = found.split_units
        why = (
            f"units are spread over axes {' and '.join(map(str, split))}"
            if split
            else "nothing in the graph says which axis runs over units"
        )
        raise InvalidInput(
            f"{name!r} has shape {shape}: {why}; choose a value before or after it".replace("'batch'", "batch")
            + self._suggest(name, lambda other: self.values[other].units is not None)
        )

    def unit_index(self, layer: Layer) -> Int[Tensor, "..."]:
        """Which unit owns each element of a layer's output (one sample, batch first; without its first axis where all samples share it).

        Raises:
            InvalidInput: as :meth:`unit_axis`.
        """
        found = self.values[layer.value]
        axis = self.unit_axis(layer.value) if found.has_samples else layer.unit_axis
        rank = len(found.shape)
        return torch.arange(layer.units).reshape([layer.units if place == axis else 1 for place in range(1, rank)])

    def _suggest(self, name: str, suits: Callable[[str], bool]) -> str:
        """The nearest values before and after one that suit, in words."""
        node = self.model_graph.nodes[name]
        near = [self._nearest(node, data_inputs, suits), self._nearest(node, lambda one: one.users, suits)]
        found = [repr(one) for one in near if one]
        return f", such as {' or '.join(found)}" if found else ""

    def _nearest(self, start: Node, step: Callable[[Node], Iterable[Node]], suits: Callable[[str], bool]) -> str:
        """The first value that suits, going one way through the graph."""
        queue, seen = [start], {start}
        for node in queue:
            name = node.meta["value"].name if "value" in node.meta else ""
            if node is not start and name in self.values and self.model_graph.value(name).is_floating and suits(name):
                return str(name)
            further = [one for one in step(node) if one not in seen and one.op != "get_attr" and not one.meta.get("batch_size")]
            seen |= set(further)
            queue += further
        return ""
