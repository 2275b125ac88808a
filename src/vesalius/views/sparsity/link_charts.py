"""The picture of the paper: importance of units and the spread of their links by name, and a heat map of a layer's links.

Axes: U units, F input units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy import ndarray
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.sparsity.importance_result import LayerImportance, LinkImportance
from vesalius.views import axes, style
from vesalius.views.sparsity.importance import importance_layers

MEASURES = {"unit_importance": "mean importance of a unit's links", "variance": "variance of the importance of a unit's links"}
"""What bars may show."""
MOST_BARS = 30
MOST_NAMES = 40
"""Units beyond which a map names none of them."""


def plot_units(  # noqa: PLR0913 - a verb that users call
    shown: LinkImportance,
    layer: str | None = None,
    *,
    measure: str = "unit_importance",
    names: Sequence[str] | None = None,
    most: int = MOST_BARS,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Bars of what the units that a layer reads are worth to it, the largest first, by name.

    Args:
        shown: from ``vesalius.link_importance``.
        layer: that reads them; the first by default.
        measure: ``"unit_importance"``, the mean over the links that go out of a unit, or ``"variance"`` over them: large where a unit
            matters to few of those that read it.
        names: of the units that are read; by default the names of the data's columns, or their numbers.
        most: bars.
        title: of the chart; what it shows by default.
        ax: where to draw; a new figure by default.

    Raises:
        WrongType: no such result.
        UnknownName: no such layer or measure.
        InvalidInput: another number of names than units.

    Reference: Rhee2023, figure 4.
    """
    require_known("measure", measure, MEASURES)
    one = _layer(shown, layer)
    values = _numbers(getattr(one, measure))
    called = _names(shown, one, names, len(values))
    order = np.argsort(-values, kind="stable")[:most]
    figure, ax = axes.figure_and_axes(ax, (6.4, 1.3 + 0.28 * len(order)))
    ax.barh(range(len(order)), values[order], height=0.7, color=style.LIGHT["c0" if measure == "unit_importance" else "c1"])
    axes.label_rows(ax, [called[place] for place in order])
    ax.set_xlabel(MEASURES[measure])
    rest = len(values) - len(order)
    words = f"inputs of {one.name}" + (f", the first {len(order)} of {len(values):,}" if rest else "")
    axes.set_titles(ax, measure.replace("_", " ").capitalize() if title is None else title, words, axes.COLOURS["mut"])
    return figure


def plot_links(
    shown: LinkImportance,
    layer: str | None = None,
    *,
    importance_level: float | None = None,
    names: Sequence[str] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A heat map of the links of a layer: a row per input unit, a column per unit.

    Args:
        shown: from ``vesalius.link_importance``.
        layer: which; the first by default.
        importance_level: share of the importance, in (0, 1], that the first of two sets carries by the fewest links; links of the other
            set are grey.
        names: of the units that are read; by default the names of the data's columns, or their numbers.
        title: of the chart; what it shows by default.
        ax: where to draw; a new figure by default.

    Raises:
        WrongType: no such result.
        UnknownName: no such layer.
        InvalidInput: another number of names than units; a level out of range; a grouped convolution, which has no such table.
    """
    one = _layer(shown, layer)
    if one.groups > 1:
        raise InvalidInput(f"units of {one.name!r} read inputs of their own group, which makes no table; draw another layer")
    table = _table(one, one.values)
    called = _names(shown, one, names, len(table))
    figure, ax = axes.figure_and_axes(ax, (6.4, min(9.0, 1.6 + 0.22 * len(table))))
    picture = style.sequential_colours(table, float(table.max()) or 1.0).astype(float) / 255
    words = f"{one.name}; darkest {style.number(float(table.max()))}"
    if importance_level is not None:
        inside = one.important_links(importance_level)
        picture[_table(one, inside) == 0] = to_rgb(style.LIGHT["line"])
        words += f"; {int(inside.sum()):,} of {inside.numel():,} links carry {style.percent(importance_level)}, the others are grey"
    ax.imshow(picture, aspect="auto", interpolation="nearest")
    if len(called) <= MOST_NAMES:
        ax.set_yticks(range(len(called)), [axes.escape_dollars(name) for name in called])
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel(f"unit of {one.name}")
    axes.set_titles(ax, "Link importance" if title is None else title, words, axes.COLOURS["mut"])
    return figure


def _layer(shown: LinkImportance, name: str | None) -> LayerImportance:
    first = importance_layers(shown)[0]
    return first if name is None else shown[name]


def _numbers(values: Tensor) -> Float[ndarray, "..."]:
    return values.detach().cpu().double().numpy()


def _table(one: LayerImportance, values: Tensor) -> Float[ndarray, "F U"]:
    """Links by input unit and unit; of a kernel their mean."""
    table = values.detach().cpu().double().movedim(one.axes, (1, 0))
    return _numbers(table.flatten(2).mean(2) if table.ndim > 2 else table)


def _names(shown: LinkImportance, one: LayerImportance, names: Sequence[str] | None, count: int) -> list[str]:
    """Names of the units that a layer reads."""
    if names is not None and len(names) != count:
        raise InvalidInput(f"layer {one.name!r} reads {count} units, and {len(names)} names came; give one for each")
    known = shown.features if one.name == next(iter(shown.layers)) and len(shown.features) == count else ()
    return [str(name) for name in (names or known or range(count))]
