"""All pairs at once from tables of counts: a test that is exact in its moments, and a value that is good enough to rank by.

Axes: N rows, A units of X, B units of Y.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Shaped
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.options import Options
from vesalius.information.estimators.contingency import CELLS_AT_ONCE, JointCounts
from vesalius.information.estimators.discretization import Discretization
from vesalius.information.estimators.estimate import REPEATED_ROWS, PairwiseInformation, check_pair, rows_repeat

BINS_FROM = (128, 4000)
"""Rows from which there are 16 bins and not 8, and 32."""
MOST_PILOT_ROWS = 1 << 16
"""Rows that edges are fitted to; more would not move them by much."""


@dataclass(frozen=True, kw_only=True)
class Binned(Options):
    """Tables of counts: the test for every pair, and the value for large layers and streams.

    A unit is cut into bins of equal mass, and each of its atoms (a value that many rows share) has a slot of its own. All pairs are counted
    by products of one-hot matrices. A pair is tested at three resolutions by Pearson's statistic with its exact mean and variance under
    permutation, and by the correlation of ranks; the four p-values are combined into one. The value is the plug-in information less its
    exact expectation under independence, extrapolated over the two finest resolutions.

    Not in Davis2020, who name no test. The recipe, its bin numbers and its extrapolation are ours.

    Args:
        bins: most bins of a unit: 16, 32 or 64; by default 16, 8 below 128 rows, and 32 from 4000.
    """

    bins: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bins not in (None, 16, 32, 64):
            raise InvalidInput(f"{self.bins} bins; expected 16, 32 or 64, which pool by two down to 4, or None to choose by the rows")

    @verb
    def estimate(
        self, X: Shaped[Tensor, "N A"], Y: Shaped[Tensor, "N B"], *, generator: torch.Generator | None = None
    ) -> PairwiseInformation:
        """Information of all pairs.

        Args:
            X: units of one side; any real dtype, whole numbers and booleans are labels like any other value.
            Y: units of the other side, the same rows.
            generator: chooses the rows that edges are fitted to, where there are more than 65536.

        Raises: as :func:`~vesalius.information.estimators.estimate.check_pair`.
        """
        rows_x, rows_y = check_pair(X, Y)
        x, y = self._slots(rows_x, rows_y, generator)
        codes_y = y.codes(rows_y)
        units = max(1, CELLS_AT_ONCE // (len(y) * int(x.width.max())))
        found = []
        for first in range(0, len(x.bins), units):
            last = min(first + units, len(x.bins))
            counts = JointCounts.empty(x.part(first, last), y)
            counts.add_codes(counts.x.codes(rows_x[:, first:last]), codes_y)
            found.append(counts.result())
        whole = found[0] if len(found) == 1 else _concatenate(found)
        repeat = rows_repeat(rows_x, rows_y)
        return replace(whole, doubts=torch.full_like(whole.doubts, REPEATED_ROWS)) if repeat else whole

    @verb
    def counts(self, X: Shaped[Tensor, "N A"], Y: Shaped[Tensor, "N B"], *, generator: torch.Generator | None = None) -> JointCounts:
        """Empty counts whose slots are fitted to a pilot: the start of a stream.

        Args:
            X: the pilot, a thousand rows or more that are like the rows to come. Rows unlike it cost power, not validity.
            Y: the other side of it.
            generator: as in :meth:`estimate`.

        Returns:
            Counts without any row; add all rows to them, those of the pilot included.

        Raises: as :meth:`estimate`.
        """
        return JointCounts.empty(*self._slots(*check_pair(X, Y), generator))

    def _slots(self, X: Tensor, Y: Tensor, generator: torch.Generator | None) -> tuple[Discretization, Discretization]:
        bins = self.bins or usual_bins(len(X))
        if len(X) > MOST_PILOT_ROWS:
            kept = torch.randperm(len(X), generator=generator)[:MOST_PILOT_ROWS]
            X, Y = X[kept], Y[kept]
        return Discretization.fit(X, bins), Discretization.fit(Y, bins)


def usual_bins(rows: int) -> int:
    """Bins of a unit for so many rows."""
    return 8 if rows < BINS_FROM[0] else 16 if rows < BINS_FROM[1] else 32


def _concatenate(parts: list[PairwiseInformation]) -> PairwiseInformation:
    """Results of consecutive units of X as one."""
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in ("values", "stderr", "null", "p", "doubts", "refined")}
    first = parts[0]
    return PairwiseInformation(
        **joined,
        dead_x=torch.cat([part.dead_x for part in parts]),
        dead_y=first.dead_y,
        estimator=first.estimator,
        samples=first.samples,
        stderr_note=first.stderr_note,
    )
