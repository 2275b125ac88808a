"""The estimator to use when none is named, all others by name, and the one call that runs them.

Axes: P players.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.names import resolve_choice
from vesalius.core.numbers import Limit, whole_number
from vesalius.core.options import Options
from vesalius.games.estimators.adaptive import AdaptiveShapley
from vesalius.games.estimators.estimate import GameLike, ShapleyEstimator, check_request, require_budget
from vesalius.games.estimators.exact import ExactShapley
from vesalius.games.estimators.kernel_shap import KernelShapley
from vesalius.games.estimators.permutation import PermutationShapley
from vesalius.games.estimators.surrogate import SurrogateShapley

EXACT_UP_TO = 12  # players up to which all coalitions are asked when no budget is given
BUDGET_PER_PLAYER = 100  # evaluations per player above that


@dataclass(frozen=True, kw_only=True)
class AutoShapley(Options):
    """The most precise estimator for the number of players and the budget, as measured in benchmarks/shapley.py.

    Exact where the budget reaches 2**n. Else adaptive, up to ``adaptive_per_player`` evaluations per player and ``adaptive_most`` in all;
    then the surrogate; and above ``surrogate_pairs`` pairs, where a surrogate is slow, the regression, whose cost is linear.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "adaptive_per_player": Limit(least=0),
        "adaptive_most": Limit(least=0),
        "surrogate_pairs": Limit(least=0),
    }
    adaptive_per_player: int = 12
    adaptive_most: int = 600
    surrogate_pairs: int = 2500

    @verb
    def estimate(self, game: GameLike, budget: int, *, generator: torch.Generator | None = None) -> Allocation:
        """Shapley values by the estimator that suits; ``provenance["estimator"]`` names it.

        Raises:
            BudgetTooSmall: below 4 evaluations (2 for a single player).
        """
        n = check_request(game, generator)
        budget = require_budget(budget, 2 if n == 1 else 4, estimator="auto")
        return self._choose_estimator(n, budget).estimate(game, budget, generator=generator)

    def _choose_estimator(self, players: int, budget: int) -> ShapleyEstimator:
        if ExactShapley().affords(players, budget):
            return ExactShapley()
        if budget <= min(self.adaptive_per_player * players, self.adaptive_most):
            return AdaptiveShapley()
        return SurrogateShapley() if budget // 2 <= self.surrogate_pairs else KernelShapley()


ESTIMATORS: dict[str, type[ShapleyEstimator]] = {
    "auto": AutoShapley,
    "exact": ExactShapley,
    "adaptive": AdaptiveShapley,
    "surrogate": SurrogateShapley,
    "kernel": KernelShapley,
    "permutation": PermutationShapley,
}


@verb
def shapley(
    game: GameLike, *, budget: int | None = None, estimator: str | ShapleyEstimator = "auto", generator: torch.Generator | None = None
) -> Allocation:
    """Shapley values of a game.

    Args:
        game: n players and a value for every coalition, for instance a :class:`vesalius.games.game.Game`.
        budget: most coalitions to ask, the empty and the full one included; by default all of them up to 12 players (or for ``"exact"``),
            else 100 per player.
        estimator: a name from ``ESTIMATORS``, or an estimator with options of its own.
        generator: source of all randomness.

    Returns:
        One value per player in the unit of the game, with standard errors, base and total; it plots, saves and reports as any allocation.
        ``provenance`` holds that of the game, the ``estimator``, the ``seed`` of the generator and the ``budget``.

    Raises:
        UnknownName: no such estimator.
        BudgetTooSmall: the estimator cannot work with so few evaluations.
        InvalidInput: the game has a value that is not finite.
    """
    estimator = resolve_choice("Shapley estimator", estimator, ESTIMATORS, ShapleyEstimator)
    n = check_request(game, generator)
    if budget is None:
        budget = 1 << n if n <= EXACT_UP_TO or isinstance(estimator, ExactShapley) else BUDGET_PER_PLAYER * n
    budget = whole_number("budget", budget)
    found = estimator.estimate(game, budget, generator=generator)
    return replace(found, provenance={**found.provenance, "budget": budget})
