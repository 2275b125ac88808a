"""Interactions of a game that is expected to look like ``vesalius.games.estimators.gaussian_process.covariance``, in closed form.

The Shapley interaction index SII_ij is the mean of v(S + i + j) - v(S + i) - v(S + j) + v(S) over the coalitions S without i and j, all
sizes alike. It is linear in the game, so its covariance with every value of the game is known, and so is its prior variance: the product
kernel by Gauss-Legendre quadrature along the diagonal of the multilinear extension (exact), the rest by hand. What is read off are the
values of :func:`vesalius.interactions.estimators.estimate.coalitions_up_to`: for a pair SII_ij, for a single player
phi_i - sum_j SII_ij / 2.

Axes: B coalitions, P players, Q pairs of players, K players and then pairs.
"""

from __future__ import annotations

from math import comb

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.games.estimators.gaussian_process.covariance import MIN_FACTOR, Covariance, gauss_legendre
from vesalius.interactions.estimators.estimate import k_sii_from_sii, pair_indices

BLOCK = 256  # coalitions read at once


def interaction_covariance(covariance: Covariance, b: Float[Tensor, "B P"]) -> Float[Tensor, "K B"]:
    """Covariance of every interaction of order 1 and 2 with the value of every coalition, noise included.

    Args:
        covariance: of the game itself, not of its odd part.
        b: coalitions, 0 or 1.
    """
    return torch.cat([_block_covariance(covariance, part) for part in b.split(BLOCK)], 1)


def _block_covariance(covariance: Covariance, b: Tensor) -> Tensor:
    pairs = _pair_covariance(covariance, b) + covariance.noise * indicator_sii(b).T
    return k_sii_from_sii(covariance.shapley(b), pairs)


def _pair_covariance(covariance: Covariance, b: Tensor) -> Tensor:
    _, _, c2, c3 = covariance.parameters[:4].exp()
    first, second = pair_indices(covariance.players)
    rate, centre = covariance.parameters[6:, None].exp(), covariance.centre
    a = b.T - centre
    present = (1 + rate * a * (1 - centre)).clamp_min(MIN_FACTOR)
    absent = (1 - rate * a * centre).clamp_min(MIN_FACTOR)
    product = torch.zeros(len(first), len(b), dtype=b.dtype)
    for q, weight in gauss_legendre(covariance.players - 1):
        mixed = q * present + (1 - q) * absent
        slope = (present - absent) / mixed
        scale = weight * (mixed.log().sum(0) - _log_norm(covariance)).exp()
        product.addcmul_((slope * scale)[first], slope[second])
    found: Tensor = c2 * a[first] * a[second] + c3 * product
    return found


def _log_norm(covariance: Covariance) -> Tensor:
    """Log of the product's mean variance, as in the covariance."""
    centre = covariance.centre
    return (1 + covariance.parameters[6:].exp() * ((1 - centre) ** 2 + centre**2) / 2).log().sum()


def interaction_variance(covariance: Covariance) -> Float[Tensor, " K"]:
    """Prior variance of every interaction of order 1 and 2."""
    n = covariance.players
    _, c1, c2, c3 = covariance.parameters[:4].exp()
    first, _ = pair_indices(n)
    single, pair = _product_variance(covariance)
    noise = covariance.noise * torch.tensor(noise_variance(n), dtype=torch.float64)
    single = c1 + c2 * (n - 1) * covariance.centre**2 + c3 * single + noise[0]
    return torch.cat([single, (c2 + c3 * pair + noise[1]).expand(len(first))])


def _product_variance(covariance: Covariance) -> tuple[Float[Tensor, " P"], Float[Tensor, " Q"]]:
    """Of the product kernel alone: both arguments averaged along their own diagonal."""
    first, second = pair_indices(covariance.players)
    rate, centre = covariance.parameters[6:].exp(), covariance.centre
    k11, k10, k00 = ((1 + rate * x).clamp_min(MIN_FACTOR) for x in ((1 - centre) ** 2, -centre * (1 - centre), centre**2))
    bend = k11 - 2 * k10 + k00
    single, pair = torch.zeros_like(k11), torch.zeros(len(first), dtype=k11.dtype)
    for q, weight in gauss_legendre(covariance.players):
        for p, other in gauss_legendre(covariance.players):
            mixed = q * p * k11 + (q * (1 - p) + p * (1 - q)) * k10 + (1 - q) * (1 - p) * k00
            all_of_it = weight * other * (mixed.log().sum() - _log_norm(covariance)).exp()
            left = (q * (k11 - k10) + (1 - q) * (k10 - k00)) / mixed
            right = (p * (k11 - k10) + (1 - p) * (k10 - k00)) / mixed
            ratio = bend / mixed
            # phi_i less half of all SII_ij, in both arguments; the sums leave player i itself out.
            others_left, others_right, own = left.sum() - left, right.sum() - right, left * right
            twice = others_left * others_right - (own.sum() - own)
            same = (ratio.sum() - ratio) / 4
            single += all_of_it * ratio * (1 - (others_left + others_right) / 2 + twice / 4 + same)
            pair += all_of_it * ratio[first] * ratio[second]
    return single, pair


def indicator_sii(b: Float[Tensor, "B P"]) -> Float[Tensor, "B Q"]:
    """SII of the game that is 1 at one coalition and 0 elsewhere; zero for the empty and the full one, which carry no noise."""
    n = b.shape[1]
    first, second = pair_indices(n)
    shares = torch.tensor([_sii_weights(n, size) for size in range(n + 1)], dtype=b.dtype)
    return shares[b.sum(1).long()[:, None], (b[:, first] + b[:, second]).long()]


def _sii_weights(players: int, size: int) -> list[float]:
    """Weight of a coalition of a size in the SII of a pair, by how many of the two are in it."""
    if size in (0, players) or players < 2:
        return [0.0, 0.0, 0.0]
    rest = [comb(players - 2, size - inside) if size >= inside else 0 for inside in range(3)]
    return [sign / ((players - 1) * count) if count else 0.0 for sign, count in zip((1, -1, 1), rest, strict=True)]


def noise_variance(players: int) -> tuple[float, float]:
    """Variance of the interactions of pure noise of variance 1: of a single player's value, and of a pair's."""
    single = pair = 0.0
    for size in range(1, players):
        none, one, both = _sii_weights(players, size)
        inside = 1 / (players * comb(players - 1, size - 1)) - ((size - 1) * both + (players - size) * one) / 2
        outside = -1 / (players * comb(players - 1, size)) - (size * one + (players - 1 - size) * none) / 2
        single += comb(players - 1, size - 1) * inside**2 + comb(players - 1, size) * outside**2
        if players > 1:
            pair += comb(players - 2, size) * none**2 + 2 * comb(players - 2, size - 1) * one**2
            pair += (comb(players - 2, size - 2) if size > 1 else 0) * both**2
    return single, pair
