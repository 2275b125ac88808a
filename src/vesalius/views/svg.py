"""The small pictures of a page, as inline SVG: pixel maps, bars, steps. Every one carries a text for those who cannot see it."""

from __future__ import annotations

import base64
import csv
from collections.abc import Iterable, Sequence
from io import BytesIO, StringIO

import numpy as np
from jaxtyping import Float, UInt8
from markupsafe import Markup, escape
from numpy import ndarray
from PIL import Image

from vesalius.views import style
from vesalius.views.chart_data import WaterfallStep

MOST_PIXELS = 28 * 28
"""Images of up to so many pixels are drawn as shapes, which print sharp; larger ones are embedded as PNG, which is smaller."""

MOST_NUMBERS = 64 * 64
"""Numbers of a map that a page holds besides its colours; of larger ones it holds means of blocks."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for the start of a formula."""


def numbers_attribute(rows: Iterable[Sequence[object]]) -> str:
    """The numbers that a picture was drawn from, as an attribute; a page's script offers them as a CSV file.

    Args:
        rows: cells; words that a spreadsheet would run as a formula are quoted by an apostrophe.
    """
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([_csv_cell(cell) for cell in row] for row in rows)
    lines = "&#10;".join(str(escape(line)) for line in text.getvalue().split("\n"))
    return f' data-csv="{lines}"'


def _csv_cell(cell: object) -> str:
    if isinstance(cell, (float, np.floating)):
        return f"{cell:.6g}"
    text = str(cell)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _map_numbers(values: Float[ndarray, "height width"]) -> str:
    """A map line by line, to three digits."""
    side = 1
    while values[::side, ::side].size > MOST_NUMBERS:
        side += 1
    if side == 1:
        return numbers_attribute([_three_digits(value) for value in line] for line in values.tolist())
    rows: list[list[object]] = [[f"means of blocks of {side} by {side}"]]
    for down in range(0, values.shape[0], side):
        blocks = [values[down : down + side, across : across + side] for across in range(0, values.shape[1], side)]
        rows.append([_three_digits(float(block.mean())) for block in blocks])
    return numbers_attribute(rows)


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")


def heatmap(values: Float[ndarray, "height width"], scale: float, text: str) -> Markup:
    """A map on the diverging scale.

    Args:
        values: one per pixel.
        scale: the value of full red, in the unit of ``values``.
        text: what the map shows.
    """
    return pixels(style.diverging_colours(values, scale), text, numbers=_map_numbers(values))


def sequential_map(values: Float[ndarray, "height width"], scale: float, text: str) -> Markup:
    """A map of sizes without a sign, on the scale from paper to full."""
    return pixels(style.sequential_colours(values, scale), text, numbers=_map_numbers(values))


def image(picture: Float[ndarray, "channels height width"], text: str) -> Markup:
    """A grey (1 channel) or colour (3 channels) image with values 0 to 1; what lies beyond is clipped."""
    bright = np.rint(np.clip(np.nan_to_num(picture), 0, 1) * 255).astype(np.uint8)
    return pixels(np.broadcast_to(bright, (3, *bright.shape[1:])).transpose(1, 2, 0), text)


def pixels(colours: UInt8[ndarray, "height width 3"], text: str, *, stretch: bool = False, numbers: str = "") -> Markup:
    """An image of the given colours, sharp at any size.

    Args:
        colours: of the pixels.
        text: what they show.
        stretch: to whatever height and width it is given.
        numbers: that the colours stand for, from :func:`numbers_attribute`.
    """
    height, width = colours.shape[:2]
    inside = _pixel_paths(colours) if height * width <= MOST_PIXELS else _embedded_png(colours)
    label = escape(text)
    free = ' preserveAspectRatio="none"' if stretch else ""
    return Markup(f'<svg viewBox="0 0 {width} {height}"{free} role="img" aria-label="{label}"{numbers}>{inside}</svg>')


