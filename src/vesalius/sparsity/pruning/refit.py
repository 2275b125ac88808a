"""Weights and biases of the links that are left, so that units do what they did: least squares in closed form.

Axes: N rows, U units, F links into a unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

MAX_SOLVE_BYTES = 1 << 27
"""Bytes of the systems that are solved together."""
MIN_RIDGE = 1e-12


@dataclass(frozen=True, eq=False, kw_only=True)
class RegressionMoments:
    """What least squares needs of rows and targets.

    Attributes:
        square: second moments of what the links carry, about the mean if there is a bias.
        cross: of targets with it.
        mean, target: means of both; 0 without a bias.
    """

    square: Float64[Tensor, "F F"]
    cross: Float64[Tensor, "U F"]
    mean: Float64[Tensor, " F"]
    target: Float64[Tensor, " U"]

    @classmethod
    def of(cls, rows: Float[Tensor, "N F"], targets: Float[Tensor, "N U"], *, bias: bool = True) -> RegressionMoments:
        """Measured in double precision.

        Args:
            rows: what the links carry in the pruned network.
            targets: sums of the units in the dense one.
            bias: whether units have one; without, nothing can be centred.
        """
        x, z = rows.double(), targets.double()
        mean, target = x.mean(0) * bias, z.mean(0) * bias
        x, z = x - mean, z - target
        return cls(square=x.T @ x / len(x), cross=z.T @ x / len(x), mean=mean, target=target)

    def bias(self, weight: Float64[Tensor, "U F"]) -> Float64[Tensor, " U"]:
        """The bias with which units have the mean they had."""
        return self.target - weight @ self.mean


def solve_ridge(
    moments: RegressionMoments, kept: Bool[Tensor, "U F"], start: Float[Tensor, "U F"], ridge: float
) -> tuple[Float64[Tensor, "U F"], Float64[Tensor, " U"]]:
    """Weights on the links kept, and biases: for each unit the least squared error, with a pull towards the weights it had.

    Args:
        moments: of rows and targets.
        kept: links of each unit.
        start: weights that the ridge pulls towards.
        ridge: in units of the mean variance of what the links carry, above 0.
    """
    pull = ridge * float(moments.square.diagonal().mean()) + MIN_RIDGE
    goal = moments.cross + pull * start.double()
    weight = torch.zeros_like(moments.cross)
    counts = kept.sum(1)
    whole = counts == kept.shape[1]
    if bool(whole.any()):
        system = moments.square.clone()
        system.diagonal().add_(pull)
        weight[whole] = torch.cholesky_solve(goal[whole].T, torch.linalg.cholesky(system)).T
    rest = ((counts > 0) & ~whole).nonzero().flatten()
    beyond = torch.nn.functional.pad(moments.square, (0, 1, 0, 1))
    for units in _batch_units(rest[counts[rest].argsort(dim=0, stable=True)], counts):
        weight[units] = _solve_batch(beyond, goal[units], kept[units], pull)
    return weight, moments.bias(weight)


def _batch_units(units: Int[Tensor, " _"], counts: Int[Tensor, " U"]) -> list[Int[Tensor, " _"]]:
    """Units with about as many links, so that little is padded, in parts that fit into memory."""
    parts: list[Int[Tensor, " _"]] = []
    while len(units):
        most = int(counts[units[-1]])
        size = max(1, min(len(units), MAX_SOLVE_BYTES // (8 * most * most)))
        similar = int((counts[units].double() * 1.1 + 4 >= most).sum())
        parts.append(units[len(units) - min(size, similar) :])
        units = units[: len(units) - len(parts[-1])]
    return parts


def _solve_batch(
    beyond: Float64[Tensor, "F1 F1"], goal: Float64[Tensor, "u F"], kept: Bool[Tensor, "u F"], pull: float
) -> Float64[Tensor, "u F"]:
    """Solve for some units. Units with fewer links than others point to a last input that is always 0, whose weight comes out as 0."""
    counts = kept.sum(1)
    order = kept.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, : int(counts.max())]
    real = torch.arange(order.shape[1], device=order.device) < counts[:, None]
    order = order.masked_fill(~real, kept.shape[1])
    system = beyond[order[:, :, None], order[:, None, :]]
    system.diagonal(dim1=1, dim2=2).add_(pull)
    lower = torch.linalg.cholesky(system)
    right = torch.nn.functional.pad(goal, (0, 1)).gather(1, order).masked_fill(~real, 0.0)
    half = torch.linalg.solve_triangular(lower, right[..., None], upper=False)
    found = torch.linalg.solve_triangular(lower.mT, half, upper=True)[..., 0]
    return torch.zeros_like(beyond[0]).expand(len(goal), -1).clone().scatter_(1, order, found)[:, :-1]
