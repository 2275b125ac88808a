"""Which sites are joined: those between which the traced graph has a way with no other site on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

from torch.fx import Node

from vesalius.information.hidden_states import find_recurrent_layers, reads_step
from vesalius.information.residual_sums import MIXING_OPS, SUM_OPS, mixing_before
from vesalius.information.units import LayerUnits
from vesalius.trace.graph import data_inputs, downstream_nodes
from vesalius.trace.graph_axes import GraphAxes

JOINING_OPS = frozenset({"cat", "concat", "concatenate", "stack"})
"""Ops that put values side by side."""
PARTING_OPS = frozenset({"getitem", "slice", "select", "narrow", "index_select", "roll", "flip"})
"""Ops that take a part of a value, or move its units: two parts that are multiplied are two ways."""
PRODUCT_OPS = frozenset({"glu", "attention", "bmm", "baddbmm"})
"""Ops that multiply whatever they are given."""


class JoinedSites(NamedTuple):
    """How sites are joined.

    Attributes:
        pairs: of sites, by place, the one that is read first; in order.
        unseen: sites that read another, and also an input of the network past all sites.
        factors: sites that come together with another way of the network otherwise than by a sum or side by side: a gate, a router, what
            attention reads.
    """

    pairs: list[tuple[int, int]]
    unseen: list[int]
    factors: list[int]


def joined_sites(axes: GraphAxes, sites: Sequence[LayerUnits]) -> JoinedSites:
    """Which sites read which others with none between.

    Steps of one recurrent layer follow each other; where the layer keeps more than its state, each reads all before it.

    Args:
        axes: of the graph.
        sites: in order of computation.
    """
    graph = axes.model_graph
    by_node: dict[Node, list[int]] = {}
    for place, site in enumerate(sites):
        by_node.setdefault(graph.nodes[site.value], []).append(place)
    varying = downstream_nodes(graph.nodes[name] for name in graph.inputs)
    remembers = {layer.sequence: layer.remembers for layer in find_recurrent_layers(axes).values()}
    found: set[tuple[int, int]] = set()
    inputs, unseen = {graph.nodes[name] for name in graph.inputs} - set(by_node), set[int]()
    for node, places in by_node.items():
        steps = {at: [sites[place].step for place in those] for at, those in by_node.items()}
        nearest = _nearest_sites(axes, node, varying, steps, inputs)
        unseen |= {place for place in places if inputs & {before for before, _ in nearest}}
        for before, step in nearest:
            if before in inputs:
                continue
            read = _steps_read(sites, by_node[before], step, every=remembers.get(sites[by_node[before][0]].value, False))
            found |= {(first, second) for first in read for second in places}
        found |= set(combinations(places, 2) if remembers.get(sites[places[0]].value) else pairwise(places))
    pairs = sorted(found, key=lambda pair: (pair[1], pair[0]))
    whole: dict[Node, tuple[None]] = dict.fromkeys(by_node, (None,))
    multiplied = {before for node in _products(axes) for before, _ in _nearest_sites(axes, node, varying, whole, set())}
    factors = {place for node in multiplied for place in by_node[node]}
    return JoinedSites(pairs, sorted(unseen & {second for _, second in pairs}), sorted(factors))


def _products(axes: GraphAxes) -> list[Node]:
    """Nodes in which two ways through the network come together otherwise than by a sum or side by side."""
    behind, found = mixing_before(axes, MIXING_OPS | PARTING_OPS), []
    for node in behind:
        ways, op = (
            {behind[source] for source in data_inputs(node) if source in behind},
            node.meta["value"].op if "value" in node.meta else "",
        )
        if (len(ways) > 1 and op and op not in SUM_OPS | JOINING_OPS) or op in PRODUCT_OPS:
            found.append(node)
    return found


def _nearest_sites(
    axes: GraphAxes, node: Node, varying: set[Node], sites: Mapping[Node, Sequence[int | None]], inputs: set[Node]
) -> set[tuple[Node, int | None]]:
    """Sites, and inputs that are none, that a node reads with no site between, each with the step that is read, where that is one.

    Args:
        axes: of the graph.
        node: that reads.
        varying: nodes that depend on an input.
        sites: nodes that are sites, each with the steps of it that are. Of a sequence whose other steps are read, what comes before it is
            read past them.
        inputs: nodes of inputs that are no sites.
    """
    found: set[tuple[Node, int | None]] = set()
    seen: set[tuple[Node, int | None]] = set()
    queue: list[tuple[Node, int | None]] = [(source, _step_of(axes, node)) for source in data_inputs(node)]
    while queue:
        at, step = queue.pop()
        if (at, step) in seen or at not in varying:
            continue
        seen.add((at, step))
        found |= {(at, step)} & {(one, step) for one in inputs}
        if at in sites:
            found.add((at, step))
            if None in sites[at] or step in sites[at]:
                continue
        own = _step_of(axes, at)
        queue += [(source, step if own is None and _keeps_shape(at, source) else own) for source in data_inputs(at)]
    return found


def _keeps_shape(node: Node, source: Node) -> bool:
    """Whether a node takes a whole sequence and passes it on as it is."""
    if not all("value" in each.meta for each in (node, source)) or node.meta["value"].family != "reshape":
        return False
    return bool(node.meta["value"].shape == source.meta["value"].shape)


def _step_of(axes: GraphAxes, node: Node) -> int | None:
    return reads_step(axes, node) if "value" in node.meta else None


def _steps_read(sites: Sequence[LayerUnits], places: Sequence[int], step: int | None, *, every: bool) -> list[int]:
    """Of the steps of a layer that are sites, those that a reader of one step of it, or of all, has no other between."""
    if step is None or sites[places[0]].step is None:
        return list(places)
    before = [place for place in places if (sites[place].step or 0) <= step]
    return before if every and not any(sites[place].step == step for place in before) else before[-1:]
