"""The layered drawing of a flow graph for a page, as inline SVG; a page's script shows more of the unit that is pointed at."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from jaxtyping import Float
from markupsafe import Markup, escape
from numpy import ndarray
from PIL import Image

from vesalius.views import style
from vesalius.views.flow.captions import omitted_units_note
from vesalius.views.flow.chart_data import DrawnEdge, DrawnLayer, DrawnUnit, FlowDrawing
from vesalius.views.flow.layout import skip_rise

WIDTH = 860
PITCH = 27
TOP = 14
LETTER_WIDTH = 7.2
"""Width of a letter."""

MAX_LABEL_LENGTH = 22
"""Letters of a label."""

MIN_RADIUS, MAX_RADIUS = 5.0, 12.0
"""Radius of a unit without betweenness, and of the one with the most."""

MIN_STROKE, MAX_STROKE = 0.6, 7.0

IMAGE_HEIGHT = 6.5
"""Height of the picture of the inputs, in slots."""


@dataclass(frozen=True, kw_only=True)
class DrawingFrame:
    """Where things are on the drawing, in its own units.

    Attributes:
        left: middle of the first column.
        right: middle of the last.
        height: of the columns.
        turned: whether the names of layers are too long to stand side by side.
        high: height of the picture.
        wide: its width.
    """

    left: float
    right: float
    height: float
    turned: bool
    high: float = 0.0
    wide: float = 0.0

    def across(self, at: int, columns: int) -> float:
        """Middle of a column."""
        return self.left + (self.right - self.left) * at / (columns - 1)

    @property
    def corner(self) -> tuple[float, float]:
        """Upper left corner of the picture."""
        return self.left - self.wide / 2, TOP + (self.height - self.high) / 2


def drawing_frame(net: FlowDrawing) -> DrawingFrame:
    """Room for labels beside the outer columns, and for names below."""
    height = net.slots * PITCH
    high = wide = 0.0
    if net.shape is not None:
        rows, columns = net.shape[-2:]
        high = min(IMAGE_HEIGHT * PITCH, 1.4 * IMAGE_HEIGHT * PITCH * rows / columns)
        wide = high * columns / rows
    outer = [max((len(unit_label(net.units[place])) for place in net.columns[at].units), default=0) for at in (0, -1)]
    names = [len(net.columns[at].name) for at in (0, -1)]
    left = max(24 + LETTER_WIDTH * outer[0], names[0] * LETTER_WIDTH / 2 + 4, wide / 2 + 4)
    right = WIDTH - max(24 + LETTER_WIDTH * outer[1], names[1] * LETTER_WIDTH / 2 + 4)
    gap = (right - left) / (len(net.columns) - 1)
    turned = LETTER_WIDTH * max(max(len(column.name), len(omitted_units_note(column))) for column in net.columns) > gap + 8
    return DrawingFrame(left=70.0 if turned and not wide else left, right=right, height=height, turned=turned, high=high, wide=wide)


def draw_flow(net: FlowDrawing, units: str, text: str) -> Markup:
    """The whole drawing.

    Args:
        net: what is drawn.
        units: facts about each drawn unit as JSON, for the script; may be empty.
        text: what it shows.
    """
    frame = drawing_frame(net)
    spots = [(frame.across(unit.layer, len(net.columns)), TOP + unit.down * PITCH) for unit in net.units]
    shapes = [_picture(net, frame)] if net.pictured else []
    shapes += [_edge(net, frame, spots, link) for link in sorted(net.links, key=lambda link: link.width)]
    shapes.append('<g class="trail"></g>')
    shapes += [_unit(unit, place, spots[place]) for place, unit in enumerate(net.units)]
    shapes += [_label(net, unit, spots[place]) for place, unit in enumerate(net.units) if unit.layer in (0, len(net.columns) - 1)]
    shapes += [_name(frame, column, frame.across(at, len(net.columns))) for at, column in enumerate(net.columns)]
    deep = 150 if frame.turned else 46
    box = f"0 0 {WIDTH} {TOP + frame.height + deep:.0f}"
    data = f' data-units="{escape(units)}"' if units else ""
    return Markup(f'<svg class="flow" viewBox="{box}" role="img" aria-label="{escape(text)}"{data}>{"".join(shapes)}</svg>')


def unit_label(unit: DrawnUnit) -> str:
    """A unit's label, shortened."""
    return unit.label if len(unit.label) <= MAX_LABEL_LENGTH else f"{unit.label[: MAX_LABEL_LENGTH - 1]}\N{HORIZONTAL ELLIPSIS}"


def community_colour(community: int | None) -> str:
    """The name of a community's colour; small ones, beyond the palette, and units without edges share one."""
    return style.PALETTE[community] if community is not None and community < len(style.PALETTE) else "other"


