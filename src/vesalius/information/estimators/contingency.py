"""Joint counts of all pairs of units, which add up over batches and shards, and what can be read off them.

Axes: N rows, A units of X, B units of Y, S and T slots of all units of X and of Y.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log

import torch
from jaxtyping import Float64, Int, Int64, Shaped
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.information.estimators import null_distribution
from vesalius.information.estimators.discretization import Discretization
from vesalius.information.estimators.estimate import PairwiseInformation, check_units, require_rows, sample_limit_doubts
from vesalius.information.estimators.independence_tests import chi2_null, independence_p
from vesalius.information.estimators.resolution import Resolution, count_margins

ROWS_AT_ONCE = 8192
"""Rows of one matrix product; below 2**24, so that counts in float32 are exact."""
CELLS_AT_ONCE = 1 << 23
"""Numbers in a temporary matrix."""
COARSEST_BINS = 4
"""Bins of a unit at the coarsest resolution."""
STDERR_NOTE = (
    "a value lacks what a pair shares within a bin, and the error does not cover that: strong (above 1 nat) or quickly oscillating pairs"
)


@dataclass(eq=False)
class JointCounts:
    """How many rows fall in each slot of x and each slot of y, for all pairs, with slots that are fixed from the start.

    Memory is that of the table, 4 bytes a cell, and does not grow with the rows. Counts of shards with the same slots add up to exactly
    the counts of all rows.

    Attributes:
        x: slots of the units of X.
        y: slots of the units of Y.
        joint: the table.
        samples: rows counted.
    """

    x: Discretization
    y: Discretization
    joint: Int[Tensor, "S T"]
    samples: int = 0

    @classmethod
    @verb
    def empty(cls, x: Discretization, y: Discretization) -> JointCounts:
        """No rows yet."""
        return cls(x, y, torch.zeros(len(x), len(y), dtype=torch.int32))

    @verb
    def fresh(self) -> JointCounts:
        """No rows yet, with the same slots: for another shard."""
        return JointCounts.empty(self.x, self.y)

    @verb
    def add(self, X: Shaped[Tensor, "N A"], Y: Shaped[Tensor, "N B"]) -> JointCounts:
        """Count more rows, in place; any number of them, and the units that the slots were made for.

        Raises: as :func:`~vesalius.information.estimators.estimate.check_units`, and :class:`InvalidInput` for another number of units, or
            of rows on one side.
        """
        rows = check_units(X, "X"), check_units(Y, "Y")
        for name, got, slots in (("X", rows[0], self.x), ("Y", rows[1], self.y)):
            if got.shape[1] != len(slots.bins):
                raise InvalidInput(f"{name} has {got.shape[1]} units; these counts are of {len(slots.bins)}")
        if len(rows[0]) != len(rows[1]):
            raise InvalidInput(f"X has {len(rows[0])} rows and Y has {len(rows[1])}; row n of both must be the same sample")
        self.add_codes(self.x.codes(rows[0]), self.y.codes(rows[1]))
        return self

    @verb
    def add_codes(self, x: Int64[Tensor, "N A"], y: Int64[Tensor, "N B"]) -> None:
        """Count rows given by their slots, as products of one-hot matrices, block by block."""
        block = max(64, min(ROWS_AT_ONCE, CELLS_AT_ONCE // (len(self.x) + len(self.y))))
        band = max(1, CELLS_AT_ONCE // len(self.y))
        for codes_x, codes_y in zip(x.split(block), y.split(block), strict=True):
            hot_x, hot_y = _one_hot(codes_x, len(self.x)), _one_hot(codes_y, len(self.y))
            for first in range(0, len(self.x), band):
                self.joint[first : first + band] += (hot_x[:, first : first + band].T @ hot_y).int()
        self.samples += len(x)

    @verb
    def merge(self, other: JointCounts) -> JointCounts:
        """Add the rows of another shard, in place.

        Raises:
            InvalidInput: its slots are others, so that the cells do not mean the same.
        """
        if not (self.x.equals(other.x) and self.y.equals(other.y)):
            raise InvalidInput("these counts have other slots; begin all shards from one set of counts, by counts.fresh()")
        self.joint += other.joint
        self.samples += other.samples
        return self

    def __add__(self, other: JointCounts) -> JointCounts:
        return JointCounts(self.x, self.y, self.joint.clone(), self.samples).merge(other)

    @verb
    def result(self) -> PairwiseInformation:
        """Information of all pairs, debiased, with a test of each; as :class:`~vesalius.information.estimators.binned.Binned` says.

        Raises:
            InvalidInput: fewer than 16 rows so far.
        """
        require_rows(self.samples)
        found = [_BlockEstimator(part, self.samples).result() for part in self._bands()]
        values, stderr, null, p = (torch.cat(rows) for rows in zip(*found, strict=True))
        dead_x, dead_y = (
            _in_one_slot(self.x, self.joint[:, : int(self.y.width[0])].sum(1)),
            _in_one_slot(self.y, self.joint[: int(self.x.width[0])].sum(0)),
        )
        alive = ~(dead_x[:, None] | dead_y[None])
        values, stderr, null = (torch.where(alive, value, 0.0) for value in (values, stderr, null))
        return PairwiseInformation(
            values=values,
            stderr=stderr,
            null=null,
            p=torch.where(alive, p, 1.0),
            estimator="binned",
            samples=self.samples,
            dead_x=dead_x,
            dead_y=dead_y,
            doubts=sample_limit_doubts(values, self.samples),
            refined=torch.ones_like(alive),
            stderr_note=STDERR_NOTE,
        )

    def _bands(self) -> Iterator[Resolution]:
        """Tables in float64, a few units of X at a time."""
        units = max(1, CELLS_AT_ONCE // (len(self.y) * int(self.x.width.max())))
        for first in range(0, len(self.x.bins), units):
            last = min(first + units, len(self.x.bins))
            start, stop = int(self.x.start[first]), int(self.x.start[last - 1] + self.x.width[last - 1])
            yield Resolution(self.x.part(first, last), self.y, self.joint[start:stop].double())


def _one_hot(codes: Int64[Tensor, "N A"], slots: int) -> Tensor:
    return torch.zeros(len(codes), slots, dtype=torch.float32).scatter_(1, codes, 1.0)


def _in_one_slot(slots: Discretization, margin: Int[Tensor, " S"]) -> Tensor:
    """Units of which all rows are in one slot."""
    return torch.zeros(len(slots.bins), dtype=torch.long).index_add_(0, slots.owner, (margin > 0).long()) <= 1


@dataclass(eq=False)
class _BlockEstimator:
    """Everything that is read off one block of pairs."""

    finest: Resolution
    samples: int

    def result(self) -> tuple[Float64[Tensor, "A B"], Float64[Tensor, "A B"], Float64[Tensor, "A B"], Float64[Tensor, "A B"]]:
        """Values, standard errors, what was taken off as null, and p-values.

        Three resolutions are tested for any dependence, and the finest one for a monotone one, which takes a single degree of freedom. The
        value is extrapolated from the finest two, as if what bins hide fell with the square of their width.
        """
        levels = [self.finest]
        while int(max(levels[-1].x.bins.max(), levels[-1].y.bins.max())) > COARSEST_BINS:
            levels.append(levels[-1].halve_bins())
        (fine, null, square, noise), (coarse, null_coarse, _, noise_coarse) = map(self._information, (levels[0], levels[:2][-1]))
        value, taken = ((4 * a - b) / 3 for a, b in ((fine - null, coarse - null_coarse), (null, null_coarse)))
        noise_of_value = noise_coarse + 16 / 9 * (noise - noise_coarse).clamp_min(0)
        sampling = ((square - fine**2) / self.samples - 2 * noise).clamp_min(0)
        tested = [levels[0], *levels[1:][-2:]]
        return value, (sampling + noise_of_value).sqrt(), taken, independence_p(tested, self.samples)

    def _information(self, level: Resolution) -> tuple[Float64[Tensor, "A B"], ...]:
        """Plug-in information, its bias, the mean square of what a row adds to it, and its variance under independence.

        The bias is the exact expectation under independence, times how far the occupied cells go from the fewest possible (0) to what
        independence would occupy (1): a dependent pair leaves cells empty, and those add no bias.
        """
        n = self.samples
        log_x, log_y = (torch.where(margin > 0, margin.log(), 0.0) for margin in (level.margin_x, level.margin_y))
        local = level.joint.clamp_min(1).log_().sub_(log_x[:, None]).sub_(log_y).add_(log(n))
        plain = level.per_pair(weighted := level.joint * local) / n
        square = level.per_pair(weighted.mul_(local)) / n
        null = null_distribution.null_information(count_margins(level.x, level.margin_x), count_margins(level.y, level.margin_y), n)
        occupied = level.per_pair((level.joint > 0).double())
        room = null.cells - null.least  # below one cell all tables of these margins are alike, and the share of it would be noise over 0
        filled = torch.where(room > 1, (occupied - null.least) / room.clamp_min(1), 1.0).clamp_min(0)
        return plain, null.expected * filled, square, chi2_null(level, n)[1] * null.spread / (2 * n) ** 2
