"""Statistics of any number of rows, taken in parts: every one has ``add(batch)``, ``merge(other)`` and ``result()``.

Merged parts equal one pass over all rows, in whatever order and however they were split: sums in double precision by their means and
squared deviations (Chan1983), and quantiles by counts in buckets, which are whole numbers (Masson2019).

Axes: B rows of a batch, K values of a row, P players.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.core.numbers import Limit, real_number
from vesalius.core.samples import PER_SAMPLE

MOST_COVARIANCES = 4096
"""Values of a row whose covariances are kept: 134 MB."""
BUCKETS = 1 << 19
"""Codes of one value's buckets: negative numbers, zero, positive ones."""
MIDDLE = BUCKETS // 2


@dataclass(frozen=True, eq=False, kw_only=True)
class MeanEstimate:
    """Means over rows.

    Attributes:
        mean: [K]; NaN of no rows.
        stderr: [K] standard errors; NaN of a single row.
        deviation: [K] standard deviations, likewise.
        count: rows.
    """

    mean: Float[ndarray, " K"]
    stderr: Float[ndarray, " K"]
    deviation: Float[ndarray, " K"]
    count: int


@dataclass(eq=False)
class RunningMoments:
    """Number of rows, their means and their sums of squared deviations.

    Attributes:
        count: rows.
        mean: [K].
        squares: [K] sums of squared deviations from the mean.
    """

    count: int = 0
    mean: Float[ndarray, " K"] = field(default_factory=lambda: np.zeros(0))
    squares: Float[ndarray, " K"] = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(cls, rows: Float[ndarray, "B K"]) -> RunningMoments:
        """Those of some rows."""
        mean = rows.mean(0)
        return cls(len(rows), mean, np.square(rows - mean).sum(0))

    def merge(self, other: RunningMoments) -> None:
        """Take in other rows.

        Reference: Chan1983.
        """
        if not other.count:
            return
        if not self.count:
            self.count, self.mean, self.squares = other.count, other.mean.copy(), other.squares.copy()
            return
        count = self.count + other.count
        apart = other.mean - self.mean
        self.mean = self.mean + apart * (other.count / count)
        self.squares = self.squares + other.squares + np.square(apart) * (self.count * other.count / count)
        self.count = count

    def estimate(self) -> MeanEstimate:
        """Means with their errors."""
        free = self.count - 1
        deviation = np.sqrt(self.squares / free) if free > 0 else np.full_like(self.mean, math.nan)
        return MeanEstimate(mean=self.mean, stderr=deviation / math.sqrt(max(self.count, 1)), deviation=deviation, count=self.count)


@dataclass(eq=False)
class MeanAbsolute:
    """Means of the sizes of all values, |value|: global importance."""

    moments: RunningMoments = field(default_factory=RunningMoments)

    def add(self, batch: Allocation) -> None:
        self.moments.merge(RunningMoments.of(np.abs(value_rows(batch))))

    def merge(self, other: MeanAbsolute) -> None:
        self.moments.merge(other.moments)

    def result(self) -> MeanEstimate:
        return self.moments.estimate()


@dataclass(eq=False)
class CohortMeans:
    """Means of the values, with their sign, of each cohort: mean maps by class.

    Attributes:
        by: the column whose values make the cohorts; empty for one of all rows.
        cohorts: moments of each, by the column's value.
    """

    by: str = ""
    absolute: bool = False
    cohorts: dict[Any, RunningMoments] = field(default_factory=dict)

    def add(self, batch: Allocation) -> None:
        rows = value_rows(batch)
        rows = np.abs(rows) if self.absolute else rows
        if not self.by:
            self._add_cohort("", RunningMoments.of(rows))
            return
        names = column_of(batch, self.by)
        for name in dict.fromkeys(names):
            own = np.array([other == name for other in names])
            self._add_cohort(name, RunningMoments.of(rows[own]))

    def _add_cohort(self, name: Any, moments: RunningMoments) -> None:
        self.cohorts.setdefault(name, RunningMoments()).merge(moments)

    def merge(self, other: CohortMeans) -> None:
        for name, moments in other.cohorts.items():
            self._add_cohort(name, moments)

    def result(self) -> dict[Any, MeanEstimate]:
        return {name: self.cohorts[name].estimate() for name in sorted(self.cohorts, key=lambda name: (str(type(name)), name))}


