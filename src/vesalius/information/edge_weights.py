"""From mutual information to the weights of edges: significance, redundancy, transform.

    NIF_ik = max(0, I(X_i; Q_k) - beta R_i)        for edges that are significant, 0 for the others

Axes: A units of a layer, B units of the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.core.numbers import Limit
from vesalius.core.options import Options
from vesalius.information.estimators.estimate import adjusted
from vesalius.information.layers import FlowEdges, FlowLayer

REDUNDANCIES = ("mrmr", "paper")
TRANSFORMS = ("linfoot", "layer_max")


@dataclass(frozen=True, kw_only=True)
class EdgeWeighting(Options):
    """How information becomes the weight of an edge.

    Attributes:
        beta: share of a unit's redundancy that is taken off, at least 0; the papers use 5e-4 throughout.
        redundancy: of unit i, R_i: ``"mrmr"``, its mean information with the other live units of its layer; ``"paper"``, the sum over the
            units before it, which depends on their order; ``None``, 0.
        transform: ``None`` (nats); ``"linfoot"``, the correlation of a Gaussian pair with as much information, in [0, 1], whose product
            along a path is exact for a Gaussian chain; ``"layer_max"``, as a share of the largest weight of the layer pair.
        rate: false discovery rate in (0, 1]: the expected share of false edges among the kept ones, per layer pair. 1 keeps all.

    Reference: Davis2020, equation 3; Linfoot1957.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"beta": Limit(least=0), "rate": Limit(above=0, most=1)}
    beta: float = 5e-4
    redundancy: str | None = "mrmr"
    transform: str | None = None
    rate: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.redundancy is not None:
            require_known("redundancy", self.redundancy, REDUNDANCIES)
        if self.transform is not None:
            require_known("transform", self.transform, TRANSFORMS)


def weigh_edges(source: FlowLayer, target: FlowLayer, edges: FlowEdges, weighting: EdgeWeighting) -> FlowEdges:
    """The same edges with weights by the information, the p-values and the redundancy within the source layer.

    Raises:
        InvalidInput: a redundancy is asked for, and the information within the source layer is not there.

    Reference: Davis2020, equation 3, with the information of the pair in place of that of the whole layer.
    Differs from the paper: its I(X; Q_k) is the same for all edges into k, so its drawings cannot be of it.
    """
    live = ~source.dead[:, None] & ~target.dead
    flow = (edges.information - weighting.beta * unit_redundancy(source, weighting)[:, None]).clamp_min(0)
    kept = live if edges.p is None else significant_edges(edges.p, weighting.rate, tested=live)
    flow = torch.where(kept, flow, 0)
    if weighting.transform == "linfoot":
        flow = linfoot_correlation(flow)
    elif weighting.transform == "layer_max" and flow.any():
        flow = flow / flow.max()
    return replace(edges, flow=flow)


def unit_redundancy(layer: FlowLayer, weighting: EdgeWeighting) -> Float64[Tensor, " A"]:
    """What each unit says that others of its layer say too, R_i in nats.

    Raises:
        InvalidInput: the information within the layer is not there.
    """
    if weighting.redundancy is None or weighting.beta == 0 or len(layer) == 1:
        return torch.zeros(len(layer), dtype=torch.float64)
    if layer.within is None:
        raise InvalidInput(
            f"redundancy {weighting.redundancy!r} needs the information between the units of layer {layer.name!r}:"
            " give within= to the layer, or take redundancy=None"
        )
    live = ~layer.dead
    shared = torch.where(live[:, None] & live, layer.within, 0).fill_diagonal_(0)
    if weighting.redundancy == "paper":
        return shared.tril(-1).sum(1)
    return shared.sum(1) / (live.sum() - 1).clamp_min(1)


def significant_edges(p: Float[Tensor, "A B"], rate: float, *, tested: Bool[Tensor, "A B"] | None = None) -> Bool[Tensor, "A B"]:
    """Which edges of a layer pair to keep, so that the expected share of false ones among them is at most the rate.

    Args:
        p: p-values in [0, 1].
        rate: false discovery rate in (0, 1].
        tested: edges that count as tests; all, if not given. Those of a constant unit do not: that they are empty is known beforehand.

    Reference: Benjamini1995.
    """
    counted = torch.ones_like(p, dtype=torch.bool) if tested is None else tested
    found = torch.zeros_like(counted)
    found[counted] = adjusted(p[counted]) <= rate
    return found


def linfoot_correlation(information: Float64[Tensor, "*edges"]) -> Float64[Tensor, "*edges"]:
    """Informational coefficient of correlation, sqrt(1 - exp(-2 I)), of information in nats. Reference: Linfoot1957."""
    return (-torch.expm1(-2 * information.clamp_min(0))).sqrt()
