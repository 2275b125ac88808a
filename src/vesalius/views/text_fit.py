"""Room for all that is written on axes and around them, in figures of any size: lines are broken, axes shrink, then letters do."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

FONT_SCALES = (1.0, 0.85, 0.72, 0.6, 0.5)
"""Sizes of letters that are tried, as shares of what was asked for."""

MAX_LINES = 3
"""Lines that a title or label may take."""

LEAST_SHARE = 0.35
"""What axes keep of their width and height before letters become smaller instead."""

MARGIN = 2.0
"""Pixels that stay free at the edges."""

ROUNDS = 4
"""Moves of axes: what stands beside them is as wide as before, or moves with them."""

TITLE_GAP = 3.0
"""Points between the note and the title above it."""


def fit_text(ax: Axes, title: Text, note: Annotation) -> None:
    """Bring all that is written within the part of the figure that axes have to themselves.

    Positions are left to the figure's layout engine where there is one.

    Args:
        ax: axes with all that is drawn on them.
        title: their title on the left.
        note: what stands between the title and the axes.
    """
    if not ax.get_visible():
        return
    shown = [ax, *(image.colorbar.ax for image in ax.images if image.colorbar is not None)]
    laid_out = ax.figure.figure.get_layout_engine() is not None
    panel, done = _panel(ax), 1.0
    edge = Bbox(ax.figure.bbox.get_points()) if laid_out else panel
    for scale in FONT_SCALES:
        _scale_letters(shown, scale / done)
        done = scale
        for _ in range(ROUNDS):
            _lay_out(ax)
            _break_lines(shown, title, note, panel)
            _lift_title(ax, title, note)
            if laid_out or not _make_room(shown, panel):
                break
        _lay_out(ax)
        if not any(_overhang(_extent(shown), edge)):
            return


def _panel(ax: Axes) -> Bbox:
    """What a subplot has of its figure, up to the middle of the gaps between subplots, in pixels; the figure for other axes."""
    figure, spec = ax.figure, ax.get_subplotspec()
    if spec is None:
        return Bbox(figure.bbox.get_points())
    cell: Any = spec.get_topmost_subplotspec()
    bottoms, tops, lefts, rights = cell.get_gridspec().get_grid_positions(figure)
    last_row, last_column = len(bottoms) - 1, len(lefts) - 1
    first, stop = cell.rowspan.start, cell.rowspan.stop - 1
    low = 0.0 if stop == last_row else (bottoms[stop] + tops[stop + 1]) / 2
    high = 1.0 if first == 0 else (tops[first] + bottoms[first - 1]) / 2
    first, stop = cell.colspan.start, cell.colspan.stop - 1
    left = 0.0 if first == 0 else (lefts[first] + rights[first - 1]) / 2
    right = 1.0 if stop == last_column else (rights[stop] + lefts[stop + 1]) / 2
    return Bbox.from_extents(left, low, right, high).transformed(figure.transSubfigure)


# ---- letters ------------------------------------------------------------------------------------------------------------------------


def _scale_letters(shown: Sequence[Axes], factor: float) -> None:
    if factor == 1:
        return
    for ax in shown:
        sizes = {text: float(text.get_fontsize()) * factor for text in ax.findobj(Text) if isinstance(text, Text)}
        for axis in (ax.xaxis, ax.yaxis):
            ticks: list[Any] = axis.get_major_ticks()[:1]
            for tick in ticks:
                axis.set_tick_params(labelsize=tick.label1.get_fontsize() * factor, pad=tick.get_pad() * factor)
        for text, size in sizes.items():
            text.set_fontsize(size)


def _break_lines(shown: Sequence[Axes], title: Text, note: Text, panel: Bbox) -> None:
    start = shown[0].get_window_extent().x0
    for text in (title, note):
        _break_line(text, panel.x1 - MARGIN - start, upright=False)
    for ax in shown:
        box = ax.get_window_extent()
        across, down = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        _break_line(ax.xaxis.label, 2 * (min(across - panel.x0, panel.x1 - across) - MARGIN), upright=False)
        _break_line(ax.yaxis.label, 2 * (min(down - panel.y0, panel.y1 - down) - MARGIN), upright=True)


def _break_line(text: Text, most: float, *, upright: bool) -> None:
    """Break words into the fewest lines of at most so many pixels, or into as many as there may be."""
    words = " ".join(text.get_text().split())

    def is_short() -> bool:
        box = text.get_window_extent()
        return bool((box.height if upright else box.width) <= most)

    lines = text.get_text().count("\n") + 1
    while words and not is_short() and lines < MAX_LINES:
        lines += 1
        text.set_text(_split(words, lines))


def _split(words: str, lines: int) -> str:
    """Words in so many lines of about the same length."""
    widths = range(ceil(len(words) / lines), len(words) + 1)
    tried = (textwrap.wrap(words, width, break_long_words=False) for width in widths)
    return "\n".join(next(split for split in tried if len(split) <= lines))


def _lift_title(ax: Axes, title: Text, note: Annotation) -> None:
    """The title above the note, however many lines that has."""
    lift = float(note.xyann[1])
    high = note.get_window_extent().height * 72 / ax.figure.dpi + TITLE_GAP if note.get_text() else 0.0
    ax.set_title(title.get_text(), loc="left", fontsize=title.get_fontsize(), pad=lift + high)


# ---- positions ----------------------------------------------------------------------------------------------------------------------


def _lay_out(ax: Axes) -> None:
    """Where everything would stand if the figure were drawn now; an engine that finds no room yet is not to say so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ax.figure.figure.draw_without_rendering()


