"""The estimator to use when none is named, all others by name, and the one call that runs them.

Axes: P players.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.names import resolve_choice
from vesalius.core.numbers import POSITIVE, Limit, real_number, whole_number
from vesalius.core.options import Options
from vesalius.games.estimators import algebra
from vesalius.games.estimators.adaptive import AdaptiveShapley
from vesalius.games.estimators.estimate import GameLike, ShapleyEstimator, check_request, require_budget
from vesalius.games.estimators.exact import ExactShapley
from vesalius.games.estimators.kernel_shap import KernelShapley
from vesalius.games.estimators.pairs import PairObservations
from vesalius.games.estimators.permutation import PermutationShapley, PermutationSums
from vesalius.games.estimators.polynomial import PolynomialShapley
from vesalius.games.estimators.surrogate import SurrogateShapley
from vesalius.games.estimators.tolerance import estimate_to_tolerance

EXACT_UP_TO = 12  # players up to which all coalitions are asked when no budget is given
BUDGET_PER_PLAYER = 100  # evaluations per player above that
BUDGET_TO_TOLERANCE = 10_000  # evaluations per player where a tolerance says when to stop
UNKNOWN_SECONDS = 1e-5  # an evaluation is taken to last where nobody knows: short, so that our own algebra never dominates

Known = PairObservations | PermutationSums | tuple[Tensor, Tensor] | None
"""What is known of a game, in a form that an estimator goes on from."""


@dataclass(frozen=True, kw_only=True)
class AutoShapley(Options):
    """The most precise estimator whose own algebra takes no longer than the evaluations do, or ``algebra.FREE_SECONDS`` if those are short.

    What an evaluation takes is counted in floating point operations (:meth:`vesalius.Game.nominal_seconds`) and never timed, so the same
    call gives the same numbers everywhere; for functions whose operations cannot be counted, ``evaluation_seconds`` says it.

    Exact where the budget reaches 2**n. Else, where evaluations are dear, adaptive up to ``adaptive_per_player`` evaluations per player and
    ``adaptive_most`` in all, then the surrogate, with as many inducing pairs as there is time for. Where they are cheap, polynomial
    regression, whose algebra the samples of a batch share (``algebra.SHARED_SECONDS``), and the regression on single players where pairs
    are too many for it (for dear ones, above ``surrogate_pairs``). Permutations, which need no memory and no algebra, where there
    are too many players for those.

    With a tolerance in place of a budget the time to the asked error is what counts: where evaluations are cheap, the regression (or
    permutations, where players are many) on many of them, where they are less so, polynomial regression, else the processes on few.

    Args:
        adaptive_per_player: see above.
        adaptive_most: see above.
        surrogate_pairs: see above.
        evaluation_seconds: what an evaluation takes; by default counted where it can be, else 10 microseconds.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "adaptive_per_player": Limit(least=0),
        "adaptive_most": Limit(least=0),
        "surrogate_pairs": Limit(least=0),
        "evaluation_seconds": POSITIVE,
    }
    adaptive_per_player: int = 12
    adaptive_most: int = 600
    surrogate_pairs: int = 20_000
    evaluation_seconds: float | None = None

    @verb
    def estimate(self, game: GameLike, budget: int, *, generator: torch.Generator | None = None) -> Allocation:
        """Shapley values by the estimator that suits; ``provenance["estimator"]`` names it.

        Raises:
            BudgetTooSmall: below 4 evaluations (2 for a single player).
        """
        n = check_request(game, generator)
        budget = require_budget(budget, 2 if n == 1 else 4, estimator="auto")
        if ExactShapley().affords(n, budget):
            return ExactShapley().estimate(game, budget)
        return self._choose_estimator(n, budget, self._seconds(game)).estimate(game, budget, generator=generator)

    @verb
    def extend(self, game: GameLike, budget: int, known: Known, *, generator: torch.Generator | None = None) -> tuple[Allocation, Known]:
        """Shapley values by the estimator that reaches an error soonest, from what is known and more, so many evaluations in all.

        Where the estimator changes on the way and cannot use what is known, that is counted on top.
        """
        n = check_request(game, generator)
        seconds = self._seconds(game)
        if ExactShapley().affords(n, budget):
            return ExactShapley().estimate(game, budget), None
        estimator: Any = self.soonest(n, budget, seconds)
        usable = known if isinstance(known, KNOWN_BY[type(estimator)]) else None
        found, now = estimator.extend(game, budget, usable, generator=generator)
        lost = 0 if known is usable else len(known[0]) if isinstance(known, tuple) else getattr(known, "evaluations", 0)
        return replace(found, evaluations=found.evaluations + lost), now

    def for_games_like(self, game: GameLike) -> AutoShapley:
        """The same with what an evaluation of a game takes, so that it is counted once for all samples of a batch."""
        return replace(self, evaluation_seconds=self._seconds(game))

    def soonest(self, players: int, budget: int, seconds: float) -> ShapleyEstimator:
        """The estimator that is precise soonest where an evaluation takes so long, of those that can take so many.

        Args:
            players: of the game.
            budget: evaluations.
            seconds: that an evaluation takes.
        """
        pairs, sooner = budget // 2, algebra.regression_is_sooner(players, seconds)
        if algebra.too_large(players, pairs) or (sooner and algebra.permutations_are_sooner(players, seconds)):
            return PermutationShapley()
        if sooner and algebra.polynomial_is_sooner(players, seconds) and algebra.polynomial_seconds(pairs) <= budget * seconds:
            return PolynomialShapley()
        if sooner or pairs > self.surrogate_pairs:
            return KernelShapley(balanced=seconds >= algebra.BALANCE_SECONDS)
        if budget <= 2 * self.adaptive_most and algebra.adaptive_seconds(budget) <= budget * seconds:
            return AdaptiveShapley()
        return self._surrogate(budget, seconds)

    def _seconds(self, game: GameLike) -> float:
        if self.evaluation_seconds is not None:
            return self.evaluation_seconds
        count = getattr(game, "nominal_seconds", None)
        return (count() if count is not None else None) or UNKNOWN_SECONDS

    def _choose_estimator(self, players: int, budget: int, seconds: float) -> ShapleyEstimator:
        pairs, time = budget // 2, budget * seconds
        spare = max(algebra.FREE_SECONDS, time)
        unfit = not algebra.regression_fits(players) and algebra.regression_seconds(players, pairs) > spare
        if budget >= 2 * players and (algebra.too_large(players, pairs) or unfit):
            return PermutationShapley()
        few = budget <= min(self.adaptive_per_player * players, self.adaptive_most)
        fits_pairs = pairs in (players, players + 1)  # with the ends: n - 1 or n pairs, at which the others are exact on games of pairs
        if few and algebra.adaptive_seconds(budget) <= time and not fits_pairs:
            return AdaptiveShapley()
        if pairs <= self.surrogate_pairs and algebra.process_seconds(pairs) <= time:
            return self._surrogate(budget, seconds)
        if algebra.polynomial_seconds(pairs) <= max(algebra.SHARED_SECONDS, time) or pairs < 2 * players:
            return PolynomialShapley()
        return KernelShapley()

    def _surrogate(self, budget: int, seconds: float) -> SurrogateShapley:
        pairs, spare = budget // 2, max(algebra.FREE_SECONDS, budget * seconds)
        return SurrogateShapley(
            exact_pairs=algebra.dense_rows(spare),
            joint_rows=algebra.dense_rows(spare),
            inducing=algebra.inducing_rows(pairs, spare),
            fit_pairs=algebra.fit_rows(spare),
        )


