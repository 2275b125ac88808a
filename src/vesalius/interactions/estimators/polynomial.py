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
