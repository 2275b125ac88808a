"""What flows from where to where: products of weights along paths.

A layered graph has as many paths as its layers' sizes multiply to; sums over all of them are products and sums of matrices, and the best
of them come out of one pass through the layers.

Axes: F units of the first layers, L units of the last, N samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.numbers import POSITIVE_COUNT, whole_number
from vesalius.information.layer_graph import LayerGraph


class FlowPath(NamedTuple):
    """One path: its units as (layer, position), its length in edges one less, and the product of its weights."""

    units: tuple[tuple[str, int], ...]
    product: float


Ends = Mapping[int, slice]
"""Layers where paths begin or end, and the units of each at which they do."""
ALL_UNITS = slice(None)


def path_attribution(
    layers: LayerGraph, flows: Sequence[Float64[Tensor, "*N _ _"]], first: Sequence[int] | None = None, last: Sequence[int] | None = None
) -> Float64[Tensor, "*N F L"]:
    """For every unit of the first and of the last layers, the sum over all paths between them of the products of weights.

    Args:
        layers: which are joined.
        flows: weights, one matrix or one batch of matrices per layer pair.
        first: layers where paths begin; those that read no other by default. Their units follow each other in the result.
        last: layers where they end; those that no other reads by default.

    Reference: Davis2020, where paths are enumerated.
    """
    starts, ends = layers.sources if first is None else first, layers.sinks if last is None else last
    rows = []
    for start in starts:
        found = sums_from(layers, flows, start)
        none = [flows[0].new_zeros(*flows[0].shape[:-2], layers.sizes[start], layers.sizes[end]) for end in ends]
        rows.append(torch.cat([found.get(end, empty) for end, empty in zip(ends, none, strict=True)], -1))
    return torch.cat(rows, -2)


def sums_from(layers: LayerGraph, flows: Sequence[Float64[Tensor, "*N _ _"]], start: int) -> dict[int, Float64[Tensor, "*N _ _"]]:
    """Sums over all paths from each unit of a layer to each of every layer that it reaches."""
    found: dict[int, Tensor] = {}
    for at in range(start + 1, len(layers.sizes)):
        for place in layers.into[at]:
            before = layers.pairs[place][0]
            if before == start or before in found:
                part = flows[place] if before == start else found[before] @ flows[place]
                found[at] = found[at] + part if at in found else part
    return found


def pointwise_attribution(
    layers: LayerGraph, flows: Sequence[Float64[Tensor, "_ _"]], samples: Sequence[Float[Tensor, "N _ _"]]
) -> Float64[Tensor, "N F L"]:
    """:func:`path_attribution` of single samples, by the point-wise information of each; edges that the graph does not have stay out.

    Args:
        layers: which are joined.
        flows: weights of the graph; only where they are positive matters.
        samples: point-wise information, one batch of matrices per layer pair, in nats; it may be negative.

    Raises:
        InvalidInput: not one batch per layer pair, another shape, values that are not finite.
    """
    if not isinstance(samples, Sequence) or isinstance(samples, str):
        raise WrongType(f"samples are batches of matrices, one for each layer pair, not {type(samples).__name__}")
    if len(samples) != len(flows):
        raise InvalidInput(f"{len(samples)} batches of matrices for {len(flows)} layer pairs")
    for at, (flow, sample) in enumerate(zip(flows, samples, strict=True)):
        if tuple(sample.shape) != (len(samples[0]), *flow.shape):
            raise InvalidInput(f"batch {at} has shape {tuple(sample.shape)}; expected {(len(samples[0]), *flow.shape)}")
        if not sample.isfinite().all():
            raise InvalidInput(f"batch {at} has values that are not finite")
    return path_attribution(layers, [sample.to("cpu", torch.float64) * (flow > 0) for flow, sample in zip(flows, samples, strict=True)])


def cut_units(
    layers: LayerGraph, flows: Sequence[Float64[Tensor, "_ _"]], units: Sequence[tuple[int, int]]
) -> list[Float64[Tensor, "_ _"]]:
    """Weights without any at some units, which are (number of the layer, position)."""
    found = [flow.clone() for flow in flows]
    for at, position in units:
        for place in layers.into[at]:
            found[place][:, position] = 0
        for place in layers.out_of[at]:
            found[place][position] = 0
    return found


class _Scaled(NamedTuple):
    """Numbers at least 0 as ``values * exp(log)``, so that products over many layers stay numbers."""

    values: Tensor
    log: float


def throughput(layers: LayerGraph, flows: Sequence[Float64[Tensor, "_ _"]], further: Sequence[int] = ()) -> list[Float64[Tensor, " _"]]:
    """For every unit, the share of all that flows from the first layers to the last that passes through it.

    It adds up to 1 in a layer that nothing goes around, and over all first layers, and over all last. Where nothing flows, 0.

    Args:
        layers: which are joined.
        flows: weights, one matrix per layer pair.
        further: layers where paths begin too, beside those that read no other.
    """
    count = len(layers.sizes)
    into: list[_Scaled] = []
    for at in range(count):
        came = [(into[layers.pairs[place][0]], flows[place]) for place in layers.into[at]]
        begun = [_Scaled(torch.ones(layers.sizes[at], dtype=torch.float64), 0.0)] if at in further else []
        into.append(_scaled_sum(layers.sizes[at], [_Scaled(before.values @ flow, before.log) for before, flow in came] + begun))
    out: dict[int, _Scaled] = {}
    for at in reversed(range(count)):
        goes = [(out[layers.pairs[place][1]], flows[place]) for place in layers.out_of[at]]
        out[at] = _scaled_sum(layers.sizes[at], [_Scaled(flow @ after.values, after.log) for after, flow in goes])
    total = torch.cat([into[at].values.log() + into[at].log for at in layers.sinks]).logsumexp(0)
    passing = [before.values.log() + out[at].values.log() + before.log + out[at].log for at, before in enumerate(into)]
    return [(part - total).exp() if total > -torch.inf else torch.zeros_like(part) for part in passing]


def _scaled_sum(size: int, parts: Sequence[_Scaled]) -> _Scaled:
    """The sum, with a largest value of 1; where a layer reads no other, or no other reads it, 1 for each unit."""
    if not parts:
        return _Scaled(torch.ones(size, dtype=torch.float64), 0.0)
    some = [part for part in parts if part.values.any()]
    if not some:
        return _Scaled(torch.zeros(size, dtype=torch.float64), 0.0)
    highest = max(part.log for part in some)
    total = torch.stack([part.values * exp(part.log - highest) for part in some]).sum(0)
    largest = float(total.max())
    return _Scaled(total / largest, highest + log(largest))


def strongest_paths(
    layers: LayerGraph, flows: Sequence[Float64[Tensor, "_ _"]], k: int, first: Ends | None = None, last: Ends | None = None
) -> list[tuple[tuple[tuple[int, int], ...], float]]:
    """The k paths with the largest products, exactly, largest first; fewer where there are no more with a positive one.

    Args:
        layers: which are joined.
        flows: weights, one matrix per layer pair.
        k: at least 1.
        first: where paths begin; by default at any unit of a layer that reads no other.
        last: where they end; by default at any unit of a layer that no other reads.

    Returns:
        Units as (number of the layer, position), and the product.

    Best k paths to a unit pass through best k paths to the units before it, so only those are kept, layer by layer.
    """
    k = whole_number("k", k, POSITIVE_COUNT)
    ways = best_ways(layers, flows, k, dict.fromkeys(layers.sources, ALL_UNITS) if first is None else first)
    stops = dict.fromkeys(layers.sinks, ALL_UNITS) if last is None else last
    ends = [end for at, units in stops.items() for unit in range(layers.sizes[at])[units] for end in ways.ends(at, unit)]
    return [ways.path(end) for end in sorted(ends, key=lambda end: -end.product)[:k]]


def strongest_edges(joined: Sequence[tuple[str, str]], flows: Sequence[Float64[Tensor, "_ _"]], k: int) -> tuple[FlowPath, ...]:
    """The k edges with the largest weights, as paths of one edge.

    Args:
        joined: names of the layers of each matrix.
        flows: weights.
        k: at least 1.
    """
    found = [
        FlowPath(tuple((name, unit) for name, (_, unit) in zip(pair, ends, strict=True)), weight)
        for pair, flow in zip(joined, flows, strict=True)
        for ends, weight in strongest_paths(LayerGraph.chain(tuple(flow.shape)), [flow], k)
    ]
    return tuple(sorted(found, key=lambda edge: -edge.product)[: int(k)])


class _Steps(NamedTuple):
    """Where the best ways to each unit come from, by unit and rank: the layer before, its unit, and the rank there."""

    layer: Tensor
    unit: Tensor
    rank: Tensor


class _End(NamedTuple):
    """One of the best ways to a unit, by its rank among them."""

    product: float
    layer: int
    unit: int
    rank: int


@dataclass(frozen=True, eq=False)
class BestWays:
    """The best ways to each unit from where paths begin.

    Attributes:
        best: by layer, [units, k] products, largest first; 0 where there are no more ways.
        steps: by layer, where they come from; none where paths begin.
    """

    best: Mapping[int, Tensor]
    steps: Mapping[int, _Steps]

    def to(self, at: int, unit: int) -> list[tuple[tuple[tuple[int, int], ...], float]]:
        """The best ways to a unit; to one where paths begin, the way without edges."""
        return [self.path(end) for end in self.ends(at, unit)] if at in self.steps else [(((at, unit),), 1.0)]

    def ends(self, at: int, unit: int) -> list[_End]:
        """The best ways of at least one edge to a unit."""
        found = self.best[at][unit].tolist() if at in self.steps else []
        return [_End(product, at, unit, rank) for rank, product in enumerate(found) if product > 0]

    def path(self, end: _End) -> tuple[tuple[tuple[int, int], ...], float]:
        """Back along one way, from its last unit."""
        at, unit, rank = end.layer, end.unit, end.rank
        units = [(at, unit)]
        while at in self.steps:
            steps = self.steps[at]
            at, unit, rank = int(steps.layer[unit, rank]), int(steps.unit[unit, rank]), int(steps.rank[unit, rank])
            units.append((at, unit))
        return tuple(reversed(units)), end.product


def best_ways(layers: LayerGraph, flows: Sequence[Float64[Tensor, "_ _"]], k: int, starts: Ends) -> BestWays:
    """The k ways with the largest products to each unit that paths from some units come to."""
    best: dict[int, Tensor] = {}
    came: dict[int, _Steps] = {}
    for at, size in enumerate(layers.sizes):
        parts = [(place, before) for place in layers.into[at] if (before := layers.pairs[place][0]) in best]
        if at in starts:
            best[at] = torch.zeros(size, 1, dtype=torch.float64)
            best[at][starts[at]] = 1
        elif parts:
            best[at], came[at] = _best_steps([(best[before], flows[place]) for place, before in parts], [before for _, before in parts], k)
    return BestWays(best, came)


def _best_steps(parts: Sequence[tuple[Tensor, Tensor]], before: Sequence[int], k: int) -> tuple[Tensor, _Steps]:
    """The k best products for each unit of a layer, and the steps that they come by.

    Args:
        parts: best products of the units of each layer before, and the weights from there.
        before: numbers of these layers.
        k: at least 1.
    """
    options = torch.cat([(best[:, :, None] * flow[:, None, :]).flatten(0, 1) for best, flow in parts])
    origin = [torch.arange(best.numel()) for best, _ in parts]
    layer = torch.cat([torch.full_like(place, number) for place, number in zip(origin, before, strict=True)])
    unit = torch.cat([place // best.shape[1] for place, (best, _) in zip(origin, parts, strict=True)])
    rank = torch.cat([place % best.shape[1] for place, (best, _) in zip(origin, parts, strict=True)])
    found, chosen = options.T.sort(dim=1, descending=True, stable=True)
    found, chosen = found[:, :k], chosen[:, :k]
    return found, _Steps(layer[chosen], unit[chosen], rank[chosen])
