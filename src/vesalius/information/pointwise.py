"""Flow at a single sample: what a unit's value there says about another's, and the map of the input that it adds up to.

Axes: N rows of data, S samples, A and B units of joined layers, F units of the first layer, L of the last.
"""

from __future__ import annotations

from math import log

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.lazy import LazyModule
from vesalius.information.graph import FlowGraph
from vesalius.information.layers import LABELS, TARGETS
from vesalius.information.options import MeasurementOptions
from vesalius.information.recorded_activations import record_activations
from vesalius.information.text_masks import text_mask
from vesalius.information.units import find_layer_units, pool_units
from vesalius.trace.batches import Data
from vesalius.trace.network import Inputs, Network

special = LazyModule("scipy.special")

CELLS_AT_ONCE = 1 << 24
"""Distances held at once."""
ROUNDING = 1e-5
"""Two values of a unit are the same value, computed twice, if they differ by no more than this share of the unit's largest: a batch of
another size, another number of threads or another processor rounds otherwise."""


@verb
def pointwise_flow(network: Network, graph: FlowGraph, data: Data, x: Inputs, *, k: int = 3, rows: int = 2000) -> Float64[Tensor, "S F L"]:
    """For single samples, the sum over all paths of the products of point-wise information, along the edges of a graph.

    For an image, ``flow[0, :, 3].reshape(image.shape)`` is a map of what spoke for class 3 (above 0) and against it.

    Args:
        network: that the graph was made of.
        graph: from :func:`vesalius.information_flow`, with the network's output as its last layer.
        data: rows like those of the graph; the first few are used.
        x: samples, as the network takes them.
        k: neighbours.
        rows: most rows of data.

    Raises:
        InvalidInput: a graph that ends at labels or whose units were read at sampled positions, too few rows, a k that they do not allow.

    Reference: Davis2020, equation for NIF(n). Differs from the paper: digamma throughout, and ties count as neighbours (Gao2017), since a
    ReLU's zeros are at distance 0 from each other.
    """
    options = graph.provenance.get("options", {})
    if options.get("pool") == "sampled":
        raise InvalidInput("units of this graph were read at positions drawn for each row; a map of one sample needs pool='mean' or 'max'")
    how = MeasurementOptions(unit=options.get("unit", "post_activation"), pool=options.get("pool", "mean"), rows=rows)
    reading = how.unit, options.get("steps"), options.get("position")
    sites = find_layer_units(network, graph.names, *reading) if not {LABELS, TARGETS} & set(graph.names) else ()
    if not sites:
        raise InvalidInput("a single sample has no label to flow to; make the graph without labels=, to end at the network's output")
    known = record_activations(network, data, None, sites, how)
    if not 1 <= k < len(known):
        raise InvalidInput(f"k = {k} neighbours of {len(known)} rows; between 1 and {len(known) - 1}")
    inputs = network.bind(x)
    with torch.no_grad():
        values = network.program([value.name for value in network.inputs], [site.value for site in sites])(*inputs)
    here = pool_units(sites, values, how.pool, mask=text_mask(network, inputs))
    parts = []
    for first, second in graph.structure.pairs:
        pair = known.units[first].double(), known.units[second].double()
        points = zip(here[first], here[second], strict=True)
        parts.append(torch.stack([pointwise_information(pair, (a.double(), b.double()), k) for a, b in points]))
    return graph.pointwise_attribution(parts)


def pointwise_information(
    known: tuple[Float64[Tensor, "N A"], Float64[Tensor, "N B"]], here: tuple[Float64[Tensor, " A"], Float64[Tensor, " B"]], k: int
) -> Float64[Tensor, "A B"]:
    """Point-wise information of all pairs at one point, in nats: psi(k) + psi(N) - psi(n_x + 1) - psi(n_y + 1).

    Distances are of ranks, so that the scale of a unit does not matter. The point may be one of the rows: it is no neighbour of itself.
    It is found among rows that were computed in another batch, and takes the values it has there: ones that differ by rounding
    (``ROUNDING``) have the same rank.

    Args:
        known: rows of two layers.
        here: the point.
        k: neighbours.
    """
    itself = torch.stack([_is_same_point(rows, point) for rows, point in zip(known, here, strict=True)]).all(0).nonzero().flatten()
    if len(itself):
        here = known[0][itself[0]], known[1][itself[0]]
    near_x, near_y = (_rank_distances(rows, point) for rows, point in zip(known, here, strict=True))
    if len(itself):
        kept = torch.arange(len(near_x)) != itself[0]
        near_x, near_y = near_x[kept], near_y[kept]
    count, block = len(near_x), max(1, CELLS_AT_ONCE // (len(near_x) * near_y.shape[1]))
    return torch.cat([_pointwise_block(part, near_y, k, count) for part in near_x.split(block, dim=1)])


def _pointwise_block(near_x: Float64[Tensor, "N a"], near_y: Float64[Tensor, "N B"], k: int, count: int) -> Float64[Tensor, "a B"]:
    joint = torch.maximum(near_x[:, :, None], near_y[:, None])
    reach = joint.kthvalue(k, dim=0).values
    tied = reach == 0
    inside_x = torch.where(tied, (near_x == 0).sum(0)[:, None], (near_x[:, :, None] < reach).sum(0))
    inside_y = torch.where(tied, (near_y == 0).sum(0), (near_y[:, None] < reach).sum(0))
    shared = torch.where(tied, (joint == 0).sum(0), k)
    found = [torch.from_numpy(special.digamma(number.double().numpy())) for number in (shared, inside_x + 1, inside_y + 1)]
    return found[0] + log(count) - found[1] - found[2]


def _is_same_point(rows: Float64[Tensor, "N A"], point: Float64[Tensor, " A"]) -> Bool[Tensor, " N"]:
    """Rows that differ from a point by rounding alone."""
    same: Tensor = ((rows - point).abs() <= ROUNDING * rows.abs().amax(0)).all(1)
    return same


def _rank_distances(rows: Float64[Tensor, "N A"], point: Float64[Tensor, " A"]) -> Float[Tensor, "N A"]:
    """How many ranks each row is away from a point, per unit; ties share their middle rank."""
    ordered = rows.sort(dim=0).values.T.contiguous()
    middle = _mid_ranks(ordered, rows.T.contiguous()).T
    return (middle - _mid_ranks(ordered, point[:, None].contiguous()).T).abs()


def _mid_ranks(ordered: Float64[Tensor, "A N"], values: Float64[Tensor, "A M"]) -> Float64[Tensor, "A M"]:
    near = ROUNDING * ordered.abs().amax(1, keepdim=True)
    low, high = torch.searchsorted(ordered, values - near), torch.searchsorted(ordered, values + near, right=True)
    return (low + high).double() / 2
