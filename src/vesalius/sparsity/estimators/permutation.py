"""Shapley values of links by random orders: every link's step along a running sum, forwards and backwards.

Axes: U units, P players, N rows, n rows and u units of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.sparsity.estimators.gaussian import NODES, SumMoments
from vesalius.sparsity.estimators.unit_games import UnitGames, importance_from_sums

ROWS_PER_ORDER = 64
"""Rows that share an order."""
MIN_PERMUTATIONS = 2
PRIOR_ORDERS = 8
"""Orders that the Gaussian form counts for where signs are guessed."""
CHUNK_ELEMENTS = 1 << 18
"""Elements of one running sum, so that it stays in the caches."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SampledImportance:
    """Importance by random orders.

    Attributes:
        values: importance.
        stderr: standard error that the orders leave, the rows taken as given; ``None`` for ``rms``.
    """

    values: Float[Tensor, "U P"]
    stderr: Float[Tensor, "U P"] | None


def marginal_contributions(units: UnitGames, rows: slice, chosen: slice, draws: torch.Generator) -> Float[Tensor, "n u P"]:
    """What each link adds along one random order and along its reverse, on average: unbiased for the Shapley value.

    With baseline ``data`` the absent links of a row come from one other row, drawn anew.
    """
    present = units.contributions(units.moved(rows), chosen)
    start = units.base[chosen, None]
    if units.baseline == "data":
        other = torch.randint(len(units.rows), (len(present),), generator=draws).to(present.device)
        absent = units.contributions(units.moved(other), chosen)
        present, start = present - absent, start + absent.sum(2, keepdim=True)
    order = torch.randperm(units.players, generator=draws).to(present.device)
    return _contributions_along(units, present, start, order)


def _contributions_along(
    units: UnitGames, added: Float[Tensor, "n u P"], start: Float[Tensor, "..."], order: Int[Tensor, " P"]
) -> Float[Tensor, "n u P"]:
    """Steps of the activation along an order and its reverse, averaged, by player."""
    sums = torch.nn.functional.pad(added[..., order].cumsum(2), (1, 0))
    forwards = units.activation(start + sums).diff(dim=2)
    backwards = -units.activation(start + (sums[..., -1:] - sums)).diff(dim=2)
    found = torch.empty_like(added)
    found[..., order] = (forwards + backwards) / 2
    return found


def sample_importance(units: UnitGames, aggregate: str, permutations: int, seed: int) -> SampledImportance:
    """Importance from random orders; every :data:`ROWS_PER_ORDER` rows have their own.

    A mean of absolute noisy values would add the noise, so two independent halves of the orders are made: one has the signs, the other
    the values, and the other way round. A wrong sign takes a value near 0 for minus itself, so the estimate is from below, by an amount
    that falls with the number of orders; a few orders' worth of the Gaussian form steadies the signs. With baseline ``zero`` and an
    activation that never falls, the sign is known: it is that of the contribution, and the estimate unbiased. A square is the product of
    the two halves.

    Args:
        units: whose links.
        aggregate: over rows.
        permutations: pairs of an order and its reverse per row, 2 or more; an odd one is left out.
        seed: of all draws.

    Raises:
        InvalidInput: fewer than 2 permutations.
    """
    if permutations < MIN_PERMUTATIONS:
        raise InvalidInput(f"permutations are pairs of an order and its reverse, {MIN_PERMUTATIONS} or more, not {permutations}")
    draws = torch.Generator().manual_seed(seed)
    total, variance = (units.weight.new_zeros(units.weight.shape[:2]) for _ in range(2))
    moments, each = SumMoments(units), permutations // 2
    for rows, chosen in _small_chunks(units):
        one, two = (_mean_contributions(each, units, rows, chosen, draws) for _ in range(2))
        if aggregate == "mean_abs":
            prior = _gaussian_prior(units, moments, rows, chosen)
            certain = units.baseline == "zero" and units.activation.monotone
            one, two = (half * (prior + (0 if certain else other * each)).sign() for half, other in ((one, two), (two, one)))
        if aggregate == "rms":
            total[chosen] += (one * two).sum(0)
        else:
            total[chosen] += (one + two).sum(0) / 2
            variance[chosen] += ((one - two).sum(0) / 2).square()
    count = len(units.rows)
    return SampledImportance(
        values=importance_from_sums(total, count, aggregate), stderr=None if aggregate == "rms" else variance.sqrt() / count
    )


def _mean_contributions(count: int, units: UnitGames, rows: slice, chosen: slice, draws: torch.Generator) -> Float[Tensor, "n u P"]:
    """Values from some orders."""
    found = marginal_contributions(units, rows, chosen, draws)
    for _ in range(count - 1):
        found += marginal_contributions(units, rows, chosen, draws)
    return found / count


def _gaussian_prior(units: UnitGames, moments: SumMoments, rows: slice, chosen: slice) -> Float[Tensor, "n u P"]:
    """What the Gaussian form says of the values, as the sum of :data:`PRIOR_ORDERS` orders."""
    gate = moments.gates(rows, 1, NODES)[0][:, chosen, None]
    return PRIOR_ORDERS * gate * units.contributions(units.moved(rows), chosen)


def _small_chunks(units: UnitGames) -> Iterator[tuple[slice, slice]]:
    rows = max(1, min(ROWS_PER_ORDER, CHUNK_ELEMENTS // units.players))
    step = max(1, CHUNK_ELEMENTS // (units.players * rows))
    for start in range(0, len(units.rows), rows):
        for first in range(0, len(units.weight), step):
            yield slice(start, start + rows), slice(first, first + step)
