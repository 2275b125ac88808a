"""The chart of an audit, with matplotlib: a table with small bars."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vesalius.audit.result import Audit
from vesalius.views import axes, style
from vesalius.views.audit.captions import HEADING, describe_setting, format_share
from vesalius.views.audit.chart_data import AuditColumn, AuditValue, audit_columns, method_rows, require_audit

HEAD_LIFT = 20.0
"""Points between the axes and the setting: the room for the heads of columns."""

PITCH = 1.75
"""Width of a column, in units of a full bar."""


def plot_audit(audit: Audit, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """A line per method, by rank: what it did not allocate, over-counted, gave to null players or gave with the wrong sign.

    Bars are shares and end at 1; the numbers beside them go on. Faithfulness, the last column, is better the longer it is.

    Args:
        audit: from ``vesalius.audit``.
        title: of the chart; that of the section of a page by default.
        ax: where to draw; a new figure by default.

    Raises:
        WrongType: not an audit.
    """
    require_audit(audit, "plot_audit")
    lines, columns = method_rows(audit), audit_columns(audit)
    figure, ax = axes.figure_and_axes(ax, (max(2.6 + 1.35 * len(columns), 7.0), 1.5 + 0.3 * max(len(lines), 1)))
    for place, line in enumerate(lines):
        for position, (column, number) in enumerate(zip(columns, line.numbers, strict=True)):
            _bar(ax, (position * PITCH, place), column, number)
    for position, column in enumerate(columns):
        ax.text(position * PITCH, -0.72, column.head, fontsize=8, va="bottom", color=axes.COLOURS["mut"])
    axes.label_rows(ax, [f"{line.rank}  {line.name}" for line in lines])
    for label, line in zip(ax.get_yticklabels(), lines, strict=True):
        label.set_color(style.LIGHT[line.verdict.level] if line.verdict.level == "ok" else axes.COLOURS["end"])
        label.set_horizontalalignment("left")
    ax.tick_params(axis="y", pad=175)
    ax.set_xlim(-0.05, PITCH * len(columns))
    ax.set_xticks([])
    ax.spines[:].set_visible(False)
    axes.set_titles(ax, HEADING if title is None else title, describe_setting(audit), axes.COLOURS["end"], lift=HEAD_LIFT)
    return figure


def _bar(ax: Axes, spot: tuple[float, float], column: AuditColumn, number: AuditValue) -> None:
    left, place = spot
    ax.barh(place, 1, left=left, height=0.34, color=axes.COLOURS["line"])
    ax.barh(place, number.share, left=left, height=0.34, color=axes.COLOURS["good" if column.good else "bad"])
    if number.interval is not None:
        low, high = (left + min(max(end, 0.0), 1.0) for end in number.interval)
        ax.plot([low, high], [place, place], color=axes.COLOURS["end"], linewidth=1.1)
    colour = axes.COLOURS["mut"]
    ax.text(left + 1.06, place, format_share(number), fontsize=8, va="center", color=colour)
