"""Shapley values from coalitions that are chosen one after another, each for what it will tell.

The Gaussian process of ``covariance`` says, before a coalition is asked, by how much its value will lower the posterior variance of the
Shapley values. Asking the most telling ones in turn is Bayesian experimental design; since the process is fitted to what is already known,
players that do nothing are soon left alone, and the evaluations go to those that matter.

Axes: K coalitions known, C coalitions to choose from, B either, P players, V values that are asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.numbers import POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.games import moebius
from vesalius.games.estimators import coalition_sampling
from vesalius.games.estimators.estimate import (
    SHAPLEY_FACTS,
    GameLike,
    check_request,
    estimate_fields,
    evaluate,
    make_efficient,
    require_budget,
    shapley_allocation,
)
from vesalius.games.estimators.exact import ExactShapley
from vesalius.games.estimators.gaussian_process.covariance import JITTER, Covariance
from vesalius.games.estimators.gaussian_process.posterior import condition, fit_covariance, observed_covariance

ALL_CANDIDATES_UP_TO = 10  # players up to which any coalition may be chosen
CANDIDATE_ORDERS = 4  # orders of arrival whose prefixes may be chosen above that
CALIBRATED_FROM = 10  # evaluations per player from which intervals hold, those of the largest values too
WIDENING = 6  # of variances, in players per evaluation: for parameters that are themselves fitted; on benchmarks/unlike_games.py 1 and 2
DESIGN_GRID = 1.0
"""Step of the (mostly logarithmic) parameters of the process that chooses. The values of a sample that is computed in another batch or on
another processor differ by rounding, and so do fits to them; what is chosen next must not, or answers differ by their standard error."""
TIE = 1e-6
"""Share of the largest gain within which coalitions tell as much; the first of them is chosen, on any processor."""
TargetCovariance = Callable[[Covariance, Float[Tensor, "B P"]], Float[Tensor, "V B"]]


@dataclass(frozen=True, kw_only=True)
class AdaptiveShapley(Options):
    """Gaussian process on coalitions with Bayesian experimental design; the best there is at few evaluations.

    First every player is left out once. Then, again and again, the process is fitted to all values known and the next coalitions are those
    that lower the variance of the Shapley values most, until the budget is spent. Biased towards smooth games; not meant for more than some
    hundred evaluations, since its cost grows with their cube.

    Args:
        growth: the process is fitted anew when the evaluations have grown by this factor.
        fit_rows: coalitions, chosen at random, on which the process is fitted; all are used afterwards.
        steps: iterations of a fit.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"growth": Limit(above=1), "fit_rows": POSITIVE_COUNT, "steps": POSITIVE_COUNT}
    growth: float = 1.5
    fit_rows: int = 200
    steps: int = 15

    @verb
    def estimate(self, game: GameLike, budget: int, *, generator: torch.Generator | None = None) -> Allocation:
        """Shapley values from exactly ``budget`` coalitions, or from all where there are fewer.

        Args:
            game: the game.
            budget: evaluations, at least 4 (2 for a single player).

        Raises:
            BudgetTooSmall: nothing but the ends fits.
        """
        return self.extend(game, budget, None, generator=generator)[0]

    @verb
    def extend(
        self, game: GameLike, budget: int, known: tuple[Tensor, Tensor] | None, *, generator: torch.Generator | None = None
    ) -> tuple[Allocation, tuple[Tensor, Tensor] | None]:
        """The same, with coalitions that are known already, and their values, among those; and what is known then."""
        n = check_request(game, generator)
        budget = require_budget(budget, 2 if n == 1 else 4, estimator="adaptive")
        if ExactShapley().affords(n, budget):
            return ExactShapley().estimate(game, budget), None
        rows, values = known or _left_out_once(game, budget, generator)
        while len(rows) < budget:
            wanted = min(budget, int(len(rows) * self.growth) + 1) - len(rows)
            covariance, _, _ = self._fit_covariance(rows, values, generator)
            pool = candidate_coalitions(rows, wanted, generator=generator)
            chosen = pool[select_most_informative(covariance.rounded(DESIGN_GRID), rows.double(), pool.double(), wanted)]
            rows, values = torch.cat([rows, chosen]), torch.cat([values, evaluate(game, chosen)])
        base, total = float(values[0]), float(values[1])
        mean, stderr = self._read(rows, values, generator)
        honest = len(rows) >= CALIBRATED_FROM * n
        allocation = shapley_allocation(
            estimate_fields(game, (base, total), "adaptive", generator, SHAPLEY_FACTS),
            make_efficient(mean, total - base),
            stderr,
            len(rows),
            "" if honest else f"{len(rows)} evaluations; the error is honest from {CALIBRATED_FROM * n} on",
        )
        return allocation, (rows, values)

    def _fit_covariance(
        self, rows: Tensor, values: Tensor, generator: torch.Generator | None
    ) -> tuple[Covariance, Float[Tensor, " K"], float]:
        """The process, the standardised values and the unit they were divided by."""
        centred = values - values.mean()
        scale = float(centred.std())
        if scale <= 1e-14 * float(values.abs().max()):
            centred, scale = torch.zeros_like(values), 1.0
        y = centred / scale
        inner = 2 + torch.randperm(len(rows) - 2, generator=generator)[: self.fit_rows]
        some = torch.cat([torch.tensor([0, 1]), inner])
        return fit_covariance(rows[some].double(), y[some], odd=False, steps=self.steps), y, scale

    def _read(self, rows: Tensor, values: Tensor, generator: torch.Generator | None) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
        """Shapley values and standard errors: of the posterior, but no smaller than the left-out errors of single values say."""
        n = rows.shape[1]
        covariance, y, scale = self._fit_covariance(rows, values, generator)
        if not y.any():
            return torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        found = condition(covariance, rows.double(), y)
        calibration = float((found.weights.square() / found.precision.diagonal())[2:].mean())
        widened = 1 + WIDENING * n / len(rows)
        return found.mean * scale, scale * (found.variance * max(1.0, calibration) * widened).sqrt()


