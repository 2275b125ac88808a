"""Antithetic permutation sampling: unbiased for every game, with an error that needs no model.

Axes: K pairs of permutations, P players, S prefixes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
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

ELEMENTS_AT_ONCE = 1 << 26  # players times coalitions that are written out at once
REPEATS_BELOW = 64  # players; with more, orders share next to no coalitions beside those of one player and of all but one
HONEST_FROM = 20  # pairs of permutations whose spread is known well enough


@dataclass(frozen=True, eq=False)
class PermutationSums:
    """What many pairs of orders said, as sums: nothing else of them is kept.

    Attributes:
        pairs: how many.
        mean: of their contributions.
        squares: of the distances from the mean, summed.
        ends: values of the empty and the full coalition.
        evaluations: coalitions asked.
    """

    pairs: int
    mean: Float[Tensor, " P"]
    squares: Float[Tensor, " P"]
    ends: tuple[float, float]
    evaluations: int

    def joined(self, other: PermutationSums) -> PermutationSums:
        """With those of more pairs (Chan, Golub and LeVeque's update, which does not cancel)."""
        pairs, away = self.pairs + other.pairs, other.mean - self.mean
        squares = self.squares + other.squares + away.square() * (self.pairs * other.pairs / pairs)
        mean = self.mean + away * (other.pairs / pairs)
        return PermutationSums(pairs, mean, squares, self.ends, self.evaluations + other.evaluations)


@dataclass(frozen=True, kw_only=True)
class PermutationShapley:
    """Mean marginal contribution over random orders of arrival, each order together with its reverse.

    A pair of orders costs 2 (n - 1) evaluations beyond the empty and the full coalition. The estimate is the mean over independent pairs,
    so it is unbiased and sums to v(N) - v(empty) for any number of them. Of pairs that are drawn together, a coalition met twice is asked
    once. Coalitions are written out some 67 million memberships at a time, so memory does not grow with the budget.

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
        return self.extend(game, budget, None, generator=generator)[0]

    @verb
    def extend(
        self, game: GameLike, budget: int, known: PermutationSums | None, *, generator: torch.Generator | None = None
    ) -> tuple[Allocation, PermutationSums]:
        """The same, with orders that were walked already among those; and what is known then."""
        n = check_request(game, generator)
        budget = require_budget(budget, 2 * n, estimator="permutation")
        wanted = max(1, (budget - 2) // (2 * (n - 1))) if n > 1 else 1
        at_once = max(1, ELEMENTS_AT_ONCE // (2 * n * n))
        sums = known or _walk_orders(game, min(at_once, wanted), None, generator)
        while sums.pairs < wanted:
            sums = sums.joined(_walk_orders(game, min(at_once, wanted - sums.pairs), sums.ends, generator))
        base, total = sums.ends
        stderr = (sums.squares / max(sums.pairs - 1, 1) / sums.pairs).sqrt()
        exact = n <= 2
        allocation = shapley_allocation(
            estimate_fields(game, (base, total), "permutation", generator, SHAPLEY_FACTS),
            make_efficient(sums.mean, total - base),
            torch.zeros(n, dtype=torch.float64) if exact else stderr if sums.pairs > 1 else None,
            sums.evaluations,
            ""
            if exact or sums.pairs >= HONEST_FROM
            else f"the spread of {sums.pairs} pairs of permutations; below {HONEST_FROM} it is itself uncertain",
        )
        return allocation, sums


def _walk_orders(game: GameLike, pairs: int, ends: tuple[float, float] | None, generator: torch.Generator | None) -> PermutationSums:
    """What some pairs of orders say; the two ends, which all orders share, are asked with them unless they are known."""
    n = game.players.n
    ranks = torch.rand(pairs, n, generator=generator, dtype=torch.float32).argsort(dim=1, stable=True)
    ranks = torch.stack([ranks, n - 1 - ranks], 1)
    masks = prefix_coalitions(ranks).reshape(-1, n)
    place = None
    if pairs > 1 and 1 < n < REPEATS_BELOW:
        keys, place = (masks.long() << torch.arange(n)).sum(1).unique(return_inverse=True)
        masks = (keys[:, None] >> torch.arange(n) & 1).bool()
    if ends is None:
        values = evaluate(game, torch.cat([torch.zeros(1, n, dtype=torch.bool), torch.ones(1, n, dtype=torch.bool), masks]))
        inner, ends, asked = values[2:], (float(values[0]), float(values[1])), len(values)
    else:
        inner, asked = evaluate(game, masks), len(masks)
    walked = torch.empty(pairs, 2, n + 1, dtype=torch.float64)
    walked[..., 0], walked[..., -1] = ends
    walked[..., 1:-1] = (inner if place is None else inner[place]).view(pairs, 2, n - 1)
    gains = walked.diff(dim=2).gather(2, ranks).mean(1)
    mean = gains.mean(0)
    return PermutationSums(pairs, mean, (gains - mean).square().sum(0), ends, asked)


def prefix_coalitions(ranks: Int[Tensor, "*K P"]) -> Bool[Tensor, "*K S P"]:
    """The coalitions of the first 1, ..., n - 1 arrivals, given every player's place in the order."""
    return ranks[..., None, :] < torch.arange(1, ranks.shape[-1])[:, None]
