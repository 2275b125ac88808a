"""More and more evaluations, until the standard errors are small enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from vesalius.core.allocation import Allocation
from vesalius.games.estimators.estimate import GameLike, ShapleyEstimator

FIRST_PER_PLAYER = 5  # evaluations per player before the first look, from which on some estimators can be trusted
GROWTH = 2  # of the evaluations between two looks


def estimate_to_tolerance(
    estimator: ShapleyEstimator, game: GameLike, budget: int, tol: float, generator: torch.Generator | None
) -> Allocation:
    """Shapley values whose standard errors are at most ``tol |total - base|``, if so much is known within the budget.

    An estimator with a method ``extend`` goes on with what it knows; any other is asked once, with the whole budget. Looking several times
    makes it a little likelier that errors look small by chance; the first look is late, and the sample doubles between two.

    Args:
        estimator: how.
        game: the game.
        budget: most evaluations.
        tol: above 0.
        generator: source of all randomness.

    Returns:
        As of the estimator, with ``converged``.
    """
    extend: Callable[..., tuple[Allocation, Any]] | None = getattr(estimator, "extend", None)
    if extend is None:
        found = estimator.estimate(game, budget, generator=generator)
        return replace(found, converged=torch.tensor(is_precise(found, tol)))
    stage, known = min(budget, FIRST_PER_PLAYER * game.players.n + 2), None
    while True:
        found, known = extend(game, stage, known, generator=generator)
        if is_precise(found, tol) or stage == budget:
            return replace(found, converged=torch.tensor(is_precise(found, tol)))
        stage = min(budget, GROWTH * stage)


def is_precise(found: Allocation, tol: float) -> bool:
    """Whether all standard errors can be trusted and are small enough."""
    if found.stderr is None or found.stderr_note:
        return False
    return bool((found.stderr <= tol * (found.total - found.base).abs()).all())
