"""Why a link stays: its place among the links of its layer, and the sets that an importance level makes of them.

Axes: U units, F links into a unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.numbers import Limit, real_number
from vesalius.sparsity.pruning.allocation import count_for_level, top_k_mask


@dataclass(frozen=True, kw_only=True)
class LinkRank:
    """Where a link stands in its layer.

    Attributes:
        layer: its name.
        index: of the link, in the weight's own shape.
        importance: of the link.
        share: of the layer's importance that it is.
        rank: among the links of the layer, from 1.
        links: of the layer.
        level: share of the layer's importance that stronger links carry: the link belongs to the important ones at every importance level
            above it.
        kept: whether it stayed where the layer was pruned; ``None`` where it was not.
    """

    layer: str
    index: tuple[int, ...]
    importance: float
    share: float
    rank: int
    links: int
    level: float
    kept: bool | None = None

    def __str__(self) -> str:
        done = {None: "", True: " It stayed.", False: " It was cut."}[self.kept]
        return (
            f"Link {list(self.index)} of {self.layer} is number {self.rank:,} of {self.links:,} and carries {self.share:.2%} of the layer's"
            f" importance; the stronger ones carry {self.level:.1%}, so that it is among the important ones at levels above that.{done}"
        )


def rank_link(layer: str, scores: Float[Tensor, "..."], index: Sequence[int], mask: Bool[Tensor, "..."] | None = None) -> LinkRank:
    """Where a link stands.

    Args:
        layer: its name.
        scores: of all its links, in the weight's shape, 0 or more.
        index: of the link, one number for each axis of the weight.
        mask: of the links that stayed.

    Raises:
        InvalidInput: no such link; a score below 0.
    """
    place = tuple(index)
    if len(place) != scores.ndim or any(
        not isinstance(one, int) or not 0 <= one < side for one, side in zip(place, scores.shape, strict=True)
    ):
        raise InvalidInput(f"the links of {layer!r} have the weight's shape {list(scores.shape)}, and {list(place)} is no place in it")
    flat = _shares(layer, scores)
    at = _element_number(place, scores.shape)
    order = flat.sort(descending=True, stable=True).indices
    rank = int((order == at).nonzero())
    return LinkRank(
        layer=layer, index=place, importance=float(scores[place]), share=float(flat[at]), rank=rank + 1, links=flat.numel(),
        level=float(flat[order[:rank]].sum()), kept=None if mask is None else bool(mask[place]),
    )  # fmt: skip


def important_links(layer: str, scores: Float[Tensor, "..."], level: float) -> Bool[Tensor, "..."]:
    """The fewest links of a layer that carry a share of its importance; the others are the second set.

    Args:
        layer: its name.
        scores: of all its links, 0 or more.
        level: the share, in (0, 1].

    Reference: Rhee2023.

    Raises:
        InvalidInput: a level out of range; a score below 0.
    """
    share = real_number("importance_level", level, Limit(above=0, most=1))
    flat = _shares(layer, scores)[None]
    return top_k_mask(flat, int(count_for_level(flat, share))).reshape(scores.shape)


def _shares(layer: str, scores: Float[Tensor, "..."]) -> Tensor:
    flat = scores.detach().double().flatten()
    if float(flat.min()) < 0:
        raise InvalidInput(f"the scores of {layer!r} go below 0, and their shares of a total say nothing; use a score of 0 or more")
    found: Tensor = flat / flat.sum().clamp_min(1e-300)
    return found


def _element_number(place: Sequence[int], shape: Sequence[int]) -> int:
    """The number of an element, rows first."""
    found = 0
    for one, side in zip(place, shape, strict=True):
        found = found * side + one
    return found
