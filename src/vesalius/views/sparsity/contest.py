"""Ways to prune side by side, as a section of a page."""

from __future__ import annotations

from markupsafe import Markup

from vesalius.core.errors import WrongType
from vesalius.sparsity.comparison import PruningComparison
from vesalius.views import style
from vesalius.views.fragments import Section, anchor_of, fill
from vesalius.views.lines import Labels, svg_curves

HEADING = "Ways to prune, side by side"


def contest_section(shown: PruningComparison) -> Section:
    """Curves of every measure against how much is cut, and their numbers."""
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=contest_body(shown))


def contest_body(shown: PruningComparison) -> Markup:
    """The section without its heading.

    Raises:
        WrongType: no such result.
    """
    is_contest(shown)
    return fill(
        "contest.html.j2",
        {
            "networks": style.counted(len(next(iter(shown.dense.values()))), "network"),
            "figures": [(name, svg_curves(curves_of(shown, name), labels_of(name))) for name in shown.found],
            "cuts": [style.percent(cut) for cut in shown.sparsity.tolist()],
            "tables": [(name, style.number(float(shown.dense[name].mean())), _lines(shown, name)) for name in shown.found],
        },
    )


def is_contest(shown: object) -> None:
    """Refuse anything else.

    Raises:
        WrongType.
    """
    if not isinstance(shown, PruningComparison):
        raise WrongType(f"expected a PruningComparison, not {type(shown).__name__}; make one with vesalius.sparsity.compare_pruning(...)")


def curves_of(shown: PruningComparison, name: str) -> dict[str, tuple[object, object]]:
    """A measure of all ways against how much was cut."""
    return {way: (shown.sparsity.numpy(), rows.numpy()) for way, rows in shown.measure(name).items()}


def labels_of(name: str) -> Labels:
    """What is written on a chart of a measure."""
    return Labels(title=name, x="share of the links that is cut", y=name, percent=(True, False))


def _lines(shown: PruningComparison, name: str) -> list[tuple[str, list[str]]]:
    """Mean of each way at each amount, with the standard error over networks."""
    found = []
    for way, rows in shown.measure(name).items():
        error = rows.std(0) / len(rows) ** 0.5 if len(rows) > 1 else None
        cells = [style.number(value) for value in rows.mean(0).tolist()]
        if error is not None:
            cells = [f"{cell} \N{PLUS-MINUS SIGN} {style.number(off, digits=2)}" for cell, off in zip(cells, error.tolist(), strict=True)]
        found.append((way, cells))
    return found
