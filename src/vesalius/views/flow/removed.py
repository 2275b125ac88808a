"""What removing units or links costs, as a section of a page."""

from __future__ import annotations

from markupsafe import Markup

from vesalius.information.ablation import AblationCurves
from vesalius.views import style
from vesalius.views.fragments import Section, anchor_of, fill
from vesalius.views.lines import Labels, svg_curves

HEADING = "What removing costs"
NAMES = {"flow": "information flow", "magnitude": "magnitude", "random": "random"}
LOST = 0.01
"""Accuracy that a share of what can be removed may cost."""


def removal_section(*removals: AblationCurves) -> Section:
    """Curves of one layer or of several, side by side."""
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=removal_body(*removals))


def removal_body(*removals: AblationCurves) -> Markup:
    """The section without its heading."""
    figures = [(labels_of(one).title, svg_curves(curves_by_name(one), labels_of(one))) for one in removals]
    lines = [_line(one, order, first=not at) for one in removals for at, order in enumerate(one.accuracy)]
    return fill("removal.html.j2", {"figures": figures, "lines": lines, "lost": style.percent(LOST)})


def labels_of(removal: AblationCurves) -> Labels:
    """What is written on a chart of it."""
    title = f"{removal.what} of {removal.layer}" if removal.what == "units" else f"links into {removal.layer}"
    return Labels(title=title, x=f"share of {removal.what} removed, the least first", y="accuracy", percent=(True, True))


def curves_by_name(removal: AblationCurves) -> dict[str, tuple[object, object]]:
    """Its curves, each order by the name people know it by."""
    return {NAMES[order]: (removal.removed, rows) for order, rows in removal.accuracy.items()}


def _line(removal: AblationCurves, order: str, *, first: bool) -> tuple[str, str, str, str]:
    """What was removed, in which order, its mean accuracy over all shares, and what is gone before more than a little is lost."""
    middle = removal.accuracy[order].median(0).values
    spent = (middle < middle[0] - LOST).nonzero()
    gone = removal.removed[int(spent[0]) - 1] if len(spent) else removal.removed[-1]
    title = labels_of(removal).title if first else ""
    return title, NAMES[order], style.percent(removal.areas[order]), style.percent(float(gone))
