"""Interactions read off a Gaussian process that was fitted to a few well chosen coalitions.

Axes: M coalitions, B coalitions left out, P players, K players and then pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.numbers import POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.games.estimators.estimate import GameLike, check_request, estimate_fields, make_efficient, require_budget
from vesalius.games.estimators.gaussian_process.covariance import Covariance
from vesalius.games.estimators.gaussian_process.posterior import fit_covariance, observed_covariance
from vesalius.interactions.estimators import adaptive, gaussian_process, observations
from vesalius.interactions.estimators.calibration import relative_error_of_largest
from vesalius.interactions.estimators.estimate import (
    coalitions_up_to,
    explained_variance,
    interaction_facts,
    membership_rows,
    require_order_two,
)
from vesalius.interactions.estimators.exact import ExactInteractions
from vesalius.interactions.estimators.observations import Observations

BLOCK = 256  # coalitions predicted at once
JUDGED_MOST = 1000  # uniform coalitions predicted from all others
CALIBRATED_FROM = 5  # evaluations per player from which the coverage of the errors was measured and found right


@dataclass(frozen=True, kw_only=True)
class SurrogateInteractions(Options):
    """k-SII of order 2 of a Gaussian process on coalitions; biased towards smooth games, and far more precise on those.

    A third of the coalitions is uniform, for ``explained`` and to calibrate the errors by; with few evaluations the others are chosen one
    after another for what they tell about pairs, with many they are pairs of complements, every player alone and left out first, then all
    sizes alike. At most ``rows_most`` coalitions are asked, whatever the budget, since time grows with
    their cube and memory with their square (1.6 GB at 10,000).

    Args:
        chosen_per_player: coalitions are chosen one after another up to this many evaluations per player,
        chosen_most: and up to this many in all.
        growth: while choosing, the process is fitted anew when the evaluations have grown by this factor.
        fit_rows: coalitions, drawn at random, on which the parameters of the process are fitted; all are used afterwards.
        steps: iterations of a fit.
        rows_most: most coalitions asked.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "chosen_per_player": Limit(least=0),
        "chosen_most": Limit(least=0),
        "growth": Limit(above=1),
        "fit_rows": POSITIVE_COUNT,
        "steps": POSITIVE_COUNT,
        "rows_most": POSITIVE_COUNT,
    }
    chosen_per_player: int = 25
    chosen_most: int = 600
    growth: float = 1.25
    fit_rows: int = 400
    steps: int = 15
    rows_most: int = 10_000

    def least(self, players: int, max_order: int | None) -> int:
        """Evaluations it needs: below four per player the estimate is no better than zero."""
        return min(4 * players, 1 << players)

    @verb
    def estimate(self, game: GameLike, budget: int, *, max_order: int | None = 2, generator: torch.Generator | None = None) -> Allocation:
        """k-SII of singles and pairs, with posterior standard errors.

        Args:
            game: the game.
            budget: at most this many evaluations, at least 4 n (or all 2**n).
            max_order: 2.

        Raises:
            BudgetTooSmall: below 4 n.
            InvalidInput: another order.
        """
        n = check_request(game, generator)
        require_order_two(max_order, "surrogate")
        budget = require_budget(budget, self.least(n, max_order), estimator="surrogate")
        if ExactInteractions().affords(n, budget):
            return ExactInteractions().estimate(game, budget)
        seen = self.observe(game, budget, generator)
        return self.read(game, seen, self.fit(seen, generator), generator)

    def observe(self, game: GameLike, budget: int, generator: torch.Generator | None) -> Observations:
        """Coalitions and their values; few are chosen one after another."""
        n = game.players.n
        if budget > min(self.chosen_per_player * n, self.chosen_most):
            return observations.observe(game, min(budget, self.rows_most), generator=generator)

        def fit(rows: Tensor, values: Tensor) -> Covariance:
            return self._fit_covariance(rows, (values - values.mean()) / standard_unit(values), generator)

        return adaptive.observe_adaptively(game, budget, fit=fit, growth=self.growth, generator=generator)

    def fit(self, seen: Observations, generator: torch.Generator | None) -> SurrogateFit:
        """The process given what was seen, and what it says of single coalitions from all others."""
        rows, values = seen.rows, seen.values
        scale = standard_unit(values)
        y = (values - values.mean()) / scale
        covariance = self._fit_covariance(rows, y, generator)
        factor = torch.linalg.cholesky(observed_covariance(covariance, rows.double()))
        weights = torch.cholesky_solve(y[:, None], factor)[:, 0]
        judged = seen.uniform.nonzero().flatten()
        judged = judged[torch.randperm(len(judged), generator=generator)[:JUDGED_MOST]]
        precision = precision_block(factor, judged)
        error, expected = leave_one_out_errors(precision, weights[judged])
        calibration = float((error.square() / expected).mean()) if len(judged) else 1.0
        return SurrogateFit(
            covariance, rows, factor, weights, float(values.mean()), float(scale), calibration, judged, precision, error * scale
        )

    def read(self, game: GameLike, seen: Observations, fit: SurrogateFit, generator: torch.Generator | None) -> Allocation:
        """An allocation of what the process says."""
        n = seen.rows.shape[1]
        mean, stderr = fit.interactions()
        explained = explained_variance(fit.errors, seen.values[fit.judged])
        mean = torch.cat([make_efficient(mean[:n], seen.total - seen.base - float(mean[n:].sum())), mean[n:]])
        return Allocation(
            **estimate_fields(game, (seen.base, seen.total), "surrogate", generator, interaction_facts("k_sii", explained)),
            coalitions=membership_rows(coalitions_up_to(n, 2), n),
            values=mean,
            stderr=stderr,
            evaluations=torch.tensor(len(seen.rows)),
            stderr_note=few_evaluations_note(len(seen.rows), n),
        )

    def _fit_covariance(self, rows: Bool[Tensor, "M P"], y: Float[Tensor, " M"], generator: torch.Generator | None) -> Covariance:
        inner = 2 + torch.randperm(len(rows) - 2, generator=generator)[: self.fit_rows]
        some = torch.cat([torch.tensor([0, 1]), inner])
        return fit_covariance(rows[some].double(), y[some], odd=False, steps=self.steps)


