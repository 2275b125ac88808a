"""An audit as a section of a page."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from markupsafe import Markup, escape

from vesalius.audit.result import Audit
from vesalius.views import style, svg
from vesalius.views.audit.captions import HEADING, describe_setting, format_share
from vesalius.views.audit.chart_data import (
    EXACT_COLUMNS,
    FAITHFULNESS_COLUMN,
    SAMPLED_COLUMNS,
    AuditColumn,
    AuditValue,
    MethodRow,
    agreement_sentence,
    audit_columns,
    method_rows,
    method_tiers,
    require_audit,
)
from vesalius.views.chart_data import divides_image, paint_players, symmetric_scale
from vesalius.views.html import Section, anchor_of, render_template

MOST_DIGITS = 3
HEADS = {column.name: column.head for column in (*EXACT_COLUMNS, *SAMPLED_COLUMNS)}
"""Numbers of a method in words; others by their own name."""


@dataclass(frozen=True, kw_only=True)
class MethodRowView:
    """A method, ready to be shown.

    Attributes:
        picture: its map on a scale of its own; ``None`` where players do not divide an image.
        cells: a bar and its number for every column.
    """

    line: MethodRow
    picture: Markup | None
    cells: tuple[tuple[Markup, str], ...]


def audit_section(audit: Audit) -> Section:
    """Every method with its shares as small bars, what they say in words, and whether they predict faithfulness."""
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=audit_body(audit), sources=(audit.provenance,), finding=_finding(audit))


def _finding(audit: Audit) -> str:
    """What is to be said of the best, and how many hold the principles."""
    tiers = method_tiers(audit)
    if not tiers:
        return ""
    held = sum(audit[method].holds for _, method in audit.ranking())
    names, sentence = tiers[0]
    return f"{held} of {style.pluralize(len(audit), 'method')} broke none of the principles. {names}: {sentence}"


def audit_body(audit: Audit) -> Markup:
    """The section without its heading.

    Raises:
        WrongType: not an audit.
    """
    require_audit(audit, "a section of an audit")
    columns = audit_columns(audit)
    return render_template(
        "audit.html.j2",
        {
            "how": describe_setting(audit),
            "exact": audit.exact,
            "kind": audit.kind,
            "columns": [column.head for column in columns],
            "lines": [
                _view_row(audit, method, line, columns) for (_, method), line in zip(audit.ranking(), method_rows(audit), strict=True)
            ],
            "placed": divides_image(audit.players),
            "notes": audit.notes,
            "tiers": method_tiers(audit),
            "agreement": agreement_sentence(audit),
            "skipped": {style.method_name(method): reason.partition(". ")[0] for method, reason in audit.skipped.items()},
            "heads": [HEADS.get(name, name.replace("_", " ")) for name in audit.table()[0]] if len(audit) else [],
            "rows": [[_cell_text(value) for value in row.values()] for row in audit.table()],
        },
    )


def _view_row(audit: Audit, method: str, line: MethodRow, columns: tuple[AuditColumn, ...]) -> MethodRowView:
    picture = None
    if divides_image(audit.players):
        image = paint_players(audit.players, torch.tensor(audit[method].values, dtype=torch.float64).numpy())
        picture = svg.heatmap(image, symmetric_scale([image]), f"{line.name}: the map, on a scale of its own")
    cells = tuple(
        (_share_bar(number, column, line.name), format_share(number)) for column, number in zip(columns, line.numbers, strict=True)
    )
    return MethodRowView(line=line, picture=picture, cells=cells)


def _share_bar(number: AuditValue, column: AuditColumn, name: str) -> Markup:
    """A bar that is full at 1, with the ends of an interval."""
    kind = "good" if column is FAITHFULNESS_COLUMN else "bad"
    place = 'height="6" y="4" rx="3"'
    shapes = f'<rect class="track" width="100%" {place}/><rect class="{kind}" width="{100 * number.share:.1f}%" {place}/>'
    if number.interval is not None:
        low, high = (100 * min(max(end, 0.0), 1.0) for end in number.interval)
        shapes += f'<line class="whisker" x1="{low:.1f}%" x2="{high:.1f}%" y1="7" y2="7"/>'
    text = escape(f"{name}, {column.head}: {format_share(number)}")
    return Markup(f'<svg class="share" role="img" aria-label="{text}">{shapes}</svg>')


def _cell_text(value: object) -> str:
    """A cell of the full table."""
    if isinstance(value, bool):
        return "held" if value else "broken"
    if isinstance(value, float):
        return style.number(value, digits=MOST_DIGITS) if value == value else "\N{EN DASH}"
    if isinstance(value, tuple):
        return " to ".join(style.number(float(end), digits=MOST_DIGITS) for end in value)
    return "?" if value is None else str(value)
