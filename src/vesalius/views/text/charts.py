"""Texts for papers, with matplotlib: words on the diverging scale in reading order, the matrix of a continuation, arcs between words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.text import Text

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.views import axes, style
from vesalius.views.chart_data import symmetric_scale
from vesalius.views.html import coloured_text
from vesalius.views.text.chart_data import (
    LINE_WIDTH,
    PlacedRun,
    generated_tokens,
    is_matrix,
    is_text,
    matrix_values,
    place_runs,
    text_arcs,
    text_runs,
    text_scale,
)

MONOSPACE = "DejaVu Sans Mono"
ADVANCE = 0.602
"""Width of a letter of that font, as a share of its size."""
LETTERS = 10.0
"""Size of letters in a figure of its own, in points."""
LEADING = 1.7
"""Height of a line, as a share of the letters' size."""


def plot_text(allocation: Allocation, *, scale: float | None = None, title: str | None = None, ax: Axes | None = None) -> Figure:
    """A text in reading order, its words on the diverging scale: red raises, blue lowers.

    Args:
        allocation: of a single text.
        scale: value of the strongest colour; by default the largest here.
        title: of the chart; the method and what is explained by default.
        ax: where to draw; a new figure by default.

    Raises:
        InvalidInput: players that divide no text, or an allocation of several.
    """
    if not is_text(allocation):
        raise InvalidInput("this allocation is not of one text; make one with vesalius.attribute(model, 'a text', tokenizer=...)")
    end = text_scale([allocation]) if scale is None else scale
    placed = place_runs(text_runs(allocation))
    figure, ax = _page(placed, 0.0, ax)
    letters = []
    for part in placed:
        value = part.run.value
        lead = len(part.text) - len(part.text.lstrip())
        colour = axes.COLOURS["mut"]
        if value is not None and part.width > lead:
            found = coloured_text(value, end, part.text)
            colour = found.front
            ax.add_patch(Rectangle((part.start + lead, part.line + 0.08), part.width - lead, 0.84, facecolor=found.back, edgecolor="none"))
        letters.append(_write(ax, part, 0.5, colour))
    axes.set_verdict_title(ax, title or _title(allocation), allocation)
    _fit_letters(ax, letters)
    return figure


def plot_matrix(allocation: Allocation, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """Generated tokens, from top to bottom, against the players of the prompt. Args and Raises: as :func:`plot_text`."""
    if not is_matrix(allocation):
        raise InvalidInput("this allocation is no matrix of a continuation; ask for one: target=vesalius.language.PerToken(20)")
    numbers, names = matrix_values(allocation), allocation.players.names
    end = symmetric_scale([numbers])
    figure, ax = axes.figure_and_axes(ax, (2.2 + 0.28 * numbers.shape[1], 1.8 + 0.24 * len(numbers)))
    drawn = ax.imshow(numbers, cmap=axes.DIVERGING, vmin=-end, vmax=end, interpolation="nearest", aspect="auto")
    ax.set_xticks(range(len(names)), [axes.escape_dollars(name) for name in names], rotation=90, fontsize=8)
    shown = [axes.escape_dollars(token.strip() or repr(token)[1:-1]) for token in generated_tokens(allocation)]
    ax.set_yticks(range(len(shown)), shown, fontsize=8)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_ylabel("generated")
    bar = figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.03, label=axes.label_with_unit("change of the output", allocation))
    bar.outline.set_visible(False)
    gap = float(allocation.gap.abs().max())
    axes.set_titles(ax, title or _title(allocation), f"largest gap {style.number(gap)}", axes.COLOURS["mut"])
    return figure


def plot_arcs(allocation: Allocation, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """The strongest pairs of a text's words as arcs over it. Args: as :func:`plot_text`.

    Raises:
        InvalidInput: no interactions of one text.
    """
    if allocation.coalitions is None or allocation.base.ndim or allocation.players.layout is None:
        raise InvalidInput("arcs are of the interactions of one text: vesalius.interactions(model, 'a text', tokenizer=...)")
    placed = place_runs(text_runs(allocation))
    arcs = text_arcs(allocation, placed)
    figure, ax = _page(placed, 1.6, ax)
    end = symmetric_scale([np.array([arc.value for arc in arcs] or [0.0])])
    for arc in arcs:
        (x0, line0), (x1, line1) = arc.first, arc.second
        y0, y1 = (line * 2.6 + 1.6 for line in (line0, line1))
        top = min(y0, y1) - min(1.5, 0.4 + abs(x1 - x0) / 30)
        path = Path([(x0, y0), (x0, top), (x1, top), (x1, y1)], [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
        thick = 0.8 + 3 * abs(arc.value) / end
        ax.add_patch(PathPatch(path, facecolor="none", edgecolor=axes.sign_colour(arc.value), linewidth=thick, alpha=0.75))
    letters = [_write(ax, part, 2.1 + 1.6 * part.line, style.LIGHT["ink"]) for part in placed]
    axes.set_verdict_title(ax, title or _title(allocation), allocation)
    _fit_letters(ax, letters)
    return figure


def _title(allocation: Allocation) -> str:
    return ", ".join(filter(None, [style.method_name(allocation.method), str(allocation.provenance.get("target") or "")]))


def _page(placed: Sequence[PlacedRun], room: float, ax: Axes | None) -> tuple[Figure, Axes]:
    """Axes counted in letters and lines, with room above each line."""
    lines = 1 + max(part.line for part in placed)
    wide = min(LINE_WIDTH, max(32, max(part.start + part.width for part in placed)))
    high = lines * (1 + room)
    size = (wide * ADVANCE * LETTERS / 72 + 0.3, high * LEADING * LETTERS / 72 + 0.8)
    figure, ax = axes.figure_and_axes(ax, size)
    ax.set_xlim(0, wide)
    ax.set_ylim(high, 0)
    axes.hide_frame(ax)
    return figure, ax


def _write(ax: Axes, part: PlacedRun, down: float, colour: str) -> Text:
    shown = axes.escape_dollars(part.text)
    return ax.text(part.start, part.line + down, shown, family=MONOSPACE, fontsize=LETTERS, color=colour, va="center", ha="left")


def _fit_letters(ax: Axes, letters: Sequence[Text]) -> None:
    """Letters as wide as their places, now that the axes have their size."""
    low, high = ax.get_xlim()
    points = ax.get_window_extent().width / ax.figure.figure.dpi * 72
    for letter in letters:
        letter.set_fontsize(points / (high - low) / ADVANCE)
