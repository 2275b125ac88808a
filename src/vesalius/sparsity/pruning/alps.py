"""ALPS: the links that stay and their weights by alternating directions, between least squares and the largest weights.

Axes: U units, F links into a unit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

PENALTY = 0.1
"""What the two are tied with at the start."""
STEPS, EVERY = 300, 3
"""Steps at most, and how often the tie is drawn tighter."""
TIGHTER = ((0.1, 1.3), (0.005, 1.2), (0.0, 1.1))
"""By what factor, where more than a share of the links that stay has changed."""
RIDGE = 0.01
"""Pull towards the dense weights, in units of the mean second moment."""

Choose = Callable[[Tensor], Tensor]


def alps(weight: Float64[Tensor, "U F"], square: Float64[Tensor, "F F"], choose: Choose) -> Bool[Tensor, "U F"]:
    """The links that stay.

    Args:
        weight: of the dense layer.
        square: second moments of what links carry, about 0.
        choose: from sizes of weights to the mask of those that stay.

    Reference: Meng2024, algorithm 1. Differs from the paper: what follows it there, conjugate gradients on the links that stay, is solved
        exactly by the caller.
    """
    system = square.clone()
    system.diagonal().add_(RIDGE * float(square.diagonal().mean()) + 1e-12)
    scale = system.diagonal().sqrt()
    values, vectors = torch.linalg.eigh(system / scale[:, None] / scale)
    start = weight * scale
    pulled = start @ (system / scale[:, None] / scale)
    sparse, dual, tie = start.clone(), torch.zeros_like(start), PENALTY
    mask = changed = choose(start.abs())
    for step in range(STEPS):
        right = pulled - dual + tie * sparse
        solved = (right @ vectors) / (values + tie) @ vectors.T
        found = choose((solved + dual / tie).abs())
        sparse = (solved + dual / tie) * found
        dual = dual + tie * (solved - sparse)
        if (step + 1) % EVERY == 0:
            share = float((found & ~changed).sum()) / max(1, int(found.sum()))
            if not share and step >= EVERY:
                return found
            tie *= next(factor for least, factor in TIGHTER if share > least or not least)
            changed = found
        mask = found
    return mask
