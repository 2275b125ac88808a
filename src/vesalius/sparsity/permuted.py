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
from vesalius.sparsity.gaussian import NODES, Moments, usual_order
from vesalius.sparsity.units import Units, finished

TOGETHER = 64
"""Rows that share an order."""
LEAST = 2
ELEMENTS = 1 << 18
"""Elements of one running sum, so that it stays in the caches."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sampled:
    """Importance by random orders.

    Attributes:
        values: importance.
        stderr: standard error that the orders leave, the rows taken as given; ``None`` for ``rms``.
    """

    values: Float[Tensor, "U P"]
    stderr: Float[Tensor, "U P"] | None


def steps(units: Units, rows: slice, chosen: slice, draws: torch.Generator) -> Float[Tensor, "n u P"]:
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
    return _along(units, present, start, order)


def _along(units: Units, added: Float[Tensor, "n u P"], start: Float[Tensor, "..."], order: Int[Tensor, " P"]) -> Float[Tensor, "n u P"]:
    """Steps of the activation along an order and its reverse, averaged, by player."""
    sums = torch.nn.functional.pad(added[..., order].cumsum(2), (1, 0))
    forwards = units.activation(start + sums).diff(dim=2)
    backwards = -units.activation(start + (sums[..., -1:] - sums)).diff(dim=2)
    found = torch.empty_like(added)
    found[..., order] = (forwards + backwards) / 2
    return found


def sampled(units: Units, aggregate: str, permutations: int, seed: int) -> Sampled:
    """Importance from random orders; every :data:`TOGETHER` rows have their own.

    The mean of absolute values is not made of absolute steps, which would add the noise of single orders, but of steps times the sign of
    the value: that of the contribution where the activation never falls, and that of the Gaussian form for GELU and SiLU. Where that sign
    is wrong, the value is near 0, and counts as negative: an estimate from below. A square is the product of two independent estimates.

    Args:
        units: whose links.
        aggregate: over rows.
        permutations: pairs of an order and its reverse per row, 2 or more.
        seed: of all draws.

    Raises:
        InvalidInput: fewer than 2 permutations.
    """
    if permutations < LEAST:
        raise InvalidInput(f"permutations are pairs of an order and its reverse, {LEAST} or more, not {permutations}")
    draws = torch.Generator().manual_seed(seed)
    total = units.weight.new_zeros(units.weight.shape[:2])
    if aggregate == "rms":
        for rows, chosen in _small_chunks(units):
            halves = [_mean([permutations // 2, (permutations + 1) // 2][half], units, rows, chosen, draws) for half in range(2)]
            total[chosen] += (halves[0] * halves[1]).sum(0)
        return Sampled(values=finished(total, len(units.rows), aggregate), stderr=None)
    variance = torch.zeros_like(total)
    moments = Moments(units) if aggregate == "mean_abs" and not units.activation.monotone else None
    for rows, chosen in _small_chunks(units):
        signs = _signs(units, moments, rows, chosen) if aggregate == "mean_abs" else 1
        mean, scatter = torch.zeros_like(total[chosen]), torch.zeros_like(total[chosen])
        for turn in range(1, permutations + 1):
            part = (steps(units, rows, chosen, draws) * signs).sum(0)
            off = part - mean
            mean = mean + off / turn
            scatter = scatter + off * (part - mean)
        total[chosen] += mean
        variance[chosen] += scatter / (permutations - 1) / permutations
    return Sampled(values=total / len(units.rows), stderr=variance.sqrt() / len(units.rows))


def _mean(count: int, units: Units, rows: slice, chosen: slice, draws: torch.Generator) -> Float[Tensor, "n u P"]:
    found = steps(units, rows, chosen, draws)
    for _ in range(count - 1):
        found = found + steps(units, rows, chosen, draws)
    return found / count


def _signs(units: Units, moments: Moments | None, rows: slice, chosen: slice) -> Float[Tensor, "n u P"]:
    """Sign of every value."""
    signs = units.contributions(units.moved(rows), chosen).sign()
    if moments is None:
        return signs
    return signs * moments.gates(rows, usual_order(units.baseline), NODES)[0][:, chosen, None].sign()


def _small_chunks(units: Units) -> Iterator[tuple[slice, slice]]:
    rows = max(1, min(TOGETHER, ELEMENTS // units.players))
    step = max(1, ELEMENTS // (units.players * rows))
    for start in range(0, len(units.rows), rows):
        for first in range(0, len(units.weight), step):
            yield slice(start, start + rows), slice(first, first + step)
