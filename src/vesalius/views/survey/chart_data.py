"""What the charts of a survey show, computed once.

Axes: P players, H and W pixels of a picture, V cells of a value, F cells of what the samples hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.scale import (
    BeeswarmCells,
    Dependence,
    ExplanationClusters,
    Shortcut,
    Survey,
    SurveySummary,
    TokenEstimate,
    beeswarm_cells,
    dependence,
    explanation_clusters,
    find_shortcuts,
)
from vesalius.scale.statistics import CohortMeans, MeanEstimate
from vesalius.scale.tokens import Token
from vesalius.views import style
from vesalius.views.chart_data import divides_image, paint_players

MOST_PLAYERS = 12
"""Players that charts and tables name."""
MOST_COHORTS = 12
"""Cohorts beside each other; of more, the largest."""
MOST_CLUSTERS = 6
MOST_SHORTCUTS = 4
MOST_TOKENS = 20
STRIP = 21
"""Pixels of a player's strip in a beeswarm."""
GRID = (64, 128)
"""Cells of a dependence chart, up and across."""
INTERVAL = 1.96
"""Standard errors to either side that hold the truth 19 times in 20."""


@dataclass(frozen=True, kw_only=True)
class ImportanceBar:
    """A player's importance.

    Attributes:
        name: of the player.
        size: mean of |value|.
        error: half of a 95 % interval.
        mean: mean with its sign.
        low: 5 % of the values lie below.
        high: 5 % lie above.
    """

    name: str
    size: float
    error: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, kw_only=True)
class CohortTable:
    """Mean values of the most important players, by cohort.

    Attributes:
        by: the column.
        names: of the cohorts, with their numbers of rows.
        players: by name.
        means: a row per player, a column per cohort.
    """

    by: str
    names: tuple[str, ...]
    players: tuple[str, ...]
    means: Float[ndarray, "P cohorts"]


@dataclass(frozen=True, eq=False, kw_only=True)
class SurveyOverview:
    """All that a page shows of a survey.

    Attributes:
        survey: that is shown.
        summary: in numbers.
        bars: the most important players.
        swarm: distribution of their values; ``None`` for pictures.
        dependence: of the most important player, where the samples are known.
        cohorts: by label, prediction and error, as far as they are known.
        sizes: mean map of |value|, for pictures.
        maps: mean map of each class, by name, likewise.
        clusters: rows that are explained alike; ``None`` of too few rows.
        prototypes: the row nearest to the centre of each.
        shortcuts: groups of rows with their evidence in unusual places.
        tokens: mean sizes of the tokens with the largest, where ids were explained.
    """

    survey: Survey
    summary: SurveySummary
    bars: tuple[ImportanceBar, ...]
    swarm: BeeswarmCells | None
    dependence: Dependence | None
    cohorts: tuple[CohortTable, ...]
    sizes: Float[ndarray, "H W"] | None
    maps: Mapping[str, Float[ndarray, "H W"]]
    clusters: ExplanationClusters | None
    prototypes: Allocation | None
    shortcuts: tuple[Shortcut, ...]
    tokens: Mapping[Token, TokenEstimate]


