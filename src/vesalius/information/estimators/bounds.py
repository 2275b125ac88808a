"""Variational bounds on mutual information: what a critic is trained on, and what is read off it on rows that it has not seen.

A critic T scores a pair (x, y). Scores of rows as they are, "joint", are compared with scores of x with the y of other rows, "apart".

Axes: P critics, N rows, K other rows that each x is put together with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

SMILE_CLIP = 5.0
"""Scores apart are clipped to +- this in the mean of SMILE, as its authors do by default."""

CriticLoss = Callable[[Float[Tensor, "P N"], Float[Tensor, "P K N"], Float[Tensor, " P"]], Float[Tensor, ""]]
LocalTerms = Callable[[Float[Tensor, "P N"], Float[Tensor, "P K N"]], Float[Tensor, "P N"]]


@dataclass(frozen=True)
class VariationalBound:
    """One way to train and to read critics.

    Attributes:
        loss: of scores joint and apart, and the moving mean of exp(apart) of each critic; summed over critics, so that each has the
            gradient it would have alone.
        local: terms of the rows whose mean is the bound, each with all its influence on it, so that their scatter gives its error.
        others: other rows per row in training.
    """

    loss: CriticLoss
    local: LocalTerms
    others: int = 1


def mine_loss(joint: Float[Tensor, "P N"], apart: Float[Tensor, "P K N"], moving: Float[Tensor, " P"]) -> Float[Tensor, ""]:
    """A surrogate of the Donsker-Varadhan bound, whose gradient divides by the moving mean instead of the mean of the batch.

    Reference: Belghazi2018, equation 12 (the bias-corrected gradient).
    """
    return (apart.exp().mean((1, 2)) / moving - joint.mean(1)).sum()


def donsker_varadhan(joint: Float[Tensor, "P N"], apart: Float[Tensor, "P K N"]) -> Float[Tensor, "P N"]:
    """E[T joint] - log E[exp T apart]. Reference: Belghazi2018, equation 5."""
    each = apart.logsumexp(1) - log(apart.shape[1])
    total = each.logsumexp(1, keepdim=True) - log(each.shape[1])
    return joint - total - ((each - total).exp() - 1)


def nwj_loss(joint: Float[Tensor, "P N"], apart: Float[Tensor, "P K N"], moving: Float[Tensor, " P"]) -> Float[Tensor, ""]:
    """The bound itself."""
    return -nwj(joint, apart).mean(1).sum()


def nwj(joint: Float[Tensor, "P N"], apart: Float[Tensor, "P K N"]) -> Float[Tensor, "P N"]:
    """E[T joint] - E[exp(T apart - 1)]. Reference: Nguyen2010 (NWJ)."""
    return joint - (apart - 1).exp().mean(1)


def infonce_loss(joint: Float[Tensor, "P N"], apart: Float[Tensor, "P K N"], moving: Float[Tensor, " P"]) -> Float[Tensor, ""]:
    """The bound itself."""
    return -infonce(joint, apart).mean(1).sum()


def infonce(joint: Float[Tensor, "P N"], apart: Float[Tensor, "P K N"]) -> Float[Tensor, "P N"]:
    """T joint less the log of the mean of exp T over the row's own y and K others; at most log(K + 1). Reference: Oord2018 (InfoNCE)."""
    return joint - (torch.cat([joint[:, None], apart], 1).logsumexp(1) - log(apart.shape[1] + 1))


def smile_loss(joint: Float[Tensor, "P N"], apart: Float[Tensor, "P K N"], moving: Float[Tensor, " P"]) -> Float[Tensor, ""]:
    """The Jensen-Shannon bound, on whose gradient SMILE is trained."""
    return (softplus(-joint).mean(1) + softplus(apart).mean((1, 2))).sum()


def smile(joint: Float[Tensor, "P N"], apart: Float[Tensor, "P K N"]) -> Float[Tensor, "P N"]:
    """The Donsker-Varadhan bound with clipped scores apart. Reference: Song2020, equation 17."""
    return donsker_varadhan(joint, apart.clamp(-SMILE_CLIP, SMILE_CLIP))


BOUNDS: dict[str, VariationalBound] = {
    "mine": VariationalBound(mine_loss, donsker_varadhan),
    "nwj": VariationalBound(nwj_loss, nwj),
    "infonce": VariationalBound(infonce_loss, infonce, others=15),
    "smile": VariationalBound(smile_loss, smile),
}
