"""Coalitions chosen one after another, each for what it will tell about interactions.

The same Bayesian experimental design as ``vesalius.games.estimators.adaptive``, with the interactions of pairs in place of Shapley values.

Axes: K coalitions known, C coalitions to choose from, P players.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.games.estimators.adaptive import candidates
from vesalius.games.estimators.covariance import Covariance
from vesalius.games.estimators.posterior import JITTER, noisy
from vesalius.interactions.estimators import readoff

Fit = Callable[[Bool[Tensor, "K P"], Float[Tensor, " K"]], Covariance]


def start(players: int) -> Bool[Tensor, "K P"]:
    """The empty and the full coalition, every player left out once, and every player alone."""
    alone = torch.eye(players, dtype=torch.bool)
    return torch.cat([torch.zeros(1, players, dtype=torch.bool), torch.ones(1, players, dtype=torch.bool), ~alone, alone])


def collected(
    ask: Callable[[Tensor], Tensor], players: int, budget: int, *, fit: Fit, growth: float, generator: torch.Generator | None
) -> tuple[Bool[Tensor, "K P"], Float[Tensor, " K"]]:
    """Exactly ``budget`` coalitions and their values.

    Args:
        ask: values of coalitions.
        budget: more than ``2 + 2 n``.
        fit: the process that describes what is known so far.
        growth: the process is fitted anew when the evaluations have grown by this factor.
    """
    rows = start(players)
    values = ask(rows)
    while len(rows) < budget:
        wanted = min(budget, int(len(rows) * growth) + 1) - len(rows)
        pool = candidates(rows, wanted, generator=generator)
        chosen = pool[most_telling(fit(rows, values), rows.double(), pool.double(), wanted)]
        rows, values = torch.cat([rows, chosen]), torch.cat([values, ask(chosen)])
    return rows, values


def most_telling(covariance: Covariance, known: Float[Tensor, "K P"], pool: Float[Tensor, "C P"], wanted: int) -> list[int]:
    """Coalitions of a pool, chosen in turn, whose values lower the summed posterior variance of the pairs' interactions most.

    The Cholesky factor of the known ones is extended by a row for every choice, so a choice costs one product with it.

    Returns:
        Places in the pool, in the order of choice; all of them where the pool is no larger than wanted.
    """
    factor = torch.linalg.cholesky(noisy(covariance, known))
    count = min(wanted, len(pool))
    seen = torch.empty(len(known) + count, len(pool), dtype=torch.float64)
    seen[: len(known)] = torch.linalg.solve_triangular(factor, covariance.between(known, pool), upper=False)
    told = torch.linalg.solve_triangular(factor, _pairs(covariance, known).T, upper=False)
    effect = _pairs(covariance, pool) - told.T @ seen[: len(known)]
    prior = torch.cat([covariance.between(block, block).diagonal() for block in pool.split(64)])
    floor = JITTER * prior
    spread = (prior + floor + covariance.noise_at(pool) - seen[: len(known)].square().sum(0)).clamp_min(floor)
    free = torch.ones(len(pool), dtype=torch.bool)
    chosen: list[int] = []
    for filled in range(len(known), len(known) + count):
        at = int((effect.square().sum(0) / spread).masked_fill(~free, -1).argmax())
        chosen.append(at)
        free[at] = False
        column = covariance.between(pool, pool[at : at + 1])[:, 0] - seen[:filled].T @ seen[:filled, at]
        seen[filled] = column / spread[at].sqrt()
        effect -= effect[:, at : at + 1] / spread[at].sqrt() * seen[filled]
        spread = (spread - seen[filled].square()).clamp_min(floor)
    return chosen


def _pairs(covariance: Covariance, rows: Tensor) -> Tensor:
    return readoff.interactions(covariance, rows)[covariance.players :]
