"""A survey, and the drift between two, as sections of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from vesalius.core.samples import PER_SAMPLE
from vesalius.scale import AuditSummary, ExplanationDrift, Survey, TokenEstimate
from vesalius.scale.beeswarm import BeeswarmCells, Dependence
from vesalius.scale.tokens import Token
from vesalius.views import style, svg
from vesalius.views.chart_data import paint_players
from vesalius.views.html import Section, anchor_of, coloured_text, render_template
from vesalius.views.survey.captions import (
    AUDIT_HEADING,
    DRIFT_HEADING,
    HEADING,
    audit_summary_note,
    dependence_caption,
    drift_note,
    facts,
    finding,
    shortcut_note,
    swarm_caption,
    text_facts,
    text_finding,
    token_note,
)
from vesalius.views.survey.chart_data import (
    INTERVAL,
    MOST_TOKENS,
    STRIP,
    CohortTable,
    ImportanceBar,
    SurveyOverview,
    beeswarm_picture,
    dependence_picture,
    importance_bars,
    survey_overview,
)

LEAST_SHARE = 0.005
"""Share of the texts that a token is in, if it is listed."""
SWARM_TEXT = "distributions of the values of the most important players"


def survey_section(survey: Survey) -> Section:
    """Importance, distributions, cohorts, clusters, and what is suspicious."""
    source = {**survey.question, "digest": survey.question.get("parameters", "")}
    body = text_survey_body(survey) if survey.of_texts else survey_body(survey_overview(survey))
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=body, sources=(source,))


def text_survey_body(survey: Survey) -> Markup:
    """Tokens or words with what they are worth over all texts."""
    found = survey.tokens()
    least = max(2, round(found.rows * LEAST_SHARE))
    down, up = found.extremes(MOST_TOKENS, least=least)
    shown = found.top(MOST_TOKENS, least=least)
    return render_template(
        "survey_texts.html.j2",
        {
            "finding": text_finding(found, up, down),
            "facts": text_facts(survey, found),
            "note": token_note(found, least),
            "tables": [
                (f"{found.kind.capitalize()} of the largest mean size", token_lines(shown)),
                ("What raises the output most", token_lines(up)),
                ("What lowers it most", token_lines(down)),
            ],
        },
    )


def token_lines(tokens: Mapping[Token, TokenEstimate]) -> list[tuple[str, Markup, str, str, str, str]]:
    """Name, bar with its interval, and numbers."""
    scale = max((one.size + INTERVAL * np.nan_to_num(one.size_stderr) for one in tokens.values()), default=1.0) or 1.0
    return [
        (
            str(name),
            svg.size_bar(one.size, scale, f"{name}: {style.number(one.size)}", error=INTERVAL * one.size_stderr),
            f"{style.number(one.size)} \N{PLUS-MINUS SIGN} {style.number(INTERVAL * one.size_stderr, digits=2)}",
            f"{style.signed_number(one.mean)} \N{PLUS-MINUS SIGN} {style.number(INTERVAL * one.stderr, digits=2)}",
            f"{one.count:,}",
            f"{one.rows:,}",
        )
        for name, one in tokens.items()
    ]


def survey_body(shown: SurveyOverview) -> Markup:
    """The section without its heading."""
    return render_template(
        "survey.html.j2",
        {
            "finding": finding(shown),
            "facts": facts(shown),
            "bars": bar_lines(shown.bars),
            "maps": _maps(shown),
            "swarm": _swarm(shown),
            "dependence": _dependence(shown),
            "cohorts": [(table.by, table.names, _cohort_lines(table)) for table in shown.cohorts],
            "clusters": _clusters(shown),
            "shortcut_note": shortcut_note(shown.shortcuts) if shown.summary.by else "",
            "shortcuts": [repr(one) for one in shown.shortcuts],
            "tokens": token_lines(shown.tokens),
        },
    )


def short_survey_body(survey: Survey) -> Markup:
    """Facts and the most important players, for a notebook."""
    if survey.of_texts or survey.manifest.sums:
        text = repr(survey.tokens()) if survey.of_texts else repr(survey.result())
        return render_template("survey_short.html.j2", {"text": repr(survey), "bars": [], "said": text})
    summary = survey.summary()
    bars = importance_bars(summary)
    return render_template("survey_short.html.j2", {"text": repr(survey), "bars": bar_lines(bars), "said": ""})


def bar_lines(bars: Sequence[ImportanceBar]) -> list[tuple[str, Markup, str, str, str]]:
    """Name, bar with its interval, and numbers."""
    scale = max((bar.size + np.nan_to_num(bar.error) for bar in bars), default=1.0) or 1.0
    return [
        (
            bar.name,
            svg.size_bar(bar.size, scale, f"{bar.name}: {style.number(bar.size)}", error=bar.error),
            f"{style.number(bar.size)} \N{PLUS-MINUS SIGN} {style.number(bar.error, digits=2)}",
            style.signed_number(bar.mean),
            f"{style.signed_number(bar.low)} to {style.signed_number(bar.high)}",
        )
        for bar in bars
    ]


def audit_summary_section(found: AuditSummary) -> Section:
    """How methods keep to the principles over many rows."""
    errors = dict((name, error) for name, _, error in found.ranking())
    scale = max((mean + INTERVAL * np.nan_to_num(error) for _, mean, error in found.ranking()), default=1.0) or 1.0
    lines = [
        (
            style.method_name(name),
            svg.size_bar(mean, scale, f"{name}: {style.number(mean)}", error=INTERVAL * errors[name]),
            f"{style.number(mean)} \N{PLUS-MINUS SIGN} {style.number(INTERVAL * errors[name], digits=2)}",
            *(style.percent(share) for share in found.held[found.methods.index(name)].tolist()),
        )
        for name, mean, _ in found.ranking()
    ]
    body = render_template("audit_summary.html.j2", {"note": audit_summary_note(found), "lines": lines})
    return Section(heading=AUDIT_HEADING, anchor=anchor_of(AUDIT_HEADING), body=body)


def drift_section(drift: ExplanationDrift) -> Section:
    """What weighs more or less than it did."""
    lines = [
        (name, style.signed_number(change), style.number(error, digits=2), style.number(p, digits=2), style.number(distance))
        for (name, change, error, p), distance in zip(drift.top(12), sorted(drift.distance.tolist(), reverse=True), strict=False)
    ]
    body = render_template("drift.html.j2", {"note": drift_note(drift), "lines": lines})
    return Section(heading=DRIFT_HEADING, anchor=anchor_of(DRIFT_HEADING), body=body)


def _maps(shown: SurveyOverview) -> list[tuple[str, Markup]]:
    """Mean sizes, then the mean map of each class on one scale."""
    if shown.sizes is None:
        return []
    first = svg.sequential_map(shown.sizes, float(shown.sizes.max()) or 1.0, "mean size of the values")
    scale = max((float(np.abs(values).max()) for values in shown.maps.values()), default=1.0) or 1.0
    return [("mean size", first), *((name, svg.heatmap(values, scale, f"mean map of {name}")) for name, values in shown.maps.items())]


def _swarm(shown: SurveyOverview) -> dict[str, object] | None:
    if shown.swarm is None:
        return None
    cells = shown.swarm
    low, high = float(cells.edges[0]), float(cells.edges[-1])
    return {
        "names": cells.names,
        "strip": STRIP,
        "picture": svg.pixels(beeswarm_picture(cells), SWARM_TEXT, stretch=True, numbers=svg.numbers_attribute(_swarm_rows(cells))),
        "low": style.signed_number(low),
        "high": style.signed_number(high),
        "zero": f"{100 * (0 - low) / (high - low):.2f}",
        "caption": swarm_caption(shown.summary, cells.counts.shape[2] > 1),
    }


def _swarm_rows(cells: BeeswarmCells) -> list[tuple[object, ...]]:
    """How many rows have a value between which ends, player by player."""
    ends = list(zip(cells.edges[:-1].tolist(), cells.edges[1:].tolist(), strict=True))
    rows: list[tuple[object, ...]] = [("player", "from", "to", "rows")]
    for name, counts in zip(cells.names, cells.counts.sum(2).tolist(), strict=True):
        rows += [(name, low, high, int(count)) for (low, high), count in zip(ends, counts, strict=True) if count]
    return rows


def _dependence(shown: SurveyOverview) -> dict[str, object] | None:
    if shown.dependence is None:
        return None
    picture, x, y = dependence_picture(shown.dependence)
    caption = dependence_caption(shown.dependence)
    return {
        "picture": svg.pixels(picture, caption, stretch=True, numbers=svg.numbers_attribute(_dependence_rows(shown.dependence))),
        "x": [*map(style.number, x)],
        "y": [*map(style.signed_number, y)],
        "caption": caption,
    }


def _dependence_rows(shown: Dependence) -> list[tuple[object, ...]]:
    return [(shown.name, "value"), *zip(shown.x.tolist(), shown.y.tolist(), strict=True)]


def _cohort_lines(table: CohortTable) -> list[tuple[str, list[object]]]:
    scale = float(np.abs(np.nan_to_num(table.means)).max()) or 1.0
    return [
        (player, [coloured_text(float(value), scale, style.signed_number(float(value))) for value in row])
        for player, row in zip(table.players, table.means, strict=True)
    ]


def _clusters(shown: SurveyOverview) -> list[tuple[str, Markup, str]]:
    """How many rows are like which, with its map, or with its largest values."""
    if shown.clusters is None or shown.prototypes is None:
        return []
    found = []
    known = shown.prototypes.provenance.get(PER_SAMPLE) or {}
    for place, size in enumerate(shown.clusters.sizes.tolist()):
        one = shown.prototypes[place]
        called = known["id"][place] if "id" in known else f"row {known['row'][place]}"
        words = ", ".join(f"{' & '.join(names)} {style.signed_number(value)}" for names, value in one.top(3))
        picture = Markup("")
        if shown.sizes is not None:
            values = paint_players(one.players, one.flat.double().numpy())
            picture = svg.heatmap(values, float(np.abs(values).max()) or 1.0, f"values of {called}")
        found.append((f"{size:,} rows like {called}", picture, words))
    return found