KNOWN_BY: dict[type, type] = {
    AdaptiveShapley: tuple,
    KernelShapley: PairObservations,
    PermutationShapley: PermutationSums,
    PolynomialShapley: PairObservations,
    SurrogateShapley: PairObservations,
}
"""What each goes on from."""

ESTIMATORS: dict[str, type[ShapleyEstimator]] = {
    "auto": AutoShapley,
    "exact": ExactShapley,
    "adaptive": AdaptiveShapley,
    "surrogate": SurrogateShapley,
    "polynomial": PolynomialShapley,
    "kernel": KernelShapley,
    "permutation": PermutationShapley,
}


@verb
def shapley(
    game: GameLike,
    *,
    budget: int | None = None,
    tol: float | None = None,
    estimator: str | ShapleyEstimator = "auto",
    generator: torch.Generator | None = None,
) -> Allocation:
    """Shapley values of a game.

    Args:
        game: n players and a value for every coalition, for instance a :class:`vesalius.games.game.Game`.
        budget: most coalitions to ask, the empty and the full one included; by default all of them up to 12 players (or for ``"exact"``),
            else 100 per player, and 10,000 per player where ``tol`` says when to stop.
        tol: the largest standard error that is asked for, as a share of ``|total - base|``. The sample is doubled until no player's is
            larger, or the budget spent; ``converged`` tells. Errors that ``stderr_note`` warns of do not count.
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
        per_player = BUDGET_PER_PLAYER if tol is None else BUDGET_TO_TOLERANCE
        budget = 1 << n if n <= EXACT_UP_TO or isinstance(estimator, ExactShapley) else per_player * n
    budget = whole_number("budget", budget)
    asked: dict[str, Any] = {"budget": budget}
    if tol is None:
        found = estimator.estimate(game, budget, generator=generator)
    else:
        tol = asked["tol"] = real_number("tol", tol, POSITIVE)
        found = estimate_to_tolerance(estimator, game, budget, tol, generator)
    return replace(found, provenance={**found.provenance, **asked})
