"""A survey in numbers.

Axes: K values of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.scale.statistics import CohortMeans, MeanAbsolute, MeanEstimate, QuantileSketch

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that a summary holds."""
LISTED = 8
"""Values that a summary prints."""


@dataclass(eq=False)
class LargestGap:
    """The largest completeness error of any row, and the largest change of the output."""

    gap: float = 0.0
    change: float = 0.0

    def add(self, batch: Allocation) -> None:
        self.gap = float(np.fmax(self.gap, float(batch.gap.abs().max())))
        self.change = float(np.fmax(self.change, float((batch.total - batch.base).abs().max())))

    def merge(self, other: LargestGap) -> None:
        self.gap, self.change = float(np.fmax(self.gap, other.gap)), float(np.fmax(self.change, other.change))

    def result(self) -> tuple[float, float]:
        return self.gap, self.change


@dataclass(frozen=True, eq=False, kw_only=True)
class SurveySummary:
    """A survey in numbers.

    Attributes:
        names: of the values: players, or the members of coalitions.
        shape: of the values of a row; an image's, where players are its elements.
        kind: of the players.
        importance: means of |value|, with standard errors.
        mean: means of the values with their sign, likewise.
        quantiles: [K] by share.
        by: the column that makes the cohorts; empty where there is none.
        cohorts: means with their sign by the value of that column.
        gap: largest completeness error of any row.
        change: largest change of the output from base to total.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    kind: str
    importance: MeanEstimate
    mean: MeanEstimate
    quantiles: Mapping[float, Float[ndarray, " K"]]
    by: str
    cohorts: Mapping[Any, MeanEstimate]
    gap: float
    change: float

    def top(self, k: int = LISTED) -> list[tuple[str, float, float]]:
        """The k names of the largest mean size, each with it and its standard error."""
        order = np.argsort(-self.importance.mean, kind="stable")[:k]
        return [(self.names[place], float(self.importance.mean[place]), float(self.importance.stderr[place])) for place in order]

    def __repr__(self) -> str:
        lines = [f"{self.importance.count:,} rows, {len(self.names):,} {self.kind}; mean |value| with standard error, mean, 5 % to 95 %"]
        order = np.argsort(-self.importance.mean, kind="stable")[:LISTED]
        low, high = self.quantiles[SHARES[0]], self.quantiles[SHARES[-1]]
        for place in order:
            said = f"  {self.importance.mean[place]:.4g} \N{PLUS-MINUS SIGN} {self.importance.stderr[place]:.2g}"
            lines.append(f"{said}  {self.mean.mean[place]:+.4g}  [{low[place]:+.3g}, {high[place]:+.3g}]  {self.names[place]}")
        left = len(self.names) - len(order)
        lines += [f"  ... and {left:,} more"] if left else []
        lines.append(f"largest completeness error (gap) {self.gap:.2g}, largest change of the output {self.change:.4g}")
        return "\n".join(lines)


def summarise(survey: Any, by: str | None) -> SurveySummary:
    """The numbers of :meth:`vesalius.Survey.summary`.

    Raises:
        UnknownName: no such column.
        InvalidInput: a survey without rows.
    """
    if not len(survey):
        raise InvalidInput(f"the survey in {survey.folder} has no rows yet; call vesalius.survey again")
    if survey.of_texts:
        raise InvalidInput("each of these texts has players of its own, so that no player has a mean over them; .tokens() sums up by token")
    known = survey.columns
    if by is not None and by not in known:
        raise UnknownName("column", by, known)
    whole = [name for name in ("label", "predicted") if name in known and all(isinstance(value, int) for value in survey.column(name))]
    by = by if by is not None else next(iter(whole), "")
    statistics = MeanAbsolute(), CohortMeans(), CohortMeans(by), QuantileSketch(), LargestGap()
    importance, every, cohorts, sketch, (gap, change) = survey.measure(*statistics)
    first = survey[0]
    return SurveySummary(
        names=value_names(first),
        shape=tuple(first.values.shape),
        kind=first.players.kind if first.coalitions is None else "coalitions",
        importance=importance,
        mean=every[""],
        quantiles={share: sketch.quantile(share) for share in SHARES},
        by=by,
        cohorts=cohorts if by else {},
        gap=gap,
        change=change,
    )


def value_names(one: Allocation) -> tuple[str, ...]:
    """What the values of a row are called: players, or the members of coalitions."""
    if one.coalitions is None:
        return tuple(one.players.names)
    members = (row.nonzero().flatten().tolist() for row in one.coalitions)
    return tuple(" & ".join(one.players.name(player) for player in row) for row in members)