@dataclass(frozen=True, eq=False)
class SurrogateFit:
    """A process given the values of coalitions.

    Attributes:
        covariance: of the process.
        rows: coalitions observed.
        factor: Cholesky factor of the covariance of their values.
        weights: K^-1 y.
        centre, scale: y is the values less the first, over the second.
        calibration: mean of squared errors of uniform coalitions predicted from all others, over the variances expected of them.
        judged: places of those coalitions in the rows.
        precision: their block of K^-1.
        errors: of their values.
    """

    covariance: Covariance
    rows: Bool[Tensor, "M P"]
    factor: Float[Tensor, "M M"]
    weights: Float[Tensor, " M"]
    centre: float
    scale: float
    calibration: float
    judged: Int[Tensor, " B"]
    precision: Float[Tensor, "B B"]
    errors: Float[Tensor, " B"]

    def predict(self, rows: Bool[Tensor, "B P"]) -> Float[Tensor, " B"]:
        """Values that are expected of coalitions."""
        known = self.rows.double()
        return self.centre + self.scale * torch.cat(
            [self.covariance.between(part.double(), known) @ self.weights for part in rows.split(BLOCK)]
        )

    def interactions(self) -> tuple[Float[Tensor, " K"], Float[Tensor, " K"]]:
        """k-SII of singles and pairs, and their standard errors."""
        n = self.rows.shape[1]
        cross = gaussian_process.interaction_covariance(self.covariance, self.rows.double())
        seen = torch.linalg.solve_triangular(self.factor, cross.T, upper=False).square().sum(0)
        variance = (gaussian_process.interaction_variance(self.covariance) - seen).clamp_min(0)
        variance *= max(1.0, self.calibration) * (1 + 2 * n / len(self.rows))  # the latter for parameters that are themselves fitted
        mean = cross @ self.weights
        beyond = relative_error_of_largest(self.rows[self.judged], self.weights[self.judged], self.precision, mean[n:], variance[n:])
        return mean * self.scale, self.scale * (variance + beyond * mean.square()).sqrt()


def few_evaluations_note(evaluations: int, players: int) -> str:
    """Why the errors of so few evaluations are not to be trusted; empty where they are."""
    least = CALIBRATED_FROM * players
    return "" if evaluations >= least else f"{evaluations} evaluations; the error is honest from {least} on"


def standard_unit(values: Float[Tensor, " M"]) -> Float[Tensor, ""]:
    """The unit in which the process sees the values; 1 where they do not vary."""
    spread = values.std()
    return spread if float(spread) > 1e-14 * float(values.abs().max()) else torch.ones_like(spread)


def precision_block(factor: Float[Tensor, "M M"], some: Int[Tensor, " B"]) -> Float[Tensor, "B B"]:
    """Rows and columns of K^-1, from the Cholesky factor of K."""
    unit = torch.zeros(len(factor), len(some), dtype=factor.dtype)
    unit[some, torch.arange(len(some))] = 1
    half = torch.linalg.solve_triangular(factor, unit, upper=False)
    block: Tensor = half.T @ half
    return block


def leave_one_out_errors(precision: Float[Tensor, "B B"], weights: Float[Tensor, " B"]) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Errors of predicting single coalitions from all others, and the variances that were expected of them.

    The errors are (K^-1 y)_i / K^-1_ii and the variances 1 / K^-1_ii (Rasmussen2006, section 5.4.2).
    """
    expected = 1 / precision.diagonal()
    return weights * expected, expected
