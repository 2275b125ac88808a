"""Interactions read off a Gaussian process that was fitted to a few well chosen coalitions.

Axes: M coalitions, B coalitions left out, P players, K players and then pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.numbers import POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.games.estimators import coalition_sampling
from vesalius.games.estimators.estimate import GameLike, check_request, estimate_fields, evaluate, make_efficient, require_budget
from vesalius.games.estimators.gaussian_process.covariance import Covariance
from vesalius.games.estimators.gaussian_process.posterior import fit_covariance, observed_covariance
from vesalius.interactions.estimators import adaptive, gaussian_process
from vesalius.interactions.estimators.estimate import coalitions_up_to, interaction_facts, membership_rows, require_order_two
from vesalius.interactions.estimators.exact import ExactInteractions
from vesalius.interactions.estimators.polynomial import fit_if_quadratic

CALIBRATED_FROM = 5  # evaluations per player from which the coverage of the errors was measured and found right


@dataclass(frozen=True, kw_only=True)
class SurrogateInteractions(Options):
    """k-SII of order 2 of a Gaussian process on coalitions; biased towards smooth games, and far more precise on those.

    With few evaluations the coalitions are chosen one after another for what they tell about pairs; with many they are pairs of
    complements, every player alone and left out first, then all sizes alike. Where a polynomial of order 2 predicts every value to
    rounding, its coefficients are returned. At most ``rows_most`` coalitions are asked, whatever the budget, since time grows with
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
        rows, values = self._collect_coalitions(game, min(budget, self.rows_most), generator)
        base, total = float(values[~rows.any(1)][0]), float(values[rows.all(1)][0])
        mean, stderr, explained = self._read(rows, values, generator)
        mean = torch.cat([make_efficient(mean[:n], total - base - float(mean[n:].sum())), mean[n:]])
        honest = len(rows) >= CALIBRATED_FROM * n
        return Allocation(
            **estimate_fields(game, (base, total), "surrogate", generator, interaction_facts("k_sii", explained)),
            coalitions=membership_rows(coalitions_up_to(n, 2), n),
            values=mean,
            stderr=stderr,
            evaluations=torch.tensor(len(rows)),
            stderr_note="" if honest else f"{len(rows)} evaluations; the error is honest from {CALIBRATED_FROM * n} on",
        )

    def _collect_coalitions(
        self, game: GameLike, budget: int, generator: torch.Generator | None
    ) -> tuple[Bool[Tensor, "M P"], Float[Tensor, " M"]]:
        """Coalitions and their values; the empty and the full one come first."""
        n = game.players.n
        if budget <= min(self.chosen_per_player * n, self.chosen_most):
            return adaptive.collect_coalitions(
                lambda masks: evaluate(game, masks),
                n,
                budget,
                fit=lambda rows, values: self._fit_covariance(rows, (values - values.mean()) / standard_unit(values), generator),
                growth=self.growth,
                generator=generator,
            )
        half = coalition_sampling.singles_first_pairs(n, (budget - 2) // 2, generator=generator)
        rows = torch.cat([adaptive.first_coalitions(n)[:2], half, ~half])
        return rows, evaluate(game, rows)

    def _fit_covariance(self, rows: Bool[Tensor, "M P"], y: Float[Tensor, " M"], generator: torch.Generator | None) -> Covariance:
        inner = 2 + torch.randperm(len(rows) - 2, generator=generator)[: self.fit_rows]
        some = torch.cat([torch.tensor([0, 1]), inner])
        return fit_covariance(rows[some].double(), y[some], odd=False, steps=self.steps)

    def _read(
        self, rows: Bool[Tensor, "M P"], values: Float[Tensor, " M"], generator: torch.Generator | None
    ) -> tuple[Float[Tensor, " K"], Float[Tensor, " K"], float]:
        """Interactions, their standard errors, and the share of variance explained."""
        known = fit_if_quadratic(rows, values, generator=generator)
        if known is not None:
            return known, torch.zeros_like(known), 1.0
        scale = standard_unit(values)
        y = (values - values.mean()) / scale
        covariance = self._fit_covariance(rows, y, generator)
        x = rows.double()
        factor = torch.linalg.cholesky(observed_covariance(covariance, x))
        weights = torch.cholesky_solve(y[:, None], factor)[:, 0]
        cross = gaussian_process.interaction_covariance(covariance, x)
        seen = torch.linalg.solve_triangular(factor, cross.T, upper=False).square().sum(0)
        variance = (gaussian_process.interaction_variance(covariance) - seen).clamp_min(0)
        error, expected = leave_one_out_errors(factor, weights, generator=generator)
        calibration = float((error.square() / expected).mean())
        widened = 1 + 2 * rows.shape[1] / len(rows)  # for parameters that are themselves fitted
        stderr = scale * (variance * max(1.0, calibration) * widened).sqrt()
        return cross @ weights * scale, stderr, 1 - float(error.square().mean() / y[2:].var(correction=0))


def standard_unit(values: Float[Tensor, " M"]) -> Float[Tensor, ""]:
    """The unit in which the process sees the values; 1 where they do not vary."""
    spread = values.std()
    return spread if float(spread) > 1e-14 * float(values.abs().max()) else torch.ones_like(spread)


def leave_one_out_errors(
    factor: Float[Tensor, "M M"], weights: Float[Tensor, " M"], *, most: int = 400, generator: torch.Generator | None
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Errors of predicting single coalitions from all others, and the variances that were expected of them.

    The errors are (K^-1 y)_i / K^-1_ii and the variances 1 / K^-1_ii (Rasmussen2006, section 5.4.2); the first two coalitions, the
    ends, are not among them.
    """
    some = 2 + torch.randperm(len(factor) - 2, generator=generator)[:most]
    unit = torch.zeros(len(factor), len(some), dtype=factor.dtype)
    unit[some, torch.arange(len(some))] = 1
    precision = torch.linalg.solve_triangular(factor, unit, upper=False).square().sum(0)
    return weights[some] / precision, 1 / precision
