"""Axes to draw on, with matplotlib: the parts that all charts share. pyplot is never touched."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from io import BytesIO
from typing import final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from vesalius.core.allocation import Allocation
from vesalius.views import style
from vesalius.views.describe import unit_of

DIVERGING = LinearSegmentedColormap.from_list(
    "vesalius", [style.hexadecimal(colour) for colour in (style.BLUE, style.PAPER, style.RED)], N=513
).with_extremes(bad=style.hexadecimal(style.BROKEN))

SEQUENTIAL = LinearSegmentedColormap.from_list(
    "vesalius_strength", [style.hexadecimal(colour) for colour in (style.PAPER, style.STRONG)], N=257
).with_extremes(bad=style.hexadecimal(style.BROKEN))

COLOURS = {
    "raises": style.hexadecimal(style.RED),
    "lowers": style.hexadecimal(style.BLUE),
    "strong": style.hexadecimal(style.STRONG),
    "gap": style.LIGHT["dim"],
    "end": style.LIGHT["ink"],
    **{level: style.LIGHT[level] for level in ("good", "bad", "line", "mut")},
}

LONGEST = 30
"""Characters of a name before it is broken."""


@final
class Drawing(Figure):
    """A figure that a notebook shows although pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.savefig(file, format="png", dpi=110)
        return file.getvalue()


def place(ax: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """The given axes and their figure, or new ones of a size in inches, with a canvas of their own."""
    if ax is not None:
        return ax.figure.figure, ax
    figure = Drawing(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def sign(value: float) -> str:
    """The colour of a value that raises or lowers."""
    return COLOURS["raises" if value > 0 else "lowers"]


def list_names(ax: Axes, names: Sequence[str]) -> None:
    """Names along the vertical axis, the first on top, long ones in up to two lines."""
    lines = [textwrap.wrap(name, width=LONGEST, max_lines=2, placeholder=" \N{HORIZONTAL ELLIPSIS}") for name in names]
    ax.set_yticks(range(len(names)), [plain("\n".join(line)) for line in lines], linespacing=0.95)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def bare(ax: Axes) -> None:
    """No ticks and no frame."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def head(ax: Axes, title: str, words: str, colour: str) -> None:
    """A title, and below it a few words in a colour of their own."""
    ax.set_title(plain(title), loc="left", fontsize=11, pad=20)
    ax.annotate(plain(words), (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", fontsize=9, color=colour)


def judged(ax: Axes, title: str, allocation: Allocation) -> None:
    """A title, and below it the verdict on an allocation's gap."""
    found = style.verdict(allocation)
    head(ax, title, found.text, style.LIGHT[found.level])


def with_unit(what: str, allocation: Allocation) -> str:
    """``what (logits)``, if the allocation says what its unit is."""
    unit = unit_of(allocation)
    return f"{what} ({plain(unit)})" if unit else what


def plain(words: str) -> str:
    """Words in which a dollar sign is a dollar sign, not the start of a formula."""
    return words.replace("$", r"\$")
