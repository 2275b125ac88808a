"""Charts of links and of pruned networks, for papers and notebooks, with matplotlib."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vesalius.sparsity.comparison import PruningComparison
from vesalius.sparsity.importance_result import LinkImportance
from vesalius.sparsity.sparsified import Sparsified
from vesalius.views import style
from vesalius.views.charts import plot_curves
from vesalius.views.line_chart import titled
from vesalius.views.sparsity.chart_data import CURVE_LABELS, importance_curve, pruned_layers, require_sparsified
from vesalius.views.sparsity.comparison import chart_labels, comparison_curves, require_pruning_comparison
from vesalius.views.sparsity.importance import curves_by_layer


def plot_sparsified(shown: Sparsified, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """Cumulative importance of the links of each layer, the strongest first.

    Args:
        shown: from ``vesalius.sparsify``.
        title: of the chart; what the curves show by default.
        ax: where to draw; a new figure by default.

    Raises:
        WrongType: nothing that was pruned.
    """
    cuts = pruned_layers(require_sparsified(shown))[: len(style.PALETTE)]
    return plot_curves({cut.name: importance_curve(cut.scores) for cut in cuts}, titled(CURVE_LABELS, title), ax=ax)


def plot_importance(shown: LinkImportance, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """Cumulative importance of the links of each layer, the strongest first.

    Args:
        shown: from ``vesalius.link_importance``.
        title: of the chart; what the curves show by default.
        ax: where to draw; a new figure by default.

    Raises:
        WrongType: no such result.
    """
    return plot_curves(curves_by_layer(shown), titled(CURVE_LABELS, title), ax=ax)


def plot_pruning_comparison(shown: PruningComparison, measure: str, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """A measure of all pruning methods against sparsity.

    Args:
        shown: from ``vesalius.sparsity.compare_pruning``.
        measure: one that its judge gave.
        title: of the chart; what the curves show by default.
        ax: where to draw; a new figure by default.

    Raises:
        WrongType: no such result.
        UnknownName: nothing of that name was measured.
    """
    require_pruning_comparison(shown)
    return plot_curves(comparison_curves(shown, measure), titled(chart_labels(measure), title), ax=ax)
