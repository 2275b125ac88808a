"""What a table of counts looks like if its two units are independent, exactly: given the margins, all matchings of rows are equally likely.

Axes: A units of X, B units of Y, S slots of one unit, R and C distinct margins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from vesalius.core.lazy import LazyModule

special = LazyModule("scipy.special")

EXACT_BELOW = 20.0
"""Expected count of a cell from which its part of the null expectation is a series in 1 / count, with a relative error below 1e-3."""
TAIL_DEVIATIONS = 15
"""Counts up to ``EXACT_BELOW + TAIL_DEVIATIONS * sqrt(EXACT_BELOW)`` are summed over."""
CHUNK = 1 << 19
"""Cells, or probabilities, in memory at a time."""
LEAST_SKEW = 1e-3
"""Skewness below which a distribution is taken as normal."""
MAX_P_VALUE = 0.99
"""p-values above are combined as this one, as a discrete test may give 1 exactly, which would outweigh all evidence."""


Margins = tuple[Float64[Tensor, " _"], Float64[Tensor, " _"], Float64[Tensor, " _"]]
"""Of each unit the number of slots that are not empty, and the sums of 1 / count and of 1 / count^2 over them."""


def chi2_moments(
    rows: Margins, columns: Margins, samples: int
) -> tuple[Float64[Tensor, "A B"], Float64[Tensor, "A B"], Float64[Tensor, "A B"]]:
    """Exact mean and variance of Pearson's chi-square statistic under permutation of the rows of one side, and about its third cumulant.

    The third is that of independent Poisson cells, whose parts of order 1, 1/E and 1/E^2 (E: what a cell expects) are put together from the
    degrees of freedom, the excess of the variance over theirs, and the margins. It is good to a tenth where cells expect several rows, and
    up to two fifths too large, which is the safe side, where there are 100 rows in all.

    Args:
        rows: margins of each unit of X.
        columns: margins of each unit of Y.
        samples: N, at least 4.

    Reference: Haldane1940 (mean and variance of chi-square given the margins).
    """
    n = samples
    (k1, inverse1, square1), (k2, inverse2, square2) = rows, columns
    k1, inverse1, square1 = (part[:, None] for part in (k1, inverse1, square1))
    mean = n * (k1 - 1) * (k2 - 1) / (n - 1)
    v1, v2 = ((k - 1) * (n - k) / (n - 1) for k in (k1, k2))
    w1, w2 = ((n * s - k**2) / (n - 2) for k, s in ((k1, inverse1), (k2, inverse2)))
    variance = 2 * n / (n - 3) * (v1 - w1) * (v2 - w2) + n**2 / (n - 1) * w1 * w2
    free = (k1 - 1) * (k2 - 1)
    return mean, variance, 8 * free + 22 * (variance - 2 * free).clamp_min(0) + n**2 * square1 * square2


def standardised_gamma_p(z: Float64[Tensor, "A B"], skew: Float64[Tensor, "A B"]) -> Float64[Tensor, "A B"]:
    """Upper tail at z of a gamma distribution that is shifted and scaled to mean 0 and variance 1, of any skewness (Pearson's type III)."""
    shape = 4 / skew.square().clamp_min(LEAST_SKEW**2)
    at = (shape + z * skew.sign() * shape.sqrt()).clamp_min(0)
    above, below = (torch.from_numpy(np.asarray(tail(shape.numpy(), at.numpy()))) for tail in (special.gammaincc, special.gammainc))
    return torch.where(skew.abs() < LEAST_SKEW, torch.special.ndtr(-z), torch.where(skew > 0, above, below))


def cauchy_combination(tests: Float64[Tensor, "K A B"], holds: Bool[Tensor, "K A B"] | None = None) -> Float64[Tensor, "A B"]:
    """One p-value from several of the same pair, in whatever way they depend on each other.

    Args:
        tests: p-values.
        holds: which of them count, at least one for a pair; all, if not given.

    Reference: Liu2020 (Cauchy combination).
    """
    p = tests.clamp(1e-300, MAX_P_VALUE)
    tan = torch.where(p > 1e-15, ((0.5 - p) * torch.pi).tan(), 1 / (p * torch.pi))
    tan = tan.mean(0) if holds is None else torch.where(holds, tan, 0).sum(0) / holds.sum(0)
    far = tan > 1e15
    return torch.where(far, 1 / (tan * torch.pi), 0.5 - tan.clamp_max(1e15).atan() / torch.pi)


@dataclass(frozen=True, eq=False)
class NullInformation:
    """Plug-in information of independent units with given margins.

    Attributes:
        expected: its expectation, in nats.
        cells: expected number of occupied cells.
        least: fewest cells that can be occupied.
        spread: variance of the information less ``expected * (occupied - least) / (cells - least)``, relative to what the chi-square
            distribution has; above 1 where cells hold few rows. Cells are taken as independent here, so this one is not exact.
    """

    expected: Float64[Tensor, "A B"]
    cells: Float64[Tensor, "A B"]
    least: Float64[Tensor, "A B"]
    spread: Float64[Tensor, "A B"]


def null_information(
    rows: tuple[Float64[Tensor, "A R"], Float64[Tensor, " R"]], columns: tuple[Float64[Tensor, "B C"], Float64[Tensor, " C"]], samples: int
) -> NullInformation:
    """What the plug-in information is if units are independent: sums over hypergeometric cells, tabulated per pair of distinct margins.

    Args:
        rows: how often each unit of X has each of R distinct margins, and these margins, all positive.
        columns: the same of Y.
        samples: N.
    """
    often1, margin1 = rows
    often2, margin2 = columns
    sums = torch.zeros(6, len(often1), len(often2), dtype=torch.float64)
    for part in torch.arange(len(margin1)).split(max(1, CHUNK // len(margin2))):
        sums += often1[:, part] @ _cell_tables(margin1[part], margin2, samples) @ often2.T
    information, cells, own, both, empty, large = sums
    least = often1.sum(1)[:, None] + often2.sum(1)[None] - 1
    per_cell = information / (cells - least).clamp_min(1e-9)
    spread = (own - 2 * per_cell * both + per_cell.square() * empty) / large.clamp_min(1e-300)
    return NullInformation(information / samples, cells, least, spread)


def _cell_tables(margin1: Float64[Tensor, " R"], margin2: Float64[Tensor, " C"], samples: int) -> Float64[Tensor, "6 R C"]:
    """For the cell of every two margins what :func:`_hypergeometric_cells` gives, by a series if it is large, and then its variance."""
    expected = margin1[:, None] * margin2[None] / samples
    free = samples / (samples - 1) * (1 - margin1 / samples)[:, None] * (1 - margin2 / samples)[None]
    skew = (1 - 2 * margin1 / samples)[:, None] * (1 - 2 * margin2 / samples)[None]
    large, zero = free.square() / 2, torch.zeros_like(free)
    tables = torch.stack([free * (0.5 - skew / (6 * expected) + free / (4 * expected)), zero + 1, large, zero, zero, large])
    most = int(EXACT_BELOW + TAIL_DEVIATIONS * EXACT_BELOW**0.5)
    for part in (expected < EXACT_BELOW).nonzero().split(max(1, CHUNK // most)):
        first, second = part.unbind(1)
        tables[:5, first, second] = _hypergeometric_cells(margin1[first], margin2[second], samples, most)
    return tables


def _hypergeometric_cells(row: Float64[Tensor, " K"], column: Float64[Tensor, " K"], samples: int, most: int) -> Float64[Tensor, "5 K"]:
    """Of hypergeometric counts n: E[w] and P(n > 0) with w = n log(n N / (r c)); then, with w less n - E[n], whose sum over a table is 0,
    its variance, its covariance with [n > 0], and the variance of the latter."""
    r, c = row.numpy()[:, None], column.numpy()[:, None]
    n = np.arange(most + 1.0)[None]
    possible = (n <= np.minimum(r, c)) & (n >= r + c - samples)
    ways = sum(special.gammaln(total + 1) for total in (r, c, samples - r, samples - c)) - special.gammaln(samples + 1.0)
    rest = [np.where(possible, left, 0.0) for left in (n, r - n, c - n, samples - r - c + n)]
    chance = np.exp(np.where(possible, ways - sum(special.gammaln(left + 1) for left in rest), -np.inf))
    worth = n * np.log(np.maximum(n, 1) * samples / (r * c))
    centred = worth - (n - r * c / samples)
    mean, information = (chance * centred).sum(1), (chance * worth).sum(1)
    empty = chance[:, 0]
    variance = (chance * centred**2).sum(1) - mean**2
    with_occupied = mean - (chance[:, :1] * centred[:, :1]).sum(1) - mean * (1 - empty)
    return torch.from_numpy(np.stack([information, 1 - empty, variance, with_occupied, empty * (1 - empty)]))
