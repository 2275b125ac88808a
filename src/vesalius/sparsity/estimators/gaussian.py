"""Shapley values of links in closed form: many links make a sum that is nearly Gaussian.

In Owen's form a link's value is the mean over q in (0, 1) of what it adds when every other link is present with probability q. The sum of
the others then has a known mean and variance, and for a Gaussian sum the mean of the activation is a closed form. Expanded in the link's
own contribution, it factors into a gate per row and unit, and the importance of a whole layer is a few products of matrices.

Axes: U units, P players, K weights of a player, F links, N rows, n and u of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.sparsity.elementwise_function import UnitFunction
from vesalius.sparsity.estimators.unit_games import AGGREGATES, WORKING_ELEMENTS, UnitGames, importance_from_sums, sums_by_chunks

NODES = 8
"""Nodes in q; the gates of 8 and of 64 differ by less than 1e-3 of the values (tests)."""
Gates = tuple[Tensor, Tensor | None]


@lru_cache
def gauss_legendre(nodes: int) -> tuple[tuple[float, float], ...]:
    """Gauss-Legendre nodes and weights on (0, 1)."""
    place, weight = np.polynomial.legendre.leggauss(nodes)
    return tuple(zip(((place + 1) / 2).tolist(), (weight / 2).tolist(), strict=True))


def gaussian_importance(
    weight: Float[Tensor, "U F"],
    bias: Float[Tensor, " U"],
    rows: Float[Tensor, "N F"],
    activation: UnitFunction,
    *,
    baseline: str = "data",
    aggregate: str = "mean_abs",
) -> Float[Tensor, "U F"]:
    """Importance of the links of plain matrices, by the closed form that :func:`vesalius.sparsity.link_importance` takes by default.

    Args:
        weight, bias: of the activation's argument.
        rows: inputs of the links.
        activation: of a unit.
        baseline: what an absent link adds: ``data``, what it adds in a random row; ``zero``, nothing.
        aggregate: over rows: ``mean_abs``, ``rms`` or ``signed``.

    Raises:
        InvalidInput, UnknownName: see :meth:`vesalius.sparsity.estimators.unit_games.UnitGames.of`.
    """
    units = UnitGames.of(weight, bias, rows, activation, baseline)
    return closed_form_importance(units, aggregate=aggregate, order=default_order(baseline))


def default_order(baseline: str) -> int:
    """Order of the expansion: 2 for ``zero``; 1 for ``data``, where 2 is no better (measured)."""
    return 2 if baseline == "zero" else 1


def closed_form_importance(units: UnitGames, *, aggregate: str, order: int | str, nodes: int = NODES) -> Float[Tensor, "U P"]:
    """Importance of the links of some units, from :func:`closed_form_sums`."""
    found = importance_from_sums(closed_form_sums(units, aggregate=aggregate, order=order, nodes=nodes), len(units.rows), aggregate)
    return found.clamp_min(0) if aggregate == "mean_abs" else found


def closed_form_sums(units: UnitGames, *, aggregate: str, order: int | str, nodes: int = NODES) -> Float[Tensor, "U P"]:
    """Sums over rows of what the links of some units are worth.

    Args:
        units: whose links.
        aggregate: over rows.
        order: 1 or 2, of the expansion in a link's contribution; ``"full"`` for none, which costs ``nodes`` evaluations per row and link.
        nodes: in q.

    Raises:
        InvalidInput: no such order, or order 2 with ``data``.
        UnknownName: no such aggregate.
    """
    require_known("aggregate", aggregate, AGGREGATES)
    check_order(order, units.baseline)
    if order == "full":
        return sums_by_chunks(units, lambda one, rows, chosen: full_values(one, rows, chosen, nodes), aggregate, elements=4)
    moments = SumMoments(units)
    total = units.weight.new_zeros(units.weight.shape[:2])
    if units.activation.name == "identity":
        ones = units.rows.new_ones(1, 1)
        for rows in row_chunks(units):
            total += _sum_terms(units, rows, [(POWERS[TERMS[aggregate][0][0]], ones)])
        return total
    for rows in row_chunks(units):
        gates = moments.gates(rows, int(order), nodes)
        terms = [(POWERS[power], gate) for power, made in TERMS[aggregate] if (gate := made(gates)) is not None]
        total += _sum_terms(units, rows, terms)
    return total


def check_order(order: int | str, baseline: str) -> None:
    """Raises: InvalidInput: no such order, or order 2 with ``data``."""
    if order not in (1, 2, "full"):
        raise InvalidInput(f"order is 1, 2 or 'full', not {order!r}")
    if order == 2 and baseline == "data":
        raise InvalidInput("order 2 is for baseline='zero'; with 'data' it is no better than order 1: take 1, or 'full'")


POWERS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "|c|": torch.abs,
    "c|c|": lambda c: c * c.abs(),
    "c": lambda c: c,
    "c2": torch.square,
    "c3": lambda c: c**3,
    "c4": lambda c: c**4,
}
"""Functions with h(w x) = h(w) h(x)."""

TERMS: Mapping[str, tuple[tuple[str, Callable[[Gates], Tensor | None]], ...]] = {
    "mean_abs": (("|c|", lambda g: g[0].abs()), ("c|c|", lambda g: None if g[1] is None else g[1] * g[0].sign())),
    "signed": (("c", lambda g: g[0]), ("c2", lambda g: g[1])),
    "rms": (
        ("c2", lambda g: g[0].square()),
        ("c3", lambda g: None if g[1] is None else 2 * g[0] * g[1]),
        ("c4", lambda g: None if g[1] is None else g[1].square()),
    ),
}
"""What is summed over rows when a value is c g1 + c^2 g2: powers of c, and the gates they are multiplied by.

