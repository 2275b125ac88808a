"""Antithetic permutation sampling: unbiased for every game, with an error that needs no model.

Axes: K pairs of permutations, P players.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.games.estimators.estimate import (
    SHAPLEY_FACTS,
    GameLike,
    empty_and_full_values,
    estimate_fields,
    evaluate,
    make_efficient,
    require_budget,
    shapley_allocation,
)


@dataclass(frozen=True, kw_only=True)
class PermutationShapley:
    """Mean marginal contribution over random orders of arrival, each order together with its reverse.

    A pair of orders costs 2 (n - 1) evaluations beyond the empty and the full coalition. The estimate is the mean over independent pairs,
    so it is unbiased and sums to v(N) - v(empty) for any number of them. A coalition met twice is asked once.

    Reference: Castro2009; the reversed orders are Mitchell2022, section 4.1.
    """

    @verb
    def estimate(self, game: GameLike, budget: int, *, generator: torch.Generator | None = None) -> Allocation:
        """Shapley values from as many pairs of orders as the budget allows.

        Args:
            game: the game.
            budget: at most this many evaluations, at least 2 n.

        Raises:
            BudgetTooSmall: not even one pair of orders fits.
        """
        n = game.players.n
        require_budget(budget, 2 * n, estimator="permutation")
        base, total = empty_and_full_values(game)
        pairs = max(1, (budget - 2) // (2 * (n - 1))) if n > 1 else 1
        ranks = torch.rand(pairs, n, generator=generator).argsort(dim=1, stable=True)
        ranks = torch.stack([ranks, n - 1 - ranks], 1)
        masks, place = prefix_coalitions(ranks).reshape(-1, n).unique(dim=0, return_inverse=True)
        inner = evaluate(game, masks)[place].view(pairs, 2, n - 1) if n > 1 else torch.empty(1, 2, 0, dtype=torch.float64)
        first, last = (torch.full((pairs, 2, 1), value, dtype=torch.float64) for value in (base, total))
        gains = torch.cat([first, inner, last], 2).diff(dim=2).gather(2, ranks).mean(1)
        exact = n <= 2
        return shapley_allocation(
            estimate_fields(game, (base, total), "permutation", generator, SHAPLEY_FACTS),
            make_efficient(gains.mean(0), total - base),
            torch.zeros(n, dtype=torch.float64) if exact else gains.std(0) / pairs**0.5 if pairs > 1 else None,
            2 + len(masks) * (n > 1),
            "" if exact or pairs >= 20 else f"the spread of {pairs} pairs of permutations; below 20 it is itself uncertain",
        )


def prefix_coalitions(ranks: Int[Tensor, "*K P"]) -> Bool[Tensor, "*K S P"]:
    """The coalitions of the first 1, ..., n - 1 arrivals, given every player's place in the order."""
    return ranks[..., None, :] < torch.arange(1, ranks.shape[-1])[:, None]
