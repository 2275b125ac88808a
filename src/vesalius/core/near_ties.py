"""Ranks of computed numbers, in which those that differ by rounding alone are equal.

The same number, computed in another batch, with another number of threads or on another processor, differs in its last digits. Where equal
numbers are ranked, that must not decide who comes first.

Axes: N numbers.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

ROUNDING = 5e-6
"""Share of the largest of some numbers by which two of them may differ by rounding, where they come of single precision."""


def rank_with_ties(values: Float[Tensor, " N"], rounding: float = ROUNDING) -> Int[Tensor, " N"]:
    """Place of each number from the largest, 0, downwards; those that differ by rounding share one.

    A rank spans no more than the rounding, so that many numbers close together do not all become one.

    Args:
        values: no NaN; infinite ones are beyond all others.
        rounding: as a share of the largest by size of those that are finite.
    """
    ordered, order = values.double().cpu().sort(descending=True, stable=True)
    finite = ordered[ordered.isfinite()].abs()
    width = rounding * float(finite.max()) if len(finite) else 0.0
    ranks, rank, first = [], -1, float("nan")
    for value in ordered.tolist():
        if value != first and not first - value <= width:
            rank, first = rank + 1, value
        ranks.append(rank)
    found = torch.empty(len(values), dtype=torch.long)
    found[order] = torch.tensor(ranks, dtype=torch.long)
    return found


def descending_order(values: Float[Tensor, " N"], rounding: float = ROUNDING) -> Int[Tensor, " N"]:
    """Where the largest is, then the second largest, and so on; of those that differ by rounding the first comes first.

    Args:
        values: as in :func:`rank_with_ties`.
        rounding: as in :func:`rank_with_ties`.
    """
    return rank_with_ties(values, rounding).argsort(stable=True)
