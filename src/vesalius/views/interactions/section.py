"""Interactions as a section of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from vesalius.core.allocation import Allocation
from vesalius.views import style, svg
from vesalius.views.describe import divides_image, scale_of, unit_of
from vesalius.views.fragments import Cell, Section, anchor_of, facts_of, fill
from vesalius.views.interactions import pictures
from vesalius.views.interactions.describe import Effect, Graph, effects_of, graph_of, index_of, of_coalitions, pairs_of, sizes_of
from vesalius.views.interactions.words import INDEX_NAMES, MEANINGS, heading_of, named, shares

MOST_EFFECTS = 12
"""Effects shown before the others are added up."""

MOST_COLUMNS = 16
"""Players that have a column of dots."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One effect, or one size of coalition, ready to be shown; ``whole`` is the name where it is shortened."""

    name: str
    members: Markup | None
    cell: Cell
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
    of_coalitions(allocation, "a section of interactions")
    index, sizes, placed = index_of(allocation), sizes_of(allocation), divides_image(allocation.players)
    effects = effects_of(allocation, most=MOST_EFFECTS)
    graph = graph_of(allocation) if allocation.order > 1 else None
    target = str(allocation.provenance.get("target", ""))
    return fill(
        "interactions.html.j2",
        {
            "meaning": MEANINGS.get(index, ""),
            "shares": shares(sizes, allocation.players.kind),
            "target": target,
            "name": INDEX_NAMES.get(index, index),
            "placed": placed,
            "effects": _effect_lines(allocation, effects),
            "columns": [] if placed else [allocation.players.name(player) for player in _columns(effects)],
            "map": _partners(allocation) if placed and graph else None,
            "graph": pictures.pairs(graph, f"{len(graph.edges)} strongest pairs") if graph else None,
            "pairs": _pairs_note(graph) if graph else "",
            "sizes": _size_lines(allocation),
            "unit": unit_of(allocation),
            "facts": facts_of(allocation) | _judged(allocation),
        },
    )


def _columns(effects: Sequence[Effect]) -> list[int]:
    """Players with a column of dots: all that are in a shown effect, or none if they are too many."""
    found = sorted({player for effect in effects for player in effect.members})
    return found if len(found) <= MOST_COLUMNS else []


def _effect_lines(allocation: Allocation, effects: Sequence[Effect]) -> list[Line]:
    columns, players = _columns(effects), allocation.players
    scale = scale_of([np.array([abs(effect.row.value) + (effect.row.stderr or 0.0) for effect in effects])])
    lines = []
    for effect in effects:
        row, members = effect.row, None
        if effect.members and divides_image(players):
            members = pictures.thumbnail(players, effect.members, row.name)
        elif effect.members and columns:
            members = pictures.dots(columns, effect.members, row.name)
        text = style.signed(row.value)
        spread = "" if row.stderr is None else f"\N{PLUS-MINUS SIGN}{style.number(row.stderr, digits=2)}"
        bar = svg.bar(row.value, scale, f"{row.name}: {text}", stderr=row.stderr)
        name = named(players, effect)
        whole = row.name if name != row.name else ""
        lines.append(Line(name=name, members=members, cell=Cell(bar=bar, text=text, spread=spread), whole=whole))
    return lines


def _size_lines(allocation: Allocation) -> list[Line]:
    sizes = sizes_of(allocation)
    scale = scale_of([np.array([size.raises, size.lowers]) for size in sizes])
    lines = []
    for size in sizes:
        name = "single players" if size.size == 1 else "pairs" if size.size == 2 else f"groups of {size.size}"
        text = style.signed(size.net)
        words = f"{name}: {style.signed(size.raises)} and {style.signed(size.lowers)}, together {text}"
        lines.append(Line(name=name, members=None, cell=Cell(bar=pictures.spread(size, scale, words), text=text, spread=f"{size.count:,}")))
    return lines


def _partners(allocation: Allocation) -> Markup:
    found = pairs_of(allocation)
    largest = allocation.players.name(int(found.involvement.argmax()))
    return pictures.partners(allocation.players, found.involvement, found.together, f"interaction with others, strongest: {largest}")


def _pairs_note(graph: Graph) -> str:
    rest = f"; {style.counted(graph.left_out, 'weaker pair')} left out" if graph.left_out else ""
    return f"{INDEX_NAMES.get(graph.index, graph.index)}{rest}"


def _judged(allocation: Allocation) -> dict[str, str]:
    """The verdict on the gap, and what was counted."""
    evaluations = int(allocation.evaluations)
    facts = {"adding up": style.verdict(allocation).text}
    facts |= {"evaluations": f"{evaluations:,}"} if evaluations else {}
    explained = allocation.provenance.get("explained")
    facts |= {"explained on held-out coalitions": style.percent(float(explained))} if explained is not None else {}
    return facts | ({"standard error": allocation.stderr_note} if allocation.stderr_note else {})
