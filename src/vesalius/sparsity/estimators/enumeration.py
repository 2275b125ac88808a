"""Shapley values of links by enumeration of all coalitions, and by DeepLIFT's rescale rule.

Axes: U units, P players, K weights of a player, n rows and u units of a chunk, B background rows, S coalitions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.core.errors import TooManyPlayers
from vesalius.games.moebius import dividends_, shapley_values
from vesalius.sparsity.activations import Activation
from vesalius.sparsity.elementwise_function import UnitFunction
from vesalius.sparsity.estimators.unit_games import UnitGames

MAX_PLAYERS = 20
"""Links of a unit that are enumerated."""
CACHE_FACTOR = 64
"""How many times smaller an array is that stays in the caches while background rows are gone through."""
SAME_POINT = 1e-6
"""Relative to its parts, a change of the sum that is taken for none."""


def exact_values(units: UnitGames, rows: slice, chosen: slice) -> Float[Tensor, "n u P"]:
    """Values from all 2^P coalitions; with ``data`` over every background row.

    Raises:
        TooManyPlayers: more than ``MAX_PLAYERS``.
    """
    if units.players > MAX_PLAYERS:
        raise TooManyPlayers(units.players, MAX_PLAYERS, hint="use estimator='gaussian' or 'permutation'")
    present = _subset_sums(units.contributions(units.moved(rows), chosen)) + units.base[chosen]
    if units.baseline == "zero":
        return shapley_values(dividends_(units.activation_of(chosen)(present))).permute(1, 2, 0)
    worth = _mean_over_background(units, present, chosen)
    return shapley_values(dividends_(worth)).permute(1, 2, 0)


def _mean_over_background(units: UnitGames, present: Float[Tensor, "S n u"], chosen: slice) -> Float[Tensor, "S n u"]:
    """Worth of every coalition, the absent links taken from each background row in turn."""
    if (slope := _slope_below(units)) is not None:
        absent = _subset_sums(units.contributions(units.others, chosen)).flip(0)
        ramp = _mean_relu(present, absent)
        return ramp if slope == 0 else (1 - slope) * ramp + slope * (present + absent.mean(1, keepdim=True))
    worth, here = torch.zeros_like(present), torch.empty_like(present)
    activation = units.activation_of(chosen)
    for row in units.others:
        absent = _subset_sums(units.contributions(row[None], chosen)).flip(0)
        worth += activation(torch.add(present, absent, out=here))
    return worth / len(units.others)


def _slope_below(units: UnitGames) -> float | None:
    """Slope below 0 of an activation that is straight on both sides of it, else ``None``."""
    known = units.activation
    return {"relu": 0.0, "leaky_relu": known.parameter}.get(known.name) if isinstance(known, Activation) else None


def _mean_relu(present: Float[Tensor, "S n u"], absent: Float[Tensor, "S B u"]) -> Float[Tensor, "S n u"]:
    """Mean of relu(present + absent) over the absent: those above -present are counted and summed in sorted order."""
    ordered = absent.transpose(1, 2).contiguous().sort(2).values
    above = torch.nn.functional.pad(ordered.flip(2).cumsum(2).flip(2), (0, 1))
    t = present.transpose(1, 2).contiguous()
    below = torch.searchsorted(ordered, -t)
    total = above.gather(2, below) + (ordered.shape[2] - below) * t
    return (total / ordered.shape[2]).transpose(1, 2).contiguous()


def _subset_sums(contributions: Float[Tensor, "n u P"]) -> Float[Tensor, "S n u"]:
    """Sum of the contributions of every coalition, in index order."""
    sums = torch.zeros_like(contributions[None, ..., 0])
    for player in range(contributions.shape[2]):
        sums = torch.cat([sums, sums + contributions[..., player]])
    return sums


def exact_elements(units: UnitGames) -> int:
    """Working memory of :func:`exact_values` per row, unit and player."""
    looped = units.baseline == "data" and _slope_below(units) is None
    return max(1, (1 << units.players) * (CACHE_FACTOR if looped else 1) // units.players)


def rescale_values(units: UnitGames, rows: slice, chosen: slice) -> Float[Tensor, "n u P"]:
    """Values by the rescale rule: the change of the activation in proportion to contributions; with ``data`` the mean over background rows.

    Reference: Shrikumar2017.
    """
    c = units.contributions(units.moved(rows), chosen)
    reached = units.base[chosen] + c.sum(2)
    if units.baseline == "zero":
        return c * _secant_slope(units.activation_of(chosen), reached, units.base[chosen].expand_as(reached))[..., None]
    others = units.contributions(units.others, chosen)
    left = units.base[chosen] + others.sum(2)
    slopes = _secant_slope(units.activation_of(chosen, -2), reached[..., None], left.T[None].expand(*reached.shape, -1))
    return c * slopes.mean(2, keepdim=True) - torch.einsum("nub,bup->nup", slopes, others) / len(others)


def _secant_slope(activation: UnitFunction, z: Float[Tensor, "..."], start: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Slope of the activation between two points; its derivative where they meet."""
    change = z - start
    met = change.abs() <= SAME_POINT * (z.abs() + start.abs())
    slope = (activation(z) - activation(start)) / torch.where(met, torch.ones_like(change), change)
    return torch.where(met, activation.slope(z), slope)
