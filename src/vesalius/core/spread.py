"""Standard errors from few repeats."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.core.lazy import LazyModule

stats = LazyModule("scipy.stats")

COVERAGE = 0.975
"""Quantile at which an interval by the normal law and one by Student's agree."""


def normal_equivalent(degrees: int) -> float:
    """Factor of a standard error that was itself estimated, after which 1.96 of it make a 95 % interval.

    Args:
        degrees: of freedom of the estimated variance, 1 or more.

    Reference: Student1908.
    """
    return float(stats.t.ppf(COVERAGE, degrees) / stats.norm.ppf(COVERAGE))


def mean_stderr(repeats: Float[Tensor, "R *values"]) -> Float[Tensor, "*values"]:
    """Standard error of the mean of R repeats, so that 1.96 of it make a 95 % interval; NaN of a single one."""
    count = len(repeats)
    if count < 2:
        return torch.full_like(repeats[0], math.nan)
    spread: Tensor = repeats.std(0) * normal_equivalent(count - 1) / count**0.5
    return spread


def jackknife_stderr(left_out: Float[Tensor, "G *values"]) -> Float[Tensor, "*values"]:
    """Standard error of an estimate from its repeats without each of G groups in turn, so that 1.96 of it make a 95 % interval.

    Reference: Tukey1958.
    """
    return jackknife_variance(left_out).sqrt() * normal_equivalent(len(left_out) - 1)


def jackknife_variance(left_out: Float[Tensor, "G *values"]) -> Float[Tensor, "*values"]:
    """Variance of an estimate from its repeats without each of G groups in turn, as it is.

    Reference: Tukey1958.
    """
    groups = len(left_out)
    spread: Tensor = left_out.var(0) * (groups - 1) ** 2 / groups
    return spread


def bootstrap_stderr(drawn: Float[Tensor, "R *values"], rows: int) -> Float[Tensor, "*values"]:
    """Standard error of an estimate from its repeats on R samples of its rows with replacement, so that 1.96 of it make a 95 % interval.

    Args:
        drawn: the repeats.
        rows: how many there are; NaN comes of a single one, which cannot show its spread.

    Reference: Efron1979.
    """
    if rows < 2:
        return drawn.new_full(drawn.shape[1:], math.nan)
    spread: Tensor = drawn.std(0) * normal_equivalent(rows - 1) * (rows / (rows - 1)) ** 0.5
    return spread
