"""Charts of a disentangled feature, for papers and notebooks, with matplotlib."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vesalius.complexity.compare import ComplexityComparison
from vesalius.complexity.components import Complexity
from vesalius.complexity.orders import order_bands
from vesalius.complexity.picture import ComponentPicture
from vesalius.complexity.profile import ComponentProfile
from vesalius.core.errors import UnknownName
from vesalius.views import style
from vesalius.views.axes import figure_and_axes, set_titles
from vesalius.views.charts import plot_grouped_bars
from vesalius.views.complexity.chart_data import MEASURE_LABELS, as_profile, comparison_series, measure_series, strength_series
from vesalius.views.complexity.component_maps import check_picture, is_squarish, map_line, sum_line
from vesalius.views.line_chart import titled

SIDE = 1.15
"""Inches of a map on paper."""
GAP = 0.12
"""Share of a cell that is left free around a map."""


def plot_complexity(
    shown: ComponentProfile | Complexity, *, measure: str = "strength", title: str | None = None, ax: Axes | None = None
) -> Figure:
    """Bars of one measure by order.

    Args:
        shown: components, or components with what they do for the task.
        measure: ``"strength"``, ``"reliability"``, ``"effectiveness"`` or ``"overfitting"``.
        title: of the chart; the measure by default.
        ax: where to draw; a new figure by default.

    Raises:
        UnknownName: another measure, or one that was not asked for.
        WrongType: no disentangled feature.
    """
    profile = as_profile(shown)
    series = strength_series(profile) if measure == "strength" else measure_series(profile, measure)
    if series is None:
        raise UnknownName("measure of this result", measure, [name for name in MEASURE_LABELS if profile.measure(name) is not None])
    return plot_grouped_bars(order_bands(profile.complexity.orders), series, titled(MEASURE_LABELS[measure], title), ax=ax)


def plot_complexity_comparison(
    comparison: ComplexityComparison, *, measure: str = "strength", title: str | None = None, ax: Axes | None = None
) -> Figure:
    """Bars of one measure of all networks by order.

    Raises:
        UnknownName: another measure, or one that was not asked for.
    """
    series = comparison_series(comparison, measure)
    if series is None:
        raise UnknownName(
            "measure of this result", measure, [name for name in MEASURE_LABELS if comparison_series(comparison, name) is not None]
        )
    return plot_grouped_bars(order_bands(comparison.orders), series, titled(MEASURE_LABELS[measure], title), ax=ax)


def plot_component_picture(picture: ComponentPicture, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """Maps of the feature, its components and the rest on one scale, with the sums below.

    Args:
        picture: from :meth:`vesalius.Complexity.picture`.
        title: above them; the feature's name by default.
        ax: where to draw, divided into as many parts as needed; a new figure by default.

    Raises:
        WrongType: no picture of components.
    """
    check_picture(picture)
    columns = max(len(map_line(maps)) for maps in picture.maps)
    lines = 2 * len(picture.maps)
    height, width = next(iter(picture.maps[0].parts.values())).shape
    tall = float(np.clip(height / width, 0.35, 1.6))
    figure, ax = figure_and_axes(ax, (SIDE * columns + 0.4, (SIDE * tall + 0.25) * lines + 0.5))
    ax.set_axis_off()
    for at, maps in enumerate(picture.maps):
        first = len(map_line(maps)) - len(maps.parts) + 1
        for down, row in enumerate((map_line(maps), sum_line(maps, first))):
            for across, (name, colours) in enumerate(row):
                if colours is not None:
                    _draw(ax, (across / columns, 1 - (2 * at + down + 1) / lines, 1 / columns, 1 / lines), name, colours)
    set_titles(ax, picture.at if title is None else title, _shown_words(picture), style.LIGHT["mut"])
    return figure


def _shown_words(picture: ComponentPicture) -> str:
    down, across = picture.axes
    unit = f"unit {picture.units[0]}" if len(picture.units) == 1 else f"{len(picture.units)} units"
    return unit if down == "height" else f"{unit}; {down} down, {across} across"


def _draw(ax: Axes, cell: tuple[float, float, float, float], name: str, colours: np.ndarray) -> None:
    left, bottom, wide, high = cell
    inner = ax.inset_axes((left + GAP / 2 * wide, bottom + GAP / 2 * high, (1 - GAP) * wide, (1 - 2 * GAP) * high))
    inner.imshow(colours, interpolation="nearest", aspect="equal" if is_squarish(colours) else "auto")
    inner.set_xticks([])
    inner.set_yticks([])
    inner.spines[:].set_visible(False)
    inner.set_title(name, fontsize=8, pad=3)
