"""The drawing of the network that is left, for a page, as inline SVG."""

from __future__ import annotations

from markupsafe import Markup, escape

from vesalius.views import style, svg
from vesalius.views.sparsity.drawing import KeptLink, KeptNetwork, UnitDot

WIDTH = 860
PITCH = 27
TOP, BELOW = 14, 46
LEFT = 54.0
"""Room beside the outer columns, for numbers of units."""
MIN_RADIUS, MAX_RADIUS = 4.0, 11.0
"""Radius of a unit without importance, and of the one with the most."""
MIN_STROKE, MAX_STROKE = 0.6, 6.0


def draw_kept_network(kept: KeptNetwork, text: str) -> Markup:
    """Units with their numbers, links as wide as they are important, in the colour of the sign of their weight.

    Args:
        kept: what is drawn.
        text: what it shows.
    """
    columns = len(kept.names)
    spots = [(LEFT + (WIDTH - 2 * LEFT) * dot.column / (columns - 1), TOP + dot.down * PITCH) for dot in kept.dots]
    shapes = [_link_path(kept, line, spots) for line in sorted(kept.lines, key=lambda line: line.width)]
    shapes += [_dot_circle(kept, dot, spot) for dot, spot in zip(kept.dots, spots, strict=True)]
    shapes += [_label(dot, spot) for dot, spot in zip(kept.dots, spots, strict=True) if dot.column in (0, columns - 1)]
    shapes += [_name(kept, at, LEFT + (WIDTH - 2 * LEFT) * at / (columns - 1)) for at in range(columns)]
    box = f"0 0 {WIDTH} {TOP + kept.slots * PITCH + BELOW:.0f}"
    rows: list[tuple[object, ...]] = [("from", "to", "importance", "weight")]
    for line in kept.lines:
        rows.append((_dot_name(kept, kept.dots[line.first]), _dot_name(kept, kept.dots[line.second]), line.score, line.weight))
    told = svg.numbers_attribute(rows)
    return Markup(f'<svg class="flow" viewBox="{box}" role="img" aria-label="{escape(text)}"{told}>{"".join(shapes)}</svg>')


def _link_path(kept: KeptNetwork, line: KeptLink, spots: list[tuple[float, float]]) -> str:
    start, end = spots[line.first], spots[line.second]
    bend = 0.46 * (end[0] - start[0])
    way = f"M{start[0]:.1f} {start[1]:.1f}C{start[0] + bend:.1f} {start[1]:.1f} {end[0] - bend:.1f} {end[1]:.1f} {end[0]:.1f} {end[1]:.1f}"
    kind = "raises" if line.weight > 0 else "lowers"
    names = f"{_dot_name(kept, kept.dots[line.first])} \N{RIGHTWARDS ARROW} {_dot_name(kept, kept.dots[line.second])}"
    title = f"{names}: importance {style.number(line.score)}, weight {style.signed_number(line.weight)}"
    width = MIN_STROKE + (MAX_STROKE - MIN_STROKE) * line.width
    return f'<path class="edge {kind}" d="{way}" stroke-width="{width:.1f}"><title>{escape(title)}</title></path>'


def _dot_circle(kept: KeptNetwork, dot: UnitDot, spot: tuple[float, float]) -> str:
    radius = MIN_RADIUS + (MAX_RADIUS - MIN_RADIUS) * dot.size**0.5
    title = f"{_dot_name(kept, dot)}: " + (f"importance {style.percent(dot.size)} of the largest" if dot.alive else "constant, no links")
    place = f'cx="{spot[0]:.1f}" cy="{spot[1]:.1f}" r="{radius:.1f}"'
    return f'<circle class="unit {"other" if dot.alive else "dead"}" {place}><title>{escape(title)}</title></circle>'


def _dot_name(kept: KeptNetwork, dot: UnitDot) -> str:
    return f"{kept.names[dot.column]}[{dot.position}]"


def _label(dot: UnitDot, spot: tuple[float, float]) -> str:
    anchor, aside = ("start", 16) if dot.column else ("end", -16)
    return f'<text class="label" x="{spot[0] + aside:.1f}" y="{spot[1] + 4.5:.1f}" text-anchor="{anchor}">{dot.position}</text>'


def _name(kept: KeptNetwork, at: int, across: float) -> str:
    down, rest = TOP + kept.slots * PITCH + 22, kept.others[at]
    name = f'<text x="{across:.1f}" y="{down:.1f}" text-anchor="middle">{escape(kept.names[at])}</text>'
    more = f'<text class="rest" x="{across:.1f}" y="{down + 17:.1f}" text-anchor="middle">{rest:,} more</text>' if rest else ""
    return name + more
