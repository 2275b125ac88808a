"""Interactions from all coalitions, where there are not too many.

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
from vesalius.core.interaction_indices import compute_index
from vesalius.core.numbers import POSITIVE_COUNT, Limit, whole_number
from vesalius.core.options import Options
from vesalius.games import moebius
from vesalius.games.estimators.estimate import GameLike, check_request, estimate_fields, evaluate, require_budget
from vesalius.games.estimators.exact import BLOCK
from vesalius.interactions.estimators.estimate import index_of_order, interaction_facts


@dataclass(frozen=True, kw_only=True)
class ExactInteractions(Options):
    """All 2**n coalitions, by way of their dividends.

    Args:
        most: players above which this is refused.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"most": Limit(least=0)}
    most: int = 20

    def affords(self, players: int, budget: int) -> bool:
        """Whether all coalitions of so many players can be asked."""
        return players <= self.most and budget >= 1 << players

    def least(self, players: int, max_order: int | None) -> int:
        """Evaluations it needs."""
        return 1 << players

    @verb
    def estimate(self, game: GameLike, budget: int, *, max_order: int | None = 2, generator: torch.Generator | None = None) -> Allocation:
        """The interactions.

        Args:
            game: the game.
            budget: at least 2**n.
            max_order: 2 for k-SII of singles and pairs, None for all 2**n - 1 dividends, another one for Faith-Shap.
            generator: not used; there is no randomness.

        Raises:
            TooManyPlayers: above ``most`` players.
            BudgetTooSmall: below 2**n.
        """
        n = check_request(game, generator)
        if n > self.most:
            raise TooManyPlayers(n, self.most, hint="use estimator='auto', or group players")
        budget = require_budget(budget, self.least(n, max_order), estimator="exact")
        index = index_of_order(max_order)
        members = moebius.membership(n)
        table = torch.cat([evaluate(game, block) for block in members.split(BLOCK)])
        coalitions, values = members[1:], moebius.dividends(table)[1:]
        if max_order is not None:
            coalitions, found = compute_index(coalitions, values[None], index, min(whole_number("max_order", max_order, POSITIVE_COUNT), n))
            values = found[0]
        return Allocation(
            **estimate_fields(
                game,
                (float(table[0]), float(table[-1])),
                "exact",
                generator,
                interaction_facts(index, 1.0),
            ),
            coalitions=coalitions,
            values=values,
            stderr=torch.zeros_like(values),
            evaluations=torch.tensor(1 << n),
        )
