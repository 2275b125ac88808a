"""SparseGPT: links are cut column by column, and the columns behind make up for each, by the inverse of the second moments.

Axes: U units, F links into a unit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

BLOCK = 128
"""Columns whose links are chosen together."""
DAMPING = 0.01
"""What is added to all second moments, in units of their mean."""

Group = tuple[int, int, int]
"""The first column of some neighbours, the one behind the last, and how many of them stay."""


def sparse_gpt(
    weight: Float64[Tensor, "U F"],
    square: Float64[Tensor, "F F"],
    *,
    kept: int = 0,
    groups: Sequence[Group] = (),
    among: Bool[Tensor, "U F"] | None = None,
) -> tuple[Float64[Tensor, "U F"], Bool[Tensor, "U F"]]:
    """Weights and mask.

    Args:
        weight: of the dense layer.
        square: second moments of what links carry, about 0.
        kept: links that stay in all, the same share of every block.
        groups: instead, neighbours of which so many stay; all columns, in order.
        among: links to choose from; all by default.

    Reference: Frantar2023, algorithm 1.
    """
    found, mask = weight.clone(), torch.ones_like(weight, dtype=torch.bool)
    system = square.clone()
    dead = system.diagonal() == 0
    found[:, dead] = 0
    system.diagonal().add_(DAMPING * float(square.diagonal().mean()) + dead.double())
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(system)), upper=True)
    chosen = groups or _equal_blocks(weight, kept)
    for first, last, most in chosen:
        scores = found[:, first:last].square() / upper.diagonal()[first:last].square()
        free = mask[:, first:last] if among is None else among[:, first:last]
        mask[:, first:last] = free & _highest(torch.where(free, scores, -1.0), most, each_unit=bool(groups))
        for column in range(first, last):
            left = found[:, column] * mask[:, column]
            error = (found[:, column] - left) / upper[column, column]
            found[:, column:] -= error[:, None] * upper[None, column, column:]
            found[:, column] = left
    return found, mask


def _equal_blocks(weight: Tensor, kept: int) -> list[Group]:
    """Blocks of columns, with numbers of links that add up."""
    columns = weight.shape[1]
    ends = [*range(BLOCK, columns, BLOCK), columns]
    counts = [round(kept * end / columns) for end in ends]
    return [(start, end, count - before) for start, end, count, before in zip([0, *ends], ends, counts, [0, *counts], strict=False)]


def _highest(scores: Tensor, most: int, *, each_unit: bool) -> Tensor:
    """The highest scores of each unit, or of all."""
    pool = scores if each_unit else scores.reshape(1, -1)
    order = pool.argsort(dim=1, descending=True, stable=True)[:, :most]
    return torch.zeros_like(pool, dtype=torch.bool).scatter_(1, order, True).reshape(scores.shape)
