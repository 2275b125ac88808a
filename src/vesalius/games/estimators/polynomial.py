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
    GameLike,
    check_request,
    make_efficient,
    require_budget,
)
from vesalius.games.estimators.exact import ExactShapley
from vesalius.games.estimators.gaussian_process.isotropic import CandidateEvidence, ConditionedProcess, candidates
from vesalius.games.estimators.kernel_shap import KernelShapley
from vesalius.games.estimators.pairs import PairDesign, PairObservations, PairReader, read_pairs

CALIBRATED_FROM = 5  # evaluations per player from which intervals hold, those of the largest values too
WIDENING = 1  # of variances, in players per pair: for orders that are themselves weighed
REMEMBERED = 2  # designs whose algebra is kept


@dataclass(frozen=True, kw_only=True)
class PolynomialShapley(Options):
    """Polynomial regression on single players and on interactions of three and five, with a prior in place of a selection.

    Pairs of complements cancel all interactions of even order (Covert2021), so these are the first that regression on single players
    (KernelSHAP) takes for something else. Far more precise than it where games are smooth, and quick: nothing is fitted but how much there
    is of each order, so all of the algebra depends on the coalitions alone, and samples that share those share it.

    Args:
        most_pairs: pairs above which the regression on single players is left to itself (``kernel``), because time grows with their cube.
        fit_pairs: pairs on which the orders are weighed.

    Reference: Fumagalli2026.
    Differs from the paper: all interactions of an order are in it, by their covariance, and none are selected.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"most_pairs": POSITIVE_COUNT, "fit_pairs": POSITIVE_COUNT}
    most_pairs: int = 1500
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
        if (budget - 2) // 2 > self.most_pairs:
            return KernelShapley().extend(game, budget, known, generator=generator)
        reader = PairReader(name="polynomial", honest_from=CALIBRATED_FROM, read=self.read)
        return read_pairs(game, budget, known, reader, generator)

    def read(self, data: PairObservations) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
        """Shapley values and standard errors."""
        if (known := data.known_values()) is not None:
            return known
        processes = _processes_on(data.design, self.fit_pairs)
        _, y, scale = data.seen(odd=True)
        weighted = [(weight, process) for weight, process in zip(processes.weights(y), processes.each, strict=True) if weight]
        read = [(weight, *process.read(y)) for weight, process in weighted]
        zero = torch.zeros((), dtype=torch.float64)
        mean = sum((weight * values for weight, values, _ in read), zero)
        variance = sum((weight * (spread + (values - mean).square()) for weight, values, spread in read), zero)
        return data.settle(make_efficient(mean * scale, data.gain), variance.sqrt() * scale, WIDENING)


@dataclass(frozen=True, eq=False)
class DesignProcesses:
    """Every candidate on the pairs of a design.

    Attributes:
        rows: the full coalition and one member of each pair.
        fit_pairs: pairs on which the candidates are weighed.
    """

    rows: Float[Tensor, "M P"]
    fit_pairs: int

    @cached_property
    def each(self) -> list[ConditionedProcess]:
        return [ConditionedProcess(one, self.rows) for one in candidates(self.rows.shape[1])]

    @cached_property
    def _evidence(self) -> tuple[CandidateEvidence, Tensor]:
        some = spread_out(len(self.rows), self.fit_pairs)
        return CandidateEvidence(self.rows[some]), some

    def weights(self, y: Float[Tensor, " M"]) -> list[float]:
        """How far each candidate is to be believed."""
        evidence, some = self._evidence
        return evidence.weights(y[some])


def spread_out(rows: int, wanted: int) -> Tensor:
    """Places of the first row and of others, evenly spread: pairs that are drawn together are sorted by size, or not at all."""
    return torch.linspace(0, rows - 1, min(wanted + 1, rows), dtype=torch.float64).round().long()


@lru_cache(maxsize=REMEMBERED)
def _processes_on(design: PairDesign, fit_pairs: int) -> DesignProcesses:
    rows = design.rows.double()
    return DesignProcesses(torch.cat([torch.ones(1, rows.shape[1], dtype=torch.float64), rows]), fit_pairs)
