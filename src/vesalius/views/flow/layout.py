"""Where units stand in a layered drawing: the order within each column, and the places that follow from it.

Axes: K edges between two columns, U units of a column.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

SWEEPS = 12
"""Passes through the columns; the best order found is kept."""

SKIP_RISE, MAX_RISE = 0.9, 3.0
"""Slots that an edge rises for each column that it goes past, and at most."""

MODULE_SEPARATOR = re.compile(r"[./]")

MAX_PITCH = 1.6
"""Most slots that a unit of a short column takes."""


def order_units(
    sizes: Sequence[int], pairs: Sequence[tuple[int, int]], ends: Sequence[Int[ndarray, "_ 2"]], weights: Sequence[Float[ndarray, " _"]]
) -> list[list[int]]:
    """Units of every column from top to bottom, so that few heavy edges cross: each where its neighbours are on average (barycentre).

    Units without edges go last.

    Args:
        sizes: units of each column.
        pairs: columns that edges join, the left one first.
        ends: for each pair of columns, the unit in the first and in the second of every edge.
        weights: of the same edges.
    """
    linked = [np.zeros(size, bool) for size in sizes]
    for (left, right), part in zip(pairs, ends, strict=True):
        linked[left][part[:, 0]] = linked[right][part[:, 1]] = True
    order = [np.argsort(~here, kind="stable") for here in linked]
    best, least = order, crossings(order, pairs, ends, weights)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        mine, theirs = (1, 0) if forward else (0, 1)
        order = list(order)
        for at in range(len(sizes)) if forward else reversed(range(len(sizes))):
            read = [place for place, pair in enumerate(pairs) if pair[mine] == at]
            if read:
                near = [(order[pairs[place][theirs]], ends[place][:, [mine, theirs]], weights[place]) for place in read]
                order[at] = np.lexsort((_barycentres(order[at], near), ~linked[at]))
        found = crossings(order, pairs, ends, weights)
        if found < least:
            best, least = order, found
    return [column.tolist() for column in best]


def crossings(
    order: Sequence[Int[ndarray, " _"]],
    pairs: Sequence[tuple[int, int]],
    ends: Sequence[Int[ndarray, "_ 2"]],
    weights: Sequence[Float[ndarray, " _"]],
) -> float:
    """Pairs of edges between the same two columns that cross, each counted with the product of its weights."""
    total = 0.0
    for (left, right), part, weight in zip(pairs, ends, weights, strict=True):
        first, second = _relative_ranks(order[left])[part[:, 0]], _relative_ranks(order[right])[part[:, 1]]
        across = (first[:, None] - first) * (second[:, None] - second) < 0
        total += float((across * weight[:, None] * weight).sum()) / 2
    return total


def unit_positions(count: int, slots: float) -> list[float]:
    """Where the units of a column stand, in slots from the top: spread over the height, a short column in its middle."""
    pitch = min(slots / count, MAX_PITCH) if count else 0.0
    return [slots / 2 + pitch * (place - (count - 1) / 2) for place in range(count)]


def skip_rise(first: int, second: int) -> float:
    """How far an edge is bent upwards that goes past columns, in slots: the more of them, the higher, so that it is seen to skip them."""
    return min(SKIP_RISE * (second - first - 1), MAX_RISE)


def layer_blocks(names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Runs of columns that are parts of one module: its name, the first and the last column.

    A module is named by what stands before the dots of its parts, up to the first number: ``layer1.0`` of ``layer1.0.conv1`` and
    ``layers.3`` of ``layers.3.attention.heads``; ``stem`` of ``stem.conv`` and ``stem.pool``.
    """
    runs = [(key, [at for at, _ in run]) for key, run in groupby(enumerate(map(_module_of, names)), key=lambda one: one[1])]
    return [(key, columns[0], columns[-1]) for key, columns in runs if key and len(columns) > 1]


def _module_of(name: str) -> str:
    """The block that a layer is part of; nothing for one that stands alone."""
    parts = MODULE_SEPARATOR.split(name)
    number = next((place for place, part in enumerate(parts) if part.isdigit()), 0)
    return ".".join(parts[: number + 1]) if len(parts) > number + 1 else ""


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
    mine: Int[ndarray, " U"], near: Sequence[tuple[Int[ndarray, " _"], Int[ndarray, "_ 2"], Float[ndarray, " _"]]]
) -> Float[ndarray, " U"]:
    """Where the neighbours of each unit are on average; a unit without any stays where it is.

    Args:
        mine: order of the units.
        near: for each column of neighbours, the order of its units, both ends of every edge, and the weights.
    """
    here, total, mass = _relative_ranks(mine), np.zeros(len(mine)), np.zeros(len(mine))
    for theirs, ends, weights in near:
        np.add.at(total, ends[:, 0], weights * _relative_ranks(theirs)[ends[:, 1]])
        np.add.at(mass, ends[:, 0], weights)
    return np.where(mass > 0, total / np.where(mass > 0, mass, 1), here)
