"""Where units stand in a layered drawing: the order within each column, and the places that follow from it.

Axes: K edges between two columns, U units of a column.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

SWEEPS = 12
"""Passes through the columns; the best order found is kept."""

MAX_PITCH = 1.6
"""Most slots that a unit of a short column takes."""


def order_units(sizes: Sequence[int], ends: Sequence[Int[ndarray, "_ 2"]], weights: Sequence[Float[ndarray, " _"]]) -> list[list[int]]:
    """Units of every column from top to bottom, so that few heavy edges cross: each where its neighbours are on average (barycentre).

    Units without edges go last.

    Args:
        sizes: units of each column.
        ends: for each pair of columns, the unit in the first and in the second of every edge.
        weights: of the same edges.
    """
    linked = [np.zeros(size, bool) for size in sizes]
    for at, part in enumerate(ends):
        linked[at][part[:, 0]] = linked[at + 1][part[:, 1]] = True
    order = [np.argsort(~here, kind="stable") for here in linked]
    best, least = order, crossings(order, ends, weights)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        columns = range(1, len(sizes)) if forward else range(len(sizes) - 2, -1, -1)
        order = list(order)
        for at in columns:
            pair, near = (at - 1, at - 1) if forward else (at, at + 1)
            mine, theirs = (1, 0) if forward else (0, 1)
            middle = _barycentres(order[at], order[near], ends[pair][:, [mine, theirs]], weights[pair])
            order[at] = np.lexsort((middle, ~linked[at]))
        found = crossings(order, ends, weights)
        if found < least:
            best, least = order, found
    return [column.tolist() for column in best]


def crossings(order: Sequence[Int[ndarray, " _"]], ends: Sequence[Int[ndarray, "_ 2"]], weights: Sequence[Float[ndarray, " _"]]) -> float:
    """Pairs of edges that cross, each counted with the product of its weights."""
    total = 0.0
    for at, (part, weight) in enumerate(zip(ends, weights, strict=True)):
        first, second = _relative_ranks(order[at])[part[:, 0]], _relative_ranks(order[at + 1])[part[:, 1]]
        across = (first[:, None] - first) * (second[:, None] - second) < 0
        total += float((across * weight[:, None] * weight).sum()) / 2
    return total


def unit_positions(count: int, slots: float) -> list[float]:
    """Where the units of a column stand, in slots from the top: spread over the height, a short column in its middle."""
    pitch = min(slots / count, MAX_PITCH) if count else 0.0
    return [slots / 2 + pitch * (place - (count - 1) / 2) for place in range(count)]


def split_budget(available: Sequence[int], most: int) -> list[int]:
    """So many things out of each lot that all together are at most ``most``; what small lots leave goes to the others."""
    found, left = [0] * len(available), most
    for rank, lot in enumerate(sorted(range(len(available)), key=lambda lot: available[lot])):
        found[lot] = min(available[lot], left // (len(available) - rank))
        left -= found[lot]
    return found


def _relative_ranks(column: Int[ndarray, " U"]) -> Float[ndarray, " U"]:
    """Place of every unit, as a share of the column's height."""
    found = np.empty(len(column))
    found[column] = (np.arange(len(column)) + 0.5) / max(len(column), 1)
    return found


def _barycentres(
    mine: Int[ndarray, " U"], theirs: Int[ndarray, " V"], ends: Int[ndarray, "K 2"], weights: Float[ndarray, " K"]
) -> Float[ndarray, " U"]:
    """Where the neighbours of each unit are on average; a unit without any stays where it is."""
    there, here = _relative_ranks(theirs), _relative_ranks(mine)
    total, mass = np.zeros(len(mine)), np.zeros(len(mine))
    np.add.at(total, ends[:, 0], weights * there[ends[:, 1]])
    np.add.at(mass, ends[:, 0], weights)
    return np.where(mass > 0, total / np.where(mass > 0, mass, 1), here)
