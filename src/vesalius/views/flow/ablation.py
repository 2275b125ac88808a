"""What removing units or links costs, as a section of a page."""

from __future__ import annotations

from markupsafe import Markup

from vesalius.information.ablation import AblationCurves
from vesalius.views import style
from vesalius.views.html import Section, anchor_of, render_template
from vesalius.views.line_chart import ChartLabels, svg_curves

HEADING = "Ablation of units and connections"
ORDER_NAMES = {"flow": "information flow", "magnitude": "magnitude", "random": "random"}
TOLERATED_LOSS = 0.01
"""Loss of accuracy up to which ablated parts count as not needed."""


def ablation_section(*removals: AblationCurves) -> Section:
    """Curves of one layer or of several, side by side."""
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=ablation_body(*removals), finding=_finding(removals[0]))


def ablation_body(*removals: AblationCurves) -> Markup:
    """The section without its heading."""
    figures = [(chart_labels(one).title, svg_curves(curves_by_order(one), chart_labels(one))) for one in removals]
    lines = [_table_row(one, order) for one in removals for order in one.accuracy]
    return render_template("ablation.html.j2", {"figures": figures, "lines": lines, "lost": style.percent(TOLERATED_LOSS)})


def chart_labels(removal: AblationCurves) -> ChartLabels:
    """What is written on a chart of it."""
    what = "units" if removal.what == "units" else "connections"
    title = f"{what} of {removal.layer}" if removal.what == "units" else f"{what} into {removal.layer}"
    return ChartLabels(title=title, x=f"share of {what} ablated, the least first", y="accuracy", percent=(True, True))


def curves_by_order(removal: AblationCurves) -> dict[str, tuple[object, object]]:
    """Its curves, each order by the name people know it by."""
    return {ORDER_NAMES[order]: (removal.removed, rows) for order, rows in removal.accuracy.items()}


def _table_row(removal: AblationCurves, order: str) -> tuple[str, str, str, str]:
    """What was removed, in which order, its mean accuracy over all shares, and what is gone before more than a little is lost."""
    return chart_labels(removal).title, ORDER_NAMES[order], style.percent(removal.areas[order]), style.percent(_gone(removal, order))


def _gone(removal: AblationCurves, order: str) -> float:
    """The share that is ablated before more than a little is lost."""
    middle = removal.accuracy[order].median(0).values
    spent = (middle < middle[0] - TOLERATED_LOSS).nonzero()
    return float(removal.removed[int(spent[0]) - 1] if len(spent) else removal.removed[-1])


def _finding(removal: AblationCurves) -> str:
    """How much could go, by each order."""
    parts = [f"{style.percent(_gone(removal, order))} by {ORDER_NAMES[order]}" for order in removal.accuracy]
    what = chart_labels(removal).title
    lost = style.percent(TOLERATED_LOSS)
    return f"Of the {what}, these shares can be ablated at a loss of at most {lost} of accuracy: {style.join_words(parts)}."