@dataclass(eq=False)
class MapCovariance:
    """Covariances of the values of a row: which go together.

    Attributes:
        count: rows.
        mean: [K].
        products: [K K] sums of products of deviations.
    """

    count: int = 0
    mean: Float[ndarray, " K"] = field(default_factory=lambda: np.zeros(0))
    products: Float[ndarray, "K K"] = field(default_factory=lambda: np.zeros((0, 0)))

    def add(self, batch: Allocation) -> None:
        rows = value_rows(batch)
        if rows.shape[1] > MOST_COVARIANCES:
            raise InvalidInput(
                f"covariances of {rows.shape[1]:,} values are too many; group the players first (at most {MOST_COVARIANCES:,})"
            )
        mean = rows.mean(0)
        self._merge_sums(len(rows), mean, (rows - mean).T @ (rows - mean))

    def merge(self, other: MapCovariance) -> None:
        if other.count:
            self._merge_sums(other.count, other.mean, other.products)

    def _merge_sums(self, rows: int, mean: Float[ndarray, " K"], products: Float[ndarray, "K K"]) -> None:
        if not self.count:
            self.count, self.mean, self.products = rows, mean.copy(), products.copy()
            return
        count = self.count + rows
        apart = mean - self.mean
        self.mean = self.mean + apart * (rows / count)
        self.products = self.products + products + np.outer(apart, apart) * (self.count * rows / count)
        self.count = count

    def result(self) -> Float[ndarray, "K K"]:
        """Covariances; NaN of fewer than two rows."""
        return self.products / (self.count - 1) if self.count > 1 else np.full_like(self.products, math.nan)


@dataclass(eq=False)
class QuantileSketch:
    """Quantiles of every value to a relative accuracy, in memory that does not grow with the rows.

    Numbers are counted in buckets whose ends grow by a constant factor. Counts are whole numbers, so that merged sketches are equal to the
    sketch of all rows, whatever the order, which a sketch that samples is not.

    Attributes:
        accuracy: largest relative error of a quantile, in (0, 0.5).
        width: values of a row.
        codes: buckets that hold something, by value and then by size.
        counts: how many, in each.

    Reference: Masson2019.
    """

    accuracy: float = 0.01
    width: int = 0
    codes: Int[ndarray, " C"] = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: Int[ndarray, " C"] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        self.accuracy = real_number("the accuracy of quantiles", self.accuracy, Limit(least=1e-4, below=0.5))

    @property
    def _log_base(self) -> float:
        """Logarithm of the factor between the ends of a bucket."""
        return math.log1p(self.accuracy) - math.log1p(-self.accuracy)

    def add(self, batch: Allocation) -> None:
        rows = value_rows(batch)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.ceil(np.log(np.abs(rows)) / self._log_base)
        if not np.isfinite(rows).all():
            raise InvalidInput("quantiles of NaN or infinite values; leave those rows out")
        place = np.where(rows == 0, 0, np.clip(size, -MIDDLE // 2 + 1, MIDDLE // 2 - 1) + MIDDLE // 2).astype(np.int64)
        codes = np.arange(rows.shape[1]) * BUCKETS + MIDDLE + np.where(rows < 0, -place, place)
        self._merge_counts(rows.shape[1], *np.unique(codes, return_counts=True))

    def merge(self, other: QuantileSketch) -> None:
        if other.accuracy != self.accuracy:
            raise InvalidInput(f"sketches of accuracies {self.accuracy:g} and {other.accuracy:g} have other buckets; use one accuracy")
        self._merge_counts(other.width, other.codes, other.counts)

    def _merge_counts(self, width: int, codes: Int[ndarray, " _"], counts: Int[ndarray, " _"]) -> None:
        self.width = max(self.width, width)
        place = np.searchsorted(self.codes, codes)
        known = np.zeros(len(codes), bool)
        inside = place < len(self.codes)
        known[inside] = self.codes[place[inside]] == codes[inside]
        self.counts = self.counts.copy()
        self.counts[place[known]] += counts[known]
        self.codes = np.insert(self.codes, place[~known], codes[~known])
        self.counts = np.insert(self.counts, place[~known], counts[~known])

    def result(self) -> QuantileSketch:
        return self

    def quantile(self, share: float) -> Float[ndarray, " K"]:
        """The number below which a share of the rows lies, of every value."""
        share = real_number("a share of the rows", share, Limit(least=0, most=1))
        if not self.width:
            return np.zeros(0)
        owner = self.codes // BUCKETS
        totals = np.bincount(owner, self.counts, minlength=self.width)
        before = np.concatenate([[0.0], np.cumsum(totals)[:-1]])
        rank = before + np.floor(share * (totals - 1)) + 0.5
        found: Float[ndarray, " K"] = self._sizes()[np.searchsorted(np.cumsum(self.counts), rank)]
        return found

    def _sizes(self) -> Float[ndarray, " C"]:
        """The middle of each bucket, as far from its ends in ratio."""
        place = self.codes % BUCKETS - MIDDLE
        top = np.exp((np.abs(place) - MIDDLE // 2) * self._log_base)
        return np.where(place == 0, 0.0, np.sign(place) * top * (1 - self.accuracy))


def value_rows(batch: Allocation) -> Float[ndarray, "B K"]:
    """The values of a batch in float64, a row each."""
    found: Float[ndarray, "B K"] = batch.flat.detach().cpu().double().reshape(len(batch), -1).numpy()
    return found


def column_of(batch: Allocation, name: str) -> list[Any]:
    """What is known of each row of a batch by a name.

    Raises:
        UnknownName: nothing of that name.
    """
    each = batch.provenance.get(PER_SAMPLE) or {}
    if name not in each:
        raise UnknownName("column", name, each)
    return list(each[name])
