"""Flow graphs as tensors and facts of a file, and back.

Axes: A units of a layer, B units of one that reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vesalius.core import store
from vesalius.core.store import to_json_values
from vesalius.information.histograms import Histograms
from vesalius.information.layer_graph import LayerGraph, layer_graph
from vesalius.information.layers import FlowEdges, FlowLayer

if TYPE_CHECKING:
    from vesalius.information.graph import FlowGraph

EDGE_MATRICES = ("information", "flow", "p", "stderr", "doubts")
HISTOGRAM_FIELDS = ("counts", "low", "high", "zero")


def graph_contents(graph: FlowGraph) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that is kept of a graph."""
    facts = {
        "layers": layer_facts(graph.layers, graph.structure, graph.unseen),
        "transform": graph.transform,
        "provenance": to_json_values(graph.provenance),
    }
    return graph_tensors(graph.layers, graph.edges), facts


def read_graph(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a graph.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: the file holds none.
    """
    layers, pairs = load_layers(facts, tensors), load_pairs(facts)
    return {"layers": layers, "edges": load_edges(layers, pairs, tensors), "pairs": pairs, **load_facts(facts)}


def graph_tensors(layers: Sequence[FlowLayer], edges: Sequence[FlowEdges]) -> dict[str, Tensor]:
    """All tensors of a graph, as a file names them."""
    kept = {name: tensor for at, layer in enumerate(layers) for name, tensor in _layer_tensors(at, layer).items()}
    for at, part in enumerate(edges):
        kept |= {f"{name}.{at}": matrix for name in EDGE_MATRICES if (matrix := getattr(part, name)) is not None}
    return kept


def layer_facts(layers: Sequence[FlowLayer], joined: LayerGraph, unseen: Sequence[str]) -> list[dict[str, Any]]:
    """What a file says of each layer in words and numbers; ``reads`` are numbers of layers, each with that of the pair, and -1 is an input
    that is none."""
    reads = [[[joined.pairs[place][0], place] for place in places] for places in joined.into]
    reads = [[*read, [-1, -1]] if layer.name in unseen else read for layer, read in zip(layers, reads, strict=True)]
    return [
        {"name": layer.name, "units": layer.units, "kind": layer.kind, "reads": read} for layer, read in zip(layers, reads, strict=True)
    ]


def load_layers(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[FlowLayer, ...]:
    """The layers of a file."""
    return tuple(_load_layer(at, who, tensors) for at, who in enumerate(store.fact(facts, "layers", list)))


def load_pairs(facts: Mapping[str, Any]) -> tuple[tuple[str, str], ...] | None:
    """The layer pairs of a file; ``None`` where each layer is joined with the next, as in files that say nothing of it."""
    listed = store.fact(facts, "layers", list)
    if not any("reads" in who for who in listed):
        return None
    names = [store.fact(who, "name", str) for who in listed]
    found = {int(place): (names[first], names[at]) for at, who in enumerate(listed) for first, place in _reads(who)}
    return tuple(found[place] for place in range(len(found)))


def _load_unseen(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Layers of a file that read an input that is no layer."""
    listed = store.fact(facts, "layers", list)
    return tuple(store.fact(who, "name", str) for who in listed if [-1, -1] in who.get("reads", []))


def _reads(who: Mapping[str, Any]) -> list[list[int]]:
    return [pair for pair in store.fact(who, "reads", list) if pair != [-1, -1]]


def load_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the weights of a file are, where its graph comes from, and which layers read what it does not show."""
    made = store.provenance(facts, rows=lambda count: int(count or 0), weighting=lambda how: float(store.mapping(how or {}).get("rate", 1)))
    transform = None if facts["transform"] is None else store.fact(facts, "transform", str)
    return {"unseen": _load_unseen(facts), "transform": transform, "provenance": made}


def load_edges(
    layers: Sequence[FlowLayer], pairs: Sequence[tuple[str, str]] | None, tensors: Mapping[str, Tensor]
) -> tuple[FlowEdges, ...]:
    """The edges of a file."""
    joined = layer_graph([layer.name for layer in layers], list(map(len, layers)), pairs)
    shapes = [(joined.sizes[first], joined.sizes[second]) for first, second in joined.pairs]
    return tuple(_load_matrices(at, shape, tensors) for at, shape in enumerate(shapes))


def _layer_tensors(at: int, layer: FlowLayer) -> dict[str, Tensor]:
    """A layer's tensors as a file names them."""
    found = {"dead": layer.dead} | ({} if layer.within is None else {"within": layer.within})
    found |= {} if layer.spread is None else {name: getattr(layer.spread, name) for name in HISTOGRAM_FIELDS}
    return {f"{name}.{at}": tensor for name, tensor in found.items()}


def _load_layer(at: int, who: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FlowLayer:
    """A layer of a file."""
    units, name, within, spread = tuple(store.words(who, "units")), f"within.{at}", None, None
    if name in tensors:
        within = store.part(tensors, name).double()
    if f"{HISTOGRAM_FIELDS[0]}.{at}" in tensors:
        counts = store.part(tensors, f"counts.{at}", (len(units), tensors[f"counts.{at}"].shape[1]), kind="whole")
        ends = {name: store.part(tensors, f"{name}.{at}", (len(units),)).double() for name in HISTOGRAM_FIELDS[1:]}
        spread = Histograms(counts=counts, **ends)
    dead = store.part(tensors, f"dead.{at}", (len(units),), kind="boolean")
    return FlowLayer(store.fact(who, "name", str), units, store.fact(who, "kind", str), dead, within, spread)


def _load_matrices(at: int, shape: tuple[int, int], tensors: Mapping[str, Tensor]) -> FlowEdges:
    """The edges between two layers of a file."""
    held = [name for name in EDGE_MATRICES if f"{name}.{at}" in tensors]
    kinds = {name: "whole" if name == "doubts" else "floating" for name in held}
    found = {name: store.part(tensors, f"{name}.{at}", shape, kind=kind) for name, kind in kinds.items()}
    return FlowEdges(**{name: matrix.double() if matrix.is_floating_point() else matrix for name, matrix in found.items()})
