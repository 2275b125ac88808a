"""Where the parts of a circuit are drawn. Nothing here knows how it will look."""

from __future__ import annotations

from dataclasses import dataclass

from vesalius.circuits.circuit import Circuit, feeds, node_of


@dataclass(frozen=True)
class NodePlace:
    """A place in a layered graph.

    Attributes:
        x: from 0 (left) to 1.
        level: 0 at the bottom.
    """

    x: float
    level: int


def edge_scores(shown: Circuit) -> dict[tuple[str, str], float]:
    """The edges that are drawn, between parts; queries, keys and values of a head are one, and their scores added up."""
    places = {name: place for place, name in enumerate(shown.names)}
    found: dict[tuple[str, str], float] = {}
    for writer, reader in shown.connected:
        score = float(shown.scores[places[f"{writer}->{reader}"]])
        ends = (writer, node_of(reader))
        found[ends] = found.get(ends, 0.0) + (score if score == score else 0.0)
    return found


def circuit_layout(shown: Circuit) -> dict[str, NodePlace]:
    """Each part on the level above all that it reads, side by side in order."""
    edges = list(edge_scores(shown))
    nodes = [*shown.nodes]
    nodes += [reader for _, reader in edges if reader not in nodes]
    level = dict.fromkeys(nodes, 0)
    inside = [(node_of(reader), writer) for _, reader in shown.connected for writer in nodes if feeds(reader, writer)]
    for _ in nodes:
        for writer, reader in edges:
            level[reader] = max(level[reader], level[writer] + 1)
        for reader, writer in inside:
            level[writer] = max(level[writer], level[reader] + (reader != writer))
    found = {}
    for height in sorted(set(level.values())):
        row = [name for name in dict.fromkeys(nodes) if level[name] == height]
        for place, name in enumerate(row):
            found[name] = NodePlace((place + 1) / (len(row) + 1), height)
    return found
