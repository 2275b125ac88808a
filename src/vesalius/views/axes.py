"""Axes to draw on, with matplotlib: the parts that all charts share. pyplot is never touched."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from io import BytesIO
from typing import Any, final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from vesalius.core.allocation import Allocation
from vesalius.core.errors import WrongType
from vesalius.views import style
from vesalius.views.chart_data import output_unit
from vesalius.views.text_fit import fit_text

DIVERGING = LinearSegmentedColormap.from_list(
    "vesalius", [style.to_hex(colour) for colour in (style.BLUE, style.PAPER, style.RED)], N=513
).with_extremes(bad=style.to_hex(style.NAN_COLOUR))

SEQUENTIAL = LinearSegmentedColormap.from_list(
    "vesalius_strength", [style.to_hex(colour) for colour in (style.PAPER, style.STRONG)], N=257
).with_extremes(bad=style.to_hex(style.NAN_COLOUR))

COLOURS = {
    "raises": style.to_hex(style.RED),
    "lowers": style.to_hex(style.BLUE),
    "strong": style.to_hex(style.STRONG),
    "gap": style.LIGHT["dim"],
    "end": style.LIGHT["ink"],
    **{level: style.LIGHT[level] for level in ("good", "bad", "line", "mut")},
}

NOTE_LIFT = 5.0
"""Points between axes and the note above them."""

WRAP_WIDTH = 30
"""Characters of a name before it is broken."""


@final
class NotebookFigure(Figure):
    """A figure that a notebook shows although pyplot does not know it, and whose letters stay letters in a paper (Type 42 fonts)."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """As any figure's; what is written in a PDF or PostScript file can be searched and edited."""
        with rc_context({"pdf.fonttype": 42, "ps.fonttype": 42}):
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.savefig(file, format="png", dpi=110)
        return file.getvalue()


def figure_and_axes(ax: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """The given axes and their figure, or new ones of a size in inches, with a canvas of their own."""
    if ax is not None:
        if not isinstance(ax, Axes):
            raise WrongType(f"ax is matplotlib's axes to draw on, not {type(ax).__name__}; figure, ax = plt.subplots()")
        return ax.figure.figure, ax
    figure = NotebookFigure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def panels(count: int, size: tuple[float, float]) -> list[Axes]:
    """New axes side by side, on a figure of a size in inches with a canvas of its own."""
    figure = NotebookFigure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return list(figure.subplots(1, count, squeeze=False)[0])


def sign_colour(value: float) -> str:
    """The colour of a value that raises or lowers."""
    return COLOURS["raises" if value > 0 else "lowers"]


def label_rows(ax: Axes, names: Sequence[str]) -> None:
    """Names along the vertical axis, the first on top, long ones in up to two lines."""
    lines = [textwrap.wrap(name, width=WRAP_WIDTH, max_lines=2, placeholder=" \N{HORIZONTAL ELLIPSIS}") for name in names]
    ax.set_yticks(range(len(names)), [escape_dollars("\n".join(line)) for line in lines], linespacing=0.95)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def hide_frame(ax: Axes) -> None:
    """No ticks and no frame."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def set_titles(ax: Axes, title: str, words: str, colour: str, *, lift: float = NOTE_LIFT) -> None:
    """A title, and below it a few words in a colour of their own, ``lift`` points above the axes; the last thing that is drawn.

    Everything on the axes then has room in the figure, whatever its size.

    Raises:
        WrongType: a title that is not words.
    """
    if not isinstance(title, str):
        raise WrongType(f"title is words above the chart, not {type(title).__name__} {title!r}; leave it out for the usual ones")
    head = ax.set_title(escape_dollars(title), loc="left", fontsize=11)
    note = ax.annotate(
        escape_dollars(words),
        (0, 1),
        (0, lift),
        xycoords="axes fraction",
        textcoords="offset points",
        va="bottom",
        fontsize=9,
        color=colour,
    )
    fit_text(ax, head, note)


def set_verdict_title(ax: Axes, title: str, allocation: Allocation) -> None:
    """A title, and below it the verdict on an allocation's gap; the last thing that is drawn."""
    found = style.gap_verdict(allocation)
    set_titles(ax, title, found.text, style.LIGHT[found.level])


def label_with_unit(what: str, allocation: Allocation) -> str:
    """``what (logits)``, if the allocation says what its unit is."""
    unit = output_unit(allocation)
    return f"{what} ({escape_dollars(unit)})" if unit else what


def escape_dollars(words: str) -> str:
    """Words in which a dollar sign is a dollar sign, not the start of a formula."""
    return words.replace("$", r"\$")
