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

from vesalius.views import style, svg
from vesalius.views.flow.captions import omitted_units_note
from vesalius.views.flow.chart_data import DrawnEdge, DrawnLayer, DrawnUnit, FlowDrawing
from vesalius.views.flow.layout import skip_rise

WIDTH = 860
COLUMN_WIDTH = 62
"""Width of a drawing, and of each of its columns where they are more than have room in it."""

PITCH = 27
TOP = 14
BLOCK_ROOM = 34
"""Height of the names of blocks, above the columns."""

LETTER_WIDTH = 7.2
"""Width of a letter."""

MAX_LABEL_LENGTH, MAX_NAME_LENGTH = 22, 40
"""Letters of a unit's label, and of the name of a layer or a block."""

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
        top: where the columns begin.
        width: of the drawing.
    """

    left: float
    right: float
    height: float
    turned: bool
    high: float = 0.0
    wide: float = 0.0
    top: float = TOP
    width: float = WIDTH

    def across(self, at: int, columns: int) -> float:
        """Middle of a column; the second has room beside a picture."""
        gap = (self.right - self.left) / (columns - 1)
        if at == 0 or columns == 2 or self.first_gap <= gap:
            return self.left + gap * at
        second = self.left + self.first_gap
        return second + (self.right - second) * (at - 1) / (columns - 2)

    @property
    def first_gap(self) -> float:
        """Least distance of the first two columns."""
        return self.wide / 2 + COLUMN_WIDTH if self.wide else 0.0

    @property
    def corner(self) -> tuple[float, float]:
        """Upper left corner of the picture."""
        return self.left - self.wide / 2, self.top + (self.height - self.high) / 2


def drawing_frame(net: FlowDrawing) -> DrawingFrame:
    """Room for labels beside the outer columns, and for names below."""
    height = net.slots * PITCH
    high = wide = 0.0
    if net.shape is not None:
        rows, columns = net.shape[-2:]
        high = min(IMAGE_HEIGHT * PITCH, 1.4 * IMAGE_HEIGHT * PITCH * rows / columns)
        wide = high * columns / rows
    outer = [max((len(unit_label(net.units[place])) for place in net.columns[at].units), default=0) for at in (0, -1)]
    names = [len(_shorten(net.columns[at].name, MAX_NAME_LENGTH)) for at in (0, -1)]
    left = max(24 + LETTER_WIDTH * outer[0], names[0] * LETTER_WIDTH / 2 + 4, wide / 2 + 4)
    width = max(WIDTH, COLUMN_WIDTH * len(net.columns) + wide / 2)
    right = width - max(24 + LETTER_WIDTH * outer[1], names[1] * LETTER_WIDTH / 2 + 4)
    gap = (right - left) / (len(net.columns) - 1)
    turned = LETTER_WIDTH * max(map(_name_length, net.columns)) > gap + 8
    start = 70.0 if turned and not wide else left
    top = TOP + (BLOCK_ROOM if net.blocks else 0)
    return DrawingFrame(left=start, right=right, height=height, turned=turned, high=high, wide=wide, top=top, width=width)


def draw_flow(net: FlowDrawing, units: str, text: str) -> Markup:
    """The whole drawing.

    Args:
        net: what is drawn.
        units: facts about each drawn unit as JSON, for the script; may be empty.
        text: what it shows.
    """
    frame = drawing_frame(net)
    spots = [(frame.across(unit.layer, len(net.columns)), frame.top + unit.down * PITCH) for unit in net.units]
    shapes = [_picture(net, frame)] if net.pictured else []
    shapes += [_edge(net, frame, spots, link) for link in sorted(net.links, key=lambda link: link.width)]
    shapes.append('<g class="trail"></g>')
    shapes += [_unit(unit, place, spots[place]) for place, unit in enumerate(net.units)]
    shapes += [_label(net, unit, spots[place]) for place, unit in enumerate(net.units) if unit.layer in (0, len(net.columns) - 1)]
    shapes += [_name(frame, column, at, frame.across(at, len(net.columns))) for at, column in enumerate(net.columns)]
    shapes += [_block(net, frame, block) for block in net.blocks]
    deep = 150 if frame.turned else 46
    box = f"0 0 {frame.width:.0f} {frame.top + frame.height + deep:.0f}"
    data = svg.numbers_attribute(_edge_rows(net))
    if units:
        place = f'data-columns="{len(net.columns)}" data-left="{frame.left:.1f}" data-right="{frame.width - frame.right:.1f}"'
        data += f' data-units="{escape(units)}" {place} data-least="{WIDTH}" data-column="{COLUMN_WIDTH}" data-top="{frame.top}"'
        data += f' data-gap="{frame.first_gap:.1f}"'
    wide = f' style="min-width:{frame.width:.0f}px"' if frame.width > WIDTH else ""
    return Markup(f'<svg class="flow" viewBox="{box}" role="img" aria-label="{escape(text)}"{wide}{data}>{"".join(shapes)}</svg>')


def unit_label(unit: DrawnUnit) -> str:
    """A unit's label, shortened."""
    return _shorten(unit.label, MAX_LABEL_LENGTH)


