"""A heat map from anywhere, judged without its method: is there any fair way to share the effects out that gives this map?

With non-negative shares that only members of an effect get and that add up to 1, the maps that can come out are the selectope (Harsanyi
set) of the game. A map outside breaks a principle; a map inside proves nothing.

Axes: S all coalitions, P players.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.lazy import LazyModule
from vesalius.games.moebius import dividends, membership, player_count, values_from_dividends

optimize = LazyModule("scipy.optimize")

CONSTRAINTS_PER_ROUND = 64
"""Constraints added in a round of the linear program, the most violated first."""
CONSTRAINT_TOLERANCE = 1e-10
"""Share of all effects by which a constraint may be violated."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MapAudit:
    """A single map against the effects of the model.

    Attributes:
        values: the map, summed into the players, in the output's unit.
        gap: |f(x) - f(b) - sum of the map| as a share of all effects.
        violation: the largest shortfall of a coalition: what its effects give its members at least, less what the map gives them, as a
            share of all effects. 0 if there is none.
        coalition: names of the members of that coalition; empty if there is none.
        distance: least L1 distance to a map that a fair method could give, as a share of all effects; at least ``violation`` and ``gap``.
        low: [P] the least that a fair method can give each player.
        high: [P] the most.
        additive_error: share of the game's variation from the baseline that the map, read as an additive model, leaves unexplained.
        least_additive_error: the same for the best additive model.
        effects: sum of |J| over all effects, in the output's unit.
        tolerance: largest number that counts as held.
        provenance: players, baseline, output.
    """

    values: Float[Tensor, " P"]
    gap: float
    violation: float
    coalition: tuple[str, ...]
    distance: float
    low: Float[Tensor, " P"]
    high: Float[Tensor, " P"]
    additive_error: float
    least_additive_error: float
    effects: float
    tolerance: float
    provenance: Mapping[str, Any]

    @property
    def rejected(self) -> bool:
        """Whether no method that holds all three principles with non-negative shares can have given this map."""
        return max(self.gap, self.violation, self.distance) > self.tolerance

    @property
    def widths(self) -> Float[Tensor, " P"]:
        """How much room each player's value has; the narrower, the more the test can reject."""
        return self.high - self.low

    @property
    def statement(self) -> str:
        """What can, and what cannot, be concluded."""
        if self.rejected:
            reasons = []
            if self.gap > self.tolerance:
                reasons.append(f"it is not complete (gap {self.gap:.2g} of all effects), which breaks P1 or P3")
            if self.violation > self.tolerance:
                reasons.append(f"{' & '.join(self.coalition)} get less than their own effects amount to (by {self.violation:.2g})")
            why = " and ".join(reasons) or f"it lies {self.distance:.2g} of all effects away from every fair allocation"
            return f"Rejected: {why}. No allocation with non-negative shares that holds the three principles gives this map."
        room = float(self.widths.sum()) / self.effects if self.effects else 0.0
        return (
            "Not rejected: some fair allocation gives this map. That does not show that its method is fair: one map has as many numbers as"
            f" players, its shares are many more, and the values of the players have room of {room:.2g} of all effects here."
        )

    def __repr__(self) -> str:
        return (
            f"map of {len(self.values)} values: gap {self.gap:.2g}, violation {self.violation:.2g}, distance {self.distance:.2g}"
            f" (shares of all effects), additive error {self.additive_error:.2g} (best {self.least_additive_error:.2g})\n{self.statement}"
        )


