"""Shapley values of links by enumeration of all coalitions, and by DeepLIFT's rescale rule.

Axes: U units, P players, K weights of a player, n rows and u units of a chunk, B background rows, S coalitions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.core.errors import TooManyPlayers
from vesalius.games.exact import dividends_, shapley
from vesalius.sparsity.units import Units

MOST = 20
"""Links of a unit that are enumerated."""
NEAR = 1e-6
"""Relative to its parts, a change of the sum that is taken for none."""


def exact_values(units: Units, rows: slice, chosen: slice) -> Float[Tensor, "n u P"]:
    """Values from all 2^P coalitions; with ``data`` over every background row.

    Raises:
        TooManyPlayers: more than ``MOST``.
    """
    if units.players > MOST:
        raise TooManyPlayers(units.players, MOST, hint="use estimator='gaussian' or 'permutation'")
    present = _subset_sums(units.contributions(units.moved(rows), chosen)) + units.base[chosen]
    if units.baseline == "zero":
        return shapley(dividends_(units.activation(present))).permute(1, 2, 0)
    worth = torch.zeros_like(present)
    for row in units.others:
        absent = _subset_sums(units.contributions(row[None], chosen)).flip(0)
        worth += units.activation(present + absent)
    return shapley(dividends_(worth / len(units.others))).permute(1, 2, 0)


def _subset_sums(contributions: Float[Tensor, "n u P"]) -> Float[Tensor, "S n u"]:
    """Sum of the contributions of every coalition, in index order."""
    sums = torch.zeros_like(contributions[None, ..., 0])
    for player in range(contributions.shape[2]):
        sums = torch.cat([sums, sums + contributions[..., player]])
    return sums


def exact_elements(units: Units) -> int:
    """Working memory of :func:`exact_values` per row, unit and player."""
    return max(1, 3 * (1 << units.players) // units.players)


def rescale_values(units: Units, rows: slice, chosen: slice) -> Float[Tensor, "n u P"]:
    """Values by the rescale rule: the change of the activation in proportion to contributions; with ``data`` the mean over background rows.

    Reference: Shrikumar2017.
    """
    c = units.contributions(units.moved(rows), chosen)
    reached = units.base[chosen] + c.sum(2)
    if units.baseline == "zero":
        return c * _chord(units, reached, units.base[chosen].expand_as(reached))[..., None]
    others = units.contributions(units.others, chosen)
    left = units.base[chosen] + others.sum(2)
    slopes = _chord(units, reached[..., None], left.T[None].expand(*reached.shape, -1))
    return c * slopes.mean(2, keepdim=True) - torch.einsum("nub,bup->nup", slopes, others) / len(others)


def _chord(units: Units, z: Float[Tensor, "..."], start: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Slope of the activation between two points; its derivative where they meet."""
    change = z - start
    met = change.abs() <= NEAR * (z.abs() + start.abs())
    slope = (units.activation(z) - units.activation(start)) / torch.where(met, torch.ones_like(change), change)
    return torch.where(met, units.activation.slope(z), slope)