def survey_overview(survey: Survey) -> SurveyOverview:
    """Everything a page shows, in some passes over the shards."""
    summary, first = survey.summary(), survey[0]
    picture = first.coalitions is None and divides_image(first.players)
    single = first.coalitions is None
    clusters = explanation_clusters(survey, min(MOST_CLUSTERS, len(survey) // 4)) if len(survey) >= 8 else None
    found = find_shortcuts(survey) if single and "predicted" in survey.columns and summary.by else []
    held = None if not single else first.inputs_by_player
    ids = held is not None and not held.dtype.is_floating_point
    return SurveyOverview(
        survey=survey,
        summary=summary,
        bars=importance_bars(summary),
        swarm=None if picture else beeswarm_cells(survey, most=MOST_PLAYERS),
        dependence=None if picture or held is None or ids else dependence(survey, summary.top(1)[0][0]),
        cohorts=() if picture else cohort_tables(survey, summary),
        sizes=paint_players(first.players, summary.importance.mean) if picture else None,
        maps=class_maps(survey, summary, first) if picture else {},
        clusters=clusters,
        prototypes=None if clusters is None else survey[clusters.prototypes],
        shortcuts=tuple(found[:MOST_SHORTCUTS]),
        tokens=survey.tokens().top(MOST_TOKENS) if ids else {},
    )


def importance_bars(summary: SurveySummary, most: int = MOST_PLAYERS) -> tuple[ImportanceBar, ...]:
    """The most important players with 95 % intervals."""
    low, high = summary.quantiles[0.05], summary.quantiles[0.95]
    order = np.argsort(-summary.importance.mean, kind="stable")[:most].tolist()
    return tuple(
        ImportanceBar(
            name=summary.names[place],
            size=float(summary.importance.mean[place]),
            error=INTERVAL * float(summary.importance.stderr[place]),
            mean=float(summary.mean.mean[place]),
            low=float(low[place]),
            high=float(high[place]),
        )
        for place in order
    )


def cohort_tables(survey: Survey, summary: SurveySummary) -> tuple[CohortTable, ...]:
    """Mean values by label, prediction and error."""
    known = [name for name in ("label", "predicted", "error") if name in survey.columns]
    whole = [name for name in known if all(isinstance(value, (int, str)) for value in survey.column(name))]
    if not whole:
        return ()
    found = survey.measure(*(CohortMeans(name) for name in whole))
    order = np.argsort(-summary.importance.mean, kind="stable")[:MOST_PLAYERS]
    return tuple(_cohort_table(name, cohorts, summary, order, survey.classes) for name, cohorts in zip(whole, found, strict=True))


def _cohort_table(by: str, cohorts: Mapping[Any, MeanEstimate], summary: SurveySummary, order: Any, classes: Sequence[str]) -> CohortTable:
    largest = sorted(cohorts, key=lambda name: -cohorts[name].count)[:MOST_COHORTS]
    shown = [name for name in cohorts if name in largest]
    return CohortTable(
        by=by,
        names=tuple(f"{cohort_name(by, name, classes)} ({cohorts[name].count:,})" for name in shown),
        players=tuple(summary.names[place] for place in order),
        means=np.stack([cohorts[name].mean[order] for name in shown], axis=1),
    )


def cohort_name(by: str, value: Any, classes: Sequence[str]) -> str:
    """A cohort in words: the name of the class where it is known."""
    if by == "error":
        return "wrong" if value else "right"
    named = isinstance(value, int) and not isinstance(value, bool) and by in ("label", "predicted") and 0 <= value < len(classes)
    return str(classes[value]) if named else str(value)


def class_maps(survey: Survey, summary: SurveySummary, first: Allocation) -> dict[str, Float[ndarray, "H W"]]:
    """The mean map of each class, with its sign."""
    shown = list(summary.cohorts.items())[:MOST_COHORTS]
    return {
        f"{summary.by} {cohort_name(summary.by, name, survey.classes)} ({own.count:,})": paint_players(first.players, own.mean)
        for name, own in shown
    }


def beeswarm_picture(cells: BeeswarmCells) -> UInt8[ndarray, "H W 3"]:
    """A strip per player, thick where many rows have that value, coloured by what they hold: blue low, red high."""
    players, across, kinds = cells.counts.shape
    picture = np.full((players * STRIP, across, 3), style.PAPER, np.uint8)
    middle = style.diverging_colours(np.linspace(-1.0, 1.0, kinds) if kinds > 1 else np.array([-1.0]), 1.0)
    for place in range(players):
        total = cells.counts[place].sum(1)
        thick = np.where(total > 0, np.maximum(1, np.rint((STRIP - 4) * np.sqrt(total / max(total.max(), 1)))), 0).astype(int)
        for cell in np.flatnonzero(thick).tolist():
            share = np.cumsum(cells.counts[place, cell]) / total[cell]
            kind = np.searchsorted(share, (np.arange(thick[cell]) + 0.5) / thick[cell])
            top = place * STRIP + (STRIP - thick[cell]) // 2
            picture[top : top + thick[cell], cell] = middle[kind[::-1]]
    return picture


def dependence_picture(shown: Dependence) -> tuple[UInt8[ndarray, "H W 3"], tuple[float, float], tuple[float, float]]:
    """Cells coloured by the mean rank of the other player's inputs there, and the ends of both axes."""
    if not len(shown.x):
        raise InvalidInput("a dependence of no rows")
    ends = tuple((float(values.min()), float(values.max())) for values in (shown.x, shown.y))
    height, width = GRID
    across = _cells_of(shown.x, ends[0], width)
    up = height - 1 - _cells_of(shown.y, ends[1], height)
    ranks = np.argsort(np.argsort(shown.colour, kind="stable"), kind="stable") / max(len(shown.colour) - 1, 1) * 2 - 1
    _, same = np.unique(shown.colour, return_inverse=True)
    ranks = (np.bincount(same.reshape(-1), ranks) / np.bincount(same.reshape(-1)))[same.reshape(-1)]
    total, count = np.zeros(GRID), np.zeros(GRID)
    np.add.at(total, (up, across), ranks)
    np.add.at(count, (up, across), 1)
    picture = style.diverging_colours(total / np.maximum(count, 1), 1.0)
    if not shown.by:
        picture[:] = style.BLUE
    picture[count == 0] = (255, 255, 255)
    return picture, ends[0], ends[1]


def _cells_of(values: Float[ndarray, " N"], ends: tuple[float, float], count: int) -> Any:
    return np.clip(((values - ends[0]) / ((ends[1] - ends[0]) or 1.0) * count).astype(int), 0, count - 1)
