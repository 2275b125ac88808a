"""Small pictures of interactions for a page, as inline SVG: members, pairs, who acts with whom, sums by size."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from markupsafe import Markup, escape
from numpy import ndarray

from vesalius.core.players import Players
from vesalius.views import style, svg
from vesalius.views.chart_data import paint_players
from vesalius.views.interactions.chart_data import PairGraph, PlayerNode, SizeSum

MOST_PARTNERS = 64
"""Players up to which a map answers who acts with whom; it holds a colour for every pair."""

DOT_SPACING = 14
"""Pixels between dots."""


def thumbnail(players: Players, members: Sequence[int], text: str) -> Markup:
    """A coalition in its place on the image."""
    inside = np.zeros(players.n)
    inside[list(members)] = 1.0
    image = paint_players(players, inside) > 0
    return svg.pixels(np.where(image[..., None], np.array(style.INK, np.uint8), np.array(style.NON_MEMBER, np.uint8)), text)


def membership_dots(columns: Sequence[int], members: Sequence[int], text: str) -> Markup:
    """A coalition as dots in columns, one per player."""
    places = {player: DOT_SPACING * (column + 0.5) for column, player in enumerate(columns)}
    inside = [places[player] for player in members]
    shapes = f'<line x1="{inside[0]}" x2="{inside[-1]}" y1="9" y2="9"/>' if len(inside) > 1 else ""
    for player, place in places.items():
        shapes += f'<circle class="{"in" if player in members else "out"}" cx="{place}" cy="9" r="4"/>'
    width = DOT_SPACING * len(columns)
    return Markup(f'<svg class="dots" width="{width}" height="18" role="img" aria-label="{escape(text)}">{shapes}</svg>')


def size_bar(size: SizeSum, scale: float, text: str) -> Markup:
    """What raises to the right of zero, what lowers to the left, and a mark at the sum."""
    low, high, net = (50 + 50 * value / scale for value in (size.lowers, size.raises, size.net))
    shapes = _bar_rect("lowers", low, 50) + _bar_rect("raises", 50, high) + '<line class="zero" x1="50%" x2="50%" y1="0" y2="100%"/>'
    shapes += f'<line class="mark" x1="{net:.2f}%" x2="{net:.2f}%" y1="10%" y2="90%"/>'
    return Markup(f'<svg class="bar" role="img" aria-label="{escape(text)}">{shapes}</svg>')


def draw_pair_graph(graph: PairGraph, text: str) -> Markup:
    """Players as nodes, pairs as lines; names around the circle where nodes do not stand on an image."""
    widest = max((abs(edge.value) for edge in graph.edges), default=1.0)
    shapes = []
    for edge in reversed(graph.edges):
        first, second, share = graph.nodes[edge.first], graph.nodes[edge.second], abs(edge.value) / widest
        ends = f'x1="{_pos(first.across)}" y1="{_pos(first.down)}" x2="{_pos(second.across)}" y2="{_pos(second.down)}"'
        title = escape(f"{first.name} & {second.name}: {style.signed_number(edge.value)}")
        shapes.append(
            f'<line class="{_sign_class(edge.value)}" {ends} stroke-width="{0.3 + 3 * share:.2f}" opacity="{0.3 + 0.6 * share:.2f}">'
            f"<title>{title}</title></line>"
        )
    largest = max((abs(node.value) for node in graph.nodes), default=0) or 1.0
    for node in graph.nodes:
        radius = 0.8 + 3 * (abs(node.value) / largest) ** 0.5
        title = escape(f"{node.name}: {style.signed_number(node.value)}")
        spot = f'cx="{_pos(node.across)}" cy="{_pos(node.down)}" r="{radius:.2f}"'
        shapes.append(f'<circle class="{_sign_class(node.value)}" {spot}><title>{title}</title></circle>')
    names = "" if graph.placed else "".join(_name_label(node) for node in graph.nodes)
    box = "0 0 100 100" if graph.placed else "-34 -4 168 108"
    rows: list[tuple[object, ...]] = [("player", "and", "value"), *((node.name, "", node.value) for node in graph.nodes)]
    rows += [(graph.nodes[edge.first].name, graph.nodes[edge.second].name, edge.value) for edge in graph.edges]
    told = svg.numbers_attribute(rows)
    return Markup(f'<svg class="graph" viewBox="{box}" role="img" aria-label="{escape(text)}"{told}>{"".join(shapes)}{names}</svg>')


def partner_map(players: Players, involvement: Float[ndarray, " P"], together: Float[ndarray, "P P"], text: str) -> Markup:
    """A map of who does much with others; a page's script shows the partners of the part that is pointed at.

    Args:
        players: who divide an image.
        involvement: not negative, one per player.
        together: signed values of pairs, for the colours of partners.
    """
    strongest = float(involvement.max()) or 1.0
    if players.n > MOST_PARTNERS:
        return svg.sequential_map(paint_players(players, involvement), strongest, text)
    scale = float(np.abs(together).max()) or 1.0
    fills = _hex_colours(style.sequential_colours(involvement, strongest))
    rows = escape(json.dumps([_hex_colours(line) for line in style.diverging_colours(together, scale)], separators=(",", ":")))
    owner = paint_players(players, np.arange(1.0, players.n + 1)).round().astype(int) - 1
    shapes = "".join(
        f'<path fill="{fills[player]}" d="{_region_path(owner == player)}"><title>{escape(name)}</title></path>'
        for player, name in enumerate(players.names)
    )
    box = f"0 0 {owner.shape[1]} {owner.shape[0]}"
    values = ((name, *line) for name, line in zip(players.names, together.tolist(), strict=True))
    told = svg.numbers_attribute([("player", *players.names), *values])
    label = escape(text)
    return Markup(f'<svg class="partners" viewBox="{box}" role="img" aria-label="{label}" data-partners="{rows}"{told}>{shapes}</svg>')


def _hex_colours(colours: UInt8[ndarray, "P 3"]) -> list[str]:
    return [style.to_hex((red, green, blue)) for red, green, blue in colours.tolist()]


def _region_path(here: ndarray) -> str:
    """A path around pixels, run by run."""
    runs = []
    for down, line in enumerate(here):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(int), [0]])))
        runs += [f"M{start} {down}h{end - start}v1h-{end - start}z" for start, end in edges.reshape(-1, 2)]
    return "".join(runs)


def _name_label(node: PlayerNode) -> str:
    across, down = node.across - 0.5, node.down - 0.5
    anchor = "middle" if abs(across) < 0.15 else "start" if across > 0 else "end"
    return f'<text x="{_pos(0.5 + 1.14 * across)}" y="{_pos(0.515 + 1.14 * down)}" text-anchor="{anchor}">{escape(node.name[:24])}</text>'


def _bar_rect(kind: str, start: float, end: float) -> str:
    return f'<rect class="{kind}" x="{start:.2f}%" y="50%" width="{end - start:.2f}%" height="10" transform="translate(0 -5)"/>'


def _pos(share: float) -> str:
    return f"{5 + 90 * share:.2f}"


def _sign_class(value: float) -> str:
    return "raises" if value > 0 else "lowers"
