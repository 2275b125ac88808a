"""Slow twins of the importance of links, written from the definition of the game with plain loops in float64."""

from __future__ import annotations

from itertools import combinations
from math import factorial


def worth(activation, weight, bias, row, others, coalition):
    """Mean output of a unit when the links outside a coalition carry each of the other rows in turn; 0 if there are none."""
    total = 0.0
    for other in others or [[0.0] * len(row)]:
        z = bias + sum(w * (row[j] if j in coalition else other[j]) for j, w in enumerate(weight))
        total += float(activation(z))
    return total / len(others or [0])


def link_values(activation, weight, bias, row, others):
    """Shapley value of every link, from all coalitions."""
    players, found = range(len(weight)), []
    for j in players:
        rest, value = [k for k in players if k != j], 0.0
        for size in range(len(weight)):
            share = factorial(size) * factorial(len(weight) - size - 1) / factorial(len(weight))
            for coalition in combinations(rest, size):
                with_j = worth(activation, weight, bias, row, others, {*coalition, j})
                value += share * (with_j - worth(activation, weight, bias, row, others, set(coalition)))
        found.append(value)
    return found


def importance(activation, weights, biases, rows, baseline):
    """Mean size of the values over rows, by unit and link."""
    others = rows if baseline == "data" else []
    table = []
    for weight, bias in zip(weights, biases, strict=True):
        values = [link_values(activation, weight, bias, row, others) for row in rows]
        table.append([sum(abs(value[j]) for value in values) / len(rows) for j in range(len(weight))])
    return table


def moments(weight, bias, row, others, q, fixed=None):
    """Mean and variance of a unit's sum when every link is present with probability q, one of them (``fixed``: link, presence) for sure."""
    mean = square = 0.0
    for bits in range(1 << len(weight)):
        chance = 1.0
        for j in range(len(weight)):
            here = bits >> j & 1
            chance *= float(here == fixed[1]) if fixed and fixed[0] == j else q if here else 1 - q
        for other in others or [[0.0] * len(row)]:
            z = bias + sum(w * (row[j] if bits >> j & 1 else other[j]) for j, w in enumerate(weight))
            mean += chance * z / len(others or [0])
            square += chance * z * z / len(others or [0])
    return mean, square - mean * mean
