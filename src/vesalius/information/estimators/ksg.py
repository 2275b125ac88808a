"""The value of a pair by nearest neighbours, exact about atoms.

Axes: N rows, A units of X, B units of Y.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float64, Shaped
from numpy.typing import NDArray
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.lazy import LazyModule
from vesalius.core.numbers import POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.information.estimators import ksg_kdtree
from vesalius.information.estimators.binned import Binned
from vesalius.information.estimators.estimate import (
    ABOVE_LIMIT,
    DETERMINED,
    REPEATED_ROWS,
    SPARSE_LEVELS,
    PairwiseInformation,
    check_pair,
)
from vesalius.information.estimators.levels import count_levels, level_information, shuffle_levels
from vesalius.information.estimators.mixed_variables import AtomRule, MixedVariables

special = LazyModule("scipy.special")

NUMBA_MODULE = "vesalius.information.estimators.ksg_numba"
SHARED_NEIGHBOUR_VARIANCE = (0.44, 0.15)
"""Local terms share neighbours, so their mean varies more than that of independent ones: by these shares of the variance where both units,
and where one unit, are at no atom. Measured on channels of known truth, as benchmarks/mutual_information.py lists them; not a theorem."""
PAIRS_AT_ONCE = 64
MOST_TABLE_BIAS = 0.02
"""Bias of a table of atoms, in nats, above which it is too sparse to be taken off to first order."""
MOST_LEVELS = 0.02
"""Levels of a unit, as a share of the rows, above which neighbours within a level are too few to compare with those of all."""
ORDERED_SHARE = 0.8
"""Share of the information that may be left when levels are named anew, for their order to carry it."""
MOST_GAP = 0.04
"""Nats between what rows that were left out confirm and what the table claims, above which a pair of classes is flagged."""
SYSTEMATIC_ERROR, SYSTEMATIC_FROM, SYSTEMATIC_ROWS = 0.015, 0.3, 4000
"""Bias of neighbours, as one standard deviation over the channels of benchmarks/mutual_information.py: in nats, as a share above 1 nat,
less in proportion below the second number, as independent units have none, and more with the root of fewer rows than the third."""
STDERR_NOTE = (
    "the error has no part for bias, which dominates where one unit all but determines the other or depends on it in narrow bands: in"
    " benchmarks/mutual_information.py uniform noise (+-0.1, +-0.75), sines of three periods, and correlations from 0.99"
)


@dataclass(frozen=True, kw_only=True)
class KSG(Options):
    """Kraskov's first estimator on normal scores, with atoms split off by the chain rule.

    Let B say which atom a unit is at, or none. B is a function of the unit, so the information of X and Y is exactly that of the table of
    B_X and B_Y, plus, where X is at no atom, that of X with B_Y, the same with X and Y exchanged, and, where neither is, that of X and Y.
    The first is counted, the next two are by Ross's estimator and the last is by Kraskov's. A part with at most 4 k rows, or a class with
    at most k, is taken as 0. The test is the one of :class:`~vesalius.information.estimators.binned.Binned`: a value of few neighbours has
    almost no power.

    Reference: Kraskov2004 (KSG-1), Ross2014. Differs from Davis2020, who use the estimator of Gao2017, which is biased upwards where
    independent units have atoms.

    Args:
        k: neighbours. More scatter less, but a dependence narrower than k points is smoothed away.
        queries: most rows at which neighbours are looked up, among all rows; None, at all. The others are known by a table of coarse bins,
            by regression on which the mean over all rows is estimated; the error tells what that leaves.
        compiled: use numba; None, to use it where it is installed. Trees count the same neighbours and take about six times as long.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"k": POSITIVE_COUNT, "queries": Limit(least=16)}
    k: int = 3
    queries: int | None = None
    compiled: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compiled and not _has_numba():
            raise InvalidInput("numba is not installed; install it, or take compiled=None for k-d trees, which are slower")

    @verb
    def estimate(
        self, X: Shaped[Tensor, "N A"], Y: Shaped[Tensor, "N B"], *, generator: torch.Generator | None = None
    ) -> PairwiseInformation:
        """Information of all pairs.

        Args:
            X: units of one side.
            Y: units of the other side, the same rows.
            generator: breaks ties that are no atoms, and draws the rows at which neighbours are looked up.

        Raises: as :func:`~vesalius.information.estimators.estimate.check_pair`.
        """
        screened = Binned().estimate(X, Y, generator=generator)
        return self.refine(screened, X, Y, chosen=torch.ones_like(screened.refined), generator=generator)

    @verb
    def refine(
        self,
        screened: PairwiseInformation,
        X: Shaped[Tensor, "N A"],
        Y: Shaped[Tensor, "N B"],
        *,
        chosen: Bool[Tensor, "A B"],
        generator: torch.Generator | None = None,
    ) -> PairwiseInformation:
        """Replace the values of some pairs.

        Args:
            screened: what is known of all pairs; its tests are kept.
            X: units of one side.
            Y: units of the other side.
            chosen: pairs to estimate anew; those with a constant unit are left alone.
            generator: as in :meth:`estimate`.
        """
        rows_x, rows_y = check_pair(X, Y)
        chosen = chosen & ~(screened.dead_x[:, None] | screened.dead_y)
        found = [table.clone() for table in (screened.values, screened.stderr, screened.null, screened.doubts)]
        if bool(chosen.any()):
            for table, numbers in zip(found, self._estimates(rows_x, rows_y, chosen, generator), strict=True):
                table[chosen] = torch.from_numpy(numbers).to(table.dtype)
        values, stderr, null, doubts = found
        return replace(
            screened,
            values=values,
            stderr=stderr,
            null=null,
            doubts=torch.where(screened.doubts == REPEATED_ROWS, REPEATED_ROWS, doubts),
            estimator="neighbours",
            refined=chosen,
            stderr_note=STDERR_NOTE,
        )

    def _estimates(
        self, X: Float64[Tensor, "N A"], Y: Float64[Tensor, "N B"], chosen: Bool[Tensor, "A B"], generator: torch.Generator | None
    ) -> NDArray[np.float64]:
        """Values, standard errors, what was taken off, and doubts of the pairs chosen.

        Pairs whose joint table would be mostly empty are read by other means, by whether both units consist of levels or one of them.
        """
        units = chosen.nonzero().T.contiguous().numpy()
        count = len(X) if self.queries is None else min(len(X), self.queries)
        rows = _Sides(X, Y, np.sort(torch.randperm(len(X), generator=generator)[:count].numpy()), generator)
        (levels_x, of_x), (levels_y, of_y) = count_levels(X), count_levels(Y)
        sparse = torch.maximum(levels_x[units[0]], levels_y[units[1]]).numpy() > MOST_LEVELS * len(X)
        both = (of_x[units[0]] & of_y[units[1]]).numpy()
        found = np.zeros((4, units.shape[1]))
        found[:, ~sparse] = self._local(rows, units[:, ~sparse]).table
        sparse |= found[2] > MOST_TABLE_BIAS
        for part, read in ((sparse & both, self._two_of_levels), (sparse & ~both, self._one_of_levels)):
            if part.any():
                found[:, part] = read(rows, units[:, part])
        return found

    def _one_of_levels(self, rows: _Sides, units: NDArray[np.int64]) -> NDArray[np.float64]:
        """The same where a unit of many levels meets one that varies continuously.

        Where the order of levels carries the dependence, neighbours over levels that are spread over their steps have no bias, and more
        rows near by than there are within a level. Where those within a level say clearly more, levels have no order, and few rows each.
        """
        half = replace(rows, queries=rows.queries[::2])
        ordered, within = self._local(rows, units, AtomRule.COARSE), self._local(half, units, AtomRule.LEVELS)
        gap = np.maximum(within.value - ordered.value, 0)
        apart = gap > 3 * np.hypot(ordered.stderr, within.stderr)
        found = np.where(apart, within.table, ordered.table)
        found[1] = np.where(apart, found[1], np.hypot(found[1], gap / 2))
        found[3] = np.where(apart & (found[3] == 0), SPARSE_LEVELS, found[3])
        return found

    def _two_of_levels(self, rows: _Sides, units: NDArray[np.int64]) -> NDArray[np.float64]:
        """The same where both units consist of levels, too many for their table.

        Where the order of levels carries the dependence, so that it goes if they are named anew, neighbours over levels that are spread
        over their steps have no bias. Where it does not, as with classes, the larger of that and of what rows that were left out confirm is
        taken, and flagged where the plug-in is far above it. Where neighbours see nothing, classes may still be behind it.
        """
        ordered = self._local(rows, units, AtomRule.COARSE)
        renamed = self._local(
            replace(rows, X=shuffle_levels(rows.X, rows.generator), Y=shuffle_levels(rows.Y, rows.generator)), units, AtomRule.COARSE
        )
        value, stderr, _, doubts = found = ordered.table
        in_order, left = value - ordered.atoms, renamed.value - ordered.atoms
        classes = (left > ORDERED_SHARE * in_order) & (left > 2 * renamed.stderr)
        for at in np.flatnonzero(classes | (in_order < 2 * stderr)):
            levels = level_information(rows.X[:, units[0, at]].numpy(), rows.Y[:, units[1, at]].numpy())
            confirmed = levels.lower > value[at] + 2 * stderr[at]  # the larger of two that agree would be too large on average
            if confirmed:
                value[at], stderr[at] = levels.lower, np.sqrt(levels.variance / len(rows.X))
            if confirmed or classes[at]:
                gap = max(levels.upper - value[at], 0.0)
                stderr[at] = np.hypot(stderr[at], gap / 3)
                if gap > MOST_GAP and not doubts[at]:
                    doubts[at] = SPARSE_LEVELS
        return found

    def _local(self, rows: _Sides, units: NDArray[np.int64], atoms: AtomRule = AtomRule.SHARED) -> _Found:
        """Pairs [2, pairs] by neighbours, on as many threads as torch uses."""
        (left, a), (right, b) = (np.unique(side, return_inverse=True) for side in units)
        x, y = (MixedVariables.of(side[:, pick], rows.generator, atoms) for side, pick in ((rows.X, left), (rows.Y, right)))
        n, pairs = len(rows.X), np.stack([a, b])
        psi = np.concatenate([[-np.inf], special.digamma(np.arange(1, n + 2))])
        with_numba = _has_numba() if self.compiled is None else self.compiled
        estimate: Callable[..., None] = import_module(NUMBA_MODULE).estimate_pairs if with_numba else ksg_kdtree.estimate_pairs
        parts = [np.ascontiguousarray(pairs[:, start : start + PAIRS_AT_ONCE]) for start in range(0, pairs.shape[1], PAIRS_AT_ONCE)]

        def run(part: NDArray[np.int64]) -> NDArray[np.float64]:
            found = np.empty((6, part.shape[1]))
            estimate(x.arrays, y.arrays, part, rows.queries, (self.k, psi), found)
            return found

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            value, variance, null, apart, infinite, table = np.concatenate([np.empty((6, 0)), *pool.map(run, parts)], 1)
        wider, continuous = (table[tuple(pairs)] for table in _stderr_inflation(x, y))
        few = max(1.0, np.sqrt(SYSTEMATIC_ROWS / n))
        systematic = SYSTEMATIC_ERROR * few * continuous * np.clip(value / SYSTEMATIC_FROM, 0, 1) * np.maximum(value, 1)
        doubts = np.where(value > 0.5 * np.log(n), float(ABOVE_LIMIT), np.where(infinite > 0, float(DETERMINED), 0.0))
        return _Found(np.stack([value, np.sqrt(wider * variance / n + apart + systematic**2), null, doubts]), table)


