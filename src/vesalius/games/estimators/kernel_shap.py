"""Shapley values as a weighted regression of the game on its players, with paired coalitions drawn without replacement.

Axes: M pairs, P players.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.options import Options
from vesalius.games.estimators.estimate import (
    SHAPLEY_FACTS,
    GameLike,
    check_request,
    estimate_fields,
    require_budget,
    shapley_allocation,
)
from vesalius.games.estimators.exact import ExactShapley
from vesalius.games.estimators.pairs import PairObservations, observe_pairs


@dataclass(frozen=True, kw_only=True)
class KernelShapley(Options):
    """Leverage-weighted KernelSHAP.

    The regression of u(S) = (v(S) - v(complement of S)) / 2 on [i in S] - 1/2, weighted by the Shapley kernel over the chance of being
    drawn, under the constraint that the values sum to v(N) - v(empty). Where fewer pairs than players are known, the values nearest to an
    equal share that fit them. Slightly biased at small samples, consistent, and exact once all pairs are drawn.

    Args:
        balanced: whether every player is drawn about equally often within a size: some 5 % more precise, and twice the time of drawing,
            which is most of the algebra. Players are not balanced from 64 on.

    Reference: Lundberg2017, theorem 2; paired sampling Covert2021; sizes by leverage and without replacement Musco2025.
    Differs from the paper: players appear equally often within a size, and the weights use the numbers drawn per size, not expected ones.
    """

    balanced: bool = True

    @verb
    def estimate(self, game: GameLike, budget: int, *, generator: torch.Generator | None = None) -> Allocation:
        """Shapley values by regression on ``(budget - 2) // 2`` pairs.

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
        budget = require_budget(budget, 2 if n == 1 else 4, estimator="kernel")
        if n == 1:
            return ExactShapley().estimate(game, budget), None
        design = "balanced" if self.balanced else "independent"
        data = observe_pairs(game, (budget - 2) // 2, known, design=design, generator=generator)
        values, stderr = data.design.regression.estimate(data.odd, data.gain)
        pairs = len(data.rows)
        enough = pairs >= 2 * n or pairs == 2 ** (n - 1) - 1
        fields = estimate_fields(game, (data.base, data.total), "kernel", generator, SHAPLEY_FACTS)
        note = "" if enough else f"{pairs} pairs for {n} players; the error is honest from {2 * n} pairs on"
        return shapley_allocation(fields, values, stderr, data.evaluations, note), data
