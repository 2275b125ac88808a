"""Shapley values read off a Gaussian process that was fitted to a few well chosen coalitions.

Two processes see the same pairs of complements. The *odd* one describes (v(S) - v(complement of S)) / 2, half as many numbers; the
*joint* one describes every v(S) and can use that a game is, say, all about who is present. Their Shapley values are averaged by how well
each predicts pairs that are left out.

Where no three players act together, a linear function fits all pairs, and its coefficients are returned. Of exactly n - 1 pairs that could
not be seen: any are fitted. They are those of an order of arrival and its reverse, whose mean contributions (antithetic permutations) are
returned where they are no further from the process than its own error; so at 2 n evaluations games of pairs are exact too.

Axes: M pairs, P players, R rows of a model (pairs, or coalitions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.numbers import POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.games.estimators.estimate import (
    GameLike,
    check_request,
    make_efficient,
    require_budget,
)
from vesalius.games.estimators.exact import ExactShapley
from vesalius.games.estimators.gaussian_process.covariance import Covariance
from vesalius.games.estimators.gaussian_process.low_rank import project
from vesalius.games.estimators.gaussian_process.posterior import Posterior, condition, fit_covariance
from vesalius.games.estimators.pairs import PairObservations, PairReader, read_pairs

CALIBRATED_FROM = 10  # evaluations per player from which intervals hold, those of the largest values too
WIDENING = 3  # of variances, in players per pair: for parameters that are themselves fitted; on benchmarks/unlike_games.py 1 and 2


@dataclass(frozen=True, kw_only=True)
class SurrogateShapley(Options):
    """Gaussian process on coalitions; biased towards smooth games, and far more precise on those.

    Above ``exact_pairs`` pairs the odd process is a mixture of ``inducing`` covariances only, so that its cost grows with the number of
    pairs and not with its cube, and what it leaves over is handed to the kernel regression: the Shapley values of the process, plus those
    that the regression finds in the differences (regression adjustment). The regression's standard errors, of differences from predictions
    that have not seen the pair, then hold for the sum.

    Args:
        exact_pairs: pairs up to which nothing is approximated; time grows with their cube.
        inducing: pairs, chosen at random, whose covariances are mixed above that.
        fit_pairs: pairs, chosen at random, on which the parameters of the process are fitted; all pairs are used afterwards.
        joint_rows: the joint process is left out above this number of coalitions, since its cost grows with their cube.
        steps: iterations of the fit.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "exact_pairs": Limit(least=0),
        "inducing": POSITIVE_COUNT,
        "fit_pairs": POSITIVE_COUNT,
        "joint_rows": Limit(least=0),
        "steps": POSITIVE_COUNT,
    }
    exact_pairs: int = 2500
    inducing: int = 400
    fit_pairs: int = 100
    joint_rows: int = 5000
    steps: int = 15

    @verb
    def estimate(self, game: GameLike, budget: int, *, generator: torch.Generator | None = None) -> Allocation:
        """Shapley values from ``(budget - 2) // 2`` pairs: every player alone and left out first, then all sizes alike; n - 1 pairs are
        those of one order of arrival.

        Args:
            game: the game.
            budget: at most this many evaluations, at least 4 (2 for a single player).

        Raises:
            BudgetTooSmall: fewer than one pair fits.
        """
        return self.extend(game, budget, None, generator=generator)[0]

    @verb
    def extend(
        self, game: GameLike, budget: int, known: PairObservations | None, *, generator: torch.Generator | None = None
    ) -> tuple[Allocation, PairObservations | None]:
        """The same, with pairs that are known already among those; and what is known then."""
        n = check_request(game, generator)
        budget = require_budget(budget, 2 if n == 1 else 4, estimator="surrogate")
        if ExactShapley().affords(n, budget):
            return ExactShapley().estimate(game, budget), None
        reader = PairReader(name="surrogate", honest_from=CALIBRATED_FROM, read=partial(self.read, generator=generator))
        return read_pairs(game, budget, known, reader, generator)

    def read(self, data: PairObservations, generator: torch.Generator | None) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
        """Shapley values and standard errors."""
        if (known := data.known_values()) is not None:
            return known
        n = data.rows.shape[1]
        order = torch.randperm(len(data.rows), generator=generator)
        chosen = order[: self.fit_pairs].sort().values
        if len(data.rows) > self.exact_pairs and len(data.rows) >= 2 * n:
            return self._adjust_regression(data, chosen, order[: self.inducing].sort().values)
        kinds = [True] if 2 * len(data.rows) + 2 > self.joint_rows else [True, False]
        opinions = [self._fit_and_calibrate(data, chosen, odd) for odd in kinds]
        weight = torch.tensor([max(opinion.error, 1e-300) for opinion in opinions], dtype=torch.float64).log().mul(-2).softmax(0)
        means = torch.stack([make_efficient(opinion.mean, data.gain) for opinion in opinions])
        values = weight @ means
        spread = weight @ (means - values).square()
        variance = weight @ torch.stack([opinion.variance for opinion in opinions]) + spread
        return data.settle(make_efficient(values, data.gain), variance.sqrt(), WIDENING)

    def _adjust_regression(self, data: PairObservations, chosen: Tensor, inducing: Tensor) -> tuple[Tensor, Tensor]:
        """Shapley values of the projected odd process and of the regression of what it leaves over, with the regression's errors."""
        x, y, scale = data.seen(odd=True)
        at = data.places(chosen, odd=True)
        covariance = fit_covariance(x[at], y[at], odd=True, steps=self.steps)
        found = project(covariance, x, y, data.places(inducing, odd=True))
        regression = data.design.regression
        rest, _ = regression.estimate(found.residual[1:], 2 * float(found.residual[0]))
        _, stderr = regression.estimate(found.left_out[1:], 2 * float(found.left_out[0]))
        assert stderr is not None
        return make_efficient((found.shapley + rest) * scale, data.gain), stderr * scale

    def _fit_and_calibrate(self, data: PairObservations, chosen: Tensor, odd: bool) -> CalibratedPosterior:
        x, y, scale = data.seen(odd)
        covariance = fit_covariance(x[data.places(chosen, odd)], y[data.places(chosen, odd)], odd=odd, steps=self.steps)
        return calibrate(covariance, condition(covariance, x, y), scale)


