"""A survey in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vesalius.scale import AuditSummary, Dependence, ExplanationDrift, Shortcut, Survey, SurveySummary, TokenEstimate, TokenSummary
from vesalius.scale.tokens import Token
from vesalius.views import style
from vesalius.views.survey.chart_data import SurveyOverview

HEADING = "Whole data set"
AUDIT_HEADING = "Audit of a data set"
DRIFT_HEADING = "Drift of explanations"


def finding(shown: SurveyOverview) -> str:
    """What the most important players are, and what part of the whole they are."""
    summary = shown.summary
    whole = float(summary.importance.mean.sum()) or 1.0
    top = summary.top(3)
    share = sum(size for _, size, _ in top) / whole
    if shown.sizes is not None:
        return f"Mean maps over {summary.importance.count:,} rows: where the {style.method_name(shown.survey.method)} values are large."
    names = style.join_words([name for name, _, _ in top])
    return f"Over {summary.importance.count:,} rows, {names} make up {share:.0%} of the mean size of all values."


def facts(shown: SurveyOverview) -> dict[str, str]:
    """A strip of numbers."""
    survey, summary = shown.survey, shown.summary
    found = {
        "method": style.method_name(survey.method),
        "rows": f"{len(survey):,}" + ("" if survey.complete else " (not complete)"),
        "largest completeness error (gap)": style.number(summary.gap),
        "largest change of the output": style.number(summary.change),
    }
    return found | accuracy(survey)


def swarm_caption(summary: SurveySummary, coloured: bool) -> str:
    """How a beeswarm is read."""
    colour = "; colour is what the row holds there, blue low and red high" if coloured else ""
    return f"Each strip is the distribution of a player's values over {summary.importance.count:,} rows, thick where many rows lie{colour}"


def dependence_caption(shown: Dependence) -> str:
    """What is on a dependence chart."""
    colour = f", coloured by {shown.by} (strength {shown.strength.max():.2f}), which moves it most besides" if shown.by else ""
    some = "" if len(shown.x) == shown.rows else f"; {len(shown.x):,} of {shown.rows:,} rows"
    return f"Value of {shown.name} against what the rows hold for it{colour}{some}"


def shortcut_note(found: Sequence[Shortcut]) -> str:
    """What such a group means, and what it does not."""
    if not found:
        return "No group of rows has its evidence in the same unusual places."
    return "Groups of rows with evidence in places unusual for their class, most suspicious first; where to look, not a verdict:"


def drift_note(shown: ExplanationDrift) -> str:
    """Whether anything changed."""
    changed = int((shown.p < 0.05).sum())
    return (
        f"{shown.before.count:,} rows before and {shown.after.count:,} after: the mean size of {changed} of"
        f" {len(shown.names)} values changed (p < 0.05 after adjustment)."
    )


def text_finding(found: TokenSummary, up: Mapping[Token, TokenEstimate], down: Mapping[Token, TokenEstimate]) -> str:
    """What raises and lowers the output."""
    ends = [(tokens, word) for tokens, word in ((up, "raise"), (down, "lower")) if tokens]
    said = [f"{style.join_words([str(name) for name in list(tokens)[:3]])} {word} it most" for tokens, word in ends]
    whole = f"Over {found.rows:,} texts with {len(found.tokens):,} different {found.kind}"
    return f"{whole}, of the output that is explained, {' and '.join(said)}." if said else f"{whole}, none moves the output in two texts."


def text_facts(survey: Survey, found: TokenSummary) -> dict[str, str]:
    """A strip of numbers."""
    told = {
        "method": style.method_name(survey.method),
        "texts": f"{len(survey):,}" + ("" if survey.complete else " (not complete)"),
        f"different {found.kind}": f"{len(found.tokens):,}",
        "places": f"{sum(one.count for one in found.tokens.values()):,}",
    }
    return told | accuracy(survey)


def token_note(found: TokenSummary, least: int) -> str:
    """Which are listed, and what the intervals are of."""
    return (
        f"{found.kind.capitalize()} that are in {least:,} texts or more. Intervals hold the mean 19 times in 20, with texts as what was"
        " drawn: the places of one text go together."
    )


def accuracy(survey: Survey) -> dict[str, str]:
    """The share of rows that are classified as their label says, where that is known."""
    if "error" not in survey.columns:
        return {}
    errors = survey.column("error")
    return {"accuracy": style.percent(1 - sum(errors) / len(errors))}


def audit_summary_note(found: AuditSummary) -> str:
    """Which method keeps the principles best, and on how many rows."""
    ranked = found.ranking()
    if not ranked:
        return f"None of the methods applies to these {found.rows:,} rows."
    name, mean, _ = ranked[0]
    return (
        f"Over {found.rows:,} rows, {style.method_name(name)} has the smallest mean error ({style.number(mean)}): allocation error and"
        " null-player violation together, as shares of the effects. Beside it the share of rows on which each principle is held."
    )
