"""What an audit did, in words."""

from __future__ import annotations

from vesalius.audit.result import Audit
from vesalius.views import style
from vesalius.views.audit.chart_data import AuditValue

HEADING = "Which map to believe here (audit)"


def describe_setting(audit: Audit) -> str:
    """How many masked inputs every method was run on, among whom, and against what."""
    players = f"{audit.players.n} {audit.kind}"
    count = int(audit.provenance["coalitions"])
    which = f"all {count:,} coalitions" if audit.exact else f"{style.pluralize(count, 'coalition')} drawn at random"
    return f"{which} of {players}, {audit.provenance['target']}, baseline {audit.provenance['baseline']}"


def format_share(number: AuditValue) -> str:
    """A share as it is printed beside its bar: two digits after the point, 0 where it counts as held."""
    if number.held:
        return "0"
    if number.value != number.value:
        return "\N{EN DASH}"
    if 0 < number.value < 0.005:
        return "<0.01"
    return f"{number.value:.2f}".replace("-", style.MINUS) if abs(number.value) < 99.5 else style.number(number.value)
