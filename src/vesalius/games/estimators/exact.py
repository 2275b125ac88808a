"""Shapley values from all coalitions, where there are not too many.

Axes: P players.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.errors import TooManyPlayers
from vesalius.core.numbers import Limit
from vesalius.core.options import Options
from vesalius.games import moebius
from vesalius.games.estimators.estimate import (
    SHAPLEY_FACTS,
    GameLike,
    check_request,
    estimate_fields,
    evaluate,
    make_efficient,
    require_budget,
    shapley_allocation,
)

BLOCK = 1 << 16  # coalitions asked at once


@dataclass(frozen=True, kw_only=True)
class ExactShapley(Options):
    """All 2**n coalitions, by way of their dividends.

    Args:
        most: players above which this is refused.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"most": Limit(least=0)}
    most: int = 20

    def affords(self, players: int, budget: int) -> bool:
        """Whether all coalitions of so many players can be asked."""
        return players <= self.most and budget >= 1 << players

    @verb
    def estimate(self, game: GameLike, budget: int, *, generator: torch.Generator | None = None) -> Allocation:
        """The Shapley values.

        Args:
            game: the game.
            budget: at least 2**n.
            generator: not used; there is no randomness.

        Raises:
            TooManyPlayers: above ``most`` players.
            BudgetTooSmall: below 2**n.
        """
        n = check_request(game, generator)
        if n > self.most:
            raise TooManyPlayers(n, self.most, hint="use estimator='auto', or group players")
        budget = require_budget(budget, 1 << n, estimator="exact")
        table = torch.cat([evaluate(game, block) for block in moebius.membership(n).split(BLOCK)])
        base, total = float(table[0]), float(table[-1])
        return shapley_allocation(
            estimate_fields(game, (base, total), "exact", generator, SHAPLEY_FACTS),
            make_efficient(moebius.shapley_values(moebius.dividends(table)), total - base),
            torch.zeros(n, dtype=torch.float64),
            1 << n,
        )
