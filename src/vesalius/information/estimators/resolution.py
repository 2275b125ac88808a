"""Tables of a block of pairs at one resolution, and what their margins say.

Axes: A units of X, B units of Y, S and T slots of all units of X and of Y, R distinct margins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

from vesalius.information.estimators.discretization import Discretization


@dataclass(eq=False)
class Resolution:
    """Counts of a block of pairs at one resolution."""

    x: Discretization
    y: Discretization
    joint: Float64[Tensor, "S T"]

    def __post_init__(self) -> None:
        self.margin_x = self.joint[:, : int(self.y.width[0])].sum(1)
        self.margin_y = self.joint[: int(self.x.width[0])].sum(0)
        self.occupied_x = self.per_unit(self.x, self.margin_x > 0)
        self.occupied_y = self.per_unit(self.y, self.margin_y > 0)

    @staticmethod
    def per_unit(slots: Discretization, value: Shaped[Tensor, " S"]) -> Float64[Tensor, " A"]:
        """Sum over the slots of each unit."""
        return torch.zeros(len(slots.bins), dtype=torch.float64).index_add_(0, slots.owner, value.double())

    @staticmethod
    def largest_per_unit(slots: Discretization, value: Float64[Tensor, " S"]) -> Float64[Tensor, " A"]:
        """Largest value of the slots of each unit, which are not negative."""
        return torch.zeros(len(slots.bins), dtype=torch.float64).scatter_reduce_(0, slots.owner, value, "amax")

    def per_pair(self, cells: Float64[Tensor, "S T"]) -> Float64[Tensor, "A B"]:
        """Sum over the cells of each pair."""
        rows = torch.zeros(len(self.x.bins), len(self.y), dtype=torch.float64).index_add_(0, self.x.owner, cells)
        return torch.zeros(len(self.x.bins), len(self.y.bins), dtype=torch.float64).index_add_(1, self.y.owner, rows)

    def halve_bins(self) -> Resolution:
        """The same rows with bins pooled by two."""
        (x, new_x), (y, new_y) = self.x.halve_bins(), self.y.halve_bins()
        rows = torch.zeros(len(x), len(self.y), dtype=torch.float64).index_add_(0, new_x, self.joint)
        return Resolution(x, y, torch.zeros(len(x), len(y), dtype=torch.float64).index_add_(1, new_y, rows))


def count_margins(slots: Discretization, margin: Float64[Tensor, " S"]) -> tuple[Float64[Tensor, "A R"], Float64[Tensor, " R"]]:
    """How often each unit has each positive margin, and those margins."""
    distinct, which = margin.unique(return_inverse=True)
    often = torch.zeros(len(slots.bins), len(distinct), dtype=torch.float64)
    often.index_put_((slots.owner, which), torch.ones(len(margin), dtype=torch.float64), accumulate=True)
    return often[:, distinct > 0], distinct[distinct > 0]


def mid_rank_scores(slots: Discretization, margin: Float64[Tensor, " S"], samples: int) -> Float64[Tensor, " S"]:
    """Mid-ranks of the slots of each unit, in the order of their values, centred and scaled so that a product sum is a correlation."""
    order = slots.centres.argsort(stable=True)
    order = order[slots.owner[order].argsort(stable=True)]
    count, owner = margin[order], slots.owner[order]
    middle = count.cumsum(0) - count / 2 - samples * (owner.double() + 0.5)
    spread = torch.zeros(len(slots.bins), dtype=torch.float64).index_add_(0, owner, middle.square() * count).sqrt()[owner]
    scores = torch.empty_like(margin)
    scores[order] = torch.where(spread > 0, middle / spread.clamp_min(1e-300), 0.0)
    return scores
