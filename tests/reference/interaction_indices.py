"""Slow twins for interaction indices: each from the definition in its own paper, none of which speaks of dividends.

A game is a list of 2**n values; bit i of an index says whether player i is present. Every function gives {members: value} for all
coalitions of 1 to ``order`` players.
"""

from __future__ import annotations

from itertools import combinations
from math import comb, factorial

import torch

BERNOULLI = [1, -1 / 2, 1 / 6, 0, -1 / 30, 0, 1 / 42]


def players_of(values):
    return len(values).bit_length() - 1


def coalitions(n, order):
    """Members of all coalitions of 1 to ``order`` players, by size and then in lexicographic order."""
    return [members for size in range(1, order + 1) for members in combinations(range(n), size)]


def bitmask(members):
    return sum(1 << player for player in members)


def coalitions_without(n, members):
    """All coalitions that hold none of the members."""
    return [t for t in range(1 << n) if not t & bitmask(members)]


def derivative(values, members, t):
    """What the members add together to coalition t: alternating over who of them is present."""
    parts = [part for size in range(len(members) + 1) for part in combinations(members, size)]
    return sum((-1) ** (len(members) - len(part)) * values[t | bitmask(part)] for part in parts)


def sii(values, order):
    """Grabisch and Roubens 1999: the mean derivative, all sizes of t alike."""
    n = players_of(values)

    def of(members):
        s = len(members)
        share = [factorial(n - t - s) * factorial(t) / factorial(n - s + 1) for t in range(n - s + 1)]
        return sum(share[t.bit_count()] * derivative(values, members, t) for t in coalitions_without(n, members))

    return {members: of(members) for members in coalitions(n, order)}


def k_sii(values, order):
    """Bordt and von Luxburg 2023: from one order to the next, the new interactions are taken off their subsets by Bernoulli numbers."""
    n = players_of(values)
    base = sii(values, order)
    found = {}
    for k in range(1, order + 1):
        for members in coalitions(n, k):
            if len(members) == k:
                found[members] = base[members]
                continue
            around = [larger for larger in coalitions(n, k) if len(larger) == k and set(members) < set(larger)]
            found[members] += BERNOULLI[k - len(members)] * sum(base[larger] for larger in around)
    return found


def stii(values, order):
    """Sundararajan, Dhamdhere and Agarwal 2020: lower orders are derivatives at the empty set, the highest a mean of them."""
    n = players_of(values)

    def of(members):
        if len(members) < order:
            return derivative(values, members, 0)
        return order / n * sum(derivative(values, members, t) / comb(n - 1, t.bit_count()) for t in coalitions_without(n, members))

    return {members: of(members) for members in coalitions(n, order)}


def fsii(values, order):
    """Tsai, Yeh and Ravikumar 2023: weighted least squares by a game of that order, exact on nobody and on everybody; by multipliers."""
    n = players_of(values)
    terms = [(), *coalitions(n, order)]
    rows = torch.tensor(
        [[float(bitmask(members) & s == bitmask(members)) for members in terms] for s in range(1 << n)], dtype=torch.float64
    )
    inner = range(1, (1 << n) - 1)
    weight = torch.diag(
        torch.tensor([1 / (comb(n, s.bit_count()) * s.bit_count() * (n - s.bit_count())) for s in inner], dtype=torch.float64)
    )
    target = torch.tensor(values, dtype=torch.float64)
    ends = rows[[0, -1]]
    system = torch.cat(
        [
            torch.cat([rows[1:-1].T @ weight @ rows[1:-1], ends.T], 1),
            torch.cat([ends, torch.zeros(2, 2, dtype=torch.float64)], 1),
        ]
    )
    right = torch.cat([rows[1:-1].T @ weight @ target[1:-1], target[[0, -1]]])
    solved = torch.linalg.lstsq(system, right[:, None], driver="gelsd").solution[:, 0].tolist()
    return dict(zip(terms[1:], solved[1 : len(terms)], strict=True))


def banzhaf(values):
    """Mean derivative, all coalitions alike."""
    n = players_of(values)
    return {(i,): sum(derivative(values, (i,), t) for t in coalitions_without(n, (i,))) / 2 ** (n - 1) for i in range(n)}
