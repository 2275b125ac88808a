"""A network's inside as parts that can be absent: heads, neurons, layers, the residual stream, experts, edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.core.interior_players import EDGE_SITES, EXPERT_SITES, InteriorParts
from vesalius.trace.attention import Attention, find_attentions, name_of, op_of
from vesalius.trace.axes import ValueAxes
from vesalius.trace.experts import Router, find_routers
from vesalius.trace.graph import ModelGraph, data_inputs, downstream_nodes
from vesalius.trace.layers import Layer, find_layers
from vesalius.trace.residual_stream import ResidualStream, read_residual_stream

ACTIVATIONS = frozenset(
    "relu gelu silu sigmoid tanh softplus elu selu celu leaky_relu prelu rrelu hardtanh hardswish hardsigmoid relu6 mish square pow".split()
)
BETWEEN = frozenset(
    "view reshape flatten unflatten transpose permute dropout to contiguous clone alias unsqueeze squeeze".split()
) | frozenset("max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d mean".split())
"""Ops between an activation and the layer that reads it."""


class Interior:
    """What a graph shows of a network's inside.

    Args:
        model_graph: the graph.
        axes: axes of its values.
    """

    def __init__(self, model_graph: ModelGraph, axes: Mapping[str, ValueAxes]) -> None:
        self.model_graph, self.axes = model_graph, axes
        self.programs: dict[str, Any] = {}
        """Programs on the edges, by the value that is explained; kept for the next time."""

    @cached_property
    def attentions(self) -> tuple[Attention, ...]:
        """All attentions whose heads can be told apart."""
        return find_attentions(self.model_graph, self.axes)

    @cached_property
    def stream(self) -> ResidualStream:
        """The residual stream; without edges where there is none."""
        return read_residual_stream(self.model_graph, self.attentions)

    @cached_property
    def routers(self) -> tuple[Router, ...]:
        """Routers of mixtures of experts."""
        return find_routers(self.model_graph, self.axes, [one.value for one in self.attentions])

    # ---- parts --------------------------------------------------------------------------------------------------------------------

    def heads(self, layers: Any = None) -> InteriorParts:
        """See :meth:`vesalius.Players.heads`."""
        if not self.attentions:
            raise InvalidInput(
                "this graph shows no attention heads: neither scaled_dot_product_attention, nor a softmax of a product of two values that"
                " is multiplied with a third; name the value yourself with at=, and divide it with vesalius.Players.channels(value)"
            )
        places = [(str(one.layer), one.module or one.value) for one in self.attentions]
        chosen = [one for one, kept in zip(self.attentions, _choose(layers, places), strict=True) if kept]
        counts = [one.heads for one in chosen]
        shape = (len(chosen), counts[0]) if len(set(counts)) == 1 else (sum(counts),)
        names = tuple(name for one in chosen for name in one.names)
        return self._along([(one.value, one.axis, one.heads) for one in chosen], shape, names)

    def neurons(self, layers: Any = None) -> InteriorParts:
        """See :meth:`vesalius.Players.neurons`."""
        sites = self._activations()
        if not sites and self.routers:
            raise InvalidInput(
                "the neurons of this network are inside experts, whose weights are picked for each token, so that no element of a value is"
                " the same neuron from token to token; take whole experts: vesalius.Players.experts(net)"
            )
        if not sites:
            raise InvalidInput(
                "this graph shows no neurons: no activation function, or product of one with a gate, between two layers with weights; name"
                " a layer and take its units: vesalius.Players.units(net, layer)"
            )
        places = [(str(place), self.model_graph.value(name).module or name) for place, (name, _, _) in enumerate(sites)]
        kept = [place for place, keep in enumerate(_choose(layers, places)) if keep]
        chosen = [sites[place] for place in kept]
        counts = [count for _, _, count in chosen]
        shape = (len(chosen), counts[0]) if len(set(counts)) == 1 else (sum(counts),)
        return self._along(chosen, shape, tuple(f"L{place}N{unit}" for place in kept for unit in range(sites[place][2])))

    def residual(self, layers: Any = None, positions: bool = False) -> InteriorParts:
        """See :meth:`vesalius.Players.residual`."""
        named = self._stream_values()
        if not named:
            raise InvalidInput(_NO_STREAM)
        places = [(name.partition(".")[0].removeprefix("L"), self.model_graph.value(value).module or value) for value, name in named]
        chosen = [one for one, kept in zip(named, _choose(layers, places), strict=True) if kept]
        if not positions:
            return _whole([value for value, _ in chosen], [name for _, name in chosen])
        sides = [self.axes[value].shape for value, _ in chosen]
        if any(len(side) < 3 or side[1] is None for side in sides) or len({side[1] for side in sides}) > 1:
            raise InvalidInput(f"the values of the residual stream have shapes {[list(side) for side in sides]}, which share no positions")
        count = int(sides[0][1] or 1)
        names = tuple(f"{name}@{place}" for _, name in chosen for place in range(count))
        return self._along([(value, 1, count) for value, _ in chosen], (len(chosen), count), names)

    def blocks(self, layers: Any = None) -> InteriorParts:
        """See :meth:`vesalius.Players.layers`."""
        stream = self.stream
        if stream.parts:
            named = [(value, self._part_name(leaves)) for value, leaves in stream.parts]
        else:
            named = [(layer.value, layer.name) for layer in self._layers.values() if self.axes[layer.value].has_samples]
        if not named:
            raise InvalidInput("this graph shows no layers: neither parts that add to a residual stream, nor linear maps with weights")
        places = [
            (name.partition(".")[0].removeprefix("L") if stream.parts else str(place), self.model_graph.value(value).module or value)
            for place, (value, name) in enumerate(named)
        ]
        chosen = [one for one, kept in zip(named, _choose(layers, places), strict=True) if kept]
        return _whole([value for value, _ in chosen], [name for _, name in chosen])

    def experts(self, layers: Any = None) -> InteriorParts:
        """See :meth:`vesalius.Players.experts`."""
        if not self.routers:
            raise InvalidInput(
                "this graph shows no experts: no scores of a linear map of which the best are taken (topk), or whose softmax weighs several"
                " values; name the value yourself with at="
            )
        places = [(str(one.layer), one.module or one.weights) for one in self.routers]
        chosen = [one for one, kept in zip(self.routers, _choose(layers, places), strict=True) if kept]
        counts = [one.experts for one in chosen]
        shape = (len(chosen), counts[0]) if len(set(counts)) == 1 else (sum(counts),)
        names = tuple(f"L{one.layer}E{expert}" for one in chosen for expert in range(one.experts))
        return InteriorParts(EXPERT_SITES, (torch.arange(sum(counts)),), shape, names)

    def edges(self) -> InteriorParts:
        """See :meth:`vesalius.Players.residual_edges`."""
        if not self.stream.edges:
            raise InvalidInput(_NO_STREAM)
        count = len(self.stream.edges)
        return InteriorParts(EDGE_SITES, (torch.arange(count),), (count,), self.stream.edge_names)

    # ---- where they are -----------------------------------------------------------------------------------------------------------

    def _along(self, sites: Sequence[tuple[str, int, int]], shape: tuple[int, ...], names: tuple[str, ...]) -> InteriorParts:
        """Parts along one axis of each of some values."""
        index, start = [], 0
        for name, axis, count in sites:
            index.append(_index_along(len(self.axes[name].batch_first), axis, count) + start)
            start += count
        assert prod(shape) == start
        return InteriorParts(tuple(name for name, _, _ in sites), tuple(index), shape, names)

    @cached_property
    def _layers(self) -> Mapping[str, Layer]:
        return find_layers(self.model_graph)

    def _activations(self) -> list[tuple[str, int, int]]:
        """Values that hold neurons, with their axis and how many there are."""
        varying = downstream_nodes(self.model_graph.nodes[name] for name in self.model_graph.inputs)
        made = {self.model_graph.nodes[layer.value] for layer in self._layers.values()}
        heads = {self.model_graph.nodes[one.value] for one in self.attentions}
        found: dict[str, tuple[str, int, int]] = {}
        for layer in self._layers.values():
            node = self.model_graph.nodes.get(layer.source)
            while node is not None and op_of(node) in BETWEEN and data_inputs(node):
                node = data_inputs(node)[0]
            if node is None or "value" not in node.meta or not self._is_activation(node, varying, made, heads):
                continue
            axes = self.axes[name_of(node)]
            if axes.units is not None and (side := axes.shape[axes.units]):
                found[name_of(node)] = (name_of(node), axes.units, side)
        return list(found.values())

    def _is_activation(self, node: Node, varying: set[Node], made: set[Node], heads: set[Node]) -> bool:
        """Whether a value is an activation of a layer, or the product of one with a gate."""
        if op_of(node) not in ACTIVATIONS | {"mul"}:
            return False
        factors = [one for one in data_inputs(node) if one in varying]
        if op_of(node) == "mul" and (len(factors) < 2 or len({one.meta["value"].shape for one in factors if "value" in one.meta}) > 1):
            return False
        queue, seen = [node], {node}
        behind = False
        bends = False
        for one in queue:
            behind |= one in made
            bends |= op_of(one) in ACTIVATIONS
            if one in heads:
                return False
            if one in made or op_of(one) in ("layer_norm", "softmax"):
                continue
            further = [source for source in data_inputs(one) if source in varying and source not in seen]
            seen |= set(further)
            queue += further
        return behind and bends

    def _stream_values(self) -> list[tuple[str, str]]:
        """Values of the stream, and after which part each is."""
        stream, named = self.stream, []
        for value, leaves in stream.sums.items():
            last = max(leaves)
            own = next((part for _, part in stream.parts if last in part), (last,))
            named.append((value, self._part_name(own)))
        unique = _distinct([name for _, name in named])
        return [(value, name) for (value, _), name in zip(named, unique, strict=True)] if stream.edges else []

    def _part_name(self, leaves: tuple[int, ...]) -> str:
        first = self.stream.writers[leaves[0]]
        return first.name if first.attention is None else f"L{first.attention.layer}.attn"


_NO_STREAM = (
    "this graph shows no residual stream: no value to which something is added that was computed from it through weights; use other"
    " players, such as vesalius.Players.heads(net) or vesalius.Players.neurons(net)"
)


def _index_along(rank: int, axis: int, count: int) -> Tensor:
    """The owner of each element along an axis of a batch-first value."""
    return torch.arange(count).reshape([count if place == axis else 1 for place in range(1, rank)] or [1])


def _whole(values: Sequence[str], names: Sequence[str]) -> InteriorParts:
    """Whole values as parts."""
    index = tuple(torch.tensor([place]) for place in range(len(values)))
    return InteriorParts(tuple(values), index, (len(values),), _distinct(names))


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names of which those that come again have a number."""
    known: dict[str, int] = {}
    found = []
    for name in names:
        known[name] = known.get(name, 0) + 1
        found.append(name if known[name] == 1 else f"{name}.{known[name]}")
    return tuple(found)


def _choose(layers: Any, places: Sequence[tuple[str, str]]) -> list[bool]:
    """Which of some parts are in the layers that were asked for.

    Args:
        layers: numbers, or paths of modules; ``None`` for all.
        places: number and path of each part.

    Raises:
        WrongType: neither numbers nor paths.
        UnknownName: no part is in one of them.
    """
    if layers is None:
        return [True] * len(places)
    asked = [layers] if isinstance(layers, (int, str)) else list(layers)
    if not asked or not all(isinstance(one, (int, str)) and not isinstance(one, bool) for one in asked):
        raise WrongType(f"layers are numbers or paths of modules, not {layers!r}")
    found = [False] * len(places)
    for one in asked:
        inside = [one == place or str(one) == number or _is_within(path, one) for place, (number, path) in enumerate(places)]
        if isinstance(one, int):
            inside = [str(one) == number for number, _ in places]
        if not any(inside):
            raise UnknownName("layer", str(one), list(dict.fromkeys(name for pair in places for name in pair)))
        found = [before or here for before, here in zip(found, inside, strict=True)]
    return found


def _is_within(path: str, module: int | str) -> bool:
    return isinstance(module, str) and (path == module or path.startswith((f"{module}.", f"{module}/")))
