"""Which coalitions to ask, when not all can be asked.

Every coalition comes with its complement. The Shapley value depends only on differences v(S) - v(complement of S), so a pair measures
what is wanted and cancels all interactions of even order (Covert2021).

Axes: M pairs, P players.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

ENUMERATE_BELOW = 4  # a stratum is listed in full when it holds at most this many times the pairs wanted from it
BALANCED_BELOW = 64  # players; above, balance was measured to gain nothing and to cost most of the time
MOST_ENUMERATED = 20  # players; with more, chance seldom draws a pair twice
ROWS_AT_ONCE = 1024
Numbers = np.ndarray[Any, np.dtype[Any]]


def singles_first_pairs(players: int, pairs: int, *, generator: torch.Generator | None) -> Bool[Tensor, "M P"]:
    """Every player alone (and, as complement, left out) in random order, then balanced pairs of the other sizes."""
    alone = torch.eye(players, dtype=torch.bool)[torch.randperm(players, generator=generator)]
    alone = drop_repeated_pairs(alone)[:pairs]
    inner = balanced_pairs(players, pairs - len(alone), smallest=2, generator=generator)
    return torch.cat([alone, inner])


def independent_pairs(players: int, pairs: int, *, generator: torch.Generator | None) -> Bool[Tensor, "M P"]:
    """Pairs without replacement, sizes spread evenly, and nothing else balanced: a few per cent less precise, drawn in half of the time."""
    few = players > MOST_ENUMERATED or pairs <= (1 << (players - 1)) // ENUMERATE_BELOW
    return _draw_by_chance(players, pairs, 1, generator) if few else balanced_pairs(players, pairs, generator=generator)


def chain_pairs(players: int, pairs: int, *, generator: torch.Generator | None) -> Bool[Tensor, "M P"]:
    """The first players of random orders of arrival; with their complements, those of the reversed orders (antithetic permutations)."""
    rows = torch.empty(0, players, dtype=torch.bool)
    while len(rows) < pairs:
        rank = torch.randperm(players, generator=generator)
        rows = drop_repeated_pairs(torch.cat([rows, rank < torch.arange(1, players)[:, None]]))
    return rows[:pairs]


def balanced_pairs(players: int, pairs: int, *, smallest: int = 1, generator: torch.Generator | None) -> Bool[Tensor, "M P"]:
    """Pairs without replacement: equally many per size {s, n - s}, and within a size every player about equally often.

    Equal numbers per size are the leverage scores of the Shapley regression (Musco2025). With ``BALANCED_BELOW`` players or more every pair
    is drawn on its own, which costs a number per player, and no sorting: each player is in with a probability of the pair's own, and those
    are spread evenly over (0, 1), so that sizes are too.

    Args:
        pairs: how many to return; fewer come back where fewer exist.
        smallest: the least size of the smaller member of a pair.
    """
    if players >= BALANCED_BELOW:
        return _draw_by_chance(players, pairs, smallest, generator)
    sizes = range(smallest, players // 2 + 1)
    most = torch.tensor([pairs_of_size(players, size) for size in sizes], dtype=torch.float64)
    weight = torch.tensor([0.5 if 2 * size == players else 1.0 for size in sizes], dtype=torch.float64)
    counts = round_keeping_sum(share_within_limits(most, weight, float(pairs)), most, generator=generator)
    few = {
        size: count for size, count in zip(sizes, counts, strict=True) if count and pairs_of_size(players, size) <= ENUMERATE_BELOW * count
    }
    rest = {size: count for size, count in zip(sizes, counts, strict=True) if count and size not in few}
    listed = [_choose_pairs(players, size, count, generator) for size, count in few.items()]
    return torch.cat([torch.empty(0, players, dtype=torch.bool), *listed, _draw_pairs(players, rest, generator)])


def round_keeping_sum(share: Float[Tensor, " K"], most: Float[Tensor, " K"], *, generator: torch.Generator | None) -> list[int]:
    """Whole numbers with the same sum, each the floor or the ceiling of its share (systematic sampling), none above its limit."""
    offset = float(torch.rand((), generator=generator, dtype=torch.float32))
    total = round(float(share.sum()))
    edges = (share.cumsum(0) + offset + 1e-9).floor().clamp_max(total)
    edges[-1:] = total
    counts = edges.diff(prepend=torch.zeros(1, dtype=share.dtype))
    while (counts > most).any():  # only by rounding error of the shares
        counts[(counts - most).argmax()] -= 1
        counts[(most - counts).argmax()] += 1
    return [int(count) for count in counts]


def share_within_limits(most: Float[Tensor, " K"], weight: Float[Tensor, " K"], total: float) -> Float[Tensor, " K"]:
    """A total shared in proportion to weights, nobody above its limit."""
    share = torch.zeros_like(most)
    total = min(total, float(most.sum()))
    while total - float(share.sum()) > 1e-9:
        open_ = weight * (share < most - 1e-9)
        share = torch.minimum(share + (total - share.sum()) * open_ / open_.sum(), most)
    return share


def pairs_of_size(players: int, size: int) -> int:
    """How many pairs {S, complement} have a member of this size."""
    return comb(players, size) // (2 if 2 * size == players else 1)


def drop_repeated_pairs(rows: Bool[Tensor, "M P"]) -> Bool[Tensor, "K P"]:
    """First rows of every pair {S, complement}, in order."""
    one_side = (rows ^ ~rows[:, -1:]).numpy()
    if rows.shape[1] <= 64:  # a number each, whose order is found in a tenth of the time
        _, first = np.unique(_bits(one_side), return_index=True)
        return rows if len(first) == len(rows) else rows[np.sort(first)]
    packed = np.packbits(one_side, axis=1)
    every, width = packed.tobytes(), packed.shape[1]
    keep: dict[bytes, int] = {}
    for at in range(len(rows)):
        keep.setdefault(every[at * width : (at + 1) * width], at)
    return rows if len(keep) == len(rows) else rows[list(keep.values())]


def _bits(rows: Numbers) -> Numbers:
    """Rows of at most 64 truth values as whole numbers."""
    padded = np.zeros((len(rows), 8), dtype=np.uint8)
    packed = np.packbits(rows, axis=1)
    padded[:, : packed.shape[1]] = packed
    found: Numbers = padded.view(np.uint64)[:, 0]
    return found


def _choose_pairs(players: int, size: int, count: int, generator: torch.Generator | None) -> Bool[Tensor, "M P"]:
    """Some of all pairs of a size."""
    members = torch.tensor(list(combinations(range(players), size)))[: pairs_of_size(players, size)]
    chosen = members[torch.rand(len(members), generator=generator, dtype=torch.float32).argsort(stable=True)[:count]]
    return torch.zeros(count, players, dtype=torch.bool).scatter_(1, chosen, True)


def _draw_pairs(players: int, counts: Mapping[int, int], generator: torch.Generator | None) -> Bool[Tensor, "M P"]:
    """Pairs by size, one of every size at a time: the least used players of that size, ties at random."""
    size, left = (np.array(list(part), dtype=np.int64) for part in (counts.keys(), counts.values()))
    first = np.arange(players) < size[:, None]
    used = np.zeros((len(size), players), dtype=np.float32)
    rows, missing = torch.empty(0, players, dtype=torch.bool), left
    while missing.any():
        noise = torch.rand(int(missing.sum()), players, generator=generator, dtype=torch.float32).numpy()
        drawn, at = np.zeros(noise.shape, dtype=bool), 0
        for turn in range(int(missing.max())):
            on = np.flatnonzero(missing > turn)
            here = slice(at, at + len(on))
            least_used = (noise[here] + used[on]).argsort(axis=1, kind="stable")
            drawn[np.arange(at, at + len(on)).repeat(size[on]), least_used[first[on]]] = True
            used[on] += drawn[here]
            at += len(on)
        rows = drop_repeated_pairs(torch.cat([rows, torch.from_numpy(drawn)]))
        missing = left - np.bincount(rows.sum(1).numpy(), minlength=players + 1)[size]
    return rows[rows.sum(1).argsort(stable=True)]


def _draw_by_chance(players: int, pairs: int, smallest: int, generator: torch.Generator | None) -> Bool[Tensor, "M P"]:
    """Pairs of players who are in by chance, with chances that are spread evenly."""
    rows = torch.empty(0, players, dtype=torch.bool)
    while (missing := pairs - len(rows)) > 0:
        chance = (torch.arange(missing) + torch.rand(missing, generator=generator, dtype=torch.float32)) / missing
        drawn = [
            torch.rand(len(part), players, generator=generator, dtype=torch.float32) < part[:, None]
            for part in chance[torch.randperm(missing, generator=generator)].split(ROWS_AT_ONCE)
        ]
        fresh = torch.cat(drawn)
        size = fresh.sum(1)
        rows = drop_repeated_pairs(torch.cat([rows, fresh[torch.minimum(size, players - size) >= smallest]]))
    return rows