def _pixel_paths(colours: UInt8[ndarray, "height width 3"]) -> str:
    """One path per colour; equal neighbours of a line are drawn as one."""
    paths: dict[str, list[str]] = {}
    for y, line in enumerate(colours.tolist()):
        start = 0
        for x in range(1, len(line) + 1):
            if x == len(line) or line[x] != line[start]:
                run = x - start
                paths.setdefault(style.to_hex(tuple(line[start])), []).append(f"M{start} {y}h{run}v1h-{run}z")
                start = x
    return "".join(f'<path fill="{colour}" d="{"".join(runs)}"/>' for colour, runs in paths.items())


def _embedded_png(colours: UInt8[ndarray, "height width 3"]) -> str:
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(colours)).save(file, "PNG", optimize=True)
    content = base64.b64encode(file.getvalue()).decode("ascii")
    height, width = colours.shape[:2]
    return f'<image width="{width}" height="{height}" href="data:image/png;base64,{content}"/>'


def bar(value: float, scale: float, text: str, *, stderr: float | None = None) -> Markup:
    """A bar to the left or right of zero, which is in the middle.

    Args:
        value: its length, with a sign.
        scale: the value of a bar that reaches the edge.
        text: what the bar shows.
        stderr: half the length of a whisker, in the unit of ``value``.
    """

    def place(amount: float) -> float:
        return _clip_percent(50 + 50 * amount / scale)

    shapes = _bar_rect("raises" if value > 0 else "lowers", 50, place(value)) + _line("zero", 50, "0", "100%")
    if stderr is not None:
        low, high = place(value - stderr), place(value + stderr)
        shapes += f'<line class="whisker" x1="{low:.2f}%" x2="{high:.2f}%" y1="50%" y2="50%"/>'
    return _strip("bar", shapes, text)


def size_bar(value: float, scale: float, text: str, *, error: float) -> Markup:
    """A bar from the left edge, of a number without a sign, with a whisker.

    Args:
        value: its length.
        scale: the value of a bar that reaches the right edge.
        text: what the bar shows.
        error: half the length of the whisker, in the unit of ``value``; none is drawn where it is not known.
    """
    end = _clip_percent(100 * value / scale)
    shapes = f'<rect class="gap" x="0" y="50%" width="{end:.2f}%" height="10" transform="translate(0 -5)"/>'
    if np.isfinite(error):
        low, high = (_clip_percent(100 * (value + side) / scale) for side in (-error, error))
        shapes += f'<line class="whisker" x1="{low:.2f}%" x2="{high:.2f}%" y1="50%" y2="50%"/>'
    return _strip("bar", shapes, text)


def waterfall_step(here: WaterfallStep, low: float, high: float, text: str) -> Markup:
    """One line of a waterfall, to be stacked under the others without space between.

    Args:
        here: where it starts and ends.
        low: value at the left edge of all lines.
        high: value at the right edge.
        text: what the line shows.
    """
    start, end = (_clip_percent(2 + 96 * (value - low) / (high - low)) for value in (here.start, here.end))
    if here.part == "base":
        return _strip("step", _line("link", end, "50%", "100%") + _line("mark", end, "15%", "85%"), text)
    if here.part == "total":
        return _strip("step", _line("link", end, "0", "50%") + _line("mark", end, "15%", "85%"), text)
    kind = "gap" if here.part == "gap" else "raises" if end > start else "lowers"
    links = _line("link", start, "0", "50%") + _line("link", end, "50%", "100%")
    return _strip("step", links + _bar_rect(kind, start, end), text)


def _strip(kind: str, shapes: str, text: str) -> Markup:
    """Without a view box: places are shares of the width, thickness is in pixels, so that a strip may be stretched."""
    label = escape(text)
    return Markup(f'<svg class="{kind}" role="img" aria-label="{label}">{shapes}</svg>')


def _bar_rect(kind: str, start: float, end: float) -> str:
    return (
        f'<rect class="{kind}" x="{min(start, end):.2f}%" y="50%" width="{abs(end - start):.2f}%" height="10" transform="translate(0 -5)"/>'
    )


def _line(kind: str, place: float, top: str, bottom: str) -> str:
    return f'<line class="{kind}" x1="{place:.2f}%" x2="{place:.2f}%" y1="{top}" y2="{bottom}"/>'


def _clip_percent(place: float) -> float:
    """A place on the strip; what has no place is put in the middle, since its number is printed beside it."""
    return min(max(place, 0.0), 100.0) if np.isfinite(place) else 50.0
