"""Tests of independence that hold in the tail: by moments where the margins say that these are good, exactly where they are not.

False discovery rates ask for p-values of 1e-5 and below, where a chi-square statistic of cells that expect less than a row is wrong by
orders of magnitude: one row in a cell that expects a thousandth is no rare event among a thousand cells. Which tests are used follows from
the margins alone, which say nothing about dependence, so that choosing them costs nothing.

Axes: A units of X, B units of Y, S and T slots of all units of X and of Y.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from vesalius.core.lazy import LazyModule
from vesalius.information.estimators.null_distribution import cauchy_combination, chi2_moments, standardised_gamma_p
from vesalius.information.estimators.resolution import Resolution, mid_rank_scores

special, stats = LazyModule("scipy.special"), LazyModule("scipy.stats")

TRUSTED_CELL = 12.0
"""Least expected count of a cell, times the standard deviation of chi-square, from which its tail is that of its moments: one more row in
the smallest cell then moves the statistic by little. Measured on tables of 2 x 3 to 32 x 32 cells down to p = 1e-5."""
MOST_SKEW, MOST_TAILS = 0.5, 0.5
"""Largest skewness, and excess kurtosis, of a rank correlation under permutation whose tail is taken from moments."""

Tested = tuple[Float64[Tensor, "A B"], Bool[Tensor, "A B"]]
"""p-values, and where they hold."""
Scores = tuple[Float64[Tensor, " _"], Float64[Tensor, " _"]]
"""Mid-ranks of the slots of both sides, as :func:`~vesalius.information.estimators.resolution.mid_rank_scores` gives them."""


def chi2_null(level: Resolution, samples: int) -> tuple[Float64[Tensor, "A B"], ...]:
    """Mean, variance and third cumulant of Pearson's statistic under independence, and what the smallest cell expects."""
    sides, largest = [], []
    for occupied, slots, margin in ((level.occupied_x, level.x, level.margin_x), (level.occupied_y, level.y, level.margin_y)):
        inverse = torch.where(margin > 0, 1 / margin, 0.0)
        sides.append((occupied, level.per_unit(slots, inverse), level.per_unit(slots, inverse.square())))
        largest.append(level.largest_per_unit(slots, inverse))
    return *chi2_moments(sides[0], sides[1], samples), 1 / (samples * largest[0][:, None] * largest[1])


def chi2_test(level: Resolution, samples: int) -> Tested:
    """Pearson's statistic against a gamma distribution with its moments under permutation; a table of two by two is left to Fisher's."""
    inverse_x, inverse_y = (torch.where(margin > 0, 1 / margin, 0.0) for margin in (level.margin_x, level.margin_y))
    statistic = samples * (level.per_pair(level.joint.square().mul_(inverse_x[:, None]).mul_(inverse_y)) - 1)
    mean, variance, third, smallest = chi2_null(level, samples)
    spread = variance.clamp_min(1e-300).sqrt()
    several = level.occupied_x[:, None] * level.occupied_y > 4
    return standardised_gamma_p((statistic - mean) / spread, third / spread**3), several & (smallest * spread >= TRUSTED_CELL)


def rank_test(level: Resolution, scores: Scores, samples: int) -> Tested:
    """Correlation of the mid-ranks of slots, which sees a monotone dependence with a single degree of freedom; two-sided.

    Its skewness under permutation is exact; its excess kurtosis is about the product of those of both units' ranks over N.
    Reference: Pitman1937 (the correlation under permutation).
    """
    correlation = level.per_pair(level.joint * scores[0][:, None] * scores[1])
    (g, k), (h, m) = (
        (level.per_unit(slots, margin * score**3), samples * level.per_unit(slots, margin * score**4) - 3)
        for slots, margin, score in ((level.x, level.margin_x, scores[0]), (level.y, level.margin_y, scores[1]))
    )
    skew = g[:, None] * h * samples * (samples - 1) ** 0.5 / (samples - 2)
    p = standardised_gamma_p(correlation * (samples - 1) ** 0.5, skew)
    usable = (skew.abs() <= MOST_SKEW) & ((k[:, None] * m / samples).abs() <= MOST_TAILS)
    return 2 * torch.minimum(p, standardised_gamma_p(-correlation * (samples - 1) ** 0.5, -skew)).clamp_max(0.5), usable


def halves_test(level: Resolution, scores: Scores, samples: int, asked: Bool[Tensor, "A B"]) -> Float64[Tensor, "A B"]:
    """Both units cut in two, as near to their middle as slots allow, by Fisher's exact test, two-sided; 1 for pairs not asked for.

    Reference: Fisher1935 (exact test; here twice the smaller tail).
    """
    high_x, high_y = ((score > 0).double() for score in scores)
    both = level.per_pair(level.joint * high_x[:, None] * high_y)
    x, y = level.per_unit(level.x, level.margin_x * high_x), level.per_unit(level.y, level.margin_y * high_y)
    counts = [part.expand(asked.shape)[asked].numpy() for part in (both, x[:, None], y)]
    drawn = stats.hypergeom(samples, *counts[1:])
    found = torch.ones(asked.shape, dtype=torch.float64)
    found[asked] = torch.from_numpy(2 * np.minimum(drawn.sf(counts[0] - 1), drawn.cdf(counts[0])).clip(0, 0.5))
    return found


def cell_test(level: Resolution, samples: int, asked: Bool[Tensor, "A B"]) -> Float64[Tensor, "A B"]:
    """The cell with more rows than independence explains, over all cells of a pair by Bonferroni's rule; 1 for pairs not asked for.

    The hypergeometric tail is bounded by its first term over 1 less the ratio of the next to it, as terms fall ever faster.
    """
    expected = level.margin_x[:, None] * level.margin_y / samples
    pair = level.x.owner[:, None] * asked.shape[1] + level.y.owner
    first, second = ((level.joint > expected) & asked.flatten()[pair]).nonzero().unbind(1)
    n, r, c = level.joint[first, second], level.margin_x[first], level.margin_y[second]
    rest = samples - r - c + n
    log_fact = torch.from_numpy(special.gammaln(np.arange(1.0, samples + 2)))
    ways = [log_fact[part.long()] for part in (r, c, samples - r, samples - c)]
    ways += [-log_fact[part.long()] for part in (n, r - n, c - n, rest)]
    ratio = (r - n) * (c - n) / ((n + 1) * (rest + 1))
    tail = (sum(ways) - log_fact[samples]).exp() / (1 - ratio).clamp_min(1e-300)
    least = torch.ones(asked.numel(), dtype=torch.float64).scatter_reduce_(0, pair[first, second], tail, "amin")
    return (least.view(asked.shape) * level.occupied_x[:, None] * level.occupied_y).clamp_max(1)


def independence_p(levels: Sequence[Resolution], samples: int) -> Float64[Tensor, "A B"]:
    """One p-value per pair from all tests that hold for it.

    Args:
        levels: the same rows at falling resolution; the tests that see single slots are of the first.
        samples: N.
    """
    finest = levels[0]
    scores = (mid_rank_scores(finest.x, finest.margin_x, samples), mid_rank_scores(finest.y, finest.margin_y, samples))
    tests = [rank_test(finest, scores, samples), *(chi2_test(level, samples) for level in levels)]
    asked = ~torch.stack([holds for _, holds in tests]).all(0)
    if bool(asked.any()):
        tests += [(test, asked) for test in (halves_test(finest, scores, samples, asked), cell_test(finest, samples, asked))]
    p, holds = (torch.stack(part) for part in zip(*tests, strict=True))
    return cauchy_combination(p, holds)
