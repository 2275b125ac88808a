"""Neural information flow: how much each unit of a layer says about each of the layers that read it, on data.

Axes: N rows, A units of a layer, B units of one that reads it, C classes, T targets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.names import name_list, require_known
from vesalius.core.rows import to_tensor
from vesalius.core.version import VERSION
from vesalius.information.edge_stability import edge_stability
from vesalius.information.edge_weights import EdgeWeighting
from vesalius.information.estimators import Binned, Neural, PairwiseInformation, pairwise
from vesalius.information.estimators.estimate import is_constant
from vesalius.information.estimators.gaussian import information_within
from vesalius.information.graph import FlowGraph
from vesalius.information.histograms import Histograms
from vesalius.information.layers import LABELS, TARGETS, FlowEdges, FlowLayer
from vesalius.information.options import MeasurementOptions
from vesalius.information.recorded_activations import RecordedActivations, activation_bytes, record_activations
from vesalius.information.site_graph import joined_sites
from vesalius.information.units import INPUT, OUTPUT, LayerUnits, find_layer_units, text_position
from vesalius.trace.batches import LABELS_FROM_DATA, Data
from vesalius.trace.network import Network
from vesalius.trace.receive import Received, receive_data

MOST_BINNED_UNITS = 256
"""Units of a layer up to which the information between them is measured by tables; by correlations of more."""
MOST_CLASSES = 10_000
"""Classes of which each is compared with all others."""
IMAGE_AXES = 3
"""Axes of one sample, if it is an image: channels, height, width."""


@verb
def information_flow(  # noqa: PLR0913 - a verb that users call
    model: Any,
    data: Data,
    *,
    layers: Sequence[str] | None = None,
    labels: Any = None,
    names: Any = None,
    classes: Any = None,
    weighting: EdgeWeighting | None = None,
    measuring: MeasurementOptions | None = None,
) -> FlowGraph:
    """Which units say what about which others, from layer to layer, with a test of every edge.

    Layers are joined where the network has a way from one to the other that no other layer of the graph lies on: along skips, branches
    and steps as well as one after the other. The data goes through the network once; the units of all layers are kept (4 bytes a unit and
    row), then all pairs of units of joined layers are measured.

    Args:
        model: a Network with a graph, or any model that :func:`vesalius.trace` takes and that has one.
        data: rows [N *event] in any form, or batches: inputs, (inputs, labels), or mappings.
        layers: see :func:`vesalius.information.units.find_layer_units`; by default all that say something.
        labels: class of every row; or real targets [N] or [N T], as floating-point numbers; or ``"data"`` to take either from the data. The
            last layer is then the true classes, each against all others, or the targets, instead of the output.
        names: of the features of the input, in order; or of the units of several layers, by name of the layer. Columns of a table are
            known by their names.
        classes: names of the units of the last layer, in order.
        weighting: how information becomes the weight of an edge: redundancy, significance, transform.
        measuring: how units are read and their information measured.

    Returns:
        The graph. Constant units have no edges and are listed in ``.dead``. Of fewer than 500 rows it says how many of its edges half
        of them show again.

    Raises:
        NotTraceable: a network without a graph.
        UnknownName: an unknown layer or option, with near matches.
        InvalidInput: no rows or fewer than 16, labels or names that do not fit, NaN or infinite values, more than 4 GiB of units, layers
            that nothing joins.
        WrongType: not a Network; data or labels of another kind.

    Reference: Davis2020. Differs from the paper: pairs instead of a whole layer as source, estimators with errors and tests instead of
    one network per pair, redundancy that does not depend on the order of units, and joins as the network has them instead of one layer
    after the other; :class:`MeasurementOptions` and :class:`EdgeWeighting` say how to get the paper's.
    """
    if isinstance(labels, str) and labels != LABELS_FROM_DATA:
        raise InvalidInput(
            f"labels are class numbers or real targets, or {LABELS_FROM_DATA!r} to take them from the batches, not {labels!r}"
        )
    received = receive_data(model, data, every_output=True)
    network, labels = received.network, _labels(received, labels)
    how, weights = measuring or MeasurementOptions(), weighting or EdgeWeighting()
    sites, pairs, unseen, factors = joined_layers(network, layers, how, labelled=labels is not None)
    found = record_activations(network, received.x, labels, sites, how)
    rows = [units.double() for units in found.units]
    named = [_flow_layer(site, part, weights) for site, part in zip(sites, rows, strict=True)]
    if found.labels is not None:
        layer, told = _label_layer(found.labels)
        named, rows = [*named, layer], [*rows, told]
    named = _name_units(named, received, names, classes)
    generator = torch.Generator().manual_seed(how.seed)
    edges = [
        _flow_edges(_layer_pair_information(rows[first], rows[second], how, generator), rows[first].shape[1]) for first, second in pairs
    ]
    ends = [(named[first].name, named[second].name) for first, second in pairs]
    made = FlowGraph.from_information(named, edges, weights, pairs=ends, provenance=_provenance(network, found, sites, how))
    stability = edge_stability(rows, pairs, made.edges, weights.rate, generator) if how.relevance == "pairwise" else {}
    return replace(made, unseen=unseen, provenance={**made.provenance, **stability, "factors": factors})


def joined_layers(
    network: Network, layers: Sequence[str] | None, how: MeasurementOptions, *, labelled: bool
) -> tuple[tuple[LayerUnits, ...], list[tuple[int, int]], tuple[str, ...], list[str]]:
    """What is read, which of it is joined, by place, which reads an input besides that is no layer, and which is multiplied with another
    way; the labels are behind all, in place of the output or after it.

    Raises:
        InvalidInput: as :func:`find_layer_units`; a layer that is named and that nothing joins with another.
    """
    sites = find_layer_units(network, layers, how.unit, how.steps, how.position)
    pairs, past, multiplied = joined_sites(network.axes, sites)
    unseen, factors = tuple(sites[place].name for place in past), [sites[place].name for place in multiplied]
    apart = [site for place, site in enumerate(sites) if not any(place in pair for pair in pairs)]
    if apart and layers is not None:
        raise InvalidInput(f"no way through the network joins {apart[0].name!r} with another of these layers; leave it out, or name more")
    kept = [place for place, site in enumerate(sites) if site not in apart]
    pairs, sites = [(kept.index(first), kept.index(second)) for first, second in pairs], tuple(sites[place] for place in kept)
    if not labelled:
        return sites, pairs, unseen, factors
    last = len(sites) - 1
    if len(outputs := [site.name for site in sites if site.kind == "classes"]) > 1:
        raise InvalidInput(
            f"labels take the place of the output, and there are several: {', '.join(outputs)}; choose one with"
            " vesalius.trace(model, x, output=...)"
        )
    if len(sites) > 2 and sites[-1].kind == "classes":
        return sites[:-1], pairs, tuple(name for name in unseen if name != sites[-1].name), factors
    ends = [place for place in range(len(sites)) if not any(first == place for first, _ in pairs)]
    return sites, [*pairs, *((place, last + 1) for place in ends)], unseen, factors


def _label_layer(labels: Tensor) -> tuple[FlowLayer, Float64[Tensor, "N _"]]:
    """What is known of every row beforehand, as a layer and its rows: classes, each against all others, or real targets.

    Raises:
        InvalidInput: targets that are all constant; too many classes.
    """
    if not labels.is_floating_point():
        rows = one_vs_rest(labels)
        return FlowLayer.of(LABELS, rows.shape[1], kind="classes", dead=is_constant(rows)), rows
    rows = labels.reshape(len(labels), -1).double()
    dead = is_constant(rows)
    if bool(dead.all()):
        raise InvalidInput(f"labels are real targets that are all {float(rows[0, 0]):.6g}; nothing can be told about what does not vary")
    return FlowLayer.of(TARGETS, rows.shape[1], kind="targets", dead=dead, spread=Histograms.of(rows)), rows


def _name_units(layers: Sequence[FlowLayer], received: Received, names: Any, classes: Any) -> list[FlowLayer]:
    """Layers whose units are called by the names that were given, or that the data or the model knows."""
    given = _given_names(layers, names)
    if listed := name_list("classes", classes):
        given[layers[-1].name] = listed
    found = []
    for at, layer in enumerate(layers):
        units = given.get(layer.name) or _known_names(received, layer, last=at == len(layers) - 1)
        if len(units) not in (0, len(layer)):
            raise InvalidInput(f"{len(units)} names were given for layer {layer.name!r}, which has {len(layer)} units")
        found.append(replace(layer, units=units) if units else layer)
    return found


def _given_names(layers: Sequence[FlowLayer], names: Any) -> dict[str, tuple[str, ...]]:
    """Names by layer, from a list of those of the only input's features, or from a mapping.

    Raises:
        InvalidInput: a list where there are several inputs, or none.
        UnknownName: no such layer.
    """
    known = [layer.name for layer in layers]
    features = [layer.name for layer in layers if layer.kind == "features"]
    if isinstance(names, Mapping):
        ends = {INPUT: features[0] if len(features) == 1 else INPUT, OUTPUT: known[-1]}
        where = {name: str(name) if name in known else ends.get(name, str(name)) for name in names}
        for name in where.values():
            require_known("layer", name, known)
        return {where[name]: name_list(f"names of {name!r}", units) for name, units in names.items()}
    listed = name_list("names", names)
    if listed and len(features) != 1:
        several = ", ".join(map(repr, features)) or "none"
        raise InvalidInput(f"names= is one list, and the layers of features here are {several}; give names by layer: {{'layer': [...]}}")
    return {features[0]: listed} if listed else {}


def _known_names(received: Received, layer: FlowLayer, *, last: bool) -> tuple[str, ...]:
    """Names of units that come with the data or the model, where there are as many and all differ."""
    names = received.features if layer.kind == "features" else received.classes if last and layer.kind == "classes" else ()
    return tuple(names) if len(set(names)) == len(layer) else ()


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
    if rows.shape[1] > MOST_BINNED_UNITS:
        return information_within(rows).clamp_min_(0)
    return Binned().estimate(rows, rows).values.clamp_min(0)


def _layer_pair_information(
    source: Float[Tensor, "N A"], target: Float[Tensor, "N B"], how: MeasurementOptions, generator: torch.Generator
) -> PairwiseInformation:
    if how.relevance == "layer":
        critics = how.estimator if isinstance(how.estimator, Neural) else Neural()
        return critics.relevance(source, target, generator=generator)
    return pairwise(source, target, estimator=how.estimator, generator=generator)


def _labels(received: Received, labels: Any) -> Tensor | str | None:
    """Labels as a tensor, where they are not to be taken from batches."""
    if labels is None or (isinstance(labels, str) and received.labels is None):
        asked: str | None = labels
        return asked
    found = received.labels if isinstance(labels, str) else to_tensor(labels)
    if found is not None and found.ndim != 1 and not (found.is_floating_point() and found.ndim == 2):
        raise InvalidInput(f"labels are a list of class numbers or real targets, one for each row, not of shape {list(found.shape)}")
    return found


def _flow_edges(found: PairwiseInformation, sources: int) -> FlowEdges:
    """Edges of all pairs; what is known of a whole layer holds for each of its units."""

    def wide(table: Tensor) -> Tensor:
        return table.expand(sources, -1).clone()

    return FlowEdges.of(wide(found.values), p=wide(found.p), stderr=wide(found.stderr), doubts=wide(found.doubts))


def one_vs_rest(labels: Int[Tensor, " N"]) -> Float64[Tensor, "N C"]:
    if int(labels.max()) >= MOST_CLASSES:
        raise InvalidInput(
            f"labels go up to {int(labels.max())}, and at most {MOST_CLASSES:,} classes are told apart; number those there are:"
            " torch.unique(labels, return_inverse=True)[1]"
        )
    return torch.nn.functional.one_hot(labels).double()


def _provenance(network: Network, found: RecordedActivations, sites: Sequence[LayerUnits], how: MeasurementOptions) -> dict[str, object]:
    named = how.estimator if isinstance(how.estimator, str) else repr(how.estimator)
    inputs = [site for site in sites if site.kind == "features"]
    event = network.values[inputs[0].value].event if inputs == [sites[0]] else ()
    return ({"shape": list(event)} if len(event) == IMAGE_AXES else {}) | {
        "model": network.name,
        "digest": network.digest(),
        "rows": len(found),
        "bytes": activation_bytes(sites, len(found)),
        "values": {site.name: site.value for site in sites},
        "options": {
            "estimator": named,
            "relevance": how.relevance,
            "unit": how.unit,
            "pool": how.pool,
            "steps": how.steps,
            "position": text_position(network, how.position),
            "rows": how.rows,
        },
        "seed": how.seed,
        "versions": {"vesalius": VERSION, "torch": torch.__version__},
    }
