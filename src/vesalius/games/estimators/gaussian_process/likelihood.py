"""How probable the parameters of the process make the observed values, and the gradient of that, by hand.

The logarithm of the product kernel is bilinear in who is present,

    log prod = sum_i [l00 + (l10 - l00) (s_i + t_i) + (l11 - 2 l10 + l00) s_i t_i],

and so is its derivative in any parameter of a player. With the slope H of the objective in the logarithm of the product, a derivative needs
three numbers per player: the sum of H, the sums of H over rows and columns with the player, and the diagonal of S^T H T. One matrix product
for all players, where automatic differentiation keeps a matrix per operation.

Axes: M rows, P players, D parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vesalius.core.lazy import LazyModule
from vesalius.games.estimators.gaussian_process.covariance import JITTER, MIN_FACTOR

lapack = LazyModule("scipy.linalg.lapack")

Presence = Float[np.ndarray, "M P"]
Matrix = Float[np.ndarray, "M M"]
Parameters = Float[np.ndarray, " D"]
PerPlayer = Float[np.ndarray, " P"]


@dataclass(frozen=True, eq=False)
class PenalisedLikelihood:
    """Minus the log posterior density of the parameters of ``covariance.Covariance``, up to a constant.

    A Gaussian prior holds every parameter near where it starts, and another of standard deviation 1 the log rates near their mean.

    Attributes:
        rows: coalitions [M P], 0 or 1.
        y: their values [M], standardised.
        odd: whether values are (v(S) - v(complement of S)) / 2.
        start: centres of the prior [D].
        spread: its standard deviations [D].
    """

    rows: Presence
    y: Float[np.ndarray, " M"]
    odd: bool
    start: Parameters
    spread: Parameters

    def __call__(self, parameters: Parameters) -> tuple[float, Parameters]:
        """The objective and its gradient; infinite where the covariance is not positive definite."""
        kernel = (odd_kernel if self.odd else joint_kernel)(self.rows, parameters)
        size = self.rows.sum(1)
        noise = np.exp(parameters[5]) * ((size > 0) & (size < self.rows.shape[1]))
        full = kernel.matrix
        np.einsum("ii->i", full)[:] += JITTER * np.einsum("ii->i", full) + noise
        factor, failed = lapack.dpotrf(full.T, lower=1)
        if failed:
            return np.inf, np.zeros_like(parameters)
        half, _ = lapack.dpotri(factor, lower=1)
        precision = np.tril(half) + np.tril(half, -1).T
        weights = precision @ self.y
        slope = (precision - np.outer(weights, weights)) / 2
        gradient = kernel.gradient(slope)
        gradient[5] = np.einsum("ii->i", slope) @ noise
        step, away = (parameters - self.start) / self.spread, parameters[6:] - parameters[6:].mean()
        gradient += step / self.spread
        gradient[6:] += away
        value = weights @ self.y / 2 + np.log(np.einsum("ii->i", factor)).sum() + (step @ step + away @ away) / 2
        return float(value), gradient


@dataclass(frozen=True, eq=False)
class KernelMatrix:
    """Covariances of all pairs of rows without noise, and what becomes of a slope in them: the gradient in the parameters."""

    matrix: Matrix
    gradient: Callable[[Matrix], Parameters]


@dataclass(frozen=True, eq=False)
class PlayerLogs:
    """Logarithms of every player's factor of the product [P], or a derivative of them.

    Attributes:
        both, one, none: by how many of the two coalitions the player is in.
        norm: of the mean of ``both`` and ``none``, which is divided by.
    """

    both: PerPlayer
    one: PerPlayer
    none: PerPlayer
    norm: PerPlayer

    @property
    def side(self) -> PerPlayer:
        found: PerPlayer = self.one - self.none
        return found

    @property
    def bend(self) -> PerPlayer:
        found: PerPlayer = self.both - 2 * self.one + self.none
        return found

    @property
    def constant(self) -> float:
        return float((self.none - self.norm).sum())

    def slope(self, total: float, sides: PerPlayer, both: PerPlayer) -> PerPlayer:
        """Of the objective, where these are derivatives.

        Args:
            total: sum of the slope in the logarithm of the product.
            sides: its sums over the rows and over the columns that hold a player, added.
            both: its sum where both hold the player.
        """
        found: PerPlayer = (self.none - self.norm) * total + self.side * sides + self.bend * both
        return found


def player_logs(parameters: Parameters) -> tuple[PlayerLogs, PlayerLogs, PlayerLogs]:
    """Logarithms of the factors, and their derivatives in the player's log rate and in the logit of the centre."""
    rate, centre = np.exp(parameters[6:]), centre_of(parameters)
    move = centre * (1 - centre)
    squares = [(1 - centre) ** 2, -move, centre**2]
    squares.append((squares[0] + squares[2]) / 2)
    slopes = [-2 * (1 - centre) * move, (2 * centre - 1) * move, 2 * centre * move, (2 * centre - 1) * move]
    raw = [1 + rate * square for square in squares]
    factors = [np.maximum(factor, MIN_FACTOR) for factor in raw]
    free = [factor > MIN_FACTOR for factor in raw]
    return (
        PlayerLogs(*(np.log(factor) for factor in factors)),
        PlayerLogs(*(rate * square / factor * moves for square, factor, moves in zip(squares, factors, free, strict=True))),
        PlayerLogs(*(rate * slope / factor * moves for slope, factor, moves in zip(slopes, factors, free, strict=True))),
    )


