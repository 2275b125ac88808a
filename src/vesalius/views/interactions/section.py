"""Interactions as a section of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from vesalius.core.allocation import Allocation
from vesalius.views import style, svg
from vesalius.views.chart_data import divides_image, output_unit, symmetric_scale
from vesalius.views.html import BarCell, Section, allocation_facts, anchor_of, render_template
from vesalius.views.interactions import svg_charts
from vesalius.views.interactions.captions import INDEX_MEANINGS, INDEX_NAMES, describe_sizes, effect_name, heading_of
from vesalius.views.interactions.chart_data import (
    CoalitionEffect,
    PairGraph,
    interaction_index,
    largest_effects,
    pair_graph,
    pair_values,
    require_coalitions,
    sums_by_size,
)
from vesalius.views.text.section import arcs_markup

MOST_EFFECTS = 12
"""Effects shown before the others are added up."""

MOST_COLUMNS = 16
"""Players that have a column of dots."""


@dataclass(frozen=True, kw_only=True)
class EffectRow:
    """One effect, or one size of coalition, ready to be shown; ``whole`` is the name where it is shortened."""

    name: str
    members: Markup | None
    cell: BarCell
    whole: str = ""


def interactions_section(allocation: Allocation) -> Section:
    """The largest effects, who acts with whom, and how much sits at each size of coalition, of one sample."""
    heading = heading_of(allocation)
    return Section(heading=heading, anchor=anchor_of(heading), body=interactions_body(allocation), allocations=(allocation,))


def interactions_body(allocation: Allocation) -> Markup:
    """The section without its heading.

    Raises:
        WrongType, InvalidInput: not one sample's allocation to coalitions.
    """
    require_coalitions(allocation, "a section of interactions")
    index, sizes, placed = interaction_index(allocation), sums_by_size(allocation), divides_image(allocation.players)
    effects = largest_effects(allocation, most=MOST_EFFECTS)
    graph = pair_graph(allocation) if allocation.order > 1 else None
    target = str(allocation.provenance.get("target", ""))
    return render_template(
        "interactions.html.j2",
        {
            "meaning": INDEX_MEANINGS.get(index, ""),
            "shares": describe_sizes(sizes, allocation.players.kind),
            "target": target,
            "name": INDEX_NAMES.get(index, index),
            "placed": placed,
            "effects": _effect_rows(allocation, effects),
            "arcs": arcs_markup(allocation) if graph and allocation.players.layout is not None else None,
            "columns": [] if placed else [allocation.players.name(player) for player in _dot_columns(effects)],
            "map": _partner_map(allocation) if placed and graph else None,
            "graph": svg_charts.draw_pair_graph(graph, f"{len(graph.edges)} strongest pairs") if graph else None,
            "pairs": _pairs_note(graph) if graph else "",
            "sizes": _size_rows(allocation),
            "unit": output_unit(allocation),
            "facts": allocation_facts(allocation) | _cost_facts(allocation),
        },
    )


def _dot_columns(effects: Sequence[CoalitionEffect]) -> list[int]:
    """Players with a column of dots: all that are in a shown effect, or none if they are too many."""
    found = sorted({player for effect in effects for player in effect.members})
    return found if len(found) <= MOST_COLUMNS else []


def _effect_rows(allocation: Allocation, effects: Sequence[CoalitionEffect]) -> list[EffectRow]:
    columns, players = _dot_columns(effects), allocation.players
    scale = symmetric_scale([np.array([abs(effect.row.value) + (effect.row.stderr or 0.0) for effect in effects])])
    lines = []
    for effect in effects:
        row, members = effect.row, None
        if effect.members and divides_image(players):
            members = svg_charts.thumbnail(players, effect.members, row.name)
        elif effect.members and columns:
            members = svg_charts.membership_dots(columns, effect.members, row.name)
        text = style.signed_number(row.value)
        spread = "" if row.stderr is None else f"\N{PLUS-MINUS SIGN}{style.number(row.stderr, digits=2)}"
        bar = svg.bar(row.value, scale, f"{row.name}: {text}", stderr=row.stderr)
        name = effect_name(players, effect)
        whole = row.name if name != row.name else ""
        lines.append(EffectRow(name=name, members=members, cell=BarCell(bar=bar, text=text, spread=spread), whole=whole))
    return lines


def _size_rows(allocation: Allocation) -> list[EffectRow]:
    sizes = sums_by_size(allocation)
    scale = symmetric_scale([np.array([size.raises, size.lowers]) for size in sizes])
    lines = []
    for size in sizes:
        name = "single players" if size.size == 1 else "pairs" if size.size == 2 else f"coalitions of {size.size}"
        text = style.signed_number(size.net)
        words = f"{name}: {style.signed_number(size.raises)} and {style.signed_number(size.lowers)}, together {text}"
        lines.append(
            EffectRow(
                name=name, members=None, cell=BarCell(bar=svg_charts.size_bar(size, scale, words), text=text, spread=f"{size.count:,}")
            )
        )
    return lines


def _partner_map(allocation: Allocation) -> Markup:
    found = pair_values(allocation)
    largest = allocation.players.name(int(found.involvement.argmax()))
    return svg_charts.partner_map(allocation.players, found.involvement, found.together, f"interaction with others, strongest: {largest}")


def _pairs_note(graph: PairGraph) -> str:
    rest = f"; {style.pluralize(graph.left_out, 'weaker pair')} left out" if graph.left_out else ""
    return f"{INDEX_NAMES.get(graph.index, graph.index)}{rest}"


def _cost_facts(allocation: Allocation) -> dict[str, str]:
    """What was evaluated, and how well the values fit where they are estimated."""
    evaluations = int(allocation.evaluations)
    facts = {"evaluations": f"{evaluations:,}"} if evaluations else {}
    explained = allocation.provenance.get("explained")
    facts |= {"variance explained on held-out coalitions": style.percent(float(explained))} if explained is not None else {}
    return facts | ({"standard error": allocation.stderr_note} if allocation.stderr_note else {})