def _left_out_once(game: GameLike, budget: int, generator: torch.Generator | None) -> tuple[Bool[Tensor, "K P"], Float[Tensor, " K"]]:
    """The empty and the full coalition, and each player left out, as far as the budget goes; and their values."""
    n = game.players.n
    out = ~torch.eye(n, dtype=torch.bool)[torch.randperm(n, generator=generator)]
    rows = torch.cat([torch.zeros(1, n, dtype=torch.bool), torch.ones(1, n, dtype=torch.bool), out])[:budget]
    return rows, evaluate(game, rows)


def candidate_coalitions(rows: Bool[Tensor, "K P"], wanted: int, *, generator: torch.Generator | None) -> Bool[Tensor, "C P"]:
    """Coalitions worth asking that were not asked: more than are wanted, unless fewer are left."""
    n = rows.shape[1]
    if n <= ALL_CANDIDATES_UP_TO:
        pool = moebius.membership(n)
    else:
        orders = torch.rand(CANDIDATE_ORDERS, 1, n, generator=generator, dtype=torch.float32).argsort(dim=2, stable=True).argsort(2)
        chains = (orders < torch.arange(1, n)[:, None]).reshape(-1, n)
        spread = coalition_sampling.singles_first_pairs(n, n + wanted, generator=generator)
        pool = torch.cat([chains, ~chains, spread, ~spread]).unique(dim=0)
    asked = {row.tobytes() for row in rows.numpy()}
    return pool[[row.tobytes() not in asked for row in pool.numpy()]]


def select_most_informative(
    covariance: Covariance,
    known: Float[Tensor, "K P"],
    pool: Float[Tensor, "C P"],
    wanted: int,
    *,
    about: TargetCovariance = Covariance.shapley,
) -> list[int]:
    """Coalitions of a pool, chosen in turn, whose values lower the summed posterior variance of what is asked about most.

    The Cholesky factor of the known ones is extended by a row for every choice, so a choice costs one product with it.

    Args:
        covariance: the process.
        known: coalitions whose values are known.
        pool: those to choose from.
        wanted: how many.
        about: covariance of what the coalitions are to tell of with the values of coalitions; the Shapley values by default.

    Returns:
        Places in the pool, in the order of choice; all of them where the pool is no larger than wanted.
    """
    factor = torch.linalg.cholesky(observed_covariance(covariance, known))
    count = min(wanted, len(pool))
    seen = torch.empty(len(known) + count, len(pool), dtype=torch.float64)
    seen[: len(known)] = torch.linalg.solve_triangular(factor, covariance.between(known, pool), upper=False)
    told = torch.linalg.solve_triangular(factor, about(covariance, known).T, upper=False)
    effect = about(covariance, pool) - told.T @ seen[: len(known)]
    prior = covariance.variance_at(pool)
    floor = JITTER * prior
    spread = (prior + floor + covariance.noise_at(pool) - seen[: len(known)].square().sum(0)).clamp_min(floor)
    free = torch.ones(len(pool), dtype=torch.bool)
    chosen: list[int] = []
    for filled in range(len(known), len(known) + count):
        gain = (effect.square().sum(0) / spread).masked_fill(~free, -1)
        at = int((gain >= gain.max() * (1 - TIE)).nonzero()[0])
        chosen.append(at)
        free[at] = False
        column = covariance.between(pool, pool[at : at + 1])[:, 0] - seen[:filled].T @ seen[:filled, at]
        seen[filled] = column / spread[at].sqrt()
        effect -= effect[:, at : at + 1] / spread[at].sqrt() * seen[filled]
        spread = (spread - seen[filled].square()).clamp_min(floor)
    return chosen