@dataclass(frozen=True, eq=False)
class _Sides:
    """Both sides, the rows at which neighbours are looked up, and a source of randomness."""

    X: Float64[Tensor, "N A"]
    Y: Float64[Tensor, "N B"]
    queries: NDArray[np.int64]
    generator: torch.Generator | None


@dataclass(frozen=True, eq=False)
class _Found:
    """What neighbours say of pairs.

    Attributes:
        table: values, standard errors, bias taken off, and doubts.
        atoms: values of the table of atoms alone.
    """

    table: NDArray[np.float64]
    atoms: NDArray[np.float64]

    @property
    def value(self) -> NDArray[np.float64]:
        value: NDArray[np.float64] = self.table[0]
        return value

    @property
    def stderr(self) -> NDArray[np.float64]:
        stderr: NDArray[np.float64] = self.table[1]
        return stderr


def _stderr_inflation(x: MixedVariables, y: MixedVariables) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For all pairs [A, B], the factor by which the variance of the mean exceeds that of independent terms, and the share of rows at which
    both units are at no atom, those at which one is by half."""
    rest_x, rest_y = ((side.atom == 0).astype(np.float32) for side in (x, y))
    both = (rest_x @ rest_y.T / rest_x.shape[1]).astype(np.float64)
    one = rest_x.mean(1)[:, None] + rest_y.mean(1) - 2 * both
    return 1 + SHARED_NEIGHBOUR_VARIANCE[0] * both + SHARED_NEIGHBOUR_VARIANCE[1] * one, both + one / 2


def _has_numba() -> bool:
    return find_spec("numba") is not None
