"""Gaussian processes that treat all players alike, so that games which are asked at the same coalitions share their algebra.

With a sign for every player, 1 where it is in and -1 where it is out, a game is a sum of products of signs (its Fourier expansion), and
(v(S) - v(complement of S)) / 2 is what has an odd number of signs. Here all products of one order have one variance, which makes the
process the ridge regression on all products of 1, 3 and 5 signs at once, none of them written out: their covariance at S and T depends on
the number of players whom both treat alike (a Krawtchouk polynomial). The Shapley value of a product of k signs is 2 / k for each of its
players.

How much each order has, is learned by weighing a few candidates by their evidence; all that costs a power of the number of coalitions is
done once for each design.

Axes: M, R rows (pairs, by one member each), P players, G candidates.

Reference: Fumagalli2026 for regression on interactions; Rasmussen2006, section 5.4.2.
Differs from the paper: every interaction of an order is in it, with a prior in place of a selection.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.games.estimators.gaussian_process.covariance import JITTER, indicator_shapley, noise_variance

ORDERS = (1, 3, 5)
CUBIC = (0.2, 0.03, 0.003)
"""Variance of products of three signs, in that of single signs, of the candidates."""
ABOVE = ((0.3, 0.03), (1.0, 0.3))
"""Variance of products of five signs and of the noise, in that of products of three."""
IMPOSSIBLE = 1e-3
"""Weight of a candidate below which its algebra is not worth its time; all weights are lowered by it, so that none jumps there."""


@dataclass(frozen=True, eq=False)
class IsotropicCovariance:
    """Covariances of (v(S) - v(complement of S)) / 2.

    Attributes:
        players: how many there are.
        variances: of all products of 1, of 3 and of 5 signs together; 0 where there are fewer players.
        noise: of every pair but that of the empty and the full coalition, which counts as part of the game.
    """

    players: int
    variances: tuple[float, ...]
    noise: float

    def between(self, a: Float[Tensor, "M P"], b: Float[Tensor, "R P"]) -> Float[Tensor, "M R"]:
        """Covariances without noise."""
        alike = ((2 * a - 1) @ (2 * b - 1).T + self.players) / 2
        return self.by_alike[alike.round_().long()]

    @property
    def variance(self) -> float:
        """Of every value, without noise."""
        return sum(self.variances)

    def noise_at(self, a: Float[Tensor, "M P"]) -> Float[Tensor, " M"]:
        """Variance of the noise."""
        size = a.sum(1)
        return self.noise * ((size > 0) & (size < self.players))

    def shapley(self, b: Float[Tensor, "M P"]) -> Float[Tensor, "P M"]:
        """Covariance of every player's Shapley value with the values, noise included."""
        present, absent = self._by_size
        size = b.sum(1).long()
        smooth = absent[size][:, None] + b * (present - absent)[size][:, None]
        return (smooth + self.noise * indicator_shapley(b, odd=True)).T

    def shapley_variance(self) -> float:
        """Of every Shapley value before anything is known."""
        smooth = sum(4 * variance / (order * self.players) for order, variance in zip(ORDERS, self.variances, strict=True))
        return smooth + self.noise * noise_variance(self.players, True)

    @cached_property
    def by_alike(self) -> Float[Tensor, " K"]:
        """Covariances by how many players are treated alike."""
        signs = sign_products(self.players, self.players)
        parts = [variance * signs[k] / signs[k][-1] for k, variance in zip(ORDERS, self.variances, strict=True) if variance]
        return torch.stack(parts).sum(0)

    @cached_property
    def _by_size(self) -> tuple[Float[Tensor, " K"], Float[Tensor, " K"]]:
        """Of a player who is in, and of one who is out, with a coalition of every size."""
        n = self.players
        every, others = sign_products(n, n), sign_products(n - 1, max(n - 1, 1))
        size = torch.arange(n + 1)
        present, absent = torch.zeros(2, n + 1, dtype=torch.float64)
        for order, variance in zip(ORDERS, self.variances, strict=True):
            if variance:
                share = 2 / order * variance / every[order][-1]
                present = present + share * others[order - 1][(size - 1).clamp_min(0)]
                absent = absent - share * others[order - 1][size.clamp_max(n - 1)]
        return present, absent


