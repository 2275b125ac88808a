"""The regression whose coefficients are Shapley values, on pairs of complements.

Axes: M pairs, P players.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.games.estimators import coalition_sampling
from vesalius.games.estimators.estimate import make_efficient

EIGENVALUE_CUTOFF = 1e-11  # eigenvalues below this part of the largest are rounding
WELL_CONDITIONED = 1e-7  # of the largest pivot: above, a Cholesky factor is as good as eigenvalues
ROUNDING = 1e-6  # of the values of a network in float32, relative to the largest


@dataclass(frozen=True, eq=False)
class KernelRegression:
    """Weighted least squares under the efficiency constraint, factorised once for all games that share their pairs.

    Attributes:
        left: weighted indicators, centred, without the direction in which values add up.
        inverse: what a unit of every weighted observation adds to the values.
        weight: of the pairs.
        sums: of the centred indicators of each pair.
        unseen: share of each pair's size that was not drawn.
    """

    left: Float[Tensor, "M P"]
    inverse: Float[Tensor, "M P"]
    weight: Float[Tensor, " M"]
    sums: Float[Tensor, " M"]
    unseen: Float[Tensor, " M"]

    @classmethod
    def of(cls, rows: Bool[Tensor, "M P"]) -> KernelRegression:
        """On one member of each pair; of two players or more."""
        n = rows.shape[1]
        weight, unseen = kernel_weights(rows)
        centred = rows.double() - 0.5
        sums = centred.sum(1)
        left = weight.sqrt()[:, None] * (centred - sums[:, None] / n)
        return cls(left, left @ inverse_beside_sums(left.T @ left), weight, sums, unseen)

    def fits(self, odd: Float[Tensor, " M"], gain: float) -> bool:
        """Whether the regression leaves nothing over but rounding where it could: then no three players act together, and it is exact."""
        pairs, n = self.left.shape
        if pairs < n:
            return False
        right = self.weight.sqrt() * (odd - self.sums * gain / n)
        rest = (right - self.left @ (self.inverse.T @ right)) / self.weight.sqrt()
        return bool(rest.abs().max() <= ROUNDING * max(float(odd.abs().max()), abs(gain)))

    def estimate(self, odd: Float[Tensor, " M"], gain: float) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"] | None]:
        """Values and their standard errors, or None where pairs are fewer than players.

        The errors are those of a leave-one-pair-out jackknife (HC3 sandwich), reduced by the share of each size that was drawn: a size
        known in full adds no error.

        Args:
            odd: (v(S) - v(complement of S)) / 2.
            gain: v(N) - v(empty).
        """
        pairs, n = self.left.shape
        right = self.weight.sqrt() * (odd - self.sums * gain / n)
        values = make_efficient(gain / n + self.inverse.T @ right, gain)
        if pairs < n and self.unseen.any():
            return values, None
        leverage = (self.inverse * self.left).sum(1).clamp_max(1 - 1e-9)
        residual = (right - self.left @ (values - gain / n)) / (1 - leverage) * self.unseen.sqrt()
        return values, (self.inverse.square().T @ residual.square()).sqrt()


def inverse_beside_sums(gram: Float[Tensor, "P P"]) -> Float[Tensor, "P P"]:
    """Of a Gram matrix of rows that add up to nothing, without the directions that the sample says nothing about, on such rows.

    With the one direction filled that is known to be empty, a Cholesky factor does, in a quarter of the time of eigenvalues.
    """
    filled = gram + gram.diagonal().mean()
    factor, failed = torch.linalg.cholesky_ex(filled)
    pivots = factor.diagonal().square()
    if int(failed) or float(pivots.min()) <= WELL_CONDITIONED * float(pivots.max()):
        return pseudo_inverse(gram)
    return torch.cholesky_inverse(factor)


def pseudo_inverse(gram: Float[Tensor, "P P"]) -> Float[Tensor, "P P"]:
    """Of a Gram matrix, without the directions that the sample says nothing about."""
    size, direction = torch.linalg.eigh(gram)
    keep = size > EIGENVALUE_CUTOFF * size[-1]
    found: Tensor = (direction[:, keep] / size[keep]) @ direction[:, keep].T
    return found


def kernel_weights(rows: Bool[Tensor, "M P"]) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"]]:
    """Shapley kernel of every pair over its chance of being drawn, and the share of its size that was not drawn."""
    n = rows.shape[1]
    size = rows.sum(1)
    size = torch.minimum(size, n - size)
    drawn = torch.bincount(size, minlength=n // 2 + 1).double()
    mass, exist = _kernel_by_size(n)
    return (mass / drawn)[size], (1 - drawn / exist)[size]


@lru_cache(maxsize=16)
def _kernel_by_size(n: int) -> tuple[Float[Tensor, " K"], Float[Tensor, " K"]]:
    """Shapley kernel of all pairs of a size, and how many there are."""
    mass = [0.0] + [(n - 1) / (s * (n - s)) / (2 if 2 * s == n else 1) for s in range(1, n // 2 + 1)]
    exist = [float(coalition_sampling.pairs_of_size(n, s)) for s in range(n // 2 + 1)]
    return torch.tensor(mass, dtype=torch.float64), torch.tensor(exist, dtype=torch.float64)