def centre_of(parameters: Parameters) -> float:
    """The centre of the covariance, between 0 and 1."""
    return float(1 / (1 + np.exp(-parameters[4])))


def joint_kernel(x: Presence, parameters: Parameters) -> KernelMatrix:
    """Of values of coalitions."""
    constant, linear, pairwise = np.exp(parameters[:3])
    logs, by_rate, by_centre = player_logs(parameters)
    centre, players, size = centre_of(parameters), x.shape[1], x.sum(1)
    shared, sizes = x @ x.T, size[:, None] + size
    side = x @ logs.side + (logs.constant + parameters[3]) / 2
    product = np.exp((x * logs.bend) @ x.T + side[:, None] + side)
    first = shared - centre * sizes + players * centre**2
    squared = (1 - 2 * centre) ** 2 * shared + centre**2 * (1 - 2 * centre) * sizes + players * centre**4
    second = (first**2 - squared) / 2

    def gradient(slope: Matrix) -> Parameters:
        found = np.zeros_like(parameters)
        inner = slope * product
        total, sides = float(inner.sum()), 2 * (inner.sum(1) @ x)
        both = ((inner @ x) * x).sum(0)
        found[:4] = constant * slope.sum(), linear * (slope * first).sum(), pairwise * (slope * second).sum(), total
        first_move = 2 * players * centre - sizes
        squared_move = 4 * players * centre**3 + (2 * centre - 6 * centre**2) * sizes - 4 * (1 - 2 * centre) * shared
        move = (linear + pairwise * first) * first_move - pairwise / 2 * squared_move
        found[4] = centre * (1 - centre) * (slope * move).sum() + by_centre.slope(total, sides, both).sum()
        found[6:] = by_rate.slope(total, sides, both)
        return found

    return KernelMatrix(constant + linear * first + pairwise * second + product, gradient)


def odd_kernel(x: Presence, parameters: Parameters) -> KernelMatrix:
    """Of odd parts. That of the linear kernel is the same for every centre; the pairwise kernel, which the prior turns off, is left out."""
    linear = np.exp(parameters[1])
    logs, by_rate, by_centre = player_logs(parameters)
    size, constant = x.sum(1), logs.constant + parameters[3]
    shared = (x * logs.bend) @ x.T
    side = x @ logs.side
    bent, whole = x @ logs.bend + side, float(logs.side.sum())
    here = np.exp(shared + (side + constant)[:, None] + side)  # S and T
    there = np.exp(shared - (bent - constant - 2 * whole - logs.bend.sum())[:, None] - bent)  # the complements of both
    across = np.exp((bent + constant + whole)[:, None] - side - shared)  # S and the complement of T
    first = x @ x.T - (size[:, None] + size) / 2 + x.shape[1] / 4

    def gradient(slope: Matrix) -> Parameters:
        found = np.zeros_like(parameters)
        inner, outer, mixed = slope * here / 4, slope * there / 4, slope * across / 2
        total = float(inner.sum() + outer.sum() - mixed.sum())
        by_row, by_row_out, by_mixed, by_column = (part @ x for part in (inner.sum(1), outer.sum(1), mixed.sum(1), mixed.sum(0)))
        sides = 2 * by_row + 2 * (outer.sum() - by_row_out) - by_mixed - (mixed.sum() - by_column)
        both = (((inner + outer + mixed) @ x) * x).sum(0) + outer.sum() - 2 * by_row_out - by_mixed
        found[1], found[3] = linear * (slope * first).sum(), total
        found[4] = by_centre.slope(total, sides, both).sum()
        found[6:] = by_rate.slope(total, sides, both)
        return found

    return KernelMatrix(linear * first + (here + there - across - across.T) / 4, gradient)
