"""Charts for papers and notebooks, with matplotlib. They draw what they are given and return the figure; pyplot is never touched."""

from __future__ import annotations

import textwrap
from io import BytesIO
from typing import final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.views import style
from vesalius.views.describe import image_of, is_map, one_sample, rows_of, scale_of, steps_of, unit_of

DIVERGING = LinearSegmentedColormap.from_list(
    "vesalius", [style.hexadecimal(colour) for colour in (style.BLUE, style.PAPER, style.RED)], N=513
).with_extremes(bad=style.hexadecimal(style.BROKEN))

MOST_BARS = 20
"""Bars before the smallest are added up."""

LONGEST = 30
"""Characters of a name before it is broken."""

CHANGE = "change of the output"

COLOURS = {
    "raises": style.hexadecimal(style.RED),
    "lowers": style.hexadecimal(style.BLUE),
    "gap": style.LIGHT["dim"],
    "end": style.LIGHT["ink"],
}


@final
class Drawing(Figure):
    """A figure that a notebook shows although pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.savefig(file, format="png", dpi=110)
        return file.getvalue()


def plot_allocation(allocation: Allocation, *, ax: Axes | None = None) -> Figure:
    """Draw one sample: a heat map where players divide an image, bars for the rest.

    Args:
        allocation: of a single sample.
        ax: where to draw; a new figure by default, which pyplot does not know.

    Returns:
        The figure.

    Raises:
        InvalidInput: the allocation is of a batch.
    """
    one_sample(allocation, "plot_allocation")
    return plot_map(allocation, ax=ax) if is_map(allocation) else plot_bars(allocation, ax=ax)


def plot_map(allocation: Allocation, *, scale: float | None = None, ax: Axes | None = None) -> Figure:
    """Values in their places on the image; red raises, blue lowers.

    Args:
        allocation: of a single sample, with players that divide an image.
        scale: value of the strongest colour; by default the largest here. Give the same to maps that are to be compared.
        ax: where to draw; a new figure by default.

    Raises:
        InvalidInput: the allocation is of a batch, its players do not divide an image, or the scale is not positive.
    """
    one_sample(allocation, "plot_map")
    image = image_of(allocation)
    if image is None:
        raise InvalidInput(f"{allocation.players.kind} do not divide an image, so there is no map; use plot_bars")
    if scale is not None and not scale > 0:
        raise InvalidInput(f"a scale is a positive number, not {scale}")
    end = scale_of([image]) if scale is None else scale
    figure, ax = _place(ax, (4.6, 4.0))
    drawn = ax.imshow(image, cmap=DIVERGING, vmin=-end, vmax=end, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.03, label=_label(allocation, CHANGE))
    bar.outline.set_visible(False)
    _head(allocation, ax)
    return figure


def plot_bars(allocation: Allocation, *, most: int = MOST_BARS, ax: Axes | None = None) -> Figure:
    """The largest values by name, with their standard errors.

    Args:
        allocation: of a single sample; coalitions are named by their members.
        most: bars before the smallest are added up in a last one.
        ax: where to draw; a new figure by default.

    Raises:
        InvalidInput: the allocation is of a batch.
    """
    one_sample(allocation, "plot_bars")
    rows = rows_of(allocation, most=most)
    figure, ax = _place(ax, (6.4, 1.3 + 0.28 * len(rows)))
    values = [row.value for row in rows]
    ax.barh(range(len(rows)), values, height=0.7, color=[COLOURS["raises" if value > 0 else "lowers"] for value in values])
    known = [(place, row.value, row.stderr) for place, row in enumerate(rows) if row.stderr is not None]
    if known:
        places, middles, errors = zip(*known, strict=True)
        ax.errorbar(middles, places, xerr=errors, fmt="none", ecolor=COLOURS["end"], elinewidth=1.2)
    _names(ax, [row.name for row in rows])
    ax.axvline(0, color=COLOURS["end"], linewidth=0.8)
    ax.set_xlabel(_label(allocation, CHANGE))
    _head(allocation, ax)
    return figure


def plot_waterfall(allocation: Allocation, *, most: int = MOST_BARS, ax: Axes | None = None) -> Figure:
    """From base to total, one value after the other; what does not add up is a grey step of its own.

    Args: as :func:`plot_bars`.

    Raises:
        InvalidInput: the allocation is of a batch.
    """
    one_sample(allocation, "plot_waterfall")
    steps = steps_of(allocation, most=most)
    figure, ax = _place(ax, (6.4, 1.3 + 0.28 * len(steps)))
    for place, step in enumerate(steps):
        if step.part in ("base", "total"):
            ax.plot([step.end, step.end], [place - 0.4, place + 0.4], color=COLOURS["end"], linewidth=2)
            continue
        colour = COLOURS["gap" if step.part == "gap" else "raises" if step.end > step.start else "lowers"]
        ax.barh(place, step.end - step.start, left=step.start, height=0.7, color=colour)
    for place, step in enumerate(steps[:-1]):
        ax.plot([step.end, step.end], [place, place + 1], color=COLOURS["gap"], linewidth=0.8, zorder=0)
    ax.use_sticky_edges = False
    _names(ax, [step.name for step in steps])
    ax.set_xlabel(_label(allocation, "output"))
    _head(allocation, ax)
    return figure


def _place(ax: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """The given axes and their figure, or new ones with a canvas of their own."""
    if ax is not None:
        return ax.figure.figure, ax
    figure = Drawing(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _names(ax: Axes, names: list[str]) -> None:
    """Names along the vertical axis, the first on top, long ones in up to two lines."""
    lines = [textwrap.wrap(name, width=LONGEST, max_lines=2, placeholder=" \N{HORIZONTAL ELLIPSIS}") for name in names]
    ax.set_yticks(range(len(names)), [_plain("\n".join(line)) for line in lines], linespacing=0.95)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _head(allocation: Allocation, ax: Axes) -> None:
    """The method, and below it the verdict on its gap."""
    judged = style.verdict(allocation)
    ax.set_title(_plain(style.method_name(allocation.method)), loc="left", fontsize=11, pad=20)
    ax.annotate(
        judged.text, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", fontsize=9, color=style.LIGHT[judged.level]
    )


def _label(allocation: Allocation, what: str) -> str:
    unit = unit_of(allocation)
    return f"{what} ({_plain(unit)})" if unit else what


def _plain(words: str) -> str:
    """Words in which a dollar sign is a dollar sign, not the start of a formula."""
    return words.replace("$", r"\$")
