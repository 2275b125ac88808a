"""Mutual information as the papers write it, with plain loops in double precision."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from math import comb, log

import numpy as np
from scipy.special import digamma


def plug_in(x, y):
    """Information of two sequences of symbols, from the shares of rows."""
    n = len(x)
    joint, left, right = Counter(zip(x, y, strict=True)), Counter(x), Counter(y)
    return sum(count / n * log(count * n / (left[a] * right[b])) for (a, b), count in joint.items())


def chi2(x, y):
    """Pearson's statistic of the table of two sequences of symbols."""
    n = len(x)
    joint, left, right = Counter(zip(x, y, strict=True)), Counter(x), Counter(y)
    expected = {(a, b): left[a] * right[b] / n for a in left for b in right}
    return sum((joint[cell] - value) ** 2 / value for cell, value in expected.items())


def permutation_values(statistic, x, y):
    """Values of a statistic over all orders of y."""
    return np.array([statistic(x, order) for order in permutations(y)])


def left_out_information(x, y):
    """Log ratio of the chance of a level given the other's to its chance alone, for each row in turn by absolute discounting of the others,
    mean of both directions."""
    cells = Counter(zip(x, y, strict=True))
    once, twice = (sum(count == times for count in cells.values()) for times in (1, 2))
    discount = min(once / max(once + 2 * twice, 1), 1)

    def one_way(i, x, y):
        rest = [(a, b) for j, (a, b) in enumerate(zip(x, y, strict=True)) if j != i]
        same = [b for a, b in rest if a == x[i]]
        alone = max(sum(b == y[i] for _, b in rest), 0.5) / len(rest)
        if not same:
            return 0.0
        given = max(same.count(y[i]) - discount, 0) + discount * len(set(same)) * alone
        return log(max(given / len(same), 1e-12) / alone)

    return [(one_way(i, x, y) + one_way(i, y, x)) / 2 for i in range(len(x))]


def fisher(x, y):
    """Twice the smaller tail of the hypergeometric distribution of the rows where two binary sequences are both on."""
    n, r, c, both = len(x), sum(x), sum(y), sum(a and b for a, b in zip(x, y, strict=True))
    chance = [comb(r, k) * comb(n - r, c - k) / comb(n, c) if c - k >= 0 else 0.0 for k in range(r + 1)]
    return min(1.0, 2 * min(sum(chance[: both + 1]), sum(chance[both:])))


def hypergeometric_information(row, column, n):
    """E[n_ij / N log(n_ij N / (r c))] and P(n_ij > 0) of one cell, by the definition."""
    total = 0.0
    for count in range(max(1, row + column - n), min(row, column) + 1):
        total += comb(row, count) * comb(n - row, column - count) / comb(n, column) * count / n * log(count * n / (row * column))
    return total, 1 - comb(n - row, column) / comb(n, column)


def ksg(x, y, k):
    """Kraskov2004, equation 8, with all distances: the local terms."""
    n = len(x)
    local = []
    for i in range(n):
        dx, dy = np.abs(x - x[i]), np.abs(y - y[i])
        eps = np.sort(np.maximum(dx, dy))[k]  # the point itself is the first
        near_x, near_y = (dx < eps).sum() - 1, (dy < eps).sum() - 1
        local.append(digamma(k) + digamma(n) - digamma(near_x + 1) - digamma(near_y + 1))
    return np.array(local)


def ross(x, labels, k):
    """Ross2014, equation 5, with all distances: the local terms; a class of at most k rows says nothing."""
    n = len(x)
    local = np.zeros(n)
    for i in range(n):
        own = np.flatnonzero(labels == labels[i])
        if len(own) > k:
            distance = np.sort(np.abs(x[own] - x[i]))[k]
            near = (np.abs(x - x[i]) <= distance).sum() - 1
            local[i] = digamma(n) + digamma(k) - digamma(len(own)) - digamma(near)
    return local


def mixed_information(x, y, atoms_x, atoms_y, k):
    """The chain rule over which atom each unit is at, by the three estimators above: the estimate."""
    at_x = np.array([next((j + 1 for j, a in enumerate(atoms_x) if value == a), 0) for value in x])
    at_y = np.array([next((j + 1 for j, a in enumerate(atoms_y) if value == a), 0) for value in y])
    n = len(x)
    cells = len(set(zip(at_x, at_y, strict=True))) - len(set(at_x)) - len(set(at_y)) + 1
    total = plug_in(at_x.tolist(), at_y.tolist()) - cells / (2 * n)
    for values, own, other in ((x, at_x == 0, at_y), (y, at_y == 0, at_x)):
        if len(set(other[own])) > 1 and own.sum() > 4 * k:
            total += ross(values[own], other[own], k).sum() / n
    both = (at_x == 0) & (at_y == 0)
    return total + (ksg(x[both], y[both], k).sum() / n if both.sum() > 4 * k else 0)
