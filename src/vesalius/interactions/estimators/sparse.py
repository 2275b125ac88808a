"""Interactions of a game that few terms describe: found one after another, refitted together, and judged on coalitions left out.

Axes: M coalitions, P players.
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
from vesalius.core.numbers import POSITIVE_COUNT, Limit, whole_number
from vesalius.core.options import Options
from vesalius.games.estimators.estimate import GameLike, check_request, estimate_fields, require_budget
from vesalius.interactions.estimators.estimate import index_of_order, interaction_facts, unexplained_note
from vesalius.interactions.estimators.exact import ExactInteractions
from vesalius.interactions.estimators.matching_pursuit import find_terms
from vesalius.interactions.estimators.observations import Observations, observe
from vesalius.interactions.estimators.sparse_model import JudgedModel, fit_and_judge, read_interactions
from vesalius.interactions.estimators.terms import Terms, complete_terms

CHECKED_SHARE = 5  # one coalition in so many says when a search stops
COMPLETE_MOST = 1500  # terms up to an order, above which only those found are fitted
TRUSTED_FROM = 0.95  # share explained from which the coverage of the errors was measured and found right


@dataclass(frozen=True, kw_only=True)
class SparseInteractions(Options):
    """Orthogonal matching pursuit on conjunctions and disjunctions of players, forward and backward, with candidates that grow.

    Terms are added while a part of the coalitions that is kept for it is predicted better, and dropped when they do not stand out from
    noise; then all are fitted once more to all coalitions. The search is repeated without each third of the uniform coalitions, which is
    what ``explained`` is measured on. Standard errors are those of the fit, scaled to these left-out errors, with the spread of the
    repeated searches; of a coalition without a term, the interaction that would just have gone unnoticed.
    An interaction of three or more players without any trace on pairs (a parity) is not found.

    Reference: the regression is orthogonal least squares, Chen1989; hierarchy as in Kang2025 (SPEX), who search Fourier coefficients.

    Args:
        terms_most: terms in the model.
        patience: terms that may be added without gain before the search ends.
        rounds: forward and backward passes.
        search_rows: coalitions, drawn at random, in which terms are looked for; all are used for their weights.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "terms_most": POSITIVE_COUNT,
        "patience": POSITIVE_COUNT,
        "rounds": POSITIVE_COUNT,
        "search_rows": Limit(least=10),
    }
    terms_most: int = 200
    patience: int = 8
    rounds: int = 3
    search_rows: int = 4000

    def least(self, players: int, max_order: int | None) -> int:
        """Evaluations it needs."""
        return min(4 * players + 2, 1 << players)

    @verb
    def estimate(self, game: GameLike, budget: int, *, max_order: int | None = 2, generator: torch.Generator | None = None) -> Allocation:
        """An index of all coalitions up to an order, or the dividends that were found, all others being 0.

        Args:
            game: the game.
            budget: at most this many evaluations, at least 4 n + 2 (or all 2**n).
            max_order: 2 for k-SII of singles and pairs, None for dividends, another one for Faith-Shap. Where there are more than 40,000
                coalitions of so many players, those within a term that was found are listed, all others being 0.

        Raises:
            BudgetTooSmall: below 4 n + 2.
        """
        n = check_request(game, generator)
        max_order = None if max_order is None else whole_number("max_order", max_order, POSITIVE_COUNT)
        budget = require_budget(budget, self.least(n, max_order), estimator="sparse")
        if n < 4 or budget >= 1 << n:
            return ExactInteractions().estimate(game, budget, max_order=max_order)
        seen = observe(game, budget, generator=generator)
        return self.read(game, seen, self.fit(seen, generator), max_order, generator)

    def fit(self, seen: Observations, generator: torch.Generator | None) -> JudgedModel:
        """The terms found, or all terms up to an order where these are few and predict better what is left out."""
        whole = complete_terms(seen.rows.shape[1], min(COMPLETE_MOST, len(seen.rows) // 3))
        complete = None if whole is None else fit_and_judge(seen, lambda rows, values: whole, generator=generator)
        if complete is not None and complete.exact:
            return complete

        def find(rows: Bool[Tensor, "M P"], values: Float[Tensor, " M"]) -> Terms:
            order = torch.randperm(len(rows), generator=generator)[: self.search_rows]
            train = len(order) - max(1, len(order) // CHECKED_SHARE)
            limit = max(1, min(self.terms_most, train // 2))
            return find_terms(rows[order], values[order], train, most=limit, patience=self.patience, rounds=self.rounds)

        found = fit_and_judge(seen, find, generator=generator)
        return complete if complete is not None and complete.explained > found.explained else found

    def read(
        self, game: GameLike, seen: Observations, judged: JudgedModel, max_order: int | None, generator: torch.Generator | None
    ) -> Allocation:
        """An allocation of the model."""
        index = index_of_order(max_order)
        coalitions, values, stderr = read_interactions(judged, seen, index, max_order)
        return Allocation(
            **estimate_fields(game, (seen.base, seen.total), "sparse", generator, interaction_facts(index, judged.explained)),
            coalitions=coalitions,
            values=values,
            stderr=stderr,
            evaluations=torch.tensor(len(seen.rows)),
            stderr_note=unexplained_note(judged.explained, TRUSTED_FROM),
        )
