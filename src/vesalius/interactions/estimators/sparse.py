"""The few large dividends of a game of up to 64 players, of any order, found by greedy regression.

A dividend of T is the coefficient of the column [T present]. Searching all of them is hopeless; but on coalitions of all sizes a large
dividend of T leaves a trace on the parts of T, so the search starts from single players and pairs and extends what it has found by one
player at a time. What was only a step on the way is removed again.

Axes: M coalitions, P players, C candidates, T terms.
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
from vesalius.core.errors import InvalidInput
from vesalius.core.interaction_indices import compute_index
from vesalius.core.numbers import POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.games.estimators import coalition_sampling
from vesalius.games.estimators.estimate import GameLike, check_request, empty_and_full_values, estimate_fields, evaluate, require_budget
from vesalius.interactions.estimators.estimate import explained_variance, interaction_facts, require_order_two
from vesalius.interactions.estimators.exact import ExactInteractions
from vesalius.interactions.estimators.matching_pursuit import RegressionPairs, find_terms, solve_least_squares

MAX_PLAYERS = 64


@dataclass(frozen=True, kw_only=True)
class SparseInteractions(Options):
    """Orthogonal matching pursuit on dividends, forward and backward, with hierarchical candidates.

    Terms are added while a validation part of the coalitions is predicted better, and dropped when they do not stand out from noise. A last
    part is kept for ``explained``; then the terms are fitted once more to all coalitions, exact at both ends. Standard errors are those of
    refits to resampled pairs of complements with the terms as they are.
    An interaction of three or more players without any trace on singles and pairs (a parity) is not found.

    Reference: the regression is orthogonal least squares, Chen1989; hierarchy as in Kang2025 (SPEX), who search Fourier coefficients.

    Args:
        terms_most: dividends in the model.
        patience: terms that may be added without gain before the search ends.
        rounds: forward and backward passes.
        resamples: of the bootstrap.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "terms_most": POSITIVE_COUNT,
        "patience": POSITIVE_COUNT,
        "rounds": POSITIVE_COUNT,
        "resamples": Limit(least=2),
    }
    terms_most: int = 200
    patience: int = 8
    rounds: int = 3
    resamples: int = 100

    def least(self, players: int, max_order: int | None) -> int:
        """Evaluations it needs."""
        return min(4 * players + 2, 1 << players)

    @verb
    def estimate(self, game: GameLike, budget: int, *, max_order: int | None = 2, generator: torch.Generator | None = None) -> Allocation:
        """Dividends, or k-SII of singles and pairs that follows from them.

        Args:
            game: the game, of at most 64 players.
            budget: at most this many evaluations, at least 4 n + 2 (or all 2**n).
            max_order: 2 for k-SII, None for the dividends that were found, all others being 0.

        Raises:
            BudgetTooSmall: below 4 n + 2.
            InvalidInput: more players, or another order.
        """
        n = check_request(game, generator)
        if n > MAX_PLAYERS:
            raise InvalidInput(f"'sparse' is for at most {MAX_PLAYERS} players, not {n}; group players, or use 'surrogate'")
        if max_order is not None:
            require_order_two(max_order, "sparse")
        budget = require_budget(budget, self.least(n, max_order), estimator="sparse")
        if n < 4 or budget >= 1 << n:
            return ExactInteractions().estimate(game, budget, max_order=max_order)
        base, total = empty_and_full_values(game)
        half = coalition_sampling.singles_first_pairs(n, (budget - 2) // 2, generator=generator)
        values = evaluate(game, torch.cat([half, ~half])).view(2, -1) - base
        data = RegressionPairs(torch.stack([half, ~half]), values)
        members, explained = self._find_terms(data, generator)
        dividends = solve_least_squares(data.columns(members), data.flat, total - base)
        refits = self._bootstrap_refits(data, members, total - base, generator)
        coalitions = members
        if max_order == 2:
            coalitions, found = compute_index(members, torch.cat([dividends[:, None], refits], 1).T, "k_sii", 2)
            dividends, refits = found[0], found[1:].T
        missed = f"the terms found explain {explained:.3f} of the variance; the error does not cover what they miss"
        return Allocation(
            **estimate_fields(
                game, (base, total), "sparse", generator, interaction_facts("dividend" if max_order is None else "k_sii", explained)
            ),
            coalitions=coalitions,
            values=dividends,
            stderr=refits.std(1),
            evaluations=torch.tensor(2 + 2 * len(half)),
            stderr_note="" if explained > 1 - 1e-6 else missed,
        )

    def _find_terms(self, data: RegressionPairs, generator: torch.Generator | None) -> tuple[Bool[Tensor, "T P"], float]:
        """Members of the terms, and the share of variance that they explain on coalitions that had no say in it."""
        order = torch.randperm(data.pairs, generator=generator)
        test, check, train = order.tensor_split([data.pairs // 6, data.pairs // 3])
        limit = max(1, min(self.terms_most, len(train) // 2))
        members = find_terms(data.part(train), data.part(check), most=limit, patience=self.patience, rounds=self.rounds)
        known, unknown = data.part(torch.cat([check, train])), data.part(test)
        dividends = solve_least_squares(known.columns(members), known.flat, None)
        return members, explained_variance(unknown.flat - unknown.columns(members) @ dividends, unknown.flat)

    def _bootstrap_refits(
        self, data: RegressionPairs, members: Bool[Tensor, "T P"], gain: float, generator: torch.Generator | None
    ) -> Float[Tensor, "T R"]:
        draws = torch.randint(data.pairs, (self.resamples, data.pairs), generator=generator)
        columns, y = data.columns(members), data.flat
        found = []
        for draw in draws:
            weight = torch.bincount(draw, minlength=data.pairs).double().sqrt().repeat(2)
            found.append(solve_least_squares(columns * weight[:, None], y * weight, gain))
        return torch.stack(found, 1)
