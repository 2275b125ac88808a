"""Charts of a disentangled feature, for papers and notebooks, with matplotlib."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vesalius.complexity.compare import ComplexityComparison, ComponentProfile
from vesalius.complexity.components import Complexity
from vesalius.core.errors import UnknownName
from vesalius.views.charts import plot_grouped_bars
from vesalius.views.complexity.chart_data import MEASURE_LABELS, as_profile, comparison_series, measure_series, order_bands, strength_series
from vesalius.views.line_chart import titled


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
