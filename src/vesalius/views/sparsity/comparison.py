"""Ways to prune side by side, as a section of a page."""

from __future__ import annotations

from markupsafe import Markup

from vesalius.core.errors import WrongType
from vesalius.sparsity.comparison import PruningComparison
from vesalius.views import style
from vesalius.views.html import Section, anchor_of, render_template
from vesalius.views.line_chart import ChartLabels, svg_curves

HEADING = "Pruning methods compared"


def pruning_comparison_section(shown: PruningComparison) -> Section:
    """Curves of every measure against how much is cut, and their numbers."""
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=pruning_comparison_body(shown))


def pruning_comparison_body(shown: PruningComparison) -> Markup:
    """The section without its heading.

    Raises:
        WrongType: no such result.
    """
    require_pruning_comparison(shown)
    return render_template(
        "pruning_comparison.html.j2",
        {
            "networks": style.pluralize(len(next(iter(shown.dense.values()))), "network"),
            "figures": [(name, svg_curves(comparison_curves(shown, name), chart_labels(name))) for name in shown.found],
            "cuts": [style.percent(cut) for cut in shown.sparsity.tolist()],
            "tables": [(name, style.number(float(shown.dense[name].mean())), _table_rows(shown, name)) for name in shown.found],
        },
    )


def require_pruning_comparison(shown: object) -> None:
    """Refuse anything else.

    Raises:
        WrongType.
    """
    if not isinstance(shown, PruningComparison):
        raise WrongType(f"expected a PruningComparison, not {type(shown).__name__}; make one with vesalius.sparsity.compare_pruning(...)")


def comparison_curves(shown: PruningComparison, name: str) -> dict[str, tuple[object, object]]:
    """A measure of all ways against how much was cut."""
    return {way: (shown.sparsity.numpy(), rows.numpy()) for way, rows in shown.measure(name).items()}


def chart_labels(name: str) -> ChartLabels:
    """What is written on a chart of a measure."""
    return ChartLabels(title=name, x="sparsity (share of the connections pruned)", y=name, percent=(True, False))


def _table_rows(shown: PruningComparison, name: str) -> list[tuple[str, list[str]]]:
    """Mean of each way at each amount, with the standard error over networks."""
    found = []
    for way, rows in shown.measure(name).items():
        error = rows.std(0) / len(rows) ** 0.5 if len(rows) > 1 else None
        cells = [style.number(value) for value in rows.mean(0).tolist()]
        if error is not None:
            cells = [f"{cell} \N{PLUS-MINUS SIGN} {style.number(off, digits=2)}" for cell, off in zip(cells, error.tolist(), strict=True)]
        found.append((way, cells))
    return found
