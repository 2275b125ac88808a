"""How many links each layer keeps, and which.

Axes: U units, F links into a unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ALLOCATIONS = ("erk", "uniform", "level", "global")
BISECTIONS = 60

Scores = Float[Tensor, "U F"]
LinkCount = int | Int[Tensor, " U"]
"""Links that a layer keeps: in all, or of each unit."""


def top_k_mask(scores: Scores, count: LinkCount, among: Bool[Tensor, "U F"] | None = None) -> Bool[Tensor, "U F"]:
    """The highest scores; of equal ones the first.

    Args:
        scores: of links.
        count: how many in all, or of each unit.
        among: links to choose from; all by default.
    """
    if among is not None:
        scores = torch.where(among, scores, torch.full_like(scores, -torch.inf))
    pool = scores.reshape(1, -1) if isinstance(count, int) else scores
    order = pool.sort(dim=1, descending=True, stable=True).indices
    ranks = torch.empty_like(order).scatter_(1, order, torch.arange(pool.shape[1], device=order.device).expand_as(order))
    most = torch.as_tensor(count, device=order.device).reshape(-1, 1)
    kept = (ranks < most).reshape(scores.shape)
    return kept if among is None else kept & among


def count_for_level(scores: Float[Tensor, "R L"], level: float) -> Int[Tensor, " R"]:
    """Length of the shortest prefix of the sorted scores whose sum is at least a share of the total; at least 1.

    Args:
        scores: one ranking per row, not negative.
        level: the share, in (0, 1].

    Reference: Rhee2023 (K of layer l).
    """
    ranked = scores.double().sort(dim=1, descending=True).values.cumsum(1)
    short = (ranked < level * ranked[:, -1:]).sum(1)
    return (short + 1).clamp(max=scores.shape[1])


def counts_from_importance_level(scores: Mapping[str, Scores], levels: Mapping[str, float], scope: str) -> dict[str, LinkCount]:
    """Links kept of each layer so that their scores make up a share of the total.

    Args:
        scores: of each layer.
        levels: share of each layer.
        scope: whose total: the layer's, the unit's (``"row"``), or that of all layers (``"global"``).
    """
    if scope == "global":
        every = torch.cat([one.reshape(-1) for one in scores.values()])
        return _global_counts(scores, int(count_for_level(every[None], next(iter(levels.values())))))
    if scope == "row":
        return {name: count_for_level(one, levels[name]) for name, one in scores.items()}
    return {name: int(count_for_level(one.reshape(1, -1), levels[name])) for name, one in scores.items()}


def counts_from_sparsity(
    shapes: Mapping[str, tuple[int, int]], sparsity: float, allocation: str, scores: Callable[[], Mapping[str, Scores]]
) -> dict[str, LinkCount]:
    """Links kept of each layer so that a share of all of them is cut.

    Args:
        shapes: units and links into a unit, of each layer.
        sparsity: share that is cut, in [0, 1).
        allocation: ``"uniform"``: the same share everywhere; ``"erk"``: see :func:`erk`; ``"level"``: the same share of the total score
            everywhere; ``"global"``: one ranking of scores in units of their layer's total; ``"raw"``: one ranking of scores as they are.
        scores: of each layer; asked for only where they are needed.
    """
    sizes = {name: units * links for name, (units, links) in shapes.items()}
    total = max(1, round((1 - sparsity) * sum(sizes.values())))
    if allocation == "raw":
        return _global_counts(scores(), total)
    if allocation == "global":
        return _global_counts({name: one.double() / one.double().sum().clamp_min(1e-300) for name, one in scores().items()}, total)
    if allocation == "level":
        found = scores()
        level = _bisect(
            lambda m: (
                sum(_total_count(count) for count in counts_from_importance_level(found, dict.fromkeys(found, m), "layer").values())
                >= total
            )
        )
        return counts_from_importance_level(found, dict.fromkeys(found, level), "layer")
    densities = erk(list(shapes.values()), 1 - sparsity) if allocation == "erk" else [1 - sparsity] * len(shapes)
    return {name: max(1, round(density * sizes[name])) for name, density in zip(sizes, densities, strict=True)}


def erk(shapes: Sequence[tuple[int, int]], density: float) -> list[float]:
    """Densities by size: proportional to (units + links) / (units x links), 1 at most, and as asked for in all.

    Small layers are kept denser; most links are in large ones.

    Args:
        shapes: units and links into a unit, of each layer.
        density: share kept in all.

    Reference: Evci2020. Differs from the paper: a convolution counts as the matrix it is, kernel and channels together.
    """
    sizes = [units * links for units, links in shapes]
    share = [(units + links) / (units * links) for units, links in shapes]

    def kept(scale: float) -> float:
        return sum(min(1.0, scale * one) * size for one, size in zip(share, sizes, strict=True))

    scale = _bisect(lambda c: kept(c / (1 - c) if c < 1 else float("inf")) >= density * sum(sizes))
    scale = scale / (1 - scale) if scale < 1 else float("inf")
    return [min(1.0, scale * one) for one in share]


def _bisect(enough: Callable[[float], bool]) -> float:
    """The least number in (0, 1] that is enough, by halving."""
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _global_counts(scores: Mapping[str, Scores], total: int) -> dict[str, LinkCount]:
    """Links of each layer among the highest of all; at least one of each, or nothing would pass."""
    every = torch.cat([one.reshape(-1) for one in scores.values()])
    kept = top_k_mask(every[None], total)[0].split([one.numel() for one in scores.values()])
    return {name: max(1, int(part.sum())) for name, part in zip(scores, kept, strict=True)}


def _total_count(count: LinkCount) -> int:
    return count if isinstance(count, int) else int(count.sum())
