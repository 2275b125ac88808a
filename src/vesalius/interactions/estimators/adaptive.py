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
from vesalius.games.estimators.gaussian_process.covariance import Covariance
from vesalius.interactions.estimators import gaussian_process

FitCovariance = Callable[[Bool[Tensor, "K P"], Float[Tensor, " K"]], Covariance]


def first_coalitions(players: int) -> Bool[Tensor, "K P"]:
    """The empty and the full coalition, every player left out once, and every player alone."""
    alone = torch.eye(players, dtype=torch.bool)
    return torch.cat([torch.zeros(1, players, dtype=torch.bool), torch.ones(1, players, dtype=torch.bool), ~alone, alone])


def collect_coalitions(
    ask: Callable[[Tensor], Tensor], players: int, budget: int, *, fit: FitCovariance, growth: float, generator: torch.Generator | None
) -> tuple[Bool[Tensor, "K P"], Float[Tensor, " K"]]:
    """Exactly ``budget`` coalitions and their values.

    Args:
        ask: values of coalitions.
        budget: more than ``2 + 2 n``.
        fit: the process that describes what is known so far.
        growth: the process is fitted anew when the evaluations have grown by this factor.
    """
    rows = first_coalitions(players)
    values = ask(rows)
    while len(rows) < budget:
        wanted = min(budget, int(len(rows) * growth) + 1) - len(rows)
        pool = candidate_coalitions(rows, wanted, generator=generator)
        design = fit(rows, values).rounded(DESIGN_GRID)
        chosen = pool[select_most_informative(design, rows.double(), pool.double(), wanted, about=pair_covariance)]
        rows, values = torch.cat([rows, chosen]), torch.cat([values, ask(chosen)])
    return rows, values


def pair_covariance(covariance: Covariance, rows: Float[Tensor, "B P"]) -> Float[Tensor, "Q B"]:
    """Covariance of the interaction of every pair with the value of every coalition."""
    return gaussian_process.interaction_covariance(covariance, rows)[covariance.players :]
