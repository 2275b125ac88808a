"""Units that say what another says.

Axes: A units of a layer, B units of the next, V edges of a unit, to both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from vesalius.core.numbers import SHARE, Limit, real_number
from vesalius.information.edge_weights import linfoot_correlation
from vesalius.information.layer_graph import LayerGraph
from vesalius.information.layers import FlowLayer

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
    layers: Sequence[FlowLayer], structure: LayerGraph, flows: Sequence[Float64[Tensor, "_ _"]], similarity: float, dependence: float
) -> tuple[RedundantPair, ...]:
    """Pairs of units with nearly the same edges that also know each other, where that was measured; most similar first.

    Args:
        layers: all layers.
        structure: which are joined.
        flows: weights, one matrix per layer pair.
        similarity: least similarity of the edges, in (0, 1].
        dependence: least that the units must know of each other, in [0, 1], see :func:`are_dependent`. Units that say equally much about
            others need not say the same; without information within the layer they are listed all the same.
    """
    similarity = real_number("similarity", similarity, Limit(above=0, most=1))
    dependence = real_number("dependence", dependence, SHARE)
    found = []
    for at, layer in enumerate(layers):
        alike = jaccard_similarity(incident_weights(structure, flows, at))
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


def incident_weights(structure: LayerGraph, flows: Sequence[Float64[Tensor, "_ _"]], at: int) -> Float64[Tensor, "A V"]:
    """Weights of all edges of every unit of a layer: those that come in, then those that go out."""
    return torch.cat([*(flows[place].T for place in structure.into[at]), *(flows[place] for place in structure.out_of[at])], 1)


def jaccard_similarity(weights: Float64[Tensor, "A V"]) -> Float64[Tensor, "A A"]:
    """Weighted Jaccard similarity: sum of the smaller over sum of the larger weights. 0 for units without edges.

    An angle between vectors of positive weights is small for nearly all pairs, and blind to their size.
    """
    total = weights.sum(1)
    apart = torch.cdist(weights, weights, p=1)
    larger = (total[:, None] + total + apart) / 2
    smaller = (total[:, None] + total - apart) / 2
    return torch.where(larger > 0, smaller / larger, 0).clamp(0, 1)
