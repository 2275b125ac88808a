"""Neural information flow: how much each unit of a layer says about each of the next, on data.

Axes: N rows, A units of a layer, B units of the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise as neighbours
from typing import Any

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.rows import to_tensor
from vesalius.core.version import VERSION
from vesalius.information.edge_weights import EdgeWeighting
from vesalius.information.estimators import Binned, Gaussian, Neural, PairwiseInformation, pairwise
from vesalius.information.estimators.estimate import is_constant
from vesalius.information.graph import FlowGraph
from vesalius.information.histograms import Histograms
from vesalius.information.layers import FlowEdges, FlowLayer
from vesalius.information.options import MeasurementOptions
from vesalius.information.recorded_activations import RecordedActivations, activation_bytes, record_activations
from vesalius.information.units import LayerUnits, find_layer_units
from vesalius.trace.batches import LABELS_FROM_DATA, Data
from vesalius.trace.network import Network
from vesalius.trace.receive import Received, receive_data

MOST_BINNED_UNITS = 256
"""Units of a layer up to which the information between them is measured by tables; by correlations of more."""
LABELS = "labels"
MOST_CLASSES = 10_000
"""Classes of which each is compared with all others."""
IMAGE_AXES = 3
"""Axes of one sample, if it is an image: channels, height, width."""


@verb
def information_flow(
    model: Any,
    data: Data,
    *,
    layers: Sequence[str] | None = None,
    labels: Any = None,
    weighting: EdgeWeighting | None = None,
    measuring: MeasurementOptions | None = None,
) -> FlowGraph:
    """Which units say what about which others, from layer to layer, with a test of every edge.

    The data goes through the network once; the units of all layers are kept (4 bytes a unit and row), then all pairs of neighbouring
    layers are measured.

    Args:
        model: a Network with a graph, or any model that :func:`vesalius.trace` takes and that has one.
        data: rows [N *event] in any form, or batches: inputs, (inputs, labels), or mappings.
        layers: from input to output, see :func:`vesalius.information.units.find_layer_units`; by default all that say something.
        labels: class of every row, or ``"data"`` to take them from the data; the last layer is then the true classes, each against all
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
    one network per pair, and redundancy that does not depend on the order of units; :class:`MeasurementOptions` and :class:`EdgeWeighting`
    say how to get the paper's.
    """
    if isinstance(labels, str) and labels != LABELS_FROM_DATA:
        raise InvalidInput(f"labels are class numbers, or {LABELS_FROM_DATA!r} to take them from the batches, not {labels!r}")
    received = receive_data(model, data)
    network, labels = received.network, _labels(received, labels)
    how, weights = measuring or MeasurementOptions(), weighting or EdgeWeighting()
    sites = find_layer_units(network, layers, how.unit)
    if labels is not None and len(sites) > 2 and sites[-1].kind == "classes":
        sites = sites[:-1]
    found = record_activations(network, received.x, labels, sites, how)
    generator = torch.Generator().manual_seed(how.seed)
    rows = [units.double() for units in found.units]
    named = [_flow_layer(site, part, weights) for site, part in zip(sites, rows, strict=True)]
    if found.labels is not None:
        rows.append(_one_vs_rest(found.labels))
        named.append(FlowLayer.of(LABELS, rows[-1].shape[1], kind="classes", dead=is_constant(rows[-1])))
    edges = [_flow_edges(_layer_pair_information(source, target, how, generator), source.shape[1]) for source, target in neighbours(rows)]
    return FlowGraph.from_information(named, edges, weights, provenance=_provenance(network, found, sites, how))


def _flow_layer(site: LayerUnits, rows: Float64[Tensor, "N A"], weighting: EdgeWeighting) -> FlowLayer:
    """A layer with the spread of its units, and what they say of each other where that is asked for."""
    dead = is_constant(rows)
    asked = weighting.redundancy is not None and weighting.beta > 0 and len(dead) > 1
    return FlowLayer.of(
        site.name,
        site.units,
        kind=site.kind,
        dead=dead,
        within=_within_layer_information(rows) if asked else None,
        spread=Histograms.of(rows),
    )


def _within_layer_information(rows: Float64[Tensor, "N A"]) -> Float64[Tensor, "A A"]:
    """Information between the units of a layer. Of many it is that of their correlation, a lower bound that costs one product."""
    estimator = Binned() if rows.shape[1] <= MOST_BINNED_UNITS else Gaussian()
    return estimator.estimate(rows, rows).values.clamp_min(0)


def _layer_pair_information(
    source: Float[Tensor, "N A"], target: Float[Tensor, "N B"], how: MeasurementOptions, generator: torch.Generator
) -> PairwiseInformation:
    if how.relevance == "layer":
        critics = how.estimator if isinstance(how.estimator, Neural) else Neural()
        return critics.relevance(source, target, generator=generator)
    return pairwise(source, target, estimator=how.estimator, generator=generator)


def _labels(received: Received, labels: Any) -> Int[Tensor, " N"] | str | None:
    """Labels as a tensor, where they are not to be taken from batches."""
    if labels is None or (isinstance(labels, str) and received.labels is None):
        asked: str | None = labels
        return asked
    found = received.labels if isinstance(labels, str) else to_tensor(labels)
    if found is not None and found.ndim != 1:
        raise InvalidInput(f"labels are a list of class numbers, one for each row, not of shape {list(found.shape)}")
    return found


def _flow_edges(found: PairwiseInformation, sources: int) -> FlowEdges:
    """Edges of all pairs; what is known of a whole layer holds for each of its units."""

    def wide(table: Tensor) -> Tensor:
        return table.expand(sources, -1).clone()

    return FlowEdges.of(wide(found.values), p=wide(found.p), stderr=wide(found.stderr), unreliable=wide(found.unreliable))


def _one_vs_rest(labels: Int[Tensor, " N"]) -> Float64[Tensor, "N C"]:
    if int(labels.max()) >= MOST_CLASSES:
        raise InvalidInput(
            f"labels go up to {int(labels.max())}, and at most {MOST_CLASSES:,} classes are told apart; number those there are:"
            " torch.unique(labels, return_inverse=True)[1]"
        )
    return torch.nn.functional.one_hot(labels).double()


def _provenance(network: Network, found: RecordedActivations, sites: Sequence[LayerUnits], how: MeasurementOptions) -> dict[str, object]:
    named = how.estimator if isinstance(how.estimator, str) else repr(how.estimator)
    event = network.values[sites[0].value].event if sites[0].kind == "features" else ()
    return ({"shape": list(event)} if len(event) == IMAGE_AXES else {}) | {
        "model": network.name,
        "digest": network.digest(),
        "rows": len(found),
        "bytes": activation_bytes(sites, len(found)),
        "values": {site.name: site.value for site in sites},
        "options": {"estimator": named, "relevance": how.relevance, "unit": how.unit, "pool": how.pool, "rows": how.rows},
        "seed": how.seed,
        "versions": {"vesalius": VERSION, "torch": torch.__version__},
    }
