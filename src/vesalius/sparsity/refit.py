"""Weights and biases of the links that are left, so that units do what they did: least squares in closed form.

Axes: N rows, U units, F links into a unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

AT_ONCE = 1 << 27
"""Bytes of the systems that are solved together."""
LEAST = 1e-12


@dataclass(frozen=True, eq=False, kw_only=True)
class Moments:
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
    def of(cls, rows: Float[Tensor, "N F"], targets: Float[Tensor, "N U"], *, bias: bool = True) -> Moments:
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


def solve(
    moments: Moments, kept: Bool[Tensor, "U F"], start: Float[Tensor, "U F"], ridge: float
) -> tuple[Float64[Tensor, "U F"], Float64[Tensor, " U"]]:
    """Weights on the links kept, and biases: for each unit the least squared error, with a pull towards the weights it had.

    Args:
        moments: of rows and targets.
        kept: links of each unit.
        start: weights that the ridge pulls towards.
        ridge: in units of the mean variance of what the links carry, above 0.
    """
    pull = ridge * float(moments.square.diagonal().mean()) + LEAST
    goal = moments.cross + pull * start.double()
    weight = torch.zeros_like(moments.cross)
    counts = kept.sum(1)
    whole = counts == kept.shape[1]
    if bool(whole.any()):
        system = moments.square.clone()
        system.diagonal().add_(pull)
        weight[whole] = torch.cholesky_solve(goal[whole].T, torch.linalg.cholesky(system)).T
    rest = ((counts > 0) & ~whole).nonzero().flatten()
    for units in _together(rest[counts[rest].argsort(dim=0, stable=True)], counts):
        _solve_some(moments.square, goal, kept, units, pull, weight)
    return weight, moments.bias(weight)


def _together(units: Int[Tensor, " _"], counts: Int[Tensor, " U"]) -> list[Int[Tensor, " _"]]:
    """Units with about as many links, so that little is padded, in parts that fit into memory."""
    parts: list[Int[Tensor, " _"]] = []
    while len(units):
        most = int(counts[units[-1]])
        size = max(1, min(len(units), AT_ONCE // (8 * most * most)))
        similar = int((counts[units] * 1.1 + 4 >= most).sum())
        parts.append(units[len(units) - min(size, similar) :])
        units = units[: len(units) - len(parts[-1])]
    return parts


def _solve_some(
    square: Float64[Tensor, "F F"],
    goal: Float64[Tensor, "U F"],
    kept: Bool[Tensor, "U F"],
    units: Int[Tensor, " _"],
    pull: float,
    weight: Float64[Tensor, "U F"],
) -> None:
    """Solve for some units; rows of padding are those of an identity, and solve to 0."""
    masks = kept[units]
    most = int(masks.sum(1).max())
    order = masks.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    real = masks.gather(1, order)
    both = real[:, :, None] & real[:, None, :]
    system = torch.where(both, square[order[:, :, None], order[:, None, :]], 0.0)
    system.diagonal(dim1=1, dim2=2).add_(torch.where(real, pull, 1.0))
    right = torch.where(real, goal[units].gather(1, order), 0.0)
    found = torch.cholesky_solve(right[..., None], torch.linalg.cholesky(system))[..., 0]
    weight[units[:, None].expand_as(order)[real], order[real]] = found[real]
