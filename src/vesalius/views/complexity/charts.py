"""Charts of a feature that was taken apart, for papers and notebooks, with matplotlib."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vesalius.complexity.compare import ComplexityComparison, ComponentProfile
from vesalius.complexity.components import Complexity
from vesalius.core.errors import UnknownName
from vesalius.views.charts import plot_groups
from vesalius.views.complexity.describe import CHARTS, bands, compared, profile_of, series_of, strengths_of


def plot_complexity(shown: ComponentProfile | Complexity, *, measure: str = "strength", ax: Axes | None = None) -> Figure:
    """Bars of one measure by order.

    Args:
        shown: components, or components with what they do for the task.
        measure: ``"strength"``, ``"reliability"``, ``"effectiveness"`` or ``"overfitting"``.
        ax: where to draw; a new figure by default.

    Raises:
        UnknownName: another measure, or one that was not asked for.
        WrongType: nothing that was taken apart.
    """
    profile = profile_of(shown)
    series = strengths_of(profile) if measure == "strength" else series_of(profile, measure)
    if series is None:
        raise UnknownName("measure of this result", measure, [name for name in CHARTS if profile.measure(name) is not None])
    return plot_groups(bands(profile.complexity.orders), series, CHARTS[measure], ax=ax)


def plot_comparison(comparison: ComplexityComparison, *, measure: str = "strength", ax: Axes | None = None) -> Figure:
    """Bars of one measure of all networks by order.

    Raises:
        UnknownName: another measure, or one that was not asked for.
    """
    series = compared(comparison, measure)
    if series is None:
        raise UnknownName("measure of this result", measure, [name for name in CHARTS if compared(comparison, name) is not None])
    return plot_groups(bands(comparison.orders), series, CHARTS[measure], ax=ax)
