"""Where units are read: a value of the traced graph, and the axis of it that runs over units.

A unit is one number per sample: a feature, a neuron, a channel (its mean or maximum over positions, or its value at one of them), an
attention head (the root mean square of what it puts out), a class.

Axes: B batch, U units, D axes over positions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.fx import Node

from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.information.activation_sites import post_activation_site, pre_activation_site, residual_sum_site
from vesalius.information.hidden_states import MOST_STEPS, HiddenState, RecurrentLayer, find_recurrent_layers
from vesalius.information.residual_sums import find_residual_sums
from vesalius.information.text_masks import position_of_each
from vesalius.trace.axes import BATCH_FIRST, BatchLayout
from vesalius.trace.graph import ModelGraph, Value, data_inputs, downstream_nodes
from vesalius.trace.layers import Layer
from vesalius.trace.network import Network
from vesalius.trace.vocabulary import WHOLE_NAMES

INPUT, OUTPUT = "input", "output"
MOST_FEATURES = 4096
"""Elements of an input up to which each is a unit by default; larger ones are left out, and named on demand."""
ACTIVATION_STAGES = ("post_activation", "pre_activation")
POOLS = ("mean", "max", "sampled")
STEP_NAME = re.compile(r"(.+)\[(-?\d+)\]")
FLAT_OPS = frozenset({"view", "reshape", "flatten", "alias", "clone"})
"""Ops that leave the elements of a sample in their order."""
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
        step: of the sequence that the value is, where one is read.
        layout: where the samples are in the value as the network computes it.
        position: of a text at which units are read that have one value at each of its positions.
        positions: how many the text has; 0 where there is none.
    """

    name: str
    value: str
    kind: str
    units: int
    axis: int | None
    step: int | None = None
    layout: BatchLayout = BATCH_FIRST
    position: int = -1
    positions: int = 0

    @property
    def place(self) -> tuple[str, int | None]:
        """What is read, whatever it is called."""
        return self.value, self.step

    def read(
        self, tensor: Float[Tensor, "..."], pool: str, spots: Float[Tensor, "B D"] | None = None, mask: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B U"]:
        """One number per sample and unit.

        Args:
            tensor: the value, as the network computes it.
            pool: of channels and of neurons with positions: ``"mean"``, ``"max"``, or ``"sampled"``: the value at one position.
            spots: that position of each sample, as shares of each side in [0, 1): the same place in layers of other sizes; needed, if
                there are positions, for ``"sampled"`` alone.
            mask: which positions of each text are no padding: these alone are pooled, and counted; ``None`` for all.
        """
        tensor = self.layout.batch_first(tensor)
        if self.axis is None:
            return tensor.reshape(len(tensor), self.units)
        rows = tensor.movedim(self.axis, 1)
        if self.step is not None:
            return rows[:, :, self.step]
        masked = mask is not None and rows.shape[2:3] == mask.shape[1:]
        if self.positions and rows.shape[2:3] == (self.positions,):
            rows = rows[:, :, self.position] if mask is None else rows[torch.arange(len(rows)), :, position_of_each(mask, self.position)]
        elif mask is not None and masked:
            return self._pool_texts(rows, pool, spots, mask)
        if self.kind == "heads":
            return rows.reshape(len(tensor), self.units, -1).square().mean(2).sqrt()
        if pool == "sampled" and rows.ndim > 2:
            assert spots is not None
            cells = [(spots[:, at % POSITION_AXES] * side).long().clamp_max(side - 1) for at, side in enumerate(rows.shape[2:])]
            return rows.movedim(1, -1)[(torch.arange(len(rows)), *(cell.to(rows.device) for cell in cells))]
        rows = rows.reshape(len(tensor), self.units, -1)
        return rows.amax(2) if pool == "max" else rows.mean(2)

    def _pool_texts(
        self, rows: Float[Tensor, "B U T ..."], pool: str, spots: Float[Tensor, "B D"] | None, mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B U"]:
        """As :meth:`read`, of texts of unlike lengths: padding is left out."""
        if pool == "sampled" and self.kind != "heads":
            assert spots is not None
            count = mask.sum(1)
            nth = (spots[:, 0].to(count.device) * count).long().minimum(count - 1)
            place = (mask.cumsum(1) == (nth + 1)[:, None]).int().argmax(1)
            return rows[torch.arange(len(rows)), :, place].reshape(len(rows), self.units, -1).mean(2)
        kept = mask.reshape(len(rows), 1, -1, *[1] * (rows.ndim - 3)).expand(rows.shape).reshape(len(rows), self.units, -1)
        flat = rows.reshape(len(rows), self.units, -1)
        if self.kind == "heads":
            return (flat.square().where(kept, 0.0).sum(2) / kept.sum(2)).sqrt()
        return flat.masked_fill(~kept, -torch.inf).amax(2) if pool == "max" else flat.where(kept, 0.0).sum(2) / kept.sum(2)


@dataclass(frozen=True, eq=False)
class _Reader:
    """Finds the units of one network.

    Attributes:
        network: traced.
        unit: one of ``ACTIVATION_STAGES``.
        steps: of recurrent layers, see :class:`vesalius.information.MeasurementOptions`.
        sums: residual sums, and what each adds.
        recurrent: recurrent layers.
    """

    network: Network
    unit: str
    steps: str | Sequence[int] | None
    sums: Mapping[str, tuple[str, ...]]
    recurrent: Mapping[str, RecurrentLayer]

    @property
    def model_graph(self) -> ModelGraph:
        return self.network.graph("information flow")

    def by_default(self) -> list[LayerUnits]:
        network, graph = self.network, self.model_graph
        heads = [_head_units(value) for value in network.values.values() if value.op == "attention"]
        layers = [layer for layer in network.layers.values() if layer.op != "embedding"]
        layers = [layer for layer in layers if network.axes.values[layer.value].units is not None]
        chosen = [layer for layer in layers if not heads or post_activation_site(network.axes, layer, self.sums).active]
        many = Counter(layer.weight for layer in chosen)
        last = {layer.weight: layer.name for layer in chosen}
        chosen = [layer for layer in chosen if many[layer.weight] <= MOST_STEPS or last[layer.weight] == layer.name]
        inputs = [_input_units(graph.value(name)) for name in graph.inputs if _is_real_per_sample(graph.value(name))]
        inputs = [site for site in inputs if site.units <= MOST_FEATURES]
        inner = [
            *(self.of_layer(layer) for layer in chosen),
            *(self.of_state(state) for layer in self.recurrent.values() for state in layer.states(self.steps)),
            *(self.of_sum(name) for name in self._shown_sums({layer.value for layer in layers} - {layer.value for layer in chosen})),
        ]
        inner += [self.of_value(name) for name in self._stream_starts([*inputs, *heads, *inner])] if heads else []
        ends = output_sites(network)
        same = set().union(*(_same_as_output(graph, site.value) for site in ends))
        inner = [site for site in inner if site.value not in same]
        return [*inputs, *heads, *inner, *ends]

    def by_name(self, name: str) -> LayerUnits:
        network, graph = self.network, self.model_graph
        if name == INPUT and name not in graph.nodes:
            return _input_units(graph.value(graph.inputs[0]))
        ends = {site.name: site for site in output_sites(network)}
        if name in ends and name not in graph.nodes:
            return ends[name]
        if name in network.layers:
            return self.of_layer(network.layers[name])
        module, step = _split_step(name)
        if module in self.recurrent:
            layer = self.recurrent[module]
            states = layer.states(self.steps) if step is None else [layer.state(step)]
            if len(states) == 1:
                return replace(self.of_state(states[0]), name=name)
            known = ", ".join(repr(state.name) for state in states)
            raise InvalidInput(f"{name!r} has several states to read: {known}; name one")
        value = graph.value(network.resolve(name))
        if name in graph.inputs:
            return _input_units(value)
        if value.op == "attention":
            return replace(_head_units(value), name=name)
        return replace(self.of_value(value.name), name=name)

    def of_layer(self, layer: Layer) -> LayerUnits:
        axes = self.network.axes
        place = post_activation_site(axes, layer, self.sums) if self._behind else pre_activation_site(axes, layer)
        kind = "channels" if layer.op.startswith("conv") else "neurons"
        layout = axes.batch_layout(place.value)
        return LayerUnits(name=layer.name, value=place.value, kind=kind, units=layer.units, axis=place.axis, layout=layout)

    def of_sum(self, name: str) -> LayerUnits:
        return self.of_value(residual_sum_site(self.network.axes, name, self.sums).value if self._behind else name)

    def of_state(self, state: HiddenState) -> LayerUnits:
        return replace(self.of_value(state.value), name=state.name, step=state.step, kind="neurons")

    def of_value(self, name: str) -> LayerUnits:
        axis, layout = self.network.axes.unit_axis(name), self.network.axes.batch_layout(name)
        shape = self.network.axes.values[name].shape
        kind = "channels" if len(shape) > 3 else "neurons"
        return LayerUnits(name=name, value=name, kind=kind, units=int(shape[axis] or 0), axis=axis, layout=layout)

    @property
    def _behind(self) -> bool:
        return self.unit == ACTIVATION_STAGES[0]

    def _shown_sums(self, left_out: set[str]) -> list[str]:
        """Residual sums but for those of layers that a loop calls so often that they are left out themselves."""
        shared = Counter(layer.weight for layer in self.network.layers.values())
        often = {layer.value for layer in self.network.layers.values() if layer.value in left_out and shared[layer.weight] > MOST_STEPS}
        return [name for name, parts in self.sums.items() if not often & set(parts)]

    def _stream_starts(self, sites: Sequence[LayerUnits]) -> list[str]:
        """Where residual streams begin: what a sum adds that no site comes before, such as embeddings."""
        graph, axes = self.model_graph, self.network.axes
        reached = downstream_nodes(graph.nodes[site.value] for site in sites)
        parts = dict.fromkeys(name for added in self.sums.values() for name in added if name not in graph.inputs)
        return [name for name in parts if graph.nodes[name] not in reached and axes.values[name].units is not None]


def find_layer_units(
    network: Network, layers: Sequence[str] | None, unit: str, steps: str | Sequence[int] | None = None, position: int | None = None
) -> tuple[LayerUnits, ...]:
    """The sites to read, in order of computation.

    Args:
        network: traced.
        layers: names of layers, modules or values, ``input`` and ``output``; by default the inputs that are of real numbers and have at
            most 4,096 elements, all linear and convolutional layers (of a transformer its attention heads, the hidden units of its
            perceptrons and its residual stream), the hidden states of recurrent layers, residual sums, and the output.
        unit: ``"post_activation"``: behind the activation that follows a layer, if one does; ``"pre_activation"``: the layer's own value.
        steps, position: of recurrent layers and of language models, see :class:`vesalius.information.MeasurementOptions`.

    Raises:
        NotTraceable: an opaque network.
        UnknownName: no such layer, or no such kind of unit.
        InvalidInput: fewer than two sites, one twice, a step or position that there is not, or a value without units.
    """
    place = text_position(network, position)
    model_graph = network.graph("information flow")
    require_known("unit", unit, ACTIVATION_STAGES)
    reader = _Reader(network, unit, steps, find_residual_sums(network.axes), find_recurrent_layers(network.axes))
    found = reader.by_default() if layers is None else [reader.by_name(name) for name in layers]
    if place is not None:
        found = [replace(site, position=place, positions=text_positions(model_graph)) for site in found]
    distinct = {site.place: site for site in found}
    if len(distinct) < 2:
        raise InvalidInput(f"a flow runs between at least two layers; found {', '.join(site.name for site in found) or 'none'}")
    if layers is not None and len(distinct) < len(found):
        twice = next(site for site in found if distinct[site.place] is not site)
        raise InvalidInput(f"layer {twice.name!r} is read at {twice.value!r}, which is also where {distinct[twice.place].name!r} is read")
    order = {name: place for place, name in enumerate(model_graph.nodes)}
    return tuple(sorted(distinct.values(), key=lambda site: (order[site.value], site.step or 0)))


def _split_step(name: str) -> tuple[str, int | None]:
    """A layer's name and the step in brackets behind it."""
    found = STEP_NAME.fullmatch(name) if isinstance(name, str) else None
    return (name, None) if found is None else (found[1], int(found[2]))


def _is_real_per_sample(value: Value) -> bool:
    return value.is_floating and value.batch_axis == 0


def _head_units(value: Value) -> LayerUnits:
    return LayerUnits(name=value.name, value=value.name, kind="heads", units=int(value.shape[1] or 0), axis=1)


def _input_units(value: Value) -> LayerUnits:
    return LayerUnits(name=value.name, value=value.name, kind="features", units=prod(int(side or 1) for side in value.event), axis=None)


def output_sites(network: Network) -> list[LayerUnits]:
    """The output; each of several that are side by side, under its own name: ``output[mean]``."""
    graph = network.graph("reading the output")
    value, call = graph.value(graph.output), network.call
    if call is not None and call.function is None and isinstance(call.output, tuple):
        parts, ends = call.output, cast("list[Node]", graph.nodes[value.name].args[0])
        return [_elements(f"{OUTPUT}[{part}]", _before_flattening(graph, end)) for part, end in zip(parts, ends, strict=True)]
    if text_positions(graph):
        return [LayerUnits(name=OUTPUT, value=value.name, kind="classes", units=int(value.shape[2] or 0), axis=2)]
    return [_elements(OUTPUT, value)]


def _elements(name: str, value: Value) -> LayerUnits:
    return LayerUnits(name=name, value=value.name, kind="classes", units=prod(int(side or 1) for side in value.event), axis=None)


def _before_flattening(graph: ModelGraph, node: Node) -> Value:
    """What is flat in a value, which others may read as it was."""
    value: Value = node.meta["value"]
    while value.op in FLAT_OPS and value.batch_axis == 0:
        before: Value = data_inputs(graph.nodes[value.name])[0].meta["value"]
        if before.batch_axis != 0 or prod(int(side or 1) for side in before.event) != prod(int(side or 1) for side in value.event):
            break
        value = before
    return value


def _same_as_output(model_graph: ModelGraph, name: str) -> set[str]:
    """Names of an output and of what it is another shape of."""
    found = {name}
    while (value := model_graph.value(name)).family == "reshape" and not text_positions(model_graph):
        before = [node.meta["value"] for node in data_inputs(model_graph.nodes[name]) if "value" in node.meta]
        if len(before) != 1 or prod(int(side or 1) for side in before[0].event) != prod(int(side or 1) for side in value.event):
            break
        name = before[0].name
        found.add(name)
    return found


def text_positions(model_graph: ModelGraph) -> int:
    """How many positions the text of a language model has: ids [B, T] come in, and logits [B, T, V] go out; 0 for any other network."""
    output = model_graph.value(model_graph.output)
    texts = [value for value in map(model_graph.value, model_graph.inputs) if value.dtype in WHOLE_NAMES and len(value.shape) == 2]
    alike = bool(texts) and len(output.shape) == 3 and output.shape[1] == texts[0].shape[1] and output.batch_axis == 0
    return int(output.shape[1] or 0) if alike else 0


def text_position(network: Network, position: int | None) -> int | None:
    """The position at which units of a language model are read, the last by default; ``None`` for any other network.

    Raises:
        InvalidInput: a position of another network, or one that the text has not.
    """
    count = text_positions(network.graph("information flow"))
    if not count and position is not None:
        raise InvalidInput(f"position={position} is of a text, and {network.name} does not go from ids to an output at each of them")
    if position is not None and not -count <= position < count:
        raise InvalidInput(f"there is no position {position} in a text of {count}")
    return None if not count else -1 if position is None else position


def draw_positions(rows: int, generator: torch.Generator) -> Float[Tensor, "B D"]:
    """A position for each row, for units that are read at one."""
    return torch.rand(rows, POSITION_AXES, generator=generator, dtype=torch.float32)


def pool_units(
    sites: Sequence[LayerUnits],
    values: Sequence[Tensor],
    pool: str,
    spots: Float[Tensor, "B D"] | None = None,
    mask: Bool[Tensor, "B T"] | None = None,
) -> list[Float[Tensor, "B U"]]:
    """All sites of a batch, on the CPU in float32; see :meth:`LayerUnits.read`.

    Raises:
        InvalidInput: a value that is not finite, with its layer.
    """
    found = []
    for site, value in zip(sites, values, strict=True):
        rows = site.read(value.detach().float(), pool, spots, mask).cpu()
        if not bool(torch.isfinite(rows).all()):
            row, unit = (~rows.isfinite()).nonzero()[0].tolist()
            raise InvalidInput(
                f"layer {site.name!r} has NaN or infinite values on this data, the first in row {row} of a batch, unit {unit}; leave such"
                " rows out, or look at the network"
            )
        found.append(rows)
    return found
