"""Coalitions chosen one after another, each for what it will tell about interactions.

The same Bayesian experimental design as ``vesalius.games.estimators.adaptive``, with the interactions of pairs in place of Shapley values.

Axes: K coalitions known, B coalitions, P players, Q pairs of players.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.games.estimators.adaptive import DESIGN_GRID, candidate_coalitions, select_most_informative
from vesalius.games.estimators.estimate import GameLike
from vesalius.games.estimators.gaussian_process.covariance import Covariance
from vesalius.interactions.estimators import gaussian_process
from vesalius.interactions.estimators.observations import Observations, observe_uniform, without_known

FitCovariance = Callable[[Bool[Tensor, "K P"], Float[Tensor, " K"]], Covariance]


def observe_adaptively(
    game: GameLike, budget: int, *, fit: FitCovariance, growth: float, generator: torch.Generator | None
) -> Observations:
    """The ends and the uniform share, every player left out once and alone, and then what tells most, up to exactly ``budget``.

    Args:
        game: the game.
        budget: below 2**n.
        fit: the process that describes what is known so far.
        growth: the process is fitted anew when the evaluations have grown by this factor.
    """
    seen = observe_uniform(game, budget, generator=generator)
    alone = torch.eye(game.players.n, dtype=torch.bool)
    seen = seen.with_more(game, without_known(torch.cat([~alone, alone]), seen.rows)[: budget - len(seen.rows)], uniform=False)
    while len(seen.rows) < budget:
        wanted = min(budget, int(len(seen.rows) * growth) + 1) - len(seen.rows)
        pool = candidate_coalitions(seen.rows, wanted, generator=generator)
        design = fit(seen.rows, seen.values).rounded(DESIGN_GRID)
        chosen = pool[select_most_informative(design, seen.rows.double(), pool.double(), wanted, about=pair_covariance)]
        seen = seen.with_more(game, chosen, uniform=False)
    return seen


def pair_covariance(covariance: Covariance, rows: Float[Tensor, "B P"]) -> Float[Tensor, "Q B"]:
    """Covariance of the interaction of every pair with the value of every coalition."""
    return gaussian_process.interaction_covariance(covariance, rows)[covariance.players :]
