"""Terms of a sparse model of a game: conjunctions and disjunctions of players, and what they are as dividends.

Axes: M coalitions, P players, T terms, D dividends.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.interactions.estimators.estimate import coalitions_up_to, membership_rows

MAX_DISJUNCTION = 8  # players in a disjunction, which has a dividend for every subset


@dataclass(frozen=True, eq=False)
class Terms:
    """Functions of a coalition that are 0 or 1, and 0 for the empty one.

    Attributes:
        members: at least one each.
        disjunctive: whether one member is enough; otherwise all have to be present.
    """

    members: Bool[Tensor, "T P"]
    disjunctive: Bool[Tensor, " T"]

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, chosen: Tensor) -> Terms:
        return Terms(self.members[chosen], self.disjunctive[chosen])

    def __add__(self, other: Terms) -> Terms:
        return Terms(torch.cat([self.members, other.members]), torch.cat([self.disjunctive, other.disjunctive]))

    @classmethod
    def conjunctions(cls, members: Bool[Tensor, "T P"]) -> Terms:
        return cls(members, torch.zeros(len(members), dtype=torch.bool))

    def keys(self) -> list[bytes]:
        """Equal for terms that are the same function."""
        either = self.disjunctive & (self.members.sum(1) > 1)
        return [row.tobytes() for row in torch.cat([self.members, either[:, None]], 1).numpy()]

    def values(self, by_player: Bool[Tensor, "P M"]) -> Bool[Tensor, "T M"]:
        """What the terms are at coalitions, which come with an axis of players first."""
        out = torch.empty(len(self), by_player.shape[1], dtype=torch.bool)
        size = self.members.sum(1)
        for one in size.unique().tolist():
            here = size == one
            place = self.members[here].nonzero()[:, 1].view(-1, one)
            found = by_player[place[:, 0]].clone()
            either = self.disjunctive[here]
            for column in place.T[1:]:
                found = torch.where(either[:, None], found | by_player[column], found & by_player[column])
            out[here] = found
        return out

    def dividends(self) -> tuple[Bool[Tensor, "D P"], Float[Tensor, "D T"]]:
        """Coalitions, and how much of the dividend of each a term of weight 1 brings.

        A conjunction is the dividend of its members; a disjunction is the sum over its subsets T of (-1)**(|T| - 1) [T present].
        """
        place: dict[tuple[int, ...], int] = {}
        entries: list[tuple[int, int, float]] = []
        for at, (row, either) in enumerate(zip(self.members, self.disjunctive.tolist(), strict=True)):
            inside = tuple(row.nonzero().flatten().tolist())
            sizes = range(1, len(inside) + 1) if either else [len(inside)]
            for size in sizes:
                for part in combinations(inside, size):
                    entries.append((place.setdefault(part, len(place)), at, (-1.0) ** (size - 1) if either else 1.0))
        rows = torch.zeros(len(place), self.members.shape[1], dtype=torch.bool)
        for part, at in place.items():
            rows[at, list(part)] = True
        weights = torch.zeros(len(place), len(self), dtype=torch.float64)
        for dividend, term, weight in entries:
            weights[dividend, term] += weight
        return rows, weights


def complete_terms(players: int, most: int) -> Terms | None:
    """Conjunctions of all coalitions up to the largest order at which there are no more than ``most``; None where that is below 2."""
    order, count = 0, 0
    while order < players and count + comb(players, order + 1) <= most:
        order += 1
        count += comb(players, order)
    return None if order < 2 else Terms.conjunctions(membership_rows(coalitions_up_to(players, order), players))
