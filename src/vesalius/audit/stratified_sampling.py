"""Coalitions to look at where there are too many: drawn by size, so that small and large ones are seen as often as middling ones.

Every size from nobody to everybody weighs the same.

Axes: N coalitions, P players, R resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vesalius.games.moebius import membership

MIN_PER_GROUP = 16
"""Coalitions in each group of sizes, if they are drawn."""
MAX_GROUPS = 12


@dataclass(frozen=True)
class CoalitionSample:
    """Coalitions in groups of similar size.

    Attributes:
        masks: the coalitions, groups taking turns, so that the first few of them are a design as well.
        group: which group each is in.
        share: weight of each group; they add up to 1.
        whole: for each group, how many coalitions it holds if all of them are listed; 0 if they were drawn.
    """

    masks: Bool[Tensor, "N P"]
    group: Int[Tensor, " N"]
    share: Float[Tensor, " G"]
    whole: Int[Tensor, " G"]

    def first(self, count: int) -> CoalitionSample:
        """The first few coalitions, one of each group at least."""
        count = max(count, 2 * len(self.share))
        return CoalitionSample(self.masks[:count], self.group[:count], self.share, self.whole)

    @property
    def weights(self) -> Float[Tensor, " N"]:
        """Weight of each coalition in a mean over sizes."""
        size = self.masks.sum(1)
        pairs = torch.unique(torch.stack([self.group, size]), dim=1)
        sizes = pairs[0].bincount(minlength=len(self.share))
        weight: Tensor = self.share[self.group] / sizes[self.group] / size.bincount()[size]
        return weight / weight.sum()

    def bootstrap_weights(self, times: int, seed: int) -> Float[Tensor, "R N"]:
        """Weights of bootstrap resamples, drawn anew within each group; a group that is listed in full has nothing to draw."""
        generator = torch.Generator().manual_seed(seed)
        weights = self.weights.expand(times, -1).clone()
        for group in range(len(self.share)):
            rows = (self.group == group).nonzero().flatten()
            if len(rows) and int(self.whole[group]) != len(rows):
                drawn = torch.randint(len(rows), (times, len(rows)), generator=generator)
                counts = torch.zeros(times, len(rows), dtype=torch.float64)
                weights[:, rows] *= counts.scatter_add_(1, drawn, torch.ones_like(counts))
        return weights


def all_coalitions(players: int) -> CoalitionSample:
    """All coalitions in index order, grouped by size."""
    masks = membership(players)
    group = masks.sum(1)
    share = torch.full((players + 1,), 1 / (players + 1), dtype=torch.float64)
    return CoalitionSample(masks, group, share, torch.tensor([math.comb(players, size) for size in range(players + 1)]))


def sample_coalitions(players: int, count: int, seed: int) -> CoalitionSample:
    """About ``count`` coalitions; sizes of which there are few coalitions are listed in full.

    Args:
        players: how many there are.
        count: coalitions to look at, at least 2 * ``MIN_PER_GROUP``.
        seed: of the coalitions.
    """
    generator = torch.Generator().manual_seed(seed)
    groups = np.array_split(np.arange(players + 1), min(players + 1, MAX_GROUPS, count // MIN_PER_GROUP))
    each = count // len(groups)
    parts, whole = [], []
    for sizes in groups:
        every = sum(math.comb(players, int(size)) for size in sizes)
        listed = every <= each
        parts.append(_list_all(players, sizes.tolist()) if listed else _draw_random(players, sizes.tolist(), each, generator))
        whole.append(every if listed else 0)
    group = torch.cat([torch.full((len(part),), place) for place, part in enumerate(parts)])
    turn = torch.cat([torch.arange(len(part)) for part in parts])
    order = torch.argsort(turn * len(groups) + group)
    share = torch.tensor([len(sizes) / (players + 1) for sizes in groups], dtype=torch.float64)
    return CoalitionSample(torch.cat(parts)[order], group[order], share, torch.tensor(whole))


def _list_all(players: int, sizes: list[int]) -> Bool[Tensor, "n P"]:
    rows = [members for size in sizes for members in combinations(range(players), size)]
    masks = torch.zeros(len(rows), players, dtype=torch.bool)
    for row, members in enumerate(rows):
        masks[row, list(members)] = True
    return masks


def _draw_random(players: int, sizes: list[int], count: int, generator: torch.Generator) -> Bool[Tensor, "n P"]:
    size = torch.tensor(sizes).repeat(-(-count // len(sizes)))[:count]
    rank = torch.rand(count, players, generator=generator).argsort(dim=1, stable=True).argsort(1)
    return rank < size[:, None]
