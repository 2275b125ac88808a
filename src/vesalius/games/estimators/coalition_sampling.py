"""Which coalitions to ask, when not all can be asked.

Every coalition comes with its complement. The Shapley value depends only on differences v(S) - v(complement of S), so a pair measures
what is wanted and cancels all interactions of even order (Covert2021).

Axes: M pairs, P players.
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ENUMERATE_BELOW = 4  # a stratum is listed in full when it holds at most this many times the pairs wanted from it


def singles_first_pairs(players: int, pairs: int, *, generator: torch.Generator | None) -> Bool[Tensor, "M P"]:
    """Every player alone (and, as complement, left out) in random order, then balanced pairs of the other sizes."""
    alone = torch.eye(players, dtype=torch.bool)[torch.randperm(players, generator=generator)]
    alone = drop_repeated_pairs(alone)[:pairs]
    inner = balanced_pairs(players, pairs - len(alone), smallest=2, generator=generator)
    return torch.cat([alone, inner])


def balanced_pairs(players: int, pairs: int, *, smallest: int = 1, generator: torch.Generator | None) -> Bool[Tensor, "M P"]:
    """Pairs without replacement: equally many per size {s, n - s}, and within a size every player about equally often.

    Equal numbers per size are the leverage scores of the Shapley regression (Musco2025).

    Args:
        pairs: how many to return; fewer come back where fewer exist.
        smallest: the least size of the smaller member of a pair.
    """
    sizes = range(smallest, players // 2 + 1)
    most = torch.tensor([pairs_of_size(players, size) for size in sizes], dtype=torch.float64)
    weight = torch.tensor([0.5 if 2 * size == players else 1.0 for size in sizes], dtype=torch.float64)
    counts = round_keeping_sum(share_within_limits(most, weight, float(pairs)), most, generator=generator)
    drawn = [_draw_pairs(players, size, count, generator) for size, count in zip(sizes, counts, strict=True) if count]
    return torch.cat([torch.empty(0, players, dtype=torch.bool), *drawn])


def round_keeping_sum(share: Float[Tensor, " K"], most: Float[Tensor, " K"], *, generator: torch.Generator | None) -> list[int]:
    """Whole numbers with the same sum, each the floor or the ceiling of its share (systematic sampling), none above its limit."""
    offset = float(torch.rand((), generator=generator))
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
    seen: set[bytes] = set()
    keep = []
    for at, row in enumerate(rows.numpy()):
        key = (row if row[-1] else ~row).tobytes()
        if key not in seen:
            seen.add(key)
            keep.append(at)
    return rows[keep]


def _draw_pairs(players: int, size: int, count: int, generator: torch.Generator | None) -> Bool[Tensor, "M P"]:
    if pairs_of_size(players, size) <= ENUMERATE_BELOW * count:
        members = torch.tensor(list(combinations(range(players), size)))[: pairs_of_size(players, size)]
        chosen = members[torch.rand(len(members), generator=generator).argsort(stable=True)[:count]]
        return torch.zeros(count, players, dtype=torch.bool).scatter_(1, chosen, True)
    rows = torch.empty(0, players, dtype=torch.bool)
    used = torch.zeros(players)
    while len(rows) < count:
        draws = torch.rand(count - len(rows), players, generator=generator)
        for draw in draws:  # the least used players, ties at random
            draw[:] = draw + used
            used[draw.argsort(stable=True)[:size]] += 1
        rows = drop_repeated_pairs(torch.cat([rows, draws.argsort(dim=1, stable=True).argsort(1) < size]))
    return rows
