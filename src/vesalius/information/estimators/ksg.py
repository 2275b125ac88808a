"""The value of a pair by nearest neighbours, exact about atoms.

Axes: N rows, A units of X, B units of Y.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Shaped
from numpy.typing import NDArray
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.lazy import LazyModule
from vesalius.core.numbers import POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.information.estimators import ksg_kdtree
from vesalius.information.estimators.binned import Binned
from vesalius.information.estimators.estimate import PairwiseInformation, check_pair, exceeds_sample_limit
from vesalius.information.estimators.mixed_variables import MixedVariables

special = LazyModule("scipy.special")

NUMBA_MODULE = "vesalius.information.estimators.ksg_numba"
SHARED_NEIGHBOUR_VARIANCE = (0.44, 0.15)
"""Local terms share neighbours, so their mean varies more than that of independent ones: by these shares of the variance where both units,
and where one unit, are at no atom. Measured on channels of known truth, as benchmarks/mutual_information.py lists them; not a theorem."""
PAIRS_AT_ONCE = 64
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
        compiled: use numba; None, to use it where it is installed. Trees count the same neighbours and take about six times as long.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"k": POSITIVE_COUNT}
    k: int = 3
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
            generator: breaks ties that are no atoms.

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
            generator: breaks ties.
        """
        rows_x, rows_y = check_pair(X, Y)
        chosen = chosen & ~(screened.dead_x[:, None] | screened.dead_y[None])
        units = chosen.nonzero().T.contiguous().numpy()
        x, y = MixedVariables.of(rows_x, generator), MixedVariables.of(rows_y, generator)
        mean, variance, null = self._local(x, y, units)
        wider = _stderr_inflation(x, y)[tuple(units)]
        found = [screened.values.clone(), screened.stderr.clone(), screened.null.clone()]
        for table, numbers in zip(found, (mean, wider * np.sqrt(variance / len(rows_x)), null), strict=True):
            table[chosen] = torch.from_numpy(numbers)
        values, stderr, taken = found
        return PairwiseInformation(
            values=values,
            stderr=stderr,
            null=taken,
            p=screened.p,
            estimator="neighbours",
            samples=screened.samples,
            dead_x=screened.dead_x,
            dead_y=screened.dead_y,
            unreliable=exceeds_sample_limit(values, len(rows_x)),
            refined=chosen,
            stderr_note=STDERR_NOTE,
        )

    def _local(self, x: MixedVariables, y: MixedVariables, units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean less bias, variance of the local terms, and bias [3, pairs] of pairs [2, pairs]; on as many threads as torch uses."""
        psi = np.concatenate([[-np.inf], special.digamma(np.arange(1, x.atom.shape[1] + 2))])
        sides = [(side.atom, side.score, side.order, side.size, side.atoms) for side in (x, y)]
        with_numba = _has_numba() if self.compiled is None else self.compiled
        pairs: Callable[..., None] = import_module(NUMBA_MODULE).estimate_pairs if with_numba else ksg_kdtree.estimate_pairs
        parts = [np.ascontiguousarray(units[:, start : start + PAIRS_AT_ONCE]) for start in range(0, units.shape[1], PAIRS_AT_ONCE)]

        def run(part: NDArray[np.int64]) -> NDArray[np.float64]:
            found = np.empty((3, part.shape[1]))
            pairs(*sides, part, self.k, psi, found)
            return found

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return np.concatenate([np.empty((3, 0)), *pool.map(run, parts)], 1)


def _stderr_inflation(x: MixedVariables, y: MixedVariables) -> NDArray[np.float64]:
    """For all pairs [A, B], the factor by which the standard error of the mean exceeds that of independent terms."""
    rest_x, rest_y = ((side.atom == 0).astype(np.float32) for side in (x, y))
    both = rest_x @ rest_y.T / rest_x.shape[1]
    one = rest_x.mean(1)[:, None] + rest_y.mean(1) - 2 * both
    found: NDArray[np.float64] = np.sqrt(1 + SHARED_NEIGHBOUR_VARIANCE[0] * both.astype(np.float64) + SHARED_NEIGHBOUR_VARIANCE[1] * one)
    return found


def _has_numba() -> bool:
    return find_spec("numba") is not None
