"""What a game is expected to look like: a Gaussian process over coalitions, and its Shapley values in closed form.

Two coalitions have the covariance

    k(S, T) = c0 + c1 L(S, T) + c2 E(S, T) + c3 prod_i (1 + r_i a_i(S) a_i(T)) / norm,        a_i(S) = [i in S] - centre,

with L the sum and E the second elementary symmetric polynomial of a_i(S) a_i(T). The product holds interactions of all orders; its rate
r_i says how strongly player i takes part in them. A centre near 0 describes games of dividends (what matters is who is present), a centre
of one half games without such a side, and one near 1 games where it matters who is absent. On top comes noise: a value of its own for every
coalition (odd covariance: for every pair of complements) other than the empty and the full one, which is counted as part of the game.

Everything is linear in the game, so Shapley values of k(., T) and their prior variance are known: the product by Gauss-Legendre quadrature
of Owen's multilinear extension (a polynomial, so the quadrature is exact), the rest by hand.

Axes: A, B coalitions, P players, D parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from math import comb, log

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

JITTER = 1e-8  # relative to the diagonal; keeps Cholesky stable where the noise is tiny
NODES_MOST = 64  # of the quadrature; the variances take the square of it
MIN_FACTOR = 1e-6  # a factor of the product is kept above this; a large rate makes 1 - r centre (1 - centre) negative


@dataclass(frozen=True, eq=False)
class Covariance:
    """The process with given parameters.

    Attributes:
        parameters: log constant, log linear, log pairwise, log product, logit of the centre, log noise, then the log rate of every player.
        odd: describe (v(S) - v(complement of S)) / 2 instead of v(S). Both have the same Shapley values.
    """

    parameters: Float[Tensor, " D"]
    odd: bool

    @property
    def players(self) -> int:
        return len(self.parameters) - 6

    @property
    def centre(self) -> Tensor:
        return self.parameters[4].sigmoid()

    @property
    def noise(self) -> Tensor:
        return self.parameters[5].exp()

    def rounded(self, step: float) -> Covariance:
        """The process with its parameters on a grid: the same for all fits that differ by less."""
        return Covariance((self.parameters / step).round() * step, self.odd)

    def between(self, a: Float[Tensor, "A P"], b: Float[Tensor, "B P"]) -> Float[Tensor, "A B"]:
        """Covariance of the values of coalitions, without noise."""
        return (self._odd_covariance if self.odd else self._game_covariance)(a, b)

    def variance_at(self, a: Float[Tensor, "A P"]) -> Float[Tensor, " A"]:
        """Variance of the values of coalitions, without noise."""
        c0, c1, c2, _ = self._scales
        both, _, none = self._products
        bend, side, constant = self._logs
        size, players = a.sum(1), self.players
        present = (a @ (bend + 2 * side) + constant).exp()
        if not self.odd:
            linear = size * both + (players - size) * none
            return c0 + c1 * linear + c2 / 2 * (linear**2 - size * both**2 - (players - size) * none**2) + present
        absent, across = ((1 - a) @ (bend + 2 * side) + constant).exp(), (side.sum() + constant).exp()
        along, skew = self._odd_scales
        return along * players / 4 + skew * (size - players / 2) ** 2 + (present + absent - 2 * across) / 4

    def noise_at(self, a: Float[Tensor, "A P"]) -> Float[Tensor, " A"]:
        """Variance of the noise: none at the empty and the full coalition."""
        size = a.sum(1)
        return self.noise * ((size > 0) & (size < self.players))

    def _game_covariance(self, a: Tensor, b: Tensor) -> Tensor:
        c0, c1, c2, _ = self._scales
        both, one, none = self._products
        bend, side, constant = self._logs
        shared, sizes = a @ b.T, a.sum(1)[:, None] + b.sum(1)
        linear = shared * (both - 2 * one + none) + sizes * (one - none) + self.players * none
        squares = shared * (both**2 - 2 * one**2 + none**2) + sizes * (one**2 - none**2) + self.players * none**2
        product = ((a * bend) @ b.T + (a @ side)[:, None] + (b @ side) + constant).exp()
        total: Tensor = product + (c0 - c2 / 2 * squares) + linear * (c1 + c2 / 2 * linear)
        return total

    def _odd_covariance(self, a: Tensor, b: Tensor) -> Tensor:
        """Of both complements as well: the logarithms of the four products differ by a row and a column, and in sign."""
        bend, side, constant = self._logs
        along, skew = self._odd_scales
        bent, whole = bend + side, side.sum()
        shared = (a * bend) @ b.T
        total = (shared + (a @ side + constant)[:, None]).add_(b @ side).exp_()
        total += (shared - (a @ bent - constant - 2 * whole - bend.sum())[:, None]).sub_(b @ bent).exp_()
        total -= ((a @ bent + constant + whole)[:, None] - shared).sub_(b @ side).exp_()
        total -= ((constant + whole - a @ side)[:, None] - shared).add_(b @ bent).exp_()
        left, right = a - 0.5, b - 0.5
        return (total / 4).add_(left @ right.T, alpha=along).add_(torch.outer(left.sum(1), right.sum(1)), alpha=skew)

    @cached_property
    def _odd_scales(self) -> tuple[float, float]:
        """What the linear and the pairwise kernel are in the odd part: factors of sum_i e_i(S) e_i(T) and of sum_i e_i(S) sum_j e_j(T),
        e_i(S) = [i in S] - 1/2."""
        _, c1, c2, _ = self._scales
        skew = c2 * (0.5 - float(self.centre)) ** 2
        return c1 + skew * (self.players - 2), skew

    @cached_property
    def _scales(self) -> list[float]:
        """Variances of the four kernels: constant, linear, pairwise and product."""
        found: list[float] = self.parameters[:4].exp().tolist()
        return found

    @cached_property
    def _products(self) -> tuple[float, float, float]:
        """a_i(S) a_i(T) for a player of both coalitions, of one, and of none."""
        centre = float(self.centre)
        return (1 - centre) ** 2, -centre * (1 - centre), centre**2

    @cached_property
    def _logs(self) -> tuple[Tensor, Tensor, Tensor]:
        """The logarithm of the product kernel, scale included: coefficients of s_i t_i and of s_i + t_i, and the constant."""
        l11, l10, l00 = (self._factor(x).log() for x in self._products)
        return l11 - 2 * l10 + l00, l10 - l00, l00.sum() - self._norm() + self.parameters[3]

    def _factor(self, x: float | Tensor) -> Tensor:
        return (1 + self.parameters[6:].exp() * x).clamp_min(MIN_FACTOR)

    def _norm(self) -> Tensor:
        """Log of the product's mean variance, so that c3 is a variance."""
        return (1 + self.parameters[6:].exp() * ((1 - self.centre) ** 2 + self.centre**2) / 2).log().sum()

    def shapley(self, b: Float[Tensor, "B P"]) -> Float[Tensor, "P B"]:
        """Covariance of every player's Shapley value with the value of every coalition, noise included."""
        return self.smooth_shapley(b) + self.noise * indicator_shapley(b, self.odd).T

    def smooth_shapley(self, b: Float[Tensor, "B P"]) -> Float[Tensor, "P B"]:
        """The same without noise."""
        return (self._shapley(b) - self._shapley(1 - b)) / 2 if self.odd else self._shapley(b)

    def _shapley(self, b: Tensor) -> Tensor:
        _, c1, c2, c3 = self.parameters[:4].exp()
        q, weight = quadrature(self.players)
        (gain_in, log_in), (gain_out, log_out) = (self._sections(q, a) for a in (1 - self.centre, -self.centre))
        along = (b @ (log_in - log_out).T + log_out.sum(1) - self._norm()).exp() * weight  # of the whole product, at every node
        inside, outside = (along @ (-logs).exp() for logs in (log_in, log_out))  # player i's own factor taken out again
        product = b * inside * gain_in + (1 - b) * outside * gain_out
        a = b - self.centre
        total: Tensor = c1 * a + c2 * a * (a.sum(1, keepdim=True) - a) * (0.5 - self.centre) + c3 * product
        return total.T

    def _sections(self, q: Float[Tensor, " Q"], a: Tensor) -> tuple[Float[Tensor, " P"], Float[Tensor, "Q P"]]:
        """What each player adds to its factor, and the logarithm of its mean factor at every node, where a_i(T) = a."""
        present, absent = self._factor(a * (1 - self.centre)), self._factor(-a * self.centre)
        return present - absent, (q[:, None] * present + (1 - q[:, None]) * absent).log()

    def shapley_variance(self) -> Float[Tensor, " P"]:
        """Prior variance of every player's Shapley value."""
        _, c1, c2, c3 = self.parameters[:4].exp()
        k11, k10, k00 = (self._factor(x) for x in ((1 - self.centre) ** 2, -self.centre * (1 - self.centre), self.centre**2))
        q, weight = quadrature(self.players)
        product = torch.zeros_like(k11)
        for node, share in zip(q, weight, strict=True):
            p = q[:, None]
            terms = (node * p * k11 + (node * (1 - p) + p * (1 - node)) * k10 + (1 - node) * (1 - p) * k00).log()
            product += share * (weight * (terms.sum(1) - self._norm()).exp()) @ (-terms).exp()
        smooth: Tensor = c1 + c2 * (self.players - 1) * (0.5 - self.centre) ** 2 + c3 * (k11 - 2 * k10 + k00) * product
        return smooth + self.noise * noise_variance(self.players, self.odd)


