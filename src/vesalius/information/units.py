"""Where units are read: a value of the traced graph, and the axis of it that runs over units.

A unit is one number per sample: a feature, a neuron, a channel (its mean or maximum over positions, or its value at one of them), an
attention head (the root mean square of what it puts out), a class.

Axes: B batch, U units, D axes over positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.information.activation_sites import post_activation_site, pre_activation_site
from vesalius.trace.axes import BATCH_FIRST, BatchLayout
from vesalius.trace.graph import ModelGraph, Value
from vesalius.trace.layers import Layer
from vesalius.trace.network import Network

INPUT, OUTPUT = "input", "output"
MOST_FEATURES = 4096
"""Elements of an input up to which each is a unit by default; larger ones are left out, and named on demand."""
ACTIVATION_STAGES = ("post_activation", "pre_activation")
POOLS = ("mean", "max", "sampled")
POSITION_AXES = 3
"""Numbers that say where a sampled position is; a fourth axis over positions reads the first one again."""


@dataclass(frozen=True, kw_only=True)
class LayerUnits:
    """Units to read.

    Attributes:
        name: of the layer, ``input`` or ``output``.
        value: name of the value in the graph.
        kind: ``features``, ``neurons``, ``channels``, ``heads`` or ``classes``.
        units: how many.
        axis: of the value, batch first, that runs over units; ``None`` where every element is one.
        layout: where the samples are in the value as the network computes it.
    """

    name: str
    value: str
    kind: str
    units: int
    axis: int | None
    layout: BatchLayout = BATCH_FIRST

    def read(self, tensor: Float[Tensor, "..."], pool: str, spots: Float[Tensor, "B D"] | None = None) -> Float[Tensor, "B U"]:
        """One number per sample and unit.

        Args:
            tensor: the value, as the network computes it.
            pool: of channels and of neurons with positions: ``"mean"``, ``"max"``, or ``"sampled"``: the value at one position.
            spots: that position of each sample, as shares of each side in [0, 1): the same place in layers of other sizes; needed, if
                there are positions, for ``"sampled"`` alone.
        """
        tensor = self.layout.batch_first(tensor)
        if self.axis is None:
            return tensor.flatten(1)
        rows = tensor.movedim(self.axis, 1)
        if self.kind == "heads":
            return rows.reshape(len(tensor), self.units, -1).square().mean(2).sqrt()
        if pool == "sampled" and rows.ndim > 2:
            assert spots is not None
            cells = [(spots[:, at % POSITION_AXES] * side).long().clamp_max(side - 1) for at, side in enumerate(rows.shape[2:])]
            return rows.movedim(1, -1)[(torch.arange(len(rows)), *(cell.to(rows.device) for cell in cells))]
        rows = rows.reshape(len(tensor), self.units, -1)
        return rows.amax(2) if pool == "max" else rows.mean(2)


def find_layer_units(network: Network, layers: Sequence[str] | None, unit: str) -> tuple[LayerUnits, ...]:
    """The sites to read, in order of computation.

    Args:
        network: traced.
        layers: names of layers, modules or values, ``input`` and ``output``; by default the input if it is of real numbers and has at most
            4,096 elements, all linear and convolutional layers (of a transformer its attention heads and the hidden units of its
            perceptrons), and the output.
        unit: ``"post_activation"``: behind the activation that follows a layer, if one does; ``"pre_activation"``: the layer's own value.

    Raises:
        NotTraceable: an opaque network.
        UnknownName: no such layer, or no such kind of unit.
        InvalidInput: fewer than two sites, one twice, or a value without units.
    """
    model_graph = network.graph("information flow")
    require_known("unit", unit, ACTIVATION_STAGES)
    found = (
        _default_units(network, model_graph, unit)
        if layers is None
        else [_units_by_name(network, model_graph, name, unit) for name in layers]
    )
    distinct = {site.value: site for site in found}
    if len(distinct) < 2:
        raise InvalidInput(f"a flow runs between at least two layers; found {', '.join(site.name for site in found) or 'none'}")
    if layers is not None and len(distinct) < len(found):
        twice = next(site for site in found if distinct[site.value] is not site)
        raise InvalidInput(f"layer {twice.name!r} is read at {twice.value!r}, which is also where {distinct[twice.value].name!r} is read")
    order = {name: place for place, name in enumerate(model_graph.nodes)}
    return tuple(sorted(distinct.values(), key=lambda site: order[site.value]))


def _default_units(network: Network, model_graph: ModelGraph, unit: str) -> list[LayerUnits]:
    heads = [_head_units(value) for value in network.values.values() if value.op == "attention"]
    layers = [layer for layer in network.layers.values() if layer.op != "embedding"]
    layers = [layer for layer in layers if network.axes.values[layer.value].units is not None]
    chosen = [layer for layer in layers if not heads or post_activation_site(network.axes, layer).active]
    inner = [_units_of_layer(network, layer, unit) for layer in chosen]
    ends = [
        site
        for name in model_graph.inputs
        if (site := _input_units(model_graph.value(name))).units <= MOST_FEATURES and _is_real_per_sample(model_graph.value(name))
    ]
    inner = [site for site in inner if site.value != model_graph.output]
    return [*ends, *heads, *inner, _output_units(model_graph)]


def _is_real_per_sample(value: Value) -> bool:
    return value.is_floating and value.batch_axis == 0


def _units_by_name(network: Network, model_graph: ModelGraph, name: str, unit: str) -> LayerUnits:
    if name == INPUT and name not in model_graph.nodes:
        return _input_units(model_graph.value(model_graph.inputs[0]))
    if name == OUTPUT and name not in model_graph.nodes:
        return _output_units(model_graph)
    if name in network.layers:
        return _units_of_layer(network, network.layers[name], unit)
    value = model_graph.value(network.resolve(name))
    if name in model_graph.inputs:
        return _input_units(value)
    if value.op == "attention":
        return replace(_head_units(value), name=name)
    axis, layout = network.axes.unit_axis(value.name), network.axes.batch_layout(value.name)
    shape = network.axes.values[value.name].shape
    kind = "channels" if len(shape) > 3 else "neurons"
    return LayerUnits(name=name, value=value.name, kind=kind, units=int(shape[axis] or 0), axis=axis, layout=layout)


def _units_of_layer(network: Network, layer: Layer, unit: str) -> LayerUnits:
    find = post_activation_site if unit == ACTIVATION_STAGES[0] else pre_activation_site
    kind = "channels" if layer.op.startswith("conv") else "neurons"
    place = find(network.axes, layer)
    layout = network.axes.batch_layout(place.value)
    return LayerUnits(name=layer.name, value=place.value, kind=kind, units=layer.units, axis=place.axis, layout=layout)


def _head_units(value: Value) -> LayerUnits:
    return LayerUnits(name=value.name, value=value.name, kind="heads", units=int(value.shape[1] or 0), axis=1)


def _input_units(value: Value) -> LayerUnits:
    return LayerUnits(name=value.name, value=value.name, kind="features", units=prod(int(side or 1) for side in value.event), axis=None)


def _output_units(model_graph: ModelGraph) -> LayerUnits:
    value = model_graph.value(model_graph.output)
    return LayerUnits(name=OUTPUT, value=value.name, kind="classes", units=prod(int(side or 1) for side in value.event), axis=None)


def draw_positions(rows: int, generator: torch.Generator) -> Float[Tensor, "B D"]:
    """A position for each row, for units that are read at one."""
    return torch.rand(rows, POSITION_AXES, generator=generator, dtype=torch.float32)


def pool_units(
    sites: Sequence[LayerUnits], values: Sequence[Tensor], pool: str, spots: Float[Tensor, "B D"] | None = None
) -> list[Float[Tensor, "B U"]]:
    """All sites of a batch, on the CPU in float32; see :meth:`LayerUnits.read`.

    Raises:
        InvalidInput: a value that is not finite, with its layer.
    """
    found = []
    for site, value in zip(sites, values, strict=True):
        rows = site.read(value.detach().float(), pool, spots).cpu()
        if not bool(torch.isfinite(rows).all()):
            raise InvalidInput(f"layer {site.name!r} has NaN or infinite values on this data; clean the data, or look at the network")
        found.append(rows)
    return found