def png_data_url(image: Float[ndarray, "height width"]) -> str:
    """An image on the scale of sizes, its largest value in full, as an address that holds all of it."""
    colours = style.sequential_colours(image, float(image.max()) or 1.0)
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(colours)).quantize(32).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def describe_unit(unit: DrawnUnit) -> str:
    """A unit in a line, for a browser without script."""
    if unit.dead:
        return f"{unit.name}: constant"
    return f"{unit.name}: betweenness {style.number(unit.betweenness)}, flow in {style.number(unit.into)}, out {style.number(unit.out)}"


def histogram_path(heights: Sequence[float]) -> str:
    """A histogram as one path in a box of 100 by 100."""
    step, top = 100 / len(heights), max(heights) or 1.0
    bars = [(step * place, 100 * height / top) for place, height in enumerate(heights) if height]
    return "".join(f"M{left:.1f} 100v-{max(high, 2):.0f}h{step - 0.8:.1f}v{max(high, 2):.0f}z" for left, high in bars)


def _edge(net: FlowDrawing, frame: DrawingFrame, spots: Sequence[tuple[float, float]], link: DrawnEdge) -> str:
    end, kind, name = spots[link.second], "edge", "all pixels"
    if link.first is None:
        left, top = frame.corner
        start = left + frame.wide + 2, top + frame.high * link.start
        colour, kind = community_colour(net.units[link.second].community), "edge ray"
    else:
        unit = net.units[link.first]
        start, colour, name = spots[link.first], community_colour(unit.community), unit.name
    bend = 0.46 * (end[0] - start[0])
    rise = skip_rise(0 if link.first is None else net.units[link.first].layer, net.units[link.second].layer)
    near, far = ((across, max(down - rise * PITCH, TOP)) for across, down in ((start[0] + bend, start[1]), (end[0] - bend, end[1])))
    way = f"M{start[0]:.1f} {start[1]:.1f}C{near[0]:.1f} {near[1]:.1f} {far[0]:.1f} {far[1]:.1f} {end[0]:.1f} {end[1]:.1f}"
    width = MIN_STROKE + (MAX_STROKE - MIN_STROKE) * link.width
    title = escape(f"{name} \N{RIGHTWARDS ARROW} {net.units[link.second].name}: {style.number(link.weight)}")
    ends = f"{'m' if link.first is None else link.first} {link.second}"
    return f'<path class="{kind} {colour}" data-ends="{ends}" d="{way}" stroke-width="{width:.1f}"><title>{title}</title></path>'


def _unit(unit: DrawnUnit, place: int, spot: tuple[float, float]) -> str:
    radius = MIN_RADIUS + (MAX_RADIUS - MIN_RADIUS) * unit.size**0.5
    kind = "dead" if unit.dead else "alone" if unit.into + unit.out == 0 else community_colour(unit.community)
    return (
        f'<circle class="unit {kind}" data-unit="{place}" cx="{spot[0]:.1f}" cy="{spot[1]:.1f}" r="{radius:.1f}">'
        f"<title>{escape(describe_unit(unit))}</title></circle>"
    )


def _label(net: FlowDrawing, unit: DrawnUnit, spot: tuple[float, float]) -> str:
    last = unit.layer > 0
    anchor, aside = ("start", 17) if last else ("end", -17)
    return f'<text class="label" x="{spot[0] + aside:.1f}" y="{spot[1] + 4.5:.1f}" text-anchor="{anchor}">{escape(unit_label(unit))}</text>'


def _name(frame: DrawingFrame, column: DrawnLayer, across: float) -> str:
    down, rest = TOP + frame.height + 22, omitted_units_note(column)
    if frame.turned:
        place = f'transform="translate({across + 5:.1f} {down - 8:.1f}) rotate(-48)" text-anchor="end"'
        more = f'<tspan class="rest"> {escape(rest)}</tspan>' if rest else ""
        return f"<text {place}>{escape(column.name)}{more}</text>"
    name = f'<text x="{across:.1f}" y="{down:.1f}" text-anchor="middle">{escape(column.name)}</text>'
    more = f'<text class="rest" x="{across:.1f}" y="{down + 17:.1f}" text-anchor="middle">{escape(rest)}</text>' if rest else ""
    return name + more


def _picture(net: FlowDrawing, frame: DrawingFrame) -> str:
    image = net.columns[0].image
    assert image is not None
    left, top = frame.corner
    place = f'x="{left:.1f}" y="{top:.1f}" width="{frame.wide:.1f}" height="{frame.high:.1f}"'
    return (
        f'<image class="picture" {place} preserveAspectRatio="none" data-rows="{image.shape[0]}" data-columns="{image.shape[1]}"'
        f' href="{png_data_url(image)}"/>'
    )
