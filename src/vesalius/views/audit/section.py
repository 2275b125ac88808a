"""An audit as a section of a page."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from markupsafe import Markup, escape

from vesalius.audit.record import Audit
from vesalius.views import style, svg
from vesalius.views.audit.describe import FAITHFUL, Column, Line, Number, agreement_of, columns_of, is_audit, lines_of, tiers_of
from vesalius.views.audit.words import HEADING, how, written
from vesalius.views.describe import divides_image, painted, scale_of
from vesalius.views.fragments import Section, anchor_of, fill

MOST_DIGITS = 3


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A method, ready to be shown.

    Attributes:
        picture: its map on a scale of its own; ``None`` where players do not divide an image.
        cells: a bar and its number for every column.
    """

    line: Line
    picture: Markup | None
    cells: tuple[tuple[Markup, str], ...]


def audit_section(audit: Audit) -> Section:
    """Every method with its shares as small bars, what they say in words, and whether they predict faithfulness."""
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=audit_body(audit), sources=(audit.provenance,))


def audit_body(audit: Audit) -> Markup:
    """The section without its heading.

    Raises:
        WrongType: not an audit.
    """
    is_audit(audit, "a section of an audit")
    columns = columns_of(audit)
    return fill(
        "audit.html.j2",
        {
            "how": how(audit),
            "exact": audit.exact,
            "kind": audit.kind,
            "columns": [column.head for column in columns],
            "lines": [_shown(audit, method, line, columns) for (_, method), line in zip(audit.ranking(), lines_of(audit), strict=True)],
            "placed": divides_image(audit.players),
            "notes": audit.notes,
            "tiers": tiers_of(audit),
            "agreement": agreement_of(audit),
            "skipped": {style.method_name(method): reason.partition(". ")[0] for method, reason in audit.skipped.items()},
            "heads": list(audit.table()[0]) if len(audit) else [],
            "rows": [[_plainly(value) for value in row.values()] for row in audit.table()],
        },
    )


def _shown(audit: Audit, method: str, line: Line, columns: tuple[Column, ...]) -> Shown:
    picture = None
    if divides_image(audit.players):
        image = painted(audit.players, torch.tensor(audit[method].values, dtype=torch.float64).numpy())
        picture = svg.heat(image, scale_of([image]), f"{line.name}: the map, on a scale of its own")
    cells = tuple((_share(number, column, line.name), written(number)) for column, number in zip(columns, line.numbers, strict=True))
    return Shown(line=line, picture=picture, cells=cells)


def _share(number: Number, column: Column, name: str) -> Markup:
    """A bar that is full at 1, with the ends of an interval."""
    kind = "good" if column is FAITHFUL else "bad"
    place = 'height="6" y="4" rx="3"'
    shapes = f'<rect class="track" width="100%" {place}/><rect class="{kind}" width="{100 * number.share:.1f}%" {place}/>'
    if number.interval is not None:
        low, high = (100 * min(max(end, 0.0), 1.0) for end in number.interval)
        shapes += f'<line class="whisker" x1="{low:.1f}%" x2="{high:.1f}%" y1="7" y2="7"/>'
    text = escape(f"{name}, {column.head}: {written(number)}")
    return Markup(f'<svg class="share" role="img" aria-label="{text}">{shapes}</svg>')


def _plainly(value: object) -> str:
    """A cell of the full table."""
    if isinstance(value, bool):
        return "held" if value else "broken"
    if isinstance(value, float):
        return style.number(value, digits=MOST_DIGITS) if value == value else "\N{EN DASH}"
    if isinstance(value, tuple):
        return " to ".join(style.number(float(end), digits=MOST_DIGITS) for end in value)
    return "?" if value is None else str(value)