def quadrature(players: int) -> tuple[Float[Tensor, " Q"], Float[Tensor, " Q"]]:
    """Nodes and weights of :func:`gauss_legendre`."""
    nodes, weights = torch.tensor(gauss_legendre(players), dtype=torch.float64).T
    return nodes.contiguous(), weights.contiguous()


@cache
def gauss_legendre(players: int) -> list[tuple[float, float]]:
    """Nodes and weights on [0, 1], exact for the multilinear extension of a game along the diagonal up to ``2 * NODES_MOST`` players.

    With more players the extension is a polynomial of a higher degree, but a smooth one.
    """
    nodes, weights = np.polynomial.legendre.leggauss(min(players // 2 + 1, NODES_MOST))
    return list(zip(((nodes + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))


def indicator_shapley(b: Float[Tensor, "B P"], odd: bool) -> Float[Tensor, "B P"]:
    """Shapley values of the game that is 1 at one coalition (odd: 1 there and -1 at its complement) and 0 elsewhere.

    Zero for the empty and the full coalition, which carry no noise.
    """
    gain, loss = (torch.tensor(part, dtype=b.dtype) for part in _shares_by_size(b.shape[1]))
    size = b.sum(1).long()
    share = b * gain[size][:, None] - (1 - b) * loss[size][:, None]
    return 2 * share if odd else share


@cache
def _shares_by_size(players: int) -> tuple[list[float], list[float]]:
    """What the value of one coalition adds to the Shapley value of a member, and takes from that of another player, by its size."""
    gain = [reciprocal(players * comb(players - 1, size - 1)) for size in range(1, players)]
    loss = [reciprocal(players * comb(players - 1, size)) for size in range(1, players)]
    return [0.0, *gain, 0.0], [0.0, *loss, 0.0]


@cache
def noise_variance(players: int, odd: bool) -> float:
    """Variance of a Shapley value of pure noise of variance 1."""
    inside = sum(reciprocal(comb(players - 1, size - 1)) for size in range(1, players))
    if odd:
        return 4 * inside / players**2
    return (inside + sum(reciprocal(comb(players - 1, size)) for size in range(1, players))) / players**2


def reciprocal(count: int) -> float:
    """1 / count; 0 where the count is beyond the largest float."""
    return 1 / count if count.bit_length() <= 1000 else 0.0


def parameter_prior(players: int, odd: bool) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
    """Centres and standard deviations of the parameters before any value is seen."""
    pairwise = -30.0 if odd else log(4 / players**2)  # even in the game: invisible to the odd part at centre 1/2
    start = [0.0, log(4 / players), pairwise, log(0.3), 0.0, log(1e-2 if odd else 1e-4)] + [log(4 / players)] * players
    spread = [2.5, 2.5, 1e-6 if odd else 2.5, 2.5, 1.5, 4.0] + [2.5] * players
    return torch.tensor(start, dtype=torch.float64), torch.tensor(spread, dtype=torch.float64)
