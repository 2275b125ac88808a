"""A flow graph in a few lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vesalius.information.edge_stability import stability_note

if TYPE_CHECKING:
    from vesalius.information.graph import FlowGraph

WEIGHTS = {None: "nats", "linfoot": "correlation", "layer_max": "share of the layer's largest"}
MOST_LISTED = 5


def describe_graph(graph: FlowGraph) -> str:
    """Its layers, which are joined, the strongest edges, and the units that most shortest paths pass through."""
    kept, possible = sum(int(part.kept.sum()) for part in graph.edges), sum(part.flow.numel() for part in graph.edges)
    doubtful = sum(int((part.unreliable & part.kept).sum()) for part in graph.edges)
    units = f"{sum(map(len, graph.layers))} units ({len(graph.dead)} constant)"
    lines = [
        f"FlowGraph: {len(graph)} layers, {units}, {kept} of {possible} edges kept"
        + (f", {doubtful} of them unreliable (edges.why_unreliable says why)" if doubtful else ""),
        *(f"  {layer!r}{_read_by(graph, at)}" for at, layer in enumerate(graph.layers)),
    ]
    if note := stability_note(graph.provenance):
        lines.append(note)
    if kept:
        lines.append(f"strongest edges ({WEIGHTS[graph.transform]})")
        lines += [f"  {weight:.3g}  {graph.title(a)} -> {graph.title(b)}" for (a, b), weight in graph.strongest_edges()]
    ranked = sorted(((float(b), name, at) for name, part in graph.betweenness().items() for at, b in enumerate(part)), reverse=True)
    if ranked[0][0] > 0:
        lines.append("betweenness")
        lines += [f"  {value:.3g}  {graph.title((name, at))}" for value, name, at in ranked[:MOST_LISTED] if value > 0]
    return "\n".join(lines)


def _read_by(graph: FlowGraph, at: int) -> str:
    """The layers that read one, where it is not just the next."""
    readers = [graph.structure.pairs[place][1] for place in graph.structure.out_of[at]]
    return "" if readers in ([], [at + 1]) else f" -> {', '.join(graph.names[reader] for reader in readers)}"
