"""Shapley values of links by random orders: every link's step along a running sum, forwards and backwards.

Axes: U units, P players, N rows, n rows and u units of a chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.spread import normal_equivalent
from vesalius.sparsity.elementwise_function import UnitFunction
from vesalius.sparsity.estimators.gaussian import NODES, SumMoments
from vesalius.sparsity.estimators.unit_games import UnitGames, importance_from_sums

ROWS_PER_ORDER = 64
"""Rows that share an order."""
MIN_PERMUTATIONS = 2
PRIOR_ORDERS = 8
"""Orders that the Gaussian form counts for where signs are guessed."""
MAX_BLOCKS, MIN_JACKKNIFE = 8, 4
"""Blocks of orders in each half, whose spread is the standard error; and blocks from which a jackknife makes sense."""
CHUNK_ELEMENTS = 1 << 18
"""Elements of one running sum, so that it stays in the caches."""


Blocks = Float[Tensor, "K n u P"]
"""Means of the contributions along the orders of each of K blocks."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SampledImportance:
    """Importance by random orders.

    Attributes:
        values: importance.
        stderr: standard error that the orders leave, the rows taken as given, so that 1.96 of them make a 95 % interval; ``None`` for
            ``rms``.
    """

    values: Float[Tensor, "..."]
    stderr: Float[Tensor, "..."] | None


def marginal_contributions(units: UnitGames, rows: slice, chosen: slice, draws: torch.Generator) -> Float[Tensor, "n u P"]:
    """What each link adds along one random order and along its reverse, on average: unbiased for the Shapley value.

    With baseline ``data`` the absent links of a row come from one other row, drawn anew.
    """
    present = units.contributions(units.moved(rows), chosen)
    start = units.base[chosen, None]
    if units.baseline == "data":
        other = torch.randint(len(units.known), (len(present),), generator=draws).to(present.device)
        absent = units.contributions(units.moved_reference(other), chosen)
        present, start = present - absent, start + absent.sum(2, keepdim=True)
    order = torch.randperm(units.players, generator=draws).to(present.device)
    return _contributions_along(units.activation_of(chosen, -2), present, start, order)


def _contributions_along(
    activation: UnitFunction, added: Float[Tensor, "n u P"], start: Float[Tensor, "..."], order: Int[Tensor, " P"]
) -> Float[Tensor, "n u P"]:
    """Steps of the activation along an order and its reverse, averaged, by player."""
    sums = torch.nn.functional.pad(added[..., order].cumsum(2), (1, 0))
    forwards = activation(start + sums).diff(dim=2)
    backwards = -activation(start + (sums[..., -1:] - sums)).diff(dim=2)
    found = torch.empty_like(added)
    found[..., order] = (forwards + backwards) / 2
    return found


@dataclass(frozen=True, eq=False, kw_only=True)
class SampledSums:
    """Sums over rows by random orders; those of parts of the rows add up.

    Attributes:
        total: of what is summed for the importance.
        variance: of it, that the orders leave; ``None`` for ``rms``.
        degrees: of freedom of the variance.
    """

    total: Float[Tensor, "..."]
    variance: Float[Tensor, "..."] | None
    degrees: int

    def importance(self, rows: int, aggregate: str) -> SampledImportance:
        """The means over so many rows."""
        values = importance_from_sums(self.total, rows, aggregate)
        if self.variance is None:
            return SampledImportance(values=values, stderr=None)
        return SampledImportance(values=values, stderr=normal_equivalent(self.degrees) * self.variance.sqrt() / rows)


def sample_importance(units: UnitGames, aggregate: str, permutations: int, seed: int) -> SampledImportance:
    """Importance from random orders, see :func:`sample_sums`."""
    return sample_sums(units, aggregate, permutations, seed).importance(len(units.rows), aggregate)


