"""Units that a network could do without: those that say nothing, and those that say what another says.

Axes: A units of a layer, B units of the next, V edges of a unit, to both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.information.edge_weights import linfoot_correlation
from vesalius.information.layers import FlowLayer
from vesalius.information.paths import throughput

ROUNDING = 1e-9
"""A similarity, or a share of what there is to know, may fall short of what was asked by this: that of a copy is 1 but for rounding."""


class RedundantPair(NamedTuple):
    """Two units of a layer with nearly the same edges.

    Attributes:
        layer: their layer.
        first: position of the first.
        second: position of the second, the larger.
        similarity: of their edges, in [0, 1]; 1 for the same weights everywhere.
        information: that they have about each other, in nats; ``None`` where it was not measured.
    """

    layer: str
    first: int
    second: int
    similarity: float
    information: float | None


def redundant_pairs(
    layers: Sequence[FlowLayer], flows: Sequence[Float64[Tensor, "_ _"]], similarity: float, dependence: float
) -> tuple[RedundantPair, ...]:
    """Pairs of units with nearly the same edges that also know each other, where that was measured; most similar first.

    Args:
        layers: all layers.
        flows: weights, one matrix per layer pair.
        similarity: least similarity of the edges, in (0, 1].
        dependence: least that the units must know of each other, in [0, 1], see :func:`are_dependent`. Units that say equally much about
            others need not say the same; without information within the layer they are listed all the same.
    """
    if not 0 < similarity <= 1 or not 0 <= dependence <= 1:
        raise InvalidInput(f"similarity is in (0, 1] and dependence in [0, 1], not {similarity} and {dependence}")
    found = []
    for at, layer in enumerate(layers):
        alike = jaccard_similarity(incident_weights(flows, at))
        near = (alike >= similarity - ROUNDING).triu(1)
        if layer.within is not None:
            near &= are_dependent(layer.within, dependence)
        for first, second in near.nonzero().tolist():
            known = None if layer.within is None else float(layer.within[first, second])
            found.append(RedundantPair(layer.name, first, second, float(alike[first, second]), known))
    return tuple(sorted(found, key=lambda pair: -pair.similarity))


def are_dependent(within: Float64[Tensor, "A A"], least: float) -> Bool[Tensor, "A A"]:
    """Whether units know each other: by the correlation that their information amounts to, or by its share of what there is to know.

    A unit that is seldom on has little entropy, so that even its copy says little about it; where the diagonal is known, information is
    compared with the larger of the two units' own.
    """
    own = within.diagonal()
    known = torch.maximum(own[:, None], own)
    return (linfoot_correlation(within) >= least - ROUNDING) | ((known > 0) & (within >= (least - ROUNDING) * known))


def incident_weights(flows: Sequence[Float64[Tensor, "_ _"]], at: int) -> Float64[Tensor, "A V"]:
    """Weights of all edges of every unit of a layer: those that come in, then those that go out."""
    sides = ([flows[at - 1].T] if at else []) + ([flows[at]] if at < len(flows) else [])
    return torch.cat(sides, 1)


def jaccard_similarity(weights: Float64[Tensor, "A V"]) -> Float64[Tensor, "A A"]:
    """Weighted Jaccard similarity: sum of the smaller over sum of the larger weights. 0 for units without edges.

    An angle between vectors of positive weights is small for nearly all pairs, and blind to their size.
    """
    total = weights.sum(1)
    apart = torch.cdist(weights, weights, p=1)
    larger = (total[:, None] + total + apart) / 2
    smaller = (total[:, None] + total - apart) / 2
    return torch.where(larger > 0, smaller / larger, 0).clamp(0, 1)


def prunable_units(layers: Sequence[FlowLayer], flows: Sequence[Float64[Tensor, "_ _"]], share: float) -> dict[str, dict[int, str]]:
    """Units between the first and the last layer that carry at most a share of the flow, each with the reason.

    Args:
        layers: all layers.
        flows: weights, one matrix per layer pair.
        share: most that passes through a unit, of all that flows, in [0, 1).

    Returns:
        For each layer that has such units, their positions and why.
    """
    if not 0 <= share < 1:
        raise InvalidInput(f"share is in [0, 1), not {share}")
    found = {}
    for at in range(1, len(layers) - 1):
        listed = {}
        for unit, carried in enumerate(throughput(flows)[at].tolist()):
            if carried <= share:
                listed[unit] = _prune_reason(layers[at], flows, at, unit, carried)
        if listed:
            found[layers[at].name] = listed
    return found


def _prune_reason(layer: FlowLayer, flows: Sequence[Tensor], at: int, unit: int, carried: float) -> str:
    if layer.dead[unit]:
        return "dead"
    if not (flows[at - 1][:, unit] > 0).any():
        return "no information flows in"
    if not (flows[at][unit] > 0).any():
        return "no information flows out"
    return f"carries {carried:.2g} of the flow" if carried else "on no path from the first layer to the last"
