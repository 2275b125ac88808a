"""Games as polynomials of presence: columns of a regression, and what its coefficients are as interactions.

With z_i = [i present] - 1/2, a product of z over U changes sign with the complement when U is odd and stays when it is even, so on pairs of
complements a regression falls apart into two smaller ones.

Axes: M coalitions, P players, U monomials, K coalitions with a value.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.interactions.estimators.estimate import coalitions_up_to

EXTRA_COALITIONS = 8  # coalitions beyond the unknowns, on either side
ROUNDING = 1e-9  # of the largest deviation from the mean
RANK_TOLERANCE = 1e-9  # a pivot below this part of the largest is a direction the sample says nothing about


def monomial_columns(rows: Bool[Tensor, "M P"], monomials: Sequence[tuple[int, ...]]) -> Float[Tensor, "M U"]:
    """Products of z_i over each monomial's players; 1 for the empty one."""
    z = rows.double() - 0.5
    out = torch.ones(len(rows), len(monomials), dtype=torch.float64)
    for size in range(1, max(map(len, monomials), default=0) + 1):
        at = [place for place, members in enumerate(monomials) if len(members) >= size]
        out[:, at] *= z[:, [monomials[place][size - 1] for place in at]]
    return out


def dividends_of_polynomial(
    monomials: Sequence[tuple[int, ...]], coefficients: Float[Tensor, "U *out"], order: int
) -> Float[Tensor, "K *out"]:
    """Dividends of the polynomial, for all coalitions of 1 to ``order`` players.

    Reference: the product of [i present] - 1/2 over U is the sum over T within U of (-1/2)**(|U| - |T|) [T present].
    """
    players = max((max(members) for members in monomials if members), default=-1) + 1
    place = {members: at for at, members in enumerate(coalitions_up_to(players, order))}
    out = coefficients.new_zeros(len(place), *coefficients.shape[1:])
    targets, sources, weights = [], [], []
    for at, members in enumerate(monomials):
        for part in _nonempty_subsets(members):
            targets.append(place[part])
            sources.append(at)
            weights.append((-0.5) ** (len(members) - len(part)))
    scale = torch.tensor(weights, dtype=coefficients.dtype).view(-1, *[1] * (coefficients.dim() - 1))
    return out.index_add(0, torch.tensor(targets), coefficients[torch.tensor(sources)] * scale)


def _nonempty_subsets(members: tuple[int, ...]) -> list[tuple[int, ...]]:
    parts: list[tuple[int, ...]] = [()]
    for member in members:
        parts += [(*part, member) for part in parts]
    return parts[1:]


def fit_if_quadratic(rows: Bool[Tensor, "M P"], values: Float[Tensor, " M"], *, generator: torch.Generator | None) -> Tensor | None:
    """Dividends of singles and pairs, where a polynomial of order 2 is all there is to the values; None where it is not.

    The polynomial is solved for on just enough coalitions, and has to predict all others to rounding.
    """
    n = rows.shape[1]
    monomials = [(), *coalitions_up_to(n, min(2, n))]
    if len(rows) < len(monomials) + 2 * EXTRA_COALITIONS:
        return None
    order = torch.randperm(len(rows), generator=generator)
    used, rest = order[: len(monomials) + EXTRA_COALITIONS], order[len(monomials) + EXTRA_COALITIONS :]
    q, r = torch.linalg.qr(monomial_columns(rows[used], monomials))
    pivots = r.diagonal().abs()
    if float(pivots.min()) < RANK_TOLERANCE * float(pivots.max()):
        return None
    solution = torch.linalg.solve_triangular(r, q.T @ values[used, None], upper=True)[:, 0]
    error = values[rest] - monomial_columns(rows[rest], monomials) @ solution
    if float(error.abs().max()) > ROUNDING * float((values - values.mean()).abs().max()):
        return None
    return dividends_of_polynomial(monomials, solution, min(2, n))
