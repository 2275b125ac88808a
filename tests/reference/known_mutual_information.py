"""Pairs of scalar units whose mutual information is known: in closed form, or by quadrature over an interval, in nats.

``CHANNELS`` maps a name to a draw of rows from a numpy generator, and to the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.integrate import quad
from scipy.special import digamma, gammaln, ndtr, xlogy

Draw = Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Channel:
    """Rows (x [n], y [n]) on demand, and what they share."""

    draw: Draw
    truth: float


def gaussian(rho: float, left: Callable = lambda x: x, right: Callable = lambda y: y) -> Channel:
    """Correlated normals, each through a map that is one to one, which changes nothing: -log(1 - rho**2) / 2."""

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = rng.standard_normal(n)
        return left(x), right(rho * x + np.sqrt(1 - rho**2) * rng.standard_normal(n))

    return Channel(draw, -0.5 * np.log1p(-(rho**2)))


def uniform_noise(width: float) -> Channel:
    """x uniform on [0, 1] and y = x + uniform noise of +-width, of density 1 / (2 width) in a band."""

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = rng.random(n)
        return x, x + rng.uniform(-width, width, n)

    return Channel(draw, width - np.log(2 * width) if width <= 0.5 else 1 / (4 * width))


def rectified(rho: float, a: float, b: float) -> Channel:
    """max(0, U + a) and max(0, V + b) of correlated normals: atoms at 0 and the continuous parts, by quadrature over u."""
    spread = np.sqrt(1 - rho**2)
    off_y = ndtr(-b)

    def at(u: float) -> float:
        """Information that a row with this u > -a brings: about whether y is off, and where it is if not."""
        mean = rho * u
        off = ndtr((-b - mean) / spread)
        divergence, _ = quad(lambda v: density(v, mean, spread) * (log_density(v, mean, spread) - log_density(v, 0, 1)), -b, 9)
        return density(u, 0, 1) * (xlogy(off, off / off_y) + divergence)

    off_x = ndtr(-a)
    both_off, _ = quad(lambda u: density(u, 0, 1) * ndtr((-b - rho * u) / spread), -9, -a)

    def off_at(v: float) -> float:
        """x is off and y is at v > -b."""
        joint = density(v, 0, 1) * ndtr((-a - rho * v) / spread)
        return xlogy(joint, ndtr((-a - rho * v) / spread) / off_x)

    truth = quad(at, -a, 9)[0] + quad(off_at, -b, 9)[0] + xlogy(both_off, both_off / (off_x * off_y))
    normals = gaussian(rho)

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        u, v = normals.draw(n, rng)
        return np.maximum(0, u + a), np.maximum(0, v + b)

    return Channel(draw, truth)


def density(v: float, mean: float, spread: float) -> float:
    """Of the normal distribution."""
    return np.exp(log_density(v, mean, spread))


def log_density(v: float, mean: float, spread: float) -> float:
    """Of the normal distribution."""
    return -((v - mean) ** 2) / (2 * spread**2) - np.log(spread) - 0.5 * np.log(2 * np.pi)


def cauchy() -> Channel:
    """Two Cauchy variables with one divisor."""

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x, y = rng.standard_normal((2, n)) / np.abs(rng.standard_normal(n))
        return x, y

    return Channel(draw, np.log(8 * np.pi) - 3)


def student(freedom: float, rho: float, map_: Callable = lambda x: x) -> Channel:
    """Correlated normals over one chi variable, through a map that is one to one: twice the entropy of one less that of both."""

    def entropy(dims: int, log_scale: float) -> float:
        norm = gammaln((freedom + dims) / 2) - gammaln(freedom / 2) - dims / 2 * np.log(freedom * np.pi)
        return log_scale - norm + (freedom + dims) / 2 * (digamma((freedom + dims) / 2) - digamma(freedom / 2))

    normals = gaussian(rho)

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        divisor = np.sqrt(rng.chisquare(freedom, n) / freedom)
        x, y = normals.draw(n, rng)
        return map_(x / divisor), map_(y / divisor)

    return Channel(draw, 2 * entropy(1, 0.0) - entropy(2, 0.5 * np.log1p(-(rho**2))))


def mapped(rho: float, left: Callable, right: Callable) -> Channel:
    """Maps of correlated normals that join values (steps, clipping): chances of cells a hundredth wide, summed over cells of one value."""
    centres = np.arange(-500, 501) / 100
    edges = np.concatenate([[-np.inf], centres[1:] - 0.005, [np.inf]])
    inside = np.diff(ndtr((edges - rho * centres[:, None]) / np.sqrt(1 - rho**2)), axis=1)
    chances = inside * (np.diff(ndtr(edges)))[:, None]
    values = [np.unique(map_(centres).round(9), return_inverse=True)[1] for map_ in (left, right)]
    joint = np.zeros([side.max() + 1 for side in values])
    np.add.at(joint, (values[0][:, None], values[1][None]), chances)
    normals = gaussian(rho)

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x, y = normals.draw(n, rng)
        return left(x), right(y)

    return Channel(draw, information_of_table(joint))


def mixture(means: Sequence[tuple[float, float]], rhos: Sequence[float]) -> Channel:
    """Equal shares of correlated normals of variance 1 around some means, on a grid of a fiftieth."""
    grid = np.arange(-400, 401) / 50
    each = [
        density(grid, a, 1)[:, None] * density(grid[None], b + rho * (grid[:, None] - a), np.sqrt(1 - rho**2))
        for (a, b), rho in zip(means, rhos, strict=True)
    ]

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        which = rng.integers(0, len(means), n)
        centre, rho = np.array(means)[which], np.array(rhos)[which]
        x, noise = rng.standard_normal((2, n))
        return centre[:, 0] + x, centre[:, 1] + rho * x + np.sqrt(1 - rho**2) * noise

    return Channel(draw, information_of_table(sum(each)))


def information_of_table(joint: np.ndarray) -> float:
    """Of a table of chances, or of numbers in proportion to them."""
    joint = joint / joint.sum()
    return float(xlogy(joint, joint).sum() - sum(xlogy(side, side).sum() for side in (joint.sum(0), joint.sum(1))))


def steps(per_unit: float) -> Callable:
    """Rounded to so many steps a unit."""
    return lambda x: np.round(per_unit * x)


def label_in_a_box(labels: int) -> Channel:
    """A uniform label x, and y uniform on [x, x + 2]."""

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = rng.integers(0, labels, n)
        return x, x + rng.uniform(0, 2, n)

    return Channel(draw, np.log(labels) - (labels - 1) / labels * np.log(2))


def zero_inflated_poisson(zeros: float) -> Channel:
    """An exponential rate x, and a count y of that rate that is 0 with a chance besides. By quadrature over x and a sum over y."""

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = rng.exponential(size=n)
        return x, np.where(rng.random(n) < zeros, 0, rng.poisson(x))

    def shared(count: int) -> float:
        marginal = (1 - zeros) * 0.5 ** (count + 1) + zeros * (count == 0)

        def at(x: float) -> float:
            chance = (1 - zeros) * np.exp(count * np.log(x) - x - gammaln(count + 1)) + zeros * (count == 0)
            return np.exp(-x) * xlogy(chance, chance / marginal)

        return quad(at, 1e-12, 60, limit=200)[0]

    return Channel(draw, sum(shared(count) for count in range(40)))


def noisy_label(labels: int, spread: float) -> Channel:
    """A uniform label x on a line of length 6 and y around it."""
    places = np.linspace(0, 6, labels)

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = rng.integers(0, labels, n)
        return x, places[x] + spread * rng.standard_normal(n)

    def at(y: float) -> float:
        each = density(y, places, spread)
        return np.mean(xlogy(each, each / each.mean()))

    return Channel(draw, quad(at, -9, 15, limit=400)[0])


def copied_label(labels: int, kept: float) -> Channel:
    """A uniform label, and the same label with some chance and else any."""

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = rng.integers(0, labels, n)
        return x, np.where(rng.random(n) < kept, x, rng.integers(0, labels, n))

    same, other = kept + (1 - kept) / labels, (1 - kept) / labels
    return Channel(draw, xlogy(same, same * labels) + (labels - 1) * xlogy(other, other * labels))


def sine(periods: float, spread: float) -> Channel:
    """x uniform on [0, 1] and y = a sine of so many whole periods plus noise: entropy of y less that of the noise."""

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = rng.random(n)
        return x, np.sin(2 * np.pi * periods * x) + spread * rng.standard_normal(n)

    y = np.linspace(-1 - 8 * spread, 1 + 8 * spread, 4001)
    waves = np.sin(2 * np.pi * (np.arange(4000) + 0.5) / 4000)
    each = np.array([density(at, waves, spread).mean() for at in y])
    entropy = -np.trapezoid(xlogy(each, each), y)
    return Channel(draw, float(entropy - 0.5 * np.log(2 * np.pi * np.e * spread**2)))


def independent(left: Callable, right: Callable) -> Channel:
    """Maps of two independent normals."""
    return Channel(lambda n, rng: (left(rng.standard_normal(n)), right(rng.standard_normal(n))), 0.0)


def cube(x: np.ndarray) -> np.ndarray:
    """Heavy tails."""
    return np.sign(x) * np.abs(x) ** 1.5


def wiggle(y: np.ndarray) -> np.ndarray:
    """Rising everywhere, in steps."""
    return y + 0.5 * np.sin(1.5 * y)


def bimodal(y: np.ndarray) -> np.ndarray:
    """Rising everywhere, with two modes."""
    return np.sign(y) * np.abs(y) ** 0.4


def relu(x: np.ndarray) -> np.ndarray:
    """Half of all rows at 0."""
    return np.maximum(x, 0)


SECTION_8 = {
    "gaussian 0": gaussian(0),
    "gaussian 0.3": gaussian(0.3),
    "gaussian 0.75": gaussian(0.75),
    "gaussian 0.9": gaussian(0.9),
    "cube and wiggle": gaussian(0.75, cube, wiggle),
    "exponential and bimodal": gaussian(0.75, np.exp, bimodal),
    "uniform noise 0.1": uniform_noise(0.1),
    "uniform noise 0.75": uniform_noise(0.75),
    "cauchy": cauchy(),
    "label in a box": label_in_a_box(5),
    "zero-inflated poisson": zero_inflated_poisson(0.15),
    "rectified 0.6": rectified(0.6, 0.5, 0.5),
    "rectified 0.9": rectified(0.9, 0.5, 0),
    "rectified 0.9, mostly off": rectified(0.9, -0.5, -0.5),
    "rectified 0.8": rectified(0.8, 0, 0),
    "rectified 0.99": rectified(0.99, 0, 0),
    "independent, rectified": independent(lambda x: relu(x + 0.5), relu),
    "constant": independent(np.zeros_like, lambda y: y),
}
"""The channels of the specification of neural information flow, section 8."""

CHANNELS = SECTION_8 | {
    "gaussian 0.97": gaussian(0.97),
    "gaussian 0.99": gaussian(0.99),
    "gaussian 0.999": gaussian(0.999),
    "noisy label": noisy_label(10, 1.0),
    "copied label": copied_label(10, 0.5),
    "sine 1": sine(1, 0.5),
    "sine 3": sine(3, 0.3),
    "sine 3, sharp": sine(3, 0.1),
    "student 1": student(1, 0.75),
    "student 3": student(3, 0.5),
    "student 5": student(5, 0.0),
    "asinh of student 1": student(1, 0.75, np.arcsinh),
    "two clusters": mixture([(-1.5, -1.5), (1.5, 1.5)], [0.0, 0.0]),
    "crossed": mixture([(0, 0), (0, 0)], [0.9, -0.9]),
    "clipped": mapped(0.8, lambda x: x.clip(-1, 1), lambda y: y),
    "both clipped": mapped(0.9, lambda x: x.clip(-0.5, 2), lambda y: y.clip(-1, 1)),
    "4 bits": mapped(0.9, steps(2), steps(2)),
    "6 bits": mapped(0.9, steps(10), steps(10)),
    "8 bits": mapped(0.9, steps(30), steps(30)),
    "8 bits, weak": mapped(0.3, steps(30), steps(30)),
    "8 bits behind a ReLU": mapped(0.9, lambda x: np.round(20 * relu(x)), lambda y: np.round(20 * relu(y))),
    "8 bits and continuous": mapped(0.9, steps(30), lambda y: y),
    "copied label of 30": copied_label(30, 0.7),
    "copied label of 100": copied_label(100, 0.7),
    "copied label of 100, rarely": copied_label(100, 0.3),
    "noisy label of 30": noisy_label(30, 0.5),
    "noisy label of 100": noisy_label(100, 0.5),
}
