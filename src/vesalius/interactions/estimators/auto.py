"""The estimator to use when none is named, all others by name, and the one call that runs them.

Axes: K coalitions with a value, P players.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.names import resolve_choice
from vesalius.core.numbers import POSITIVE_COUNT, Limit, whole_number
from vesalius.core.options import Options
from vesalius.games.estimators.estimate import GameLike, check_request, require_budget
from vesalius.interactions.estimators.estimate import InteractionEstimator
from vesalius.interactions.estimators.exact import ExactInteractions
from vesalius.interactions.estimators.least_squares import LeastSquaresInteractions
from vesalius.interactions.estimators.observations import Observations, observe
from vesalius.interactions.estimators.permutation import PermutationInteractions
from vesalius.interactions.estimators.sparse import SparseInteractions
from vesalius.interactions.estimators.sparse_model import JudgedModel
from vesalius.interactions.estimators.stacking import Stack
from vesalius.interactions.estimators.surrogate import SurrogateInteractions

EXACT_UP_TO = 12  # players up to which all coalitions are asked when no budget is given
BUDGET_PER_PLAYER = 100  # evaluations per player above that


@dataclass(frozen=True, kw_only=True)
class AutoInteractions(Options):
    """The model that predicts best what had no say in it; all coalitions where the budget reaches 2**n.

    A sparse model of terms and, for order 2, a Gaussian process see the same coalitions; where both predict, they are averaged by how well.
    Other orders are those of the sparse model. Compared with others in benchmarks/interaction_recovery.py.

    Args:
        process_players: players above which no process is fitted: it would list all pairs.
        process_rows: coalitions, likewise; its time grows with their cube.
        enough: share explained by terms from which no process is asked.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"process_players": Limit(least=0), "process_rows": Limit(least=0), "enough": Limit(most=1)}
    process_players: int = 150
    process_rows: int = 10_000
    enough: float = 0.999

    def least(self, players: int, max_order: int | None) -> int:
        """Evaluations it needs."""
        return min(4 * players, 1 << players)

    @verb
    def estimate(self, game: GameLike, budget: int, *, max_order: int | None = 2, generator: torch.Generator | None = None) -> Allocation:
        """Interactions by the model that suits; ``provenance["estimator"]`` names it.

        Raises:
            BudgetTooSmall: below 4 n (or 2**n).
        """
        n = check_request(game, generator)
        max_order = None if max_order is None else whole_number("max_order", max_order, POSITIVE_COUNT)
        budget = require_budget(budget, self.least(n, max_order), estimator="auto")
        if ExactInteractions().affords(n, budget):
            return ExactInteractions().estimate(game, budget, max_order=max_order)
        seen, model = self.fit(game, budget, max_order, generator)
        if isinstance(model, JudgedModel):
            return SparseInteractions().read(game, seen, model, max_order, generator)
        return model.read(game, seen, generator)

    def fit(
        self, game: GameLike, budget: int, max_order: int | None, generator: torch.Generator | None
    ) -> tuple[Observations, JudgedModel | Stack]:
        """What was asked, and the model that predicts left-out uniform coalitions best."""
        process, n = SurrogateInteractions(), game.players.n
        smooth = max_order == 2 and n <= self.process_players and budget <= self.process_rows
        seen = process.observe(game, budget, generator) if smooth else observe(game, budget, generator=generator)
        terms = SparseInteractions().fit(seen, generator)
        if not smooth or terms.explained >= self.enough:
            return seen, terms
        stack = Stack.of(process.fit(seen, generator), terms, seen)
        return seen, stack if stack.weight > 0 else terms


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
        max_order: most players of a coalition that has a value of its own; None for the dividends of all orders (``exact``, ``sparse``, and
            so ``auto``).
        estimator: a name from ``ESTIMATORS``, or an estimator with options of its own.
        budget: most coalitions to ask, the empty and the full one included; by default all of them up to 12 players (or for ``"exact"``),
            else 100 per player, or twice what the estimator needs at least if that is more.
        generator: source of all randomness.

    Returns:
        One value with its standard error for every coalition of up to ``max_order`` players: k-SII of order 2 (of a pair its Shapley
        interaction index, of a single player its Shapley value less half of its pairs), which ``reduce("shapley")`` turns into Shapley
        values; Faith-Shap of any other order, and from ``least_squares``; dividends with ``max_order=None``. Of dividends those found are
        listed, and of more than 40,000 coalitions those within a term that was found; all others are 0. They sum to total - base.
        ``provenance`` holds the ``estimator``, the ``index`` (``k_sii``, ``fsii`` or ``dividend``) and ``explained``, the share of the
        variance of the values of held-out coalitions that the estimator's own model predicts. ``stderr_note`` says where an error is not to
        be trusted.

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