|value| = |c| |g1 + c g2|, and the second term is taken to leave the sign of the first, which is exact for an activation that never falls,
for there the value has the sign of c. For GELU and SiLU, whose gates can be negative, it is |g1| that counts, not g1.
"""


def row_chunks(units: UnitGames, count: int | None = None) -> Iterator[slice]:
    """Rows whose gates fit into working memory; of the units' own rows, or of so many."""
    single = units.weight.shape[2] == 1
    step = max(1, WORKING_ELEMENTS // (len(units.weight) * (1 if single else units.players)))
    for start in range(0, len(units.rows) if count is None else count, step):
        yield slice(start, start + step)


def _sum_terms(units: UnitGames, rows: slice, terms: list[tuple[Callable[[Tensor], Tensor], Tensor]]) -> Float[Tensor, "U P"]:
    """Sums over rows of a power of the contributions times a gate."""
    if units.weight.shape[2] > 1:
        contributions = units.contributions(units.moved(rows))
        return torch.stack([(power(contributions) * gate[..., None]).sum(0) for power, gate in terms]).sum(0)
    moved, weight = units.moved(rows)[..., 0], units.weight[..., 0]
    parts = []
    for power, gate in terms:
        summed = power(moved).sum(0)[None] if gate.numel() == 1 else gate.T @ power(moved)
        parts.append(power(weight) * summed)
    return torch.stack(parts).sum(0)


class SumMoments:
    """Mean and variance of a unit's sum when each of its links is present with probability q."""

    def __init__(self, units: UnitGames) -> None:
        self.units = units
        self.single = units.weight.shape[2] == 1
        wide = units.weight.new_zeros(len(units.weight))
        self.spread = self.sum_spread = wide
        if units.baseline == "data":
            count = len(units.known)
            sums = [self.of(units.moved_reference(rows)) for rows in row_chunks(units, count)]
            total, squares = (torch.cat([pair[place] for pair in sums]) for place in (0, 1))
            self.spread = total.square().sum(0) / count
            self.sum_spread = squares.sum(0) / count

    def of(self, moved: Float[Tensor, "n P K"]) -> tuple[Float[Tensor, "n U"], Float[Tensor, "n U"]]:
        """Sum of the contributions of rows about the centre, and of their squares."""
        if not self.single:
            contributions = self.units.contributions(moved)
            return contributions.sum(2), contributions.square().sum(2)
        weight = self.units.weight[..., 0]
        return moved[..., 0] @ weight.T, moved[..., 0].square() @ weight.square().T

    def gates(self, rows: slice, order: int, nodes: int) -> Gates:
        """g1 and, for order 2, g2 of every row and unit: a link's value is c g1 + c^2 g2."""
        total, squares = self.of(self.units.moved(rows))
        activation = self.units.activation.at(-1)
        first = torch.zeros_like(total)
        second = torch.zeros_like(total) if order > 1 else None
        for q, share in gauss_legendre(nodes):
            mean = self.units.base + q * total
            deviation = ((1 - q) ** 2 * self.spread + q * (1 - q) * (squares + self.sum_spread)).clamp_min(0).sqrt()
            first += share * activation.mean_slope(mean, deviation)
            if second is not None:
                second += share * (1 - 2 * q) / 2 * activation.mean_curvature(mean, deviation)
        return first, second


def full_values(units: UnitGames, rows: slice, chosen: slice, nodes: int = NODES) -> Float[Tensor, "n u P"]:
    """Values without an expansion: the mean with the link less the mean without it, each with its own variance.

    Args:
        units: whose links.
        rows, chosen: the chunk.
        nodes: in q.
    """
    c = units.contributions(units.moved(rows), chosen)
    total, own = c.sum(2, keepdim=True), c.square()
    spread, apart, joint = _covariances(units, chosen) if units.baseline == "data" else (c.new_zeros(1, 1, 1),) * 3
    squares = (own + apart).sum(2, keepdim=True) - (own + apart)
    rest = spread - 2 * joint + apart
    found = torch.zeros_like(c)
    activation = units.activation_of(chosen, -2)
    for q, share in gauss_legendre(nodes):
        mean = units.base[chosen, None] + q * (total - c)
        without_own = (1 - q) ** 2 * rest + q * (1 - q) * squares
        absent = without_own + apart + 2 * (1 - q) * (joint - apart)
        present = activation.mean(mean + c, without_own.clamp_min(0).sqrt())
        found += share * (present - activation.mean(mean, absent.clamp_min(0).sqrt()))
    return found


def _covariances(units: UnitGames, chosen: slice) -> tuple[Float[Tensor, "1 u 1"], Float[Tensor, "1 u P"], Float[Tensor, "1 u P"]]:
    """Variance of the sum, of each contribution, and the covariance of each with the sum, over the data."""
    variance = units.weight.new_zeros(units.weight[chosen].shape[:2])
    joint = torch.zeros_like(variance)
    spread = torch.zeros_like(variance[:, :1])
    step = max(1, WORKING_ELEMENTS // variance.numel())
    for start in range(0, len(units.known), step):
        c = units.contributions(units.moved_reference(slice(start, start + step)), chosen)
        total = c.sum(2, keepdim=True)
        variance, joint, spread = variance + c.square().sum(0), joint + (c * total).sum(0), spread + total.square().sum(0)
    return tuple(part[None] / len(units.known) for part in (spread, variance, joint))  # type: ignore[return-value]