@cache
def sign_products(players: int, most: int) -> list[Float[Tensor, " K"]]:
    """Sums of all products of 0, 1, ..., 5 signs, where 0, 1, ..., players of them are 1; no more signs than ``most``.

    From (k + 1) e_{k+1} = e_1 e_k - (n - k + 1) e_{k-1}, which holds because a sign is its own inverse.
    """
    one = 2 * torch.arange(players + 1, dtype=torch.float64) - players
    found = [torch.ones_like(one), one]
    for k in range(1, ORDERS[-1]):
        found.append((one * found[k] - (players - k + 1) * found[k - 1]) / (k + 1))
    return found[: most + 1]


@cache
def candidates(players: int) -> tuple[IsotropicCovariance, ...]:
    """The processes among which the values choose, from rough to smooth."""

    def one(cubic: float, above: tuple[float, float]) -> IsotropicCovariance:
        shares = (1.0, cubic, cubic * above[0])
        variances = tuple(share if order <= players else 0.0 for order, share in zip(ORDERS, shares, strict=True))
        return IsotropicCovariance(players, variances, cubic * above[1])

    return tuple(one(cubic, above) for cubic, above in product(CUBIC, ABOVE))


@dataclass(frozen=True, eq=False)
class ConditionedProcess:
    """A process and the coalitions whose values will be known: all that can be said before they are.

    Attributes:
        covariance: the process, up to the unit of the values, which is learned.
        rows: the full coalition, and others.
    """

    covariance: IsotropicCovariance
    rows: Float[Tensor, "M P"]

    @cached_property
    def precision(self) -> Float[Tensor, "M M"]:
        """Inverse of the covariance of the values."""
        full = self.covariance.between(self.rows, self.rows)
        full.diagonal().add_(self.covariance.noise_at(self.rows) + JITTER * self.covariance.variance)
        return torch.cholesky_inverse(torch.linalg.cholesky(full))

    @cached_property
    def _cross(self) -> Float[Tensor, "P M"]:
        return self.covariance.shapley(self.rows)

    @cached_property
    def _read_off(self) -> Float[Tensor, "P M"]:
        found: Tensor = self._cross @ self.precision
        return found

    @cached_property
    def _variance(self) -> Float[Tensor, " P"]:
        return (self.covariance.shapley_variance() - (self._read_off * self._cross).sum(1)).clamp_min(0)

    def read(self, y: Float[Tensor, " M"]) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
        """Shapley values and their variances, scaled to the size of the errors that are seen when a value is left out.

        Such an error is (K^-1 y)_i / K^-1_ii, and its variance 1 / K^-1_ii.
        """
        surprise = (self.precision @ y).square() / self.precision.diagonal()
        return self._read_off @ y, self._variance * surprise[1:].mean()


@dataclass(frozen=True, eq=False)
class CandidateEvidence:
    """How probable all candidates make the values of the same coalitions.

    Attributes:
        rows: the full coalition, and others.
    """

    rows: Float[Tensor, "M P"]

    @cached_property
    def _factors(self) -> Float[Tensor, "G M M"]:
        every, sign = candidates(self.rows.shape[1]), 2 * self.rows - 1
        alike = ((sign @ sign.T + self.rows.shape[1]) / 2).round_().long()
        full = torch.stack([one.by_alike for one in every])[:, alike]
        noise = torch.stack([one.noise_at(self.rows) + JITTER * one.variance for one in every])
        full.diagonal(dim1=1, dim2=2).add_(noise)
        factors: Tensor = torch.linalg.cholesky(full)
        return factors

    def weights(self, y: Float[Tensor, " M"]) -> list[float]:
        """How far each candidate is to be believed after the values; not at all where it is next to impossible."""
        weight = (self.log_density(y).softmax(0) - IMPOSSIBLE).clamp_min(0)
        found: list[float] = (weight / weight.sum()).tolist()
        return found

    def log_density(self, y: Float[Tensor, " M"]) -> Float[Tensor, " G"]:
        """Logarithms of the density of values, each in the unit in which it is largest, up to a constant."""
        seen = torch.linalg.solve_triangular(self._factors, y[:, None], upper=False)[..., 0]
        determinant = self._factors.diagonal(dim1=1, dim2=2).log().sum(1)
        found: Tensor = -len(y) / 2 * seen.square().mean(1).log() - determinant
        return found