@dataclass(frozen=True, eq=False)
class Selectope:
    """All maps that can come out of sharing effects among their members.

    Attributes:
        least: [S] the least that the members of each coalition get together.
        effects: [S] dividends, the empty one 0.
        size: sum of |effects|.
    """

    least: Float[Tensor, " S"]
    effects: Float[Tensor, " S"]
    size: float

    @classmethod
    def of(cls, values: Float[Tensor, " S"]) -> Selectope:
        """From a game's values in index order.

        Reference: taylor.md, section 5.5; Derks2000 for the set.
        """
        effects = dividends(values.double())
        effects[0] = 0
        inside, against = values_from_dividends(effects.clamp_min(0)), values_from_dividends((-effects).clamp_min(0))
        least = inside - (against[-1] - against.flip(0))
        return cls(least, effects, float(effects.abs().sum()))

    @property
    def total(self) -> float:
        """What there is to share out."""
        return float(self.effects.sum())

    def box(self) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
        """The least and the most that each player can get."""
        single = self.effects[1 << torch.arange(player_count(self.effects))]
        member = membership(len(single)).double()
        return self.least[1 << torch.arange(len(single))], self.effects.clamp_min(0) @ member - (-single).clamp_min(0)

    def violation(self, values: Float[Tensor, " P"]) -> tuple[float, int]:
        """The largest shortfall in the output's unit, and the index of its coalition."""
        short = self.least - _coalition_sums(values)
        worst = int(short.argmax())
        return max(float(short[worst]), 0.0), worst

    def distance(self, values: Float[Tensor, " P"]) -> float:
        """Least L1 distance of a map, in the output's unit.

        A linear program over the coalitions that are violated so far; it ends when none is, so that it is exact.
        """
        players = len(values)
        active: list[int] = []
        point = values + (self.total - float(values.sum())) / players
        away = float((point - values).abs().sum())
        for _ in range(1 << players):
            short = (self.least - _coalition_sums(point)).index_fill(0, torch.tensor([*active, 0]), -math.inf)
            worst = short.topk(min(CONSTRAINTS_PER_ROUND, len(short)))
            new = [int(i) for gap, i in zip(worst.values, worst.indices, strict=True) if gap > CONSTRAINT_TOLERANCE * self.size]
            if not new and active:
                return away
            active += new or [int(worst.indices[0])]
            point, away = _nearest_map(values, self.least, active, self.total)
        raise AssertionError("every round adds a constraint")


def _nearest_map(values: Float[Tensor, " P"], least: Float[Tensor, " S"], active: list[int], total: float) -> tuple[Tensor, float]:
    """The nearest map that gives some coalitions at least what they need, and its distance."""
    players = len(values)
    scale = max(float(values.abs().max()), float(least.abs().max()), abs(total)) or 1.0
    member = (np.array(active)[:, None] >> np.arange(players) & 1).astype(float)
    identity, here = np.eye(players), values.numpy() / scale
    zeros = np.zeros_like(member)
    above = np.block([[identity, -identity], [-identity, -identity], [-member, zeros]])
    bounds = np.concatenate([here, -here, -least[active].numpy() / scale])
    cost = np.concatenate([np.zeros(players), np.ones(players)])
    exactly = np.concatenate([np.ones(players), np.zeros(players)])[None]
    limits = [(None, None)] * players + [(0, None)] * players
    found = optimize.linprog(cost, above, bounds, exactly, [total / scale], bounds=limits, method="highs")
    if found.x is None:
        raise InvalidInput(f"the linear program was not solved: {found.message}")
    return torch.from_numpy(found.x[:players] * scale), float(found.fun) * scale


def _coalition_sums(values: Float[Tensor, " P"]) -> Float[Tensor, " S"]:
    """What a map gives each coalition, in index order."""
    total = torch.zeros(1, dtype=torch.float64)
    for value in values.double():
        total = torch.cat([total, total + value])
    return total


def additive_errors(game: Float[Tensor, " S"], values: Float[Tensor, " P"]) -> tuple[float, float]:
    """Share of a game's variation from its baseline that a map leaves unexplained as an additive model, and that the best one leaves.

    Every coalition weighs the same.
    """
    change = game - game[0]
    whole = float(change @ change)
    if not whole:
        return (math.inf if float(values.abs().max()) else 0.0), 0.0
    member = membership(len(values)).double()
    best = torch.linalg.lstsq(member, change[:, None]).solution[:, 0]
    return float((change - member @ values).square().sum()) / whole, float((change - member @ best).square().sum()) / whole
