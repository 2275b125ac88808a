"""What a whole layer says of each unit by a ridge regression, as one more number for a critic to look at.

A critic of a layer of many units has few rows to find out which of them matter; a linear summary, fitted on other rows than those it is
read at, spares it that. By the data processing inequality a function of the layer says no more than the layer.

Axes: N rows, D units of the layer, B units.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Penalties that are tried, in units of the mean square of a unit of the layer over the rows."""


def linear_summary(
    x: Float[Tensor, "D N"], y: Float[Tensor, "B N"], learnt: Int64[Tensor, " L"], judged: Int64[Tensor, " J"]
) -> Float[Tensor, "B N"]:
    """Prediction of each unit from the layer, about 0.

    Args:
        x: the layer, in normal scores.
        y: the units, in normal scores.
        learnt: rows to fit. They come in two halves, and each is predicted by the fit to the other.
        judged: rows by which the penalty is chosen, for each unit on its own; all rows but those learnt are predicted by both fits' mean.
    """
    halves = learnt.tensor_split(2)
    fits = torch.stack([torch.stack([ridge_weights(x[:, half], y[:, half], ridge) for ridge in RIDGES]) for half in halves])
    error = (y[:, judged] - fits.mean(0) @ x[:, judged].double()).square().mean(2)
    chosen = fits[:, error.argmin(0), torch.arange(len(y))]
    found = (chosen.mean(0) @ x.double()).to(x.dtype)
    for fit, other in zip(chosen, reversed(halves), strict=True):
        found[:, other] = (fit @ x[:, other].double()).to(x.dtype)
    return found


def ridge_weights(x: Float[Tensor, "D N"], y: Float[Tensor, "B N"], ridge: float) -> Tensor:
    """Weights [B D], in double precision."""
    rows, wanted = x.double(), y.double()
    gram = rows @ rows.T
    gram.diagonal().add_(ridge * gram.diagonal().mean().clamp_min(1e-12))
    found: Tensor = torch.linalg.solve(gram, rows @ wanted.T).T
    return found