def _shorten(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def _name_length(column: DrawnLayer) -> int:
    return max(len(_shorten(column.name, MAX_NAME_LENGTH)), len(omitted_units_note(column)))


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
    near, far = ((across, max(down - rise * PITCH, frame.top)) for across, down in ((start[0] + bend, start[1]), (end[0] - bend, end[1])))
    way = f"M{start[0]:.1f} {start[1]:.1f}C{near[0]:.1f} {near[1]:.1f} {far[0]:.1f} {far[1]:.1f} {end[0]:.1f} {end[1]:.1f}"
    width = MIN_STROKE + (MAX_STROKE - MIN_STROKE) * link.width
    title = escape(f"{name} \N{RIGHTWARDS ARROW} {net.units[link.second].name}: {style.number(link.weight)}")
    ends = f"{'m' if link.first is None else link.first} {link.second}"
    told = f'data-ends="{ends}" data-rise="{rise * PITCH:.1f}"'
    return f'<path class="{kind} {colour}" {told} d="{way}" stroke-width="{width:.1f}"><title>{title}</title></path>'


def _unit(unit: DrawnUnit, place: int, spot: tuple[float, float]) -> str:
    radius = MIN_RADIUS + (MAX_RADIUS - MIN_RADIUS) * unit.size**0.5
    kind = "dead" if unit.dead else "alone" if unit.into + unit.out == 0 else community_colour(unit.community)
    return (
        f'<circle class="unit {kind}" data-unit="{place}" data-layer="{unit.layer}" cx="{spot[0]:.1f}" cy="{spot[1]:.1f}" r="{radius:.1f}">'
        f"<title>{escape(describe_unit(unit))}</title></circle>"
    )


def _label(net: FlowDrawing, unit: DrawnUnit, spot: tuple[float, float]) -> str:
    last = unit.layer > 0
    anchor, aside = ("start", 17) if last else ("end", -17)
    where = f'class="label" data-layer="{unit.layer}" data-aside="{aside}"'
    return f'<text {where} x="{spot[0] + aside:.1f}" y="{spot[1] + 4.5:.1f}" text-anchor="{anchor}">{escape(unit_label(unit))}</text>'


def _name(frame: DrawingFrame, column: DrawnLayer, at: int, across: float) -> str:
    """A layer's name below its column, in a group that stands at the column's place."""
    name, rest = escape(_shorten(column.name, MAX_NAME_LENGTH)), omitted_units_note(column)
    spot = f'class="column" data-layer="{at}" transform="translate({across:.1f} {frame.top + frame.height:.1f})"'
    if frame.turned:
        more = f'<tspan class="rest"> {escape(rest)}</tspan>' if rest else ""
        return f'<g {spot}><text transform="translate(5 14) rotate(-48)" text-anchor="end">{name}{more}</text></g>'
    more = f'<text class="rest" y="39" text-anchor="middle">{escape(rest)}</text>' if rest else ""
    return f'<g {spot}><text y="22" text-anchor="middle">{name}</text>{more}</g>'


def _block(net: FlowDrawing, frame: DrawingFrame, block: tuple[str, int, int]) -> str:
    """A frame around the columns of a module, with its name above; a script closes it."""
    name, first, last = block
    start, end = (frame.across(at, len(net.columns)) for at in (first, last))
    units = sum(len(net.columns[at].units) + net.columns[at].others for at in range(first, last + 1))
    name = _shorten(name, MAX_NAME_LENGTH)
    known = f'data-first="{first}" data-last="{last}" data-name="{escape(name)}" data-units="{units}"'
    box = f'x="{start - 16:.1f}" y="{frame.top - 12}" width="{end - start + 32:.1f}" height="{frame.height + 18:.1f}" rx="8"'
    text = f'<text x="{(start + end) / 2:.1f}" y="{frame.top - 20}" text-anchor="middle">{escape(name)}</text>'
    return f'<g class="block" {known}><rect {box}/>{text}</g>'


def _edge_rows(net: FlowDrawing) -> list[tuple[object, ...]]:
    """The drawn edges as a table."""
    rows: list[tuple[object, ...]] = [("from", "to", "flow")]
    for link in net.links:
        first = "all pixels" if link.first is None else net.units[link.first].name
        rows.append((first, net.units[link.second].name, link.weight))
    return rows


def _picture(net: FlowDrawing, frame: DrawingFrame) -> str:
    image = net.columns[0].image
    assert image is not None
    left, top = frame.corner
    place = f'x="{left:.1f}" y="{top:.1f}" width="{frame.wide:.1f}" height="{frame.high:.1f}"'
    return (
        f'<image class="picture" {place} preserveAspectRatio="none" data-rows="{image.shape[0]}" data-columns="{image.shape[1]}"'
        f' href="{png_data_url(image)}"/>'
    )
