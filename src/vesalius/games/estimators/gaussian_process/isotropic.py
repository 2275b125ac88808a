"""Gaussian processes that treat all players alike, so that games which are asked at the same coalitions share their algebra.

With a sign for every player, 1 where it is in and -1 where it is out, a game is a sum of products of signs (its Fourier expansion), and
(v(S) - v(complement of S)) / 2 is what has an odd number of signs. Here all products of one order have one variance, which makes the process
the ridge regression on all products of 1, 3 and 5 signs at once, none of them written out: their covariance at S and T depends on the number
of players whom both treat alike (a Krawtchouk polynomial). The Shapley value of a product of k signs is 2 / k for each of its players.

How much each order has, is learned by weighing a few candidates by their evidence; all that costs a power of the number of coalitions is
done once for each design.

Axes: M rows (pairs, by one member each), R inducing rows, P players.

Reference: Fumagalli2026 for regression on interactions; Rasmussen2006, sections 5.4.2 and 8.3.4.
Differs from the paper: every interaction of an order is in it, with a prior in place of a selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from math import log

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.games.estimators.gaussian_process.covariance import JITTER, indicator_shapley, noise_variance

ORDERS = (1, 3, 5)
CUBIC = (0.2, 0.03, 0.003)
"""Variance of products of three signs, in that of single signs, of the candidates."""
ABOVE = ((0.3, 0.03), (1.0, 0.3))
"""Variance of products of five signs and of the noise, in that of products of three."""


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
        return self._by_alike[alike.round_().long()]

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
        return self.smooth_shapley(b) + self.noise * indicator_shapley(b, odd=True).T

    def smooth_shapley(self, b: Float[Tensor, "M P"]) -> Float[Tensor, "P M"]:
        """The same without noise."""
        present, absent = self._by_size
        size = b.sum(1).long()
        return (absent[size][:, None] + b * (present - absent)[size][:, None]).T

    def shapley_variance(self) -> float:
        """Of every Shapley value before anything is known."""
        smooth = sum(4 * variance / (order * self.players) for order, variance in zip(ORDERS, self.variances, strict=True))
        return smooth + self.noise * noise_variance(self.players, True)

    @cached_property
    def _by_alike(self) -> Float[Tensor, " K"]:
        signs = sign_products(self.players, self.players)
        return sum((v * signs[k] / signs[k][-1] for k, v in zip(ORDERS, self.variances, strict=True) if v), torch.zeros(1, dtype=torch.float64))

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
        rows: the coalitions.
    """

    covariance: IsotropicCovariance
    rows: Float[Tensor, "M P"]

    @cached_property
    def _factor(self) -> Float[Tensor, "M M"]:
        full = self.covariance.between(self.rows, self.rows)
        full.diagonal().add_(self.covariance.noise_at(self.rows) + JITTER * self.covariance.variance)
        return torch.linalg.cholesky(full)

    @cached_property
    def precision(self) -> Float[Tensor, "M M"]:
        return torch.cholesky_inverse(self._factor)

    @cached_property
    def read_off(self) -> Float[Tensor, "P M"]:
        """What a unit of every value adds to the Shapley values."""
        found: Tensor = self.covariance.shapley(self.rows) @ self.precision
        return found

    @cached_property
    def variance(self) -> Float[Tensor, " P"]:
        """Of the Shapley values."""
        explained = (self.read_off * self.covariance.shapley(self.rows)).sum(1)
        return (self.covariance.shapley_variance() - explained).clamp_min(0)

    def evidence(self, y: Float[Tensor, " M"]) -> float:
        """Logarithm of the density of values in the unit in which it is largest, up to a constant."""
        return -len(y) / 2 * log(float(y @ (self.precision @ y)) / len(y)) - float(self._factor.diagonal().log().sum())

    def left_out(self, y: Float[Tensor, " M"]) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"]]:
        """Errors of every value when all others are known, and the variances that the process expects of them."""
        variance = 1 / self.precision.diagonal()
        return (self.precision @ y) * variance, variance


@dataclass(frozen=True, eq=False)
class ProjectedProcess:
    """The same on few inducing coalitions, for a cost that grows with M R^2; what those cannot say of a value counts as noise.

    Attributes:
        covariance: the process.
        rows: the coalitions.
        inducing: places of the inducing ones.
    """

    covariance: IsotropicCovariance
    rows: Float[Tensor, "M P"]
    inducing: Int[Tensor, " R"]

    @cached_property
    def _factors(self) -> tuple[Float[Tensor, "R R"], Float[Tensor, "R R"], Float[Tensor, "R M"]]:
        chosen, scale = self.rows[self.inducing], self.covariance.variance
        among = self.covariance.between(chosen, chosen)
        among.diagonal().add_(JITTER * scale)
        factor = torch.linalg.cholesky(among)
        basis = torch.linalg.solve_triangular(factor, self.covariance.between(chosen, self.rows), upper=False)
        missed = (scale - basis.square().sum(0)).clamp_min(0).mean()
        noise = self.covariance.noise + missed + JITTER * scale
        inner = torch.linalg.cholesky(basis @ basis.T + noise * torch.eye(len(chosen), dtype=torch.float64))
        return factor, inner, torch.linalg.solve_triangular(inner, basis, upper=False)

    @cached_property
    def _leverage(self) -> Float[Tensor, " M"]:
        return self._factors[2].square().sum(0).clamp_max(1 - 1e-9)

    @cached_property
    def _read_off(self) -> Float[Tensor, "P R"]:
        factor, inner, _ = self._factors
        cross = torch.linalg.solve_triangular(factor, self.covariance.smooth_shapley(self.rows[self.inducing]).T, upper=False)
        return torch.linalg.solve_triangular(inner, cross, upper=False).T

    def read(self, y: Float[Tensor, " M"]) -> tuple[Float[Tensor, " P"], Float[Tensor, " M"], Float[Tensor, " M"]]:
        """Shapley values of what is learned, what it leaves of the values, and what it leaves of each when it is learned from all others."""
        seen = self._factors[2]
        mean = seen @ y
        residual = y - seen.T @ mean
        return self._read_off @ mean, residual, residual / (1 - self._leverage)


def evidence_weights(processes: Sequence[ConditionedProcess], y: Float[Tensor, " M"]) -> list[float]:
    """How far each process is to be believed after the values; nothing for those that are next to impossible."""
    evidence = torch.tensor([process.evidence(y) for process in processes], dtype=torch.float64)
    weight = evidence.softmax(0)
    weight = torch.where(weight < IMPOSSIBLE, 0.0, weight)
    found: list[float] = (weight / weight.sum()).tolist()
    return found


IMPOSSIBLE = 1e-3
"""Weight of a process below which its algebra is not worth its time."""
