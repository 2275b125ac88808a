"""Neural information flow: how much each unit of a layer says about each of the next, on data.

Axes: N rows, A units of a layer, B units of the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise as neighbours

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.version import VERSION
from vesalius.information.estimators import Binned, Gaussian, Neural, Pairwise, pairwise
from vesalius.information.estimators.estimate import constant
from vesalius.information.graph import FlowGraph
from vesalius.information.layered import FlowEdges, FlowLayer
from vesalius.information.measuring import Measuring
from vesalius.information.reading import Read, memory, read
from vesalius.information.sites import Site, sites_of
from vesalius.information.spread import Spread
from vesalius.information.weighting import Weighting
from vesalius.trace.batches import LABELS_FROM_DATA, Data
from vesalius.trace.network import Network

MOST_TABLES = 256
"""Units of a layer up to which the information between them is measured by tables; by correlations of more."""
LABELS = "labels"
IMAGE = 3
"""Axes of one sample, if it is an image: channels, height, width."""


def information_flow(
    network: Network,
    data: Data,
    *,
    layers: Sequence[str] | None = None,
    labels: Int[Tensor, " N"] | str | None = None,
    weighting: Weighting | None = None,
    measuring: Measuring | None = None,
) -> FlowGraph:
    """Which units say what about which others, from layer to layer, with a test of every edge.

    The data goes through the network once; the units of all layers are kept (4 bytes a unit and row), then all pairs of neighbouring
    layers are measured.

    Args:
        network: from :func:`vesalius.trace`, with a graph.
        data: rows [N *event] as a tensor, one tensor per input, or batches: tensors, (inputs, labels), or mappings.
        layers: from input to output, see :func:`vesalius.information.sites.sites_of`; by default all that say something.
        labels: class of every row, or ``"data"`` to take them from the batches; the last layer is then the true classes, each against all
            others, instead of the output.
        weighting: how information becomes the weight of an edge: redundancy, significance, transform.
        measuring: how units are read and their information measured.

    Returns:
        The graph. Constant units have no edges and are listed in ``.dead``.

    Raises:
        NotTraceable: a network without a graph.
        UnknownName: an unknown layer or option, with near matches.
        InvalidInput: no rows or fewer than 16, labels that do not fit, NaN or infinite values, more than 4 GiB of units.
        WrongType: not a Network; data or labels of another kind.

    Reference: Davis2020. Differs from the paper: pairs instead of a whole layer as source, estimators with errors and tests instead of
    one network per pair, and redundancy that does not depend on the order of units; :class:`Measuring` and :class:`Weighting` say how to
    get the paper's.
    """
    if not isinstance(network, Network):
        raise WrongType(f"expected a Network, not {type(network).__name__}; make one with vesalius.trace(model, x)")
    if isinstance(labels, str) and labels != LABELS_FROM_DATA:
        raise InvalidInput(f"labels are class numbers, or {LABELS_FROM_DATA!r} to take them from the batches, not {labels!r}")
    how, weights = measuring or Measuring(), weighting or Weighting()
    sites = sites_of(network, layers, how.unit)
    if labels is not None and len(sites) > 2 and sites[-1].kind == "classes":
        sites = sites[:-1]
    found = read(network, data, labels, sites, how)
    generator = torch.Generator().manual_seed(how.seed)
    rows = [units.double() for units in found.units]
    named = [_layer(site, part, weights) for site, part in zip(sites, rows, strict=True)]
    if found.labels is not None:
        rows.append(_one_against_all(found.labels))
        named.append(FlowLayer.of(LABELS, rows[-1].shape[1], kind="classes", dead=constant(rows[-1])))
    edges = [_edges(_measured(source, target, how, generator), source.shape[1]) for source, target in neighbours(rows)]
    return FlowGraph.weighed(named, edges, weights, provenance=_facts(network, found, sites, how))


def _layer(site: Site, rows: Float64[Tensor, "N A"], weighting: Weighting) -> FlowLayer:
    """A layer with the spread of its units, and what they say of each other where that is asked for."""
    dead = constant(rows)
    asked = weighting.redundancy is not None and weighting.beta > 0 and len(dead) > 1
    return FlowLayer.of(site.name, site.units, kind=site.kind, dead=dead, within=_within(rows) if asked else None, spread=Spread.of(rows))


def _within(rows: Float64[Tensor, "N A"]) -> Float64[Tensor, "A A"]:
    """Information between the units of a layer. Of many it is that of their correlation, a lower bound that costs one product."""
    estimator = Binned() if rows.shape[1] <= MOST_TABLES else Gaussian()
    return estimator.estimate(rows, rows).values.clamp_min(0)


def _measured(source: Float[Tensor, "N A"], target: Float[Tensor, "N B"], how: Measuring, generator: torch.Generator) -> Pairwise:
    if how.relevance == "layer":
        critics = how.estimator if isinstance(how.estimator, Neural) else Neural()
        return critics.relevance(source, target, generator=generator)
    return pairwise(source, target, estimator=how.estimator, generator=generator)


def _edges(found: Pairwise, sources: int) -> FlowEdges:
    """Edges of all pairs; what is known of a whole layer holds for each of its units."""

    def wide(table: Tensor) -> Tensor:
        return table.expand(sources, -1).clone()

    return FlowEdges.of(wide(found.values), p=wide(found.p), stderr=wide(found.stderr), unreliable=wide(found.unreliable))


def _one_against_all(labels: Int[Tensor, " N"]) -> Float64[Tensor, "N C"]:
    return torch.nn.functional.one_hot(labels).double()


def _facts(network: Network, found: Read, sites: Sequence[Site], how: Measuring) -> dict[str, object]:
    named = how.estimator if isinstance(how.estimator, str) else repr(how.estimator)
    event = network.values[sites[0].value].event if sites[0].kind == "features" else ()
    return ({"shape": list(event)} if len(event) == IMAGE else {}) | {
        "model": network.name,
        "digest": network.digest(),
        "rows": len(found),
        "bytes": memory(sites, len(found)),
        "values": {site.name: site.value for site in sites},
        "options": {"estimator": named, "relevance": how.relevance, "unit": how.unit, "pool": how.pool, "rows": how.rows},
        "seed": how.seed,
        "versions": {"vesalius": VERSION, "torch": torch.__version__},
    }
