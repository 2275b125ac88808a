"""Nested quadrature rules on [0, 1], in a variable that is at home on the way from a baseline.

Clenshaw-Curtis rules of 3, 5, 9, 17, ... nodes hold each other's nodes, both ends included. They are applied after two changes of
variable: one that spaces the nodes more evenly than Chebyshev's, which converges up to pi / 2 times as fast where the integrand is analytic
in a strip about the interval rather than in an ellipse; and an exponential that crowds them at one end, since networks change most where
their inputs are smallest.

Reference: Trefethen2008 (Clenshaw-Curtis), Hale2008 (the strip).
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[Any]]

STRIP_DEGREE = 9
"""Degree of the polynomial that stands for the map from an ellipse to a strip, as in the reference."""


@cache
def chebyshev_weights(count: int) -> Numbers:
    """Weights of the Clenshaw-Curtis rule on [-1, 1]; ``count`` nodes, one more than a power of two."""
    last = count - 1
    even = np.arange(0, count, 2)
    terms = np.where((even == 0) | (even == last), 1.0, 2.0) / (1.0 - even**2)
    weights: Numbers = 2 / last * np.cos(np.pi * np.outer(np.arange(count), even) / last) @ terms
    weights[[0, -1]] /= 2
    return weights


@cache
def strip_nodes(count: int) -> tuple[Numbers, Numbers]:
    """Chebyshev's nodes [count] in increasing order, spaced more evenly, on [0, 1]; and the derivative of what moved them."""
    nodes = -np.cos(np.pi * np.arange(count) / (count - 1))
    series = np.zeros(STRIP_DEGREE + 1)
    for k in range((STRIP_DEGREE + 1) // 2):  # of the arc sine
        series[2 * k + 1] = math.comb(2 * k, k) / 4**k / (2 * k + 1)
    strip = np.polynomial.Polynomial(series / series.sum())
    place = (strip(nodes) + 1) / 2
    place[[0, -1]] = 0.0, 1.0
    return place, strip.deriv()(nodes) / 2


@lru_cache(maxsize=1024)
def graded_nodes(count: int, grading: float) -> tuple[Numbers, Numbers]:
    """Nodes [count] on [0, 1] from 0 to 1, and their derivatives by Chebyshev's variable.

    Args:
        count: one more than a power of two.
        grading: logarithm of how many times denser nodes are at 0 than at 1; below 0, at 1 than at 0.
    """
    place, speed = strip_nodes(count)
    if grading < 0:
        nodes, speeds = graded_nodes(count, -grading)
        return 1 - nodes[::-1], speeds[::-1]
    if grading == 0:
        return place, speed
    return np.expm1(grading * place) / math.expm1(grading), speed * grading * np.exp(grading * place) / math.expm1(grading)


@cache
def nested_weights(count: int, levels: int) -> Numbers:
    """Weights [levels count] of the rule of all nodes, of every second, of every fourth, ...: 0 where a rule has no node."""
    found = np.zeros((levels, count))
    for level in range(levels):
        found[level, :: 2**level] = chebyshev_weights((count - 1) // 2**level + 1)
    return found
