"""Slow twins for Shapley values: the definitions, written with loops in float64.

A game is a list of 2**n values; bit i of an index says whether player i is present.
"""

from __future__ import annotations

from itertools import combinations, permutations
from math import comb, factorial

import torch


def dividends(values):
    """The definition: alternating sums over subsets."""

    def subsets(s):
        members = [i for i in range(s.bit_length()) if s >> i & 1]
        return (sum(1 << i for i in part) for k in range(len(members) + 1) for part in combinations(members, k))

    return [sum((-1) ** (s.bit_count() - t.bit_count()) * values[t] for t in subsets(s)) for s in range(len(values))]


def shapley_by_orders(values):
    """Mean marginal contribution over all n! orders of arrival."""
    n = len(values).bit_length() - 1
    total = [0.0] * n
    for order in permutations(range(n)):
        coalition = 0
        for player in order:
            total[player] += values[coalition | 1 << player] - values[coalition]
            coalition |= 1 << player
    return [x / factorial(n) for x in total]


def shapley_by_sum(values):
    """Weighted sum of all marginal contributions, weights 1 / (n C(n - 1, s)). Works on anything that can be added, such as tensors."""
    n = len(values).bit_length() - 1

    def of(i):
        without = [s for s in range(len(values)) if not s >> i & 1]
        return sum((values[s | 1 << i] - values[s]) / (n * comb(n - 1, s.bit_count())) for s in without)

    return [of(i) for i in range(n)]


def covariance(parameters, s, t):
    """Covariance of v(s) and v(t) under the process, term by term from its formula; s and t are lists of 0 and 1."""
    logs = [float(x) for x in parameters]
    c0, c1, c2, c3 = (torch.tensor(x, dtype=torch.float64).exp().item() for x in logs[:4])
    centre = 1 / (1 + torch.tensor(-logs[4], dtype=torch.float64).exp().item())
    rates = [torch.tensor(x, dtype=torch.float64).exp().item() for x in logs[6:]]
    a = [(x - centre) * (y - centre) for x, y in zip(s, t, strict=True)]
    pairs = sum(a[i] * a[j] for i, j in combinations(range(len(a)), 2))
    product = 1.0
    for rate, x in zip(rates, a, strict=True):
        product *= max(1 + rate * x, 1e-6) / (1 + rate * ((1 - centre) ** 2 + centre**2) / 2)
    return c0 + c1 * sum(a) + c2 * pairs + c3 * product


def odd_covariance(parameters, s, t):
    """Covariance of (v(s) - v(complement)) / 2 and the same for t."""
    s_, t_ = [1 - x for x in s], [1 - x for x in t]
    terms = [covariance(parameters, x, y) for x, y in ((s, t), (s_, t_), (s, t_), (s_, t))]
    return (terms[0] + terms[1] - terms[2] - terms[3]) / 4


def noisy_covariance(parameters, rows, odd):
    """Covariance matrix of values at rows, with the noise that every coalition but the empty and the full one (or every pair) has."""
    n = len(rows[0])
    noise = torch.tensor(float(parameters[5]), dtype=torch.float64).exp().item()
    kernel = odd_covariance if odd else covariance
    out = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for i, s in enumerate(rows):
        for j, t in enumerate(rows):
            out[i, j] = kernel(parameters, s, t)
            if s == t and 0 < sum(s) < n:
                out[i, j] += noise
            if odd and s == [1 - x for x in t] and 0 < sum(s) < n:
                out[i, j] -= noise
    return out


def all_coalitions(players):
    """All coalitions as lists of 0 and 1, in index order."""
    return [[s >> i & 1 for i in range(players)] for s in range(1 << players)]


def constrained_least_squares(rows, weights, odd, gain):
    """Weighted least squares of the odd part on [i in S] - 1/2 under sum = gain, by the normal equations with a multiplier."""
    x = torch.tensor(rows, dtype=torch.float64) - 0.5
    w = torch.tensor(weights, dtype=torch.float64)
    n = x.shape[1]
    system = torch.zeros(n + 1, n + 1, dtype=torch.float64)
    system[:n, :n] = x.T @ (w[:, None] * x)
    system[n, :n] = system[:n, n] = 1
    right = torch.cat([x.T @ (w * torch.tensor(odd, dtype=torch.float64)), torch.tensor([gain], dtype=torch.float64)])
    return torch.linalg.solve(system, right)[:n]
