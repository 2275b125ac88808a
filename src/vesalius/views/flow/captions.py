"""What a flow graph says, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vesalius.information.edge_stability import stability_note
from vesalius.information.estimators.estimate import DOUBTS
from vesalius.information.graph import FlowGraph
from vesalius.information.redundancy import RedundantPair
from vesalius.views import style
from vesalius.views.flow.attribution import AttributionTable
from vesalius.views.flow.chart_data import DrawnLayer, FlowDrawing, FlowStatistics

HEADING = "Information flow"

ATTRIBUTION_HEADING = "Attribution: flow from input to class"

WEIGHT_UNITS: Mapping[str | None, str] = {
    None: "nats",
    "linfoot": "as a correlation",
    "layer_max": "as a share of the largest between two layers",
}
"""What weights are, by the graph's transform."""


def reading_guide(graph: FlowGraph) -> str:
    """How the drawing is read, and how many units are constant, in a few sentences."""
    what = f"Width: mutual information between units, {'in ' if graph.transform is None else ''}{WEIGHT_UNITS[graph.transform]}"
    tested = false_discovery_rate(graph)
    only = f"; only edges that are significant at a false discovery rate of {style.percent(tested)}" if tested is not None else ""
    dead = len(graph.dead)
    constant = f" {_count_word(dead).capitalize()} unit{'s are' if dead > 1 else ' is'} constant on this data (dead)." if dead else ""
    past = "" if graph.structure.is_chain else " An edge that is bent upwards goes past the layers between."
    return f"{what}{only}. Size: betweenness, how many shortest paths pass through a unit. Colour: community.{past}{constant}"


def false_discovery_rate(graph: FlowGraph) -> float | None:
    """The false discovery rate at which edges were kept; ``None`` if nothing was tested."""
    weighting = graph.provenance.get("weighting")
    if not isinstance(weighting, Mapping) or any(part.p is None for part in graph.edges):
        return None
    rate = float(weighting.get("rate", 1.0))
    return rate if rate < 1 else None


def facts(graph: FlowGraph, reading: FlowStatistics) -> dict[str, str]:
    """The graph in a few numbers."""
    rate, found = false_discovery_rate(graph), reading.communities
    live = [int((~layer.dead).sum()) for layer in graph.layers]
    possible = sum(live[first] * live[second] for first, second in graph.structure.pairs)
    rows = graph.provenance.get("rows")
    return {
        "layers": str(len(graph)),
        "units": f"{sum(map(len, graph.layers)):,}",
        "constant units": f"{len(graph.dead):,}",
        "edges kept": f"{reading.edges:,} of {possible:,} {'possible' if rate is None else 'tested'}",
        "modularity": f"{style.number(found.modularity)} ({style.number(float(found.null.mean()))} shuffled)",
        "communities": community_stability(reading),
        **({"measured on": style.pluralize(int(rows), "row")} if rows else {}),
        **({"stability": stability_note(graph.provenance)} if graph.provenance.get("few_rows") else {}),
    }


def describe_redundant(graph: FlowGraph, pairs: Sequence[RedundantPair] | None) -> str:
    """Which units carry the information of others: how many pairs, and the most alike."""
    if pairs is None:
        return "not computed, too many units"
    if not pairs:
        return "none found"
    first = pairs[0]
    names = " and ".join(graph.title((first.layer, unit)) for unit in (first.first, first.second))
    return f"{names}{f', and {len(pairs) - 1:,} more' if len(pairs) > 1 else ''}"


def legend(reading: FlowStatistics) -> list[tuple[int, str]]:
    """Communities with a colour of their own and how many units they have, and the others together."""
    found, shown = reading.communities, len(style.PALETTE)
    sizes = [sum(int((part == which).sum()) for part in found.of.values()) for which in range(found.count)]
    lines = [(which, f"community {which + 1}, {style.pluralize(size, 'unit')}") for which, size in enumerate(sizes[:shown])]
    rest = sizes[shown:]
    return lines + ([(shown, f"{style.pluralize(len(rest), 'smaller one')}, {style.pluralize(sum(rest), 'unit')}")] if rest else [])


def community_name(reading: FlowStatistics, community: int | None) -> str:
    """Which community a unit is in."""
    return "no community" if community is None else f"community {community + 1} of {reading.communities.count}"


def community_stability(reading: FlowStatistics) -> str:
    """Whether the communities are to be believed."""
    found = reading.communities
    count = "1 community" if found.count == 1 else f"{found.count:,} communities"
    return f"{count}, {'weak' if found.weak else 'stable'}"


def caveats(graph: FlowGraph, reading: FlowStatistics) -> list[str]:
    """What is to be known before the drawing is believed."""
    found, communities = [], reading.communities
    if not reading.edges:
        return ["No edge is significant: no unit shares information with those that read it beyond chance."]
    if reading.analysed < reading.edges:
        what = "Communities and betweenness were computed" if reading.paths_thinned else "Communities were computed"
        found.append(f"{what} among the {reading.analysed:,} strongest of {reading.edges:,} edges.")
    if communities.weak:
        found.append(f"The communities are weak, so colours say little about this network: {'; '.join(communities.doubts)}.")
    return found + unreliable_edges(graph)


def unreliable_edges(graph: FlowGraph) -> list[str]:
    """How many edges are not to be trusted, for each reason there is."""
    found = []
    for number, reason in enumerate(DOUBTS[1:], 1):
        count = sum(int(((part.doubts == number) & part.kept).sum()) for part in graph.edges)
        if count:
            found.append(f"The information of {style.pluralize(count, 'edge')} is not to be trusted: {reason}.")
    return found


def omitted_edges_note(net: FlowDrawing) -> str:
    """What is not drawn."""
    drawn = sum(link.first is not None for link in net.links)
    parts = [f"Of the edges between these units, the {drawn:,} strongest are drawn."] if net.left_out else []
    if net.pictured:
        parts.append("The picture shows what flows out of each pixel; its rays are sums over pixels, on a scale of their own.")
    return " ".join(parts)


def omitted_units_note(column: DrawnLayer) -> str:
    """What stands under a layer's name: the units that are not drawn."""
    if not column.others:
        return ""
    dead = f", {column.dead:,} constant" if column.dead else ""
    return f"{style.pluralize(column.others, 'other')}{dead}"


def maps_note(table: AttributionTable) -> str:
    """What there are maps of."""
    which = f", of the {len(table.maps)} classes with the most flow" if table.left_out else ""
    return f"maps on one scale{which}"


def _count_word(count: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    return words[count] if count < len(words) else f"{count:,}"
