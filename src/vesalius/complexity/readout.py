"""The last layer of a disentangler in closed form: ridge regression of the feature on what an exit reads, streamed over batches.

Axes: B batch, P positions, K columns an exit reads (linear features of the input, then units of the last block), D channels of the feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from vesalius.complexity.networks import Trunk
from vesalius.core.errors import InvalidInput
from vesalius.core.near_ties import rank_with_ties

RIDGE_FACTORS = (1e-2, 1.0, 1e2)
"""Ridges that are tried, in units of the one asked for."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Disentangler:
    """A disentangler: blocks, and an affine exit.

    Attributes:
        trunk: its blocks; none for order 0.
        weight: of the exit; no rows of it for the constant net.
        bias: of the exit, by position: measures are variances of elements, each about its own mean.
    """

    trunk: Trunk
    weight: Float[Tensor, "K D"]
    bias: Float[Tensor, "P D"]

    def __call__(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B P D"]:
        """The prediction of the feature, by position."""
        if not len(self.weight):
            return self.bias.expand(len(x), -1, -1)
        return readout_features(self.trunk, x) @ self.weight + self.bias


@torch.no_grad()
def readout_features(trunk: Trunk, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B P K"]:
    """What the exit after the last block reads: the input skip, then the units."""
    ready = trunk.standardise_input(x)
    skip = trunk.linear(ready)
    return torch.cat([skip, trunk(ready)[-1]], 2) if trunk.blocks else skip


@dataclass(eq=False)
class RidgeStatistics:
    """Sums over rows that a ridge regression needs, in float64, about a first guess of the means."""

    count: int = 0
    shift: tuple[Tensor, Tensor] | None = None
    totals: tuple[Tensor, Tensor] | None = None
    gram: Tensor | None = None
    cross: Tensor | None = None

    def add(self, read: Float[Tensor, "B P K"], target: Float[Tensor, "B P D"]) -> None:
        """Count a batch in; every position is a row, about means of its own."""
        if self.shift is None:
            self.shift = read.mean(0), target.mean(0)
            self.totals = torch.zeros_like(self.shift[0].double()), torch.zeros_like(self.shift[1].double())
            self.gram = self.cross = torch.zeros((), dtype=torch.float64, device=read.device)
        assert self.totals is not None and self.gram is not None and self.cross is not None
        a, b = (read - self.shift[0]).double(), (target - self.shift[1]).double()
        self.count += len(a)
        self.totals = self.totals[0] + a.sum(0), self.totals[1] + b.sum(0)
        a, b = a.flatten(0, 1), b.flatten(0, 1)
        self.gram = self.gram + a.T @ a  # in single precision its eigenvalues of 0, with fewer rows than columns, come out below -ridge
        self.cross = self.cross + a.T @ b

    def merge(self, other: RidgeStatistics) -> None:
        """Take in all rows that others have: their sums, about this guess of the means."""
        if other.shift is None or other.totals is None or other.gram is None or other.cross is None:
            return
        if self.shift is None or self.totals is None or self.gram is None or self.cross is None:
            self.count, self.shift, self.totals, self.gram, self.cross = other.count, other.shift, other.totals, other.gram, other.cross
            return
        a, b = ((there - here).double() for there, here in zip(other.shift, self.shift, strict=True))
        sum_a, sum_b = other.totals
        self.gram = self.gram + other.gram + a.T @ sum_a + sum_a.T @ a + other.count * a.T @ a
        self.cross = self.cross + other.cross + a.T @ sum_b + sum_a.T @ b + other.count * a.T @ b
        self.totals = self.totals[0] + sum_a + other.count * a, self.totals[1] + sum_b + other.count * b
        self.count += other.count

    def result(self) -> tuple[Float64[Tensor, "K K"], Float64[Tensor, "K D"], Float64[Tensor, "P K"], Float64[Tensor, "P D"]]:
        """Covariances (mean over positions) and means.

        Raises:
            InvalidInput: nothing was counted in.
        """
        if self.shift is None or self.totals is None or self.gram is None or self.cross is None:
            raise InvalidInput("a ridge regression needs rows, and there are none")
        a, b = self.totals[0] / self.count, self.totals[1] / self.count
        rows, positions = self.count * len(a), len(a)
        return self.gram / rows - a.T @ a / positions, self.cross / rows - a.T @ b / positions, a + self.shift[0], b + self.shift[1]


def ridge_regression(sums: RidgeStatistics, strength: float) -> tuple[Float64[Tensor, "K D"], Float64[Tensor, "P D"]]:
    """Weights, and biases by position, of the ridge regression, by one Cholesky factorisation.

    Args:
        sums: over the rows.
        strength: of the penalty, in units of the mean variance of the columns; above 0.

    Raises:
        InvalidInput: no rows.
    """
    gram, cross, read, target = sums.result()
    penalty = strength * gram.diagonal().mean().clamp_min(1e-12)
    factor = torch.linalg.cholesky(gram + penalty * torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
    weight = torch.cholesky_solve(cross, factor)
    return weight, target - read @ weight


FeatureBatches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Batches of rows: what the disentanglers see, and the feature by position [B P D]."""


def fit_readout(trunk: Trunk, train: FeatureBatches, select: FeatureBatches, strength: float) -> tuple[Disentangler, Float64[Tensor, " N"]]:
    """The exit in closed form, with the best of three ridges on rows that the fit has not seen.

    Args:
        trunk: in eval mode.
        train: rows to fit.
        select: other rows, to choose by.
        strength: the middle ridge; a hundredth and a hundred times it are tried too.

    Returns:
        The net, and its squared error on each of the rows to choose by, summed over positions and channels.
    """
    sums = RidgeStatistics()
    for x, f in train():
        sums.add(readout_features(trunk, x), f)
    found = [ridge_regression(sums, strength * factor) for factor in RIDGE_FACTORS]
    nets = [Disentangler(trunk=trunk, weight=w.to(trunk.mean.dtype), bias=b.to(trunk.mean.dtype)) for w, b in found]
    errors = squared_errors(nets, select)
    best = int(rank_with_ties(-torch.stack([error.sum() for error in errors])).argmin())
    return nets[best], errors[best]


def squared_errors(nets: Sequence[Disentangler], rows: FeatureBatches) -> list[Float64[Tensor, " N"]]:
    """Squared error of each row, for nets that share a trunk."""
    parts: list[list[Tensor]] = [[] for _ in nets]
    for x, f in rows():
        read = readout_features(nets[0].trunk, x)
        for part, net in zip(parts, nets, strict=True):
            part.append((read @ net.weight + net.bias - f).square().sum((1, 2)).double())
    return [torch.cat(part) for part in parts]


def mean_predictor(trunk: Trunk, train: FeatureBatches) -> Disentangler:
    """The net that predicts the mean of each element."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for _, f in train():
        total, count = total + f.double().sum(0), count + len(f)
    mean = (total / count).to(trunk.mean.dtype)
    return Disentangler(trunk=trunk, weight=mean.new_zeros(0, mean.shape[1]), bias=mean)
