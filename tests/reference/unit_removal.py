"""Slow twins of removing units and of packing weights: float64, lists and loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

from tests.reference.link_importance import worth

Matrix = list[list[float]]
Activation = Callable[[float], float]


def relu_mlp(weights: list[Matrix], biases: list[list[float]], x: list[float]) -> list[float]:
    """Output of a ReLU network, without activation at the end."""
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        z = [math.fsum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
        x = z if layer == len(weights) - 1 else [max(one, 0.0) for one in z]
    return x


def remove_idle_units(weights: list[Matrix], biases: list[list[float]]) -> tuple[list[Matrix], list[list[float]], list[list[int]]]:
    """A ReLU network without units that nothing reads, or that read nothing, one at a time until there are none.

    Returns:
        Weights, biases, and per hidden layer the units that are left, by their first numbers.
    """
    weights = [[list(row) for row in weight] for weight in weights]
    biases = [list(bias) for bias in biases]
    left = [list(range(len(weight))) for weight in weights[:-1]]
    found = True
    while found:
        found = False
        for layer in range(len(weights) - 1):
            for unit in range(len(weights[layer])):
                unread = all(row[unit] == 0 for row in weights[layer + 1])
                blind = all(w == 0 for w in weights[layer][unit])
                if not (unread or blind) or len(weights[layer]) == 1:
                    continue
                constant = max(biases[layer][unit], 0.0)
                for above, row in enumerate(weights[layer + 1]):
                    if not unread:
                        biases[layer + 1][above] += row[unit] * constant
                    del row[unit]
                del weights[layer][unit], biases[layer][unit], left[layer][unit]
                found = True
                break
    return weights, biases, left


def gap_encoding(kept: list[int], most: int) -> list[int]:
    """Steps from each kept place to the next, less 1; ``most`` for as many steps without one."""
    found, at = [], -1
    for place in kept:
        step = place - at - 1
        while step >= most:
            found.append(most)
            step -= most
        found.append(step)
        at = place
    return found


def group_values(
    activation: Activation, weight: list[float], bias: float, row: list[float], others: Matrix, owners: list[int]
) -> dict[int, float]:
    """Shapley value of each owner of links for a unit, from all coalitions of owners."""
    players, found = sorted(set(owners)), {}
    for player in players:
        rest, value = [other for other in players if other != player], 0.0
        for size in range(len(players)):
            share = math.factorial(size) * math.factorial(len(players) - size - 1) / math.factorial(len(players))
            for coalition in combinations(rest, size):
                gains = [
                    worth(activation, weight, bias, row, others, {link for link, owner in enumerate(owners) if owner in group})
                    for group in ((*coalition, player), coalition)
                ]
                value += share * (gains[0] - gains[1])
        found[player] = value
    return found


def group_importance(activation: Activation, weights: Matrix, biases: list[float], rows: Matrix, owners: list[int]) -> dict[int, float]:
    """Mean size of the values over rows and over the units that read; absent links carry the other rows."""
    total = dict.fromkeys(sorted(set(owners)), 0.0)
    for weight, bias in zip(weights, biases, strict=True):
        for row in rows:
            for player, value in group_values(activation, weight, bias, row, rows, owners).items():
                total[player] += abs(value) / len(rows) / len(weights)
    return total
