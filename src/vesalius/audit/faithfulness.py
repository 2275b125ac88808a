"""Faithfulness by intervention: does the output change as the map predicts when players are masked?

The masks are those of the audit, so that principles and faithfulness are judged on the same ground.

Axes: N coalitions, P players, S all coalitions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core.lazy import LazyModule
from vesalius.core.near_ties import descending_order, rank_with_ties
from vesalius.games.game import Game

stats = LazyModule("scipy.stats")

MIN_FOR_CORRELATION = 4
"""Coalitions of one size, or methods, from which a correlation is taken."""


@dataclass(frozen=True)
class Faithfulness:
    """How one map stands up to interventions.

    Attributes:
        insertion: area under the output while players arrive, the largest value first, over the share of players; higher is better.
        deletion: the same while players leave; lower is better.
        infidelity: mean squared difference of what the map says is lost and what is lost, over the mean square of the latter; 0 is best,
            1 is no better than a map of zeros.
        sensitivity_n: mean over sizes of the correlation between the two, for as many players masked; 1 is best.
    """

    insertion: float
    deletion: float
    infidelity: float
    sensitivity_n: float


@dataclass(frozen=True, eq=False)
class Interventions:
    """A game, and the coalitions at which it is known.

    Attributes:
        game: answers for the coalitions of insertion and deletion, which depend on the map.
        masks: coalitions.
        values: their values, in the output's unit.
        weights: of the coalitions in means.
        total: the output with everybody present.
    """

    game: Game
    masks: Bool[Tensor, "N P"]
    values: Float[Tensor, " N"]
    weights: Float[Tensor, " N"]
    total: float

    def judge(self, values: Float[Tensor, " P"]) -> Faithfulness:
        """Faithfulness of one map.

        Reference: Petsiuk2018 for insertion and deletion, Yeh2019 for infidelity, Ancona2018 for sensitivity-n. Differs from the papers:
        players instead of pixels, and infidelity relative to the mean square of what is lost.
        """
        said = (~self.masks).double() @ values
        lost = self.total - self.values
        off, whole = float(self.weights @ (said - lost) ** 2), float(self.weights @ lost**2)
        arrivals = _insertion_masks(values)
        return Faithfulness(
            insertion=_area_under_curve(self.game(arrivals)),
            deletion=_area_under_curve(self.game(~arrivals)),
            infidelity=off / whole if whole else (math.inf if off else 0.0),
            sensitivity_n=self._sensitivity(said, lost),
        )

    def _sensitivity(self, said: Float[Tensor, " N"], lost: Float[Tensor, " N"]) -> float:
        size = self.masks.sum(1)
        found = []
        for count in range(1, self.masks.shape[1]):
            rows = size == count
            pair = torch.stack([said[rows], lost[rows]])
            if int(rows.sum()) < MIN_FOR_CORRELATION or bool((_standard_deviations(pair) == 0).any()):
                continue
            found.append(float(torch.corrcoef(pair)[0, 1]))
        return sum(found) / len(found) if found else math.nan


def _standard_deviations(pair: Float[Tensor, "2 n"]) -> Float[Tensor, " 2"]:
    """Standard deviations, 0 where they are rounding."""
    spread = pair.std(1)
    return torch.where(spread <= 1e-12 * pair.abs().amax(1), torch.zeros_like(spread), spread)


def _insertion_masks(values: Float[Tensor, " P"]) -> Bool[Tensor, "N P"]:
    """Nobody, the player with the largest value, the two with the largest values, ..., everybody; the first of those that tie."""
    rank = descending_order(values).argsort()
    return rank < torch.arange(len(values) + 1)[:, None]


def _area_under_curve(curve: Float[Tensor, " N"]) -> float:
    return float(torch.trapezoid(curve) / (len(curve) - 1))


@dataclass(frozen=True)
class Agreement:
    """Rank correlation, across methods, between the error by the principles and each measure of faithfulness; 1: the method with the
    smaller error is always the more faithful one.

    Attributes:
        rho: Spearman's correlation by measure; NaN where a measure does not vary, or there are too few methods.
        methods: how many were compared.
    """

    rho: Mapping[str, float]
    methods: int


def agreement(errors: Sequence[float], judged: Sequence[Faithfulness]) -> Agreement:
    """Whether the principles predict faithfulness here.

    Args:
        errors: one per method, smaller is better.
        judged: one per method.

    Reference: Spearman1904.
    """
    worse = {
        "insertion": [-one.insertion for one in judged],
        "deletion": [one.deletion for one in judged],
        "infidelity": [one.infidelity for one in judged],
        "sensitivity_n": [-one.sensitivity_n for one in judged],
    }
    return Agreement({name: _spearman(errors, measure) for name, measure in worse.items()}, len(errors))


def _spearman(first: Sequence[float], second: Sequence[float]) -> float:
    kept = [(a, b) for a, b in zip(first, second, strict=True) if not math.isnan(a) and not math.isnan(b)]
    ranks = [rank_with_ties(torch.tensor(side, dtype=torch.float64)).tolist() for side in zip(*kept, strict=True)]
    if len(kept) < MIN_FOR_CORRELATION or any(len(set(side)) == 1 for side in ranks):
        return math.nan
    return float(stats.spearmanr(*ranks).statistic)
