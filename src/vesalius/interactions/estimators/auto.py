"""The estimator to use when none is named, all others by name, and the one call that runs them.

Axes: K coalitions with a value, P players.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.names import resolve_choice
from vesalius.core.numbers import POSITIVE_COUNT, whole_number
from vesalius.games.estimators.estimate import GameLike, check_request, require_budget
from vesalius.interactions.estimators.estimate import InteractionEstimator
from vesalius.interactions.estimators.exact import ExactInteractions
from vesalius.interactions.estimators.least_squares import LeastSquaresInteractions
from vesalius.interactions.estimators.permutation import PermutationInteractions
from vesalius.interactions.estimators.sparse import SparseInteractions
from vesalius.interactions.estimators.surrogate import SurrogateInteractions

EXACT_UP_TO = 12  # players up to which all coalitions are asked when no budget is given
BUDGET_PER_PLAYER = 100  # evaluations per player above that


@dataclass(frozen=True, kw_only=True)
class AutoInteractions:
    """The most precise estimator for what is asked, as measured in benchmarks/interaction_estimators.py.

    Exact where the budget reaches 2**n. Else the surrogate for order 2, sparse recovery for dividends of all orders, and the regression for
    any other order.
    """

    def least(self, players: int, max_order: int | None) -> int:
        """Evaluations it needs."""
        return self._choose_estimator(players, 0, max_order).least(players, max_order)

    @verb
    def estimate(self, game: GameLike, budget: int, *, max_order: int | None = 2, generator: torch.Generator | None = None) -> Allocation:
        """Interactions by the estimator that suits; ``provenance["estimator"]`` names it.

        Raises: as the estimator that suits.
        """
        n = check_request(game, generator)
        max_order = None if max_order is None else whole_number("max_order", max_order, POSITIVE_COUNT)
        budget = require_budget(budget, self.least(n, max_order), estimator="auto")
        return self._choose_estimator(n, budget, max_order).estimate(game, budget, max_order=max_order, generator=generator)

    def _choose_estimator(self, players: int, budget: int, max_order: int | None) -> InteractionEstimator:
        if max_order in (2, None) and ExactInteractions().affords(players, budget):
            return ExactInteractions()
        if max_order is None:
            return SparseInteractions()
        return SurrogateInteractions() if max_order == 2 else LeastSquaresInteractions()


ESTIMATORS: dict[str, type[InteractionEstimator]] = {
    "auto": AutoInteractions,
    "exact": ExactInteractions,
    "surrogate": SurrogateInteractions,
    "least_squares": LeastSquaresInteractions,
    "permutation": PermutationInteractions,
    "sparse": SparseInteractions,
}


@verb
def interactions_of(
    game: GameLike,
    *,
    max_order: int | None = 2,
    estimator: str | InteractionEstimator = "auto",
    budget: int | None = None,
    generator: torch.Generator | None = None,
) -> Allocation:
    """What the players of a game do together, within a budget of evaluations.

    Args:
        game: n players and a value for every coalition, for instance a :class:`vesalius.games.game.Game`.
        max_order: most players of a coalition that has a value of its own; None for the dividends of all orders (``exact``, ``sparse``).
        estimator: a name from ``ESTIMATORS``, or an estimator with options of its own.
        budget: most coalitions to ask, the empty and the full one included; by default all of them up to 12 players (or for ``"exact"``),
            else 100 per player, or twice what the estimator needs at least if that is more.
        generator: source of all randomness.

    Returns:
        One value with its standard error for every coalition of up to ``max_order`` players: k-SII of order 2 (of a pair its Shapley
        interaction index, of a single player its Shapley value less half of its pairs), which ``reduce("shapley")`` turns into Shapley
        values; Faith-Shap from ``least_squares``; dividends with ``max_order=None``. They sum to total - base. ``provenance`` holds the
        ``estimator``, the ``index`` (``k_sii``, ``fsii`` or ``dividend``) and ``explained``, the share of the variance of held-out
        coalitions' values that the estimator's own model predicts. ``stderr_note`` says where an error is not to be trusted.

    Raises:
        UnknownName: no such estimator.
        BudgetTooSmall: so few evaluations do not identify what is asked.
        InvalidInput: an order that the estimator does not have, or a game with a value that is not finite.

    Reference: Grabisch1999 (the interaction index), Bordt2023 (k-SII), Tsai2023 (Faith-Shap).
    """
    estimator = resolve_choice("interaction estimator", estimator, ESTIMATORS, InteractionEstimator)
    if max_order is not None:
        max_order = whole_number("max_order", max_order, POSITIVE_COUNT)
    n = check_request(game, generator)
    if budget is None:
        everything = n <= EXACT_UP_TO or isinstance(estimator, ExactInteractions)
        budget = 1 << n if everything else max(BUDGET_PER_PLAYER * n, 2 * estimator.least(n, max_order))
    budget = whole_number("budget", budget)
    found = estimator.estimate(game, budget, max_order=max_order, generator=generator)
    return replace(found, provenance={**found.provenance, "max_order": max_order, "budget": budget})