def sample_sums(units: UnitGames, aggregate: str, permutations: int, seed: int) -> SampledSums:
    """Sums over rows from random orders; every :data:`ROWS_PER_ORDER` rows have their own.

    A mean of absolute noisy values would add the noise, so two independent halves of the orders are made: one has the signs, the other
    the values, and the other way round; a few orders' worth of the Gaussian form steadies the signs. A wrong sign takes a value near 0 for
    minus itself, so the estimate is from below, by an amount that falls as one over the number of orders: what signs by half as many orders
    lose in addition tells how much, and it is given back. With baseline ``zero`` and an activation that never falls, the sign is known: it
    is that of the contribution. A square is the product of the two halves.

    Args:
        units: whose links.
        aggregate: over rows.
        permutations: pairs of an order and its reverse per row, 2 or more; those that do not fill blocks of equal size are left out.
        seed: of all draws.

    Raises:
        InvalidInput: fewer than 2 permutations.
    """
    if permutations < MIN_PERMUTATIONS:
        raise InvalidInput(f"permutations are pairs of an order and its reverse, {MIN_PERMUTATIONS} or more, not {permutations}")
    draws = torch.Generator().manual_seed(seed)
    total, variance = (units.weight.new_zeros(units.weight.shape[:2]) for _ in range(2))
    blocks = min(MAX_BLOCKS, permutations // 2)
    moments, each = SumMoments(units), permutations // (2 * blocks)
    for rows, chosen in _small_chunks(units):
        one, two = (torch.stack([_mean_contributions(each, units, rows, chosen, draws) for _ in range(blocks)]) for _ in range(2))
        if aggregate == "rms":
            total[chosen] += (one.mean(0) * two.mean(0)).sum(0)
            continue
        signs = _signs(units, moments, rows, chosen) if aggregate == "mean_abs" else None
        total[chosen] += _sum_over_rows(one, two, each, signs)
        variance[chosen] += _variance_of_sum(one, two, each, signs)
    degrees = (2 * blocks - 1) * math.ceil(len(units.rows) / _rows_per_chunk(units))
    rounding = torch.finfo(total.dtype).eps * total.abs()
    spread = None if aggregate == "rms" else (variance.sqrt() + rounding).square()
    return SampledSums(total=total, variance=spread, degrees=degrees)


@dataclass(frozen=True, eq=False)
class _Signs:
    """What is known of the signs of values before any order.

    Attributes:
        prior: what the Gaussian form says of the values, as the sum of :data:`PRIOR_ORDERS` orders.
        certain: whether its signs are right.
    """

    prior: Float[Tensor, "n u P"]
    certain: bool

    def weights(self, half: Blocks, each: int) -> Float[Tensor, "n u P"]:
        """Signs by half of the orders, less what a quarter gets wrong beyond that, so that what wrong signs lose cancels to first order.

        Args:
            half: means of blocks of ``each`` orders.
        """
        if self.certain:
            return self.prior.sign()
        by_half = self._sign(half, each)
        if len(half) < 2:
            return by_half
        quarter = len(half) // 2
        by_quarter = (self._sign(half[:quarter], each) + self._sign(half[-quarter:], each)) / 2
        return by_half + (PRIOR_ORDERS / each + quarter) / (len(half) - quarter) * (by_half - by_quarter)

    def _sign(self, blocks: Float[Tensor, "k n u P"], each: int) -> Float[Tensor, "n u P"]:
        return (self.prior + each * blocks.sum(0)).sign()


def _sum_over_rows(one: Blocks, two: Blocks, each: int, signs: _Signs | None) -> Float[Tensor, "u P"]:
    """Values, or their sizes: the mean of both halves."""
    return (one.mean(0) * _weights(two, each, signs) + two.mean(0) * _weights(one, each, signs)).sum(0) / 2


def _weights(other: Blocks, each: int, signs: _Signs | None) -> Tensor:
    """What one half is multiplied by: signs by the other half, where sizes are asked for."""
    return other.new_ones(()) if signs is None else signs.weights(other, each)


def _variance_of_sum(one: Blocks, two: Blocks, each: int, signs: _Signs | None) -> Float[Tensor, "u P"]:
    """Variance of the mean of both halves' sums.

    The spread of the blocks with their signs as given is too small, since signs vary too; a jackknife that leaves out a block of each half,
    signs and all, is too large, since it counts twice what depends on two blocks (Efron1981). The mean of both is taken.
    """
    count = len(one)
    sums = torch.cat([one * _weights(two, each, signs), two * _weights(one, each, signs)]).sum(1)
    spread: Tensor = sums.var(0) / (2 * count)
    if signs is None or signs.certain or count < MIN_JACKKNIFE:
        return spread
    kept = [torch.arange(count) != left for left in range(count)]
    found = torch.stack([_sum_over_rows(one[some], two[some], each, signs) for some in kept])
    return (spread + found.var(0) * (count - 1) ** 2 / count) / 2


def _mean_contributions(count: int, units: UnitGames, rows: slice, chosen: slice, draws: torch.Generator) -> Float[Tensor, "n u P"]:
    """Values from some orders."""
    found = marginal_contributions(units, rows, chosen, draws)
    for _ in range(count - 1):
        found += marginal_contributions(units, rows, chosen, draws)
    return found / count


def _signs(units: UnitGames, moments: SumMoments, rows: slice, chosen: slice) -> _Signs:
    gate = moments.gates(rows, 1, NODES)[0][:, chosen, None]
    prior = PRIOR_ORDERS * gate * units.contributions(units.moved(rows), chosen)
    return _Signs(prior, units.baseline == "zero" and units.activation.monotone)


def _rows_per_chunk(units: UnitGames) -> int:
    return max(1, min(ROWS_PER_ORDER, CHUNK_ELEMENTS // units.players))


def _small_chunks(units: UnitGames) -> Iterator[tuple[slice, slice]]:
    rows = _rows_per_chunk(units)
    step = max(1, CHUNK_ELEMENTS // (units.players * rows))
    for start in range(0, len(units.rows), rows):
        for first in range(0, len(units.weight), step):
            yield slice(start, start + rows), slice(first, first + step)
