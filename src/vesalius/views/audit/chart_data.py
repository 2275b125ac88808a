"""What there is to draw in an audit: a line per method, in columns of shares."""

from __future__ import annotations

from dataclasses import dataclass

from vesalius.audit.result import Audit, MethodAudit
from vesalius.core.errors import WrongType
from vesalius.views import style


@dataclass(frozen=True, kw_only=True)
class AuditColumn:
    """A number that every method has.

    Attributes:
        name: attribute of a record, or of its faithfulness.
        head: a few words.
        good: whether large is good; else it is bad.
    """

    name: str
    head: str
    good: bool = False


EXACT_COLUMNS = (
    AuditColumn(name="miss", head="not allocated"),
    AuditColumn(name="over", head="over-counting"),
    AuditColumn(name="reverse", head="wrong sign"),
    AuditColumn(name="leak", head="null-player violation"),
    AuditColumn(name="completeness_error", head="allocation error"),
)
SAMPLED_COLUMNS = (
    AuditColumn(name="mean_gap", head="completeness error"),
    AuditColumn(name="mean_leak", head="null-player violation"),
)
FAITHFULNESS_COLUMN = AuditColumn(name="sensitivity_n", head="faithfulness", good=True)
"""Correlation between what a map predicts and what masking players does."""

FAITHFULNESS_NAMES = {"insertion": "insertion", "deletion": "deletion", "infidelity": "infidelity", "sensitivity_n": "sensitivity-n"}
"""Measures of faithfulness, in words."""


@dataclass(frozen=True, kw_only=True)
class AuditValue:
    """One number of a line.

    Attributes:
        value: itself.
        share: how much of its bar is full, 0 to 1.
        held: whether it is as good as the best there can be; unknown for faithfulness.
        interval: of 95 %, in a sampled audit.
    """

    value: float
    share: float
    held: bool | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """One method.

    Attributes:
        rank: shared by methods that the numbers cannot tell apart.
        name: readable.
        verdict: on the three principles.
        numbers: one per column.
    """

    rank: int
    name: str
    verdict: style.Verdict
    numbers: tuple[AuditValue, ...]


def require_audit(audit: object, what: str) -> None:
    """Refuse anything else.

    Raises:
        WrongType.
    """
    if not isinstance(audit, Audit):
        raise WrongType(f"{what} shows an Audit, not {type(audit).__name__}; make one with vesalius.audit(...)")


def audit_columns(audit: Audit) -> tuple[AuditColumn, ...]:
    """The columns that this audit can fill."""
    return (*(EXACT_COLUMNS if audit.exact else SAMPLED_COLUMNS), FAITHFULNESS_COLUMN)


def method_rows(audit: Audit) -> list[MethodRow]:
    """All methods, by rank."""
    columns = audit_columns(audit)
    return [
        MethodRow(
            rank=rank,
            name=style.method_name(method),
            verdict=principles_verdict(audit[method]),
            numbers=tuple(_audit_value(audit[method], column) for column in columns),
        )
        for rank, method in audit.ranking()
    ]


def principles_verdict(record: MethodAudit) -> style.Verdict:
    """Which principles are held, in words."""
    if record.holds:
        return style.Verdict("ok", "holds all three" if record.exact else "no violation found")
    broken = [name for name, held in record.principles.items() if held is False]
    unclear = [name for name, held in record.principles.items() if held is None]
    words = [f"breaks {style.join_words(broken)}"] if broken else []
    words += [f"breaks {style.join_words(unclear, 'or')}"] if unclear else []
    return style.Verdict("bad", ", ".join(words))


def method_tiers(audit: Audit) -> list[tuple[str, str]]:
    """Methods that say the same of themselves, named together, and what it is; by rank."""
    found: dict[str, list[str]] = {}
    for method, sentence in audit.sentences().items():
        found.setdefault(sentence, []).append(style.method_name(method))
    return [(style.join_words(names), sentence) for sentence, names in found.items()]


def agreement_sentence(audit: Audit) -> str:
    """Whether the principles predict faithfulness here, in a sentence; empty where nothing can be said."""
    known = [(FAITHFULNESS_NAMES[name], rho) for name, rho in audit.agreement.rho.items() if rho == rho]
    if not known:
        return ""
    parts = style.join_words([f"{style.number(rho, digits=2)} ({name})" for name, rho in known])
    return (
        f"Do the principles predict faithfulness here? Rank correlation between a method's error and its unfaithfulness,"
        f" over {audit.agreement.methods} methods: {parts}."
    )


def _audit_value(record: MethodAudit, column: AuditColumn) -> AuditValue:
    if column is FAITHFULNESS_COLUMN:
        value = record.faithfulness.sensitivity_n
        return AuditValue(value=value, share=_clip_share(value))
    value = getattr(record, column.name)
    return AuditValue(value=value, share=_clip_share(value), held=value <= record.tolerance, interval=record.interval.get(column.name))


def _clip_share(value: float) -> float:
    return min(max(value, 0.0), 1.0) if value == value else 0.0