@dataclass(frozen=True, eq=False)
class CalibratedPosterior:
    """What one process says of the Shapley values.

    Attributes:
        mean: expected values.
        variance: of those, scaled to the size of the left-out errors that were seen.
        error: mean square error of (v(S) - v(complement)) / 2 when a pair is left out.
    """

    mean: Float[Tensor, " P"]
    variance: Float[Tensor, " P"]
    error: float


def calibrate(covariance: Covariance, posterior: Posterior, scale: float) -> CalibratedPosterior:
    """Shapley values in the unit of the game, and how the process did on pairs that were left out."""
    error, expected = leave_pair_out_errors(posterior, covariance.odd)
    calibration = (error.square() / expected).mean()
    return CalibratedPosterior(posterior.mean * scale, posterior.variance * scale**2 * calibration, float(error.square().mean()) * scale**2)


def leave_pair_out_errors(posterior: Posterior, odd: bool) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"]]:
    """Error of (v(S) - v(complement)) / 2 when its pair is left out, and the variance that the process expected of it.

    The formulas for leaving out a block b are K^-1[b, b]^-1 (K^-1 y)[b] and K^-1[b, b]^-1 (Rasmussen2006, section 5.4.2).
    """
    weights, precision = posterior.weights, posterior.precision
    if odd:
        variance = 1 / precision.diagonal()[1:]
        return weights[1:] * variance, variance
    pairs = (len(weights) - 2) // 2
    i = torch.arange(2, 2 + pairs)
    j = i + pairs
    block = torch.stack([precision[i, i], precision[i, j], precision[j, i], precision[j, j]], 1).view(-1, 2, 2)
    half = torch.tensor([0.5, -0.5], dtype=torch.float64)
    direction = torch.linalg.solve(block, half.expand(pairs, 2))
    return (direction * torch.stack([weights[i], weights[j]], 1)).sum(1), direction @ half
