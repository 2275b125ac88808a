"""Which units lie on the shortest paths: betweenness in a layered graph.

Axes: A units of a layer, B units of the next, U units of all layers in turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.information import igraph_backend
from vesalius.information.layer_graph import LayerGraph

LENGTHS = ("reciprocal", "linfoot")
MAX_LENGTH = 1e300
"""Length of an edge so weak that the reciprocal of its weight is infinite; a few of them still add up to a number."""


def edge_lengths(
    layers: LayerGraph, flows: Sequence[Float64[Tensor, "_ _"]], length: str, transform: str | None
) -> list[Float64[Tensor, "_ _"]]:
    """Length of every edge, positive; that of a missing edge is not to be read.

    Args:
        layers: which are joined.
        flows: weights, one matrix per layer pair.
        length: ``"reciprocal"``, 1/NIF; ``"linfoot"``, -log r, by which the shortest path has the largest product of correlations r.
        transform: what ``flows`` are already, see :class:`vesalius.information.edge_weights.EdgeWeighting`.

    Raises:
        UnknownName: no such length.
        InvalidInput: -log r of weights that are neither nats nor correlations.

    Where r is 1, the length is 0, which algorithms for shortest paths do not take. Every length is then made longer by as many as its
    edge leads deeper into the graph; along all paths between two units that adds up to the same, so no shortest path becomes another.
    """
    require_known("length", length, LENGTHS)
    if length == "reciprocal":
        return [flow.reciprocal().clamp_max(MAX_LENGTH) for flow in flows]
    if transform == "layer_max":
        raise InvalidInput("length 'linfoot' needs weights in nats or correlations; these are shares of the largest: use 'reciprocal'")
    largest = max(float(flow.max()) for flow in flows)
    if transform == "linfoot" and largest > 1:
        raise InvalidInput(f"a correlation is at most 1; the largest weight here is {largest:.4g}")
    found = [-flow.log() if transform == "linfoot" else _minus_log_r(flow) for flow in flows]
    kept = igraph_backend.edge_values(flows, found)
    if not (kept == 0).any():
        return found
    return [part + layers.depths[second] - layers.depths[first] for part, (first, second) in zip(found, layers.pairs, strict=True)]


def betweenness(
    layers: LayerGraph, flows: Sequence[Float64[Tensor, "_ _"]], long: Sequence[Float64[Tensor, "_ _"]]
) -> list[Float64[Tensor, " _"]]:
    """Over all ordered pairs of other units, the share of shortest paths that pass through a unit, summed; not normalised.

    Args:
        layers: which are joined.
        flows: weights, one matrix per layer pair; an edge is where one is positive.
        long: lengths of the edges, see :func:`edge_lengths`.

    Returns:
        One vector per layer. 0 for a unit in a layer where paths begin or end, and for one without edges.

    Reference: Freeman1977; how a weight becomes a length is not said in Davis2020.
    """
    graph = igraph_backend.build_igraph(layers, flows, directed=True)
    found = graph.betweenness(directed=True, weights=igraph_backend.edge_values(flows, long).tolist())
    return igraph_backend.split_by_layer(layers, torch.tensor(found, dtype=torch.float64))


def _minus_log_r(information: Float64[Tensor, "A B"]) -> Float64[Tensor, "A B"]:
    """-log sqrt(1 - exp(-2 I)), accurate for small and for large information."""
    small = (-torch.expm1(-2 * information)).log()
    large = torch.log1p(-torch.exp(-2 * information))
    return torch.where(information < 0.35, small, large) / -2
