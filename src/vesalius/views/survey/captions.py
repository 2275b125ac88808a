"""A survey in words."""

from __future__ import annotations

from collections.abc import Sequence

from vesalius.scale import Dependence, ExplanationDrift, Shortcut, SurveySummary
from vesalius.views import style
from vesalius.views.survey.chart_data import SurveyOverview

HEADING = "Whole data set"
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
    if "error" in survey.columns:
        errors = survey.column("error")
        found["accuracy"] = style.percent(1 - sum(errors) / len(errors))
    return found


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
