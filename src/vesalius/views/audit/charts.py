"""The chart of an audit, with matplotlib: a table with small bars."""

from __future__ import annotations

from collections.abc import Sequence

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

NAME_WIDTH = 175
"""Points for the names of methods, left of the columns."""

LEAST_HEIGHT = 110
"""Points of a chart from which the setting has room below the title."""

COLUMN_WIDTH = 84
"""Points of a column from which its head stands above it, and its numbers beside the bars; in a smaller chart both stand below."""


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
    own = ax is None
    figure, ax = axes.figure_and_axes(ax, (max(2.6 + 1.35 * len(columns), 7.0), 1.5 + 0.3 * max(len(lines), 1)))
    small = not own and float(ax.bbox.width) * 72 / ax.figure.dpi - NAME_WIDTH < COLUMN_WIDTH * len(columns)
    for place, line in enumerate(lines):
        for position, (column, number) in enumerate(zip(columns, line.numbers, strict=True)):
            _bar(ax, (position * PITCH, place), column, number, small=small)
    axes.label_rows(ax, [f"{line.rank}  {line.name}" for line in lines])
    for label, line in zip(ax.get_yticklabels(), lines, strict=True):
        label.set_color(style.LIGHT[line.verdict.level] if line.verdict.level == "ok" else axes.COLOURS["end"])
        label.set_horizontalalignment("right" if small else "left")
    ax.tick_params(axis="y", pad=4 if small else NAME_WIDTH)
    ax.set_xlim(-0.05, PITCH * len(columns))
    _draw_heads(ax, columns, small=small)
    ax.spines[:].set_visible(False)
    lift = axes.NOTE_LIFT if small else HEAD_LIFT
    words = describe_setting(audit) if ax.bbox.height * 72 / ax.figure.dpi > LEAST_HEIGHT else ""
    axes.set_titles(ax, HEADING if title is None else title, words, axes.COLOURS["end"], lift=lift)
    return figure


def _draw_heads(ax: Axes, columns: Sequence[AuditColumn], *, small: bool) -> None:
    """Names of columns above them, or slanted below them in a small chart."""
    if small:
        places, heads = [position * PITCH + 0.5 for position in range(len(columns))], [column.head for column in columns]
        ax.set_xticks(places, heads, rotation=40, ha="right", rotation_mode="anchor")
        ax.tick_params(axis="x", length=0, labelsize=7, labelcolor=axes.COLOURS["mut"])
        return
    ax.set_xticks([])
    for position, column in enumerate(columns):
        ax.text(position * PITCH, -0.72, column.head, fontsize=8, va="bottom", color=axes.COLOURS["mut"])


def _bar(ax: Axes, spot: tuple[float, float], column: AuditColumn, number: AuditValue, *, small: bool) -> None:
    left, place = spot
    ax.barh(place, 1, left=left, height=0.34, color=axes.COLOURS["line"])
    ax.barh(place, number.share, left=left, height=0.34, color=axes.COLOURS["good" if column.good else "bad"])
    if number.interval is not None:
        low, high = (left + min(max(end, 0.0), 1.0) for end in number.interval)
        ax.plot([low, high], [place, place], color=axes.COLOURS["end"], linewidth=1.1)
    colour = axes.COLOURS["mut"]
    if small:
        ax.text(left, place + 0.2, format_share(number), fontsize=7, va="top", color=colour)
    else:
        ax.text(left + 1.06, place, format_share(number), fontsize=8, va="center", color=colour)