def _extent(shown: Sequence[Axes]) -> Bbox:
    return Bbox.union([box for ax in shown if (box := ax.get_tightbbox()) is not None])


def _overhang(box: Bbox, panel: Bbox) -> tuple[float, float, float, float]:
    """By how many pixels a box stands out on the left, below, on the right and above."""
    return max(panel.x0 - box.x0, 0.0), max(panel.y0 - box.y0, 0.0), max(box.x1 - panel.x1, 0.0), max(box.y1 - panel.y1, 0.0)


def _make_room(shown: Sequence[Axes], panel: Bbox) -> bool:
    """Move and shrink axes and their colour bar together by what stands out; whether they were moved."""
    _lay_out(shown[0])
    inner = Bbox.from_extents(panel.x0 + MARGIN, panel.y0 + MARGIN, panel.x1 - MARGIN, panel.y1 - MARGIN)
    left, low, right, high = _overhang(_extent(shown), inner)
    if max(left, low, right, high) < 0.5:
        return False
    figure = shown[0].figure
    old = Bbox.union([ax.get_position(original=True) for ax in shown])
    wide, tall = figure.bbox.width, figure.bbox.height
    across = _shrunk(old.x0, old.x1, left / wide, right / wide, LEAST_SHARE * panel.width / wide)
    down = _shrunk(old.y0, old.y1, low / tall, high / tall, LEAST_SHARE * panel.height / tall)
    for ax in shown:
        place = ax.get_position(original=True)
        xs = [across[0] + (x - old.x0) / old.width * (across[1] - across[0]) for x in (place.x0, place.x1)]
        ys = [down[0] + (y - old.y0) / old.height * (down[1] - down[0]) for y in (place.y0, place.y1)]
        ax.set_position(Bbox.from_extents(xs[0], ys[0], xs[1], ys[1]))
    return True


def _shrunk(start: float, stop: float, after: float, before: float, least: float) -> tuple[float, float]:
    """An interval less what is cut from its ends, as long as so much of it is left."""
    spare = max(stop - start - least, 0.0)
    share = min(1.0, spare / (after + before)) if after + before > 0 else 0.0
    return start + share * after, stop - share * before
