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
