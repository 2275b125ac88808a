"""Shapley values by ridge regression on all interactions of few players, whose algebra is shared by the games asked at the same coalitions.

Axes: M pairs, P players.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.numbers import POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.games.estimators.estimate import (
    SHAPLEY_FACTS,
    GameLike,
    check_request,
    estimate_fields,
    make_efficient,
    require_budget,
    shapley_allocation,
)
from vesalius.games.estimators.exact import ExactShapley
from vesalius.games.estimators.gaussian_process.isotropic import ConditionedProcess, ProjectedProcess, candidates, evidence_weights
from vesalius.games.estimators.pairs import PairDesign, PairObservations, observe_pairs

CALIBRATED_FROM = 10  # evaluations per player from which intervals hold, those of the largest values too
REMEMBERED = 2  # designs whose algebra is kept


@dataclass(frozen=True, kw_only=True)
class PolynomialShapley(Options):
    """Polynomial regression on single players and on interactions of three and five, with a prior in place of a selection.

    Pairs of complements cancel all interactions of even order (Covert2021), so these are the first that regression on single players
    (KernelSHAP) takes for something else. Far more precise than it where games are smooth, and quick: nothing is fitted but how much there
    is of each order, so all of the algebra depends on the coalitions alone, and samples that share those share it.

    Above ``exact_pairs`` pairs the process is a mixture of ``inducing`` covariances only, and what it leaves over is handed to the kernel
    regression (regression adjustment), whose errors then hold.

    Args:
        exact_pairs: pairs up to which nothing is approximated; time grows with their cube.
        inducing: pairs whose covariances are mixed above that.
        fit_pairs: pairs on which the orders are weighed.

    Reference: Fumagalli2026 for the regression; Witter2025 for its adjustment.
    Differs from the papers: all interactions of an order are in it, by their covariance; the adjustment is KernelSHAP's regression.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"exact_pairs": Limit(least=0), "inducing": POSITIVE_COUNT, "fit_pairs": POSITIVE_COUNT}
    exact_pairs: int = 600
    inducing: int = 200
    fit_pairs: int = 100

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
        budget = require_budget(budget, 2 if n == 1 else 4, estimator="polynomial")
        if ExactShapley().affords(n, budget):
            return ExactShapley().estimate(game, budget), None
        pairs = (budget - 2) // 2
        data = observe_pairs(game, pairs, known, design="chain" if pairs == n - 1 else "singles_first", generator=generator)
        values, stderr = self.read(data)
        honest = data.evaluations >= CALIBRATED_FROM * n - 1
        fields = estimate_fields(game, (data.base, data.total), "polynomial", generator, SHAPLEY_FACTS)
        note = "" if honest else f"{data.evaluations} evaluations; the error is honest from {CALIBRATED_FROM * n} on"
        return shapley_allocation(fields, values, stderr, data.evaluations, note), data

    def read(self, data: PairObservations) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
        """Shapley values and standard errors."""
        if (known := data.known_values()) is not None:
            return known
        design = _processes_on(data.design, self.fit_pairs, self.inducing)
        _, y, scale = data.seen(odd=True)
        weights = design.weights(y)
        n, pairs = data.rows.shape[1], len(data.rows)
        if pairs > self.exact_pairs and pairs >= 2 * n:
            return _adjust_regression(data, design, weights)
        means, variances = [], []
        for process, weight in zip(design.conditioned, weights, strict=True):
            if weight:
                error, expected = process.left_out(y)
                means.append(process.read_off @ y)
                variances.append(process.variance * (error[1:].square() / expected[1:]).mean())
        weight = torch.tensor([weight for weight in weights if weight], dtype=torch.float64)
        mean = weight @ torch.stack(means)
        variance = weight @ (torch.stack(variances) + (torch.stack(means) - mean).square())
        return data.settle(make_efficient(mean * scale, data.gain), variance.sqrt() * scale)


def _adjust_regression(data: PairObservations, design: ProcessesOnDesign, weights: list[float]) -> tuple[Tensor, Tensor]:
    """Shapley values of the projected processes and of the regression of what they leave over, with the regression's errors."""
    _, y, scale = data.seen(odd=True)
    read = [(weight, process.read(y)) for weight, process in zip(weights, design.projected, strict=True) if weight]
    shapley, residual, left_out = (sum((weight * found[k] for weight, found in read), torch.zeros(())) for k in range(3))
    regression = data.design.regression
    rest, _ = regression.estimate(residual[1:], 2 * float(residual[0]))
    _, stderr = regression.estimate(left_out[1:], 2 * float(left_out[0]))
    assert stderr is not None
    return make_efficient((shapley + rest) * scale, data.gain), stderr * scale


@dataclass(frozen=True, eq=False)
class ProcessesOnDesign:
    """Every candidate on the pairs of a design.

    Attributes:
        rows: the full coalition and one member of each pair.
        fit_pairs: pairs on which the candidates are weighed.
        inducing: how many pairs represent all, where that is asked for.
    """

    rows: Float[Tensor, "M P"]
    fit_pairs: int
    inducing: int

    @cached_property
    def conditioned(self) -> list[ConditionedProcess]:
        return [ConditionedProcess(one, self.rows) for one in candidates(self.rows.shape[1])]

    @cached_property
    def projected(self) -> list[ProjectedProcess]:
        inducing = spread_out(len(self.rows), self.inducing)
        return [ProjectedProcess(one, self.rows, inducing) for one in candidates(self.rows.shape[1])]

    @cached_property
    def _weighed(self) -> tuple[list[ConditionedProcess], Tensor]:
        if len(self.rows) <= self.fit_pairs + 1:
            return self.conditioned, torch.arange(len(self.rows))
        some = spread_out(len(self.rows), self.fit_pairs)
        return [ConditionedProcess(one, self.rows[some]) for one in candidates(self.rows.shape[1])], some

    def weights(self, y: Float[Tensor, " M"]) -> list[float]:
        """How far each candidate is to be believed."""
        processes, some = self._weighed
        return evidence_weights(processes, y[some])


def spread_out(rows: int, wanted: int) -> Tensor:
    """Places of the first row and of others, evenly spread: pairs that are drawn together are sorted by size, or not at all."""
    return torch.linspace(0, rows - 1, min(wanted + 1, rows), dtype=torch.float64).round().long()


@lru_cache(maxsize=REMEMBERED)
def _processes_on(design: PairDesign, fit_pairs: int, inducing: int) -> ProcessesOnDesign:
    rows = design.rows.double()
    return ProcessesOnDesign(torch.cat([torch.ones(1, rows.shape[1], dtype=torch.float64), rows]), fit_pairs, inducing)
