"""A survey, and the drift between two, as sections of a page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from vesalius.core.samples import PER_SAMPLE
from vesalius.scale import ExplanationDrift, Survey
from vesalius.scale.beeswarm import BeeswarmCells, Dependence
from vesalius.views import style, svg
from vesalius.views.chart_data import paint_players
from vesalius.views.html import Section, anchor_of, coloured_text, render_template
from vesalius.views.survey.captions import (
    DRIFT_HEADING,
    HEADING,
    dependence_caption,
    drift_note,
    facts,
    finding,
    shortcut_note,
    swarm_caption,
)
from vesalius.views.survey.chart_data import (
    STRIP,
    CohortTable,
    ImportanceBar,
    SurveyOverview,
    beeswarm_picture,
    dependence_picture,
    importance_bars,
    survey_overview,
)

SWARM_TEXT = "distributions of the values of the most important players"


def survey_section(survey: Survey) -> Section:
    """Importance, distributions, cohorts, clusters, and what is suspicious."""
    source = {**survey.question, "digest": survey.question.get("parameters", "")}
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=survey_body(survey_overview(survey)), sources=(source,))


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
            "tokens": [(str(token), style.number(size), f"{count:,}") for token, (size, count) in shown.tokens.items()],
        },
    )


def short_survey_body(survey: Survey) -> Markup:
    """Facts and the most important players, for a notebook."""
    summary = survey.summary()
    bars = importance_bars(summary)
    return render_template("survey_short.html.j2", {"text": repr(survey), "bars": bar_lines(bars)})


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
