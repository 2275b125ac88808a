"""Which links may stay together: any, so many of every few neighbours, or whole blocks.

Axes: U units, F links into a unit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.sparsity.links import Links
from vesalius.sparsity.pruning.allocation import LinkCount, top_k_mask

SCOPES = ("layer", "row", "global")
"""Words for the links that compete; besides, patterns such as ``2:4`` and ``4x1``."""


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """What masks look like.

    Attributes:
        neighbours: (n, m), where of every m neighbours n stay.
        block: units and links of the blocks that stay or go as one.
    """

    neighbours: tuple[int, int] | None = None
    block: tuple[int, int] = (1, 1)

    @classmethod
    def of(cls, scope: str) -> Pattern:
        """Read from a scope: ``"2:4"``, ``"4x1"``; any other word is no pattern.

        Raises:
            UnknownName: neither a scope nor a pattern.
            InvalidInput: a pattern that keeps nothing, or everything.
        """
        if scope in SCOPES:
            return cls()
        found = re.fullmatch(r"(\d+)([:x])(\d+)", scope)
        if found is None:
            raise UnknownName("scope", scope, (*SCOPES, "2:4", "4x1"))
        first, second = int(found[1]), int(found[3])
        if found[2] == ":":
            if not 0 < first < second:
                raise InvalidInput(f"scope={scope!r} keeps {first} of every {second} neighbours; give from 1 to {max(1, second - 1)}")
            return cls(neighbours=(first, second))
        if not first * second:
            raise InvalidInput(f"scope={scope!r} is a block of units by links, 1 or more each, such as '4x1'")
        return cls(block=(first, second))

    @property
    def sparsity(self) -> float | None:
        """The share that the pattern itself prunes; ``None`` where it leaves that open."""
        return None if self.neighbours is None else 1 - self.neighbours[0] / self.neighbours[1]

    def mask(
        self, links: Links, scores: Float[Tensor, "U F"], count: LinkCount, among: Bool[Tensor, "U F"] | None = None, share: float = 1.0
    ) -> Bool[Tensor, "U F"]:
        """The links that stay: the highest scores that fit.

        Args:
            links: whose scores they are.
            scores: of them.
            count: how many stay, in all or of each unit; a pattern of neighbours has its own.
            among: links to choose from; all by default.
            share: of the way to a pattern of neighbours, in (0, 1]; on the way more of them stay.
        """
        if self.neighbours is not None:
            return self._of_neighbours(links, scores, among, share)
        if self.block != (1, 1):
            return self._of_blocks(scores, count, among)
        return top_k_mask(scores, count, among)

    def groups(self, links: Links) -> list[tuple[int, int, int]]:
        """Of a pattern of neighbours, the first and last place of each group and how many stay, with inputs in order of the kernel's places
        and then of channels; none for other patterns."""
        if self.neighbours is None:
            return []
        n, m = self.neighbours
        channels = links.fan_in // links.kernel
        starts = [(place * channels, start) for place in range(links.kernel) for start in range(0, channels, m)]
        sizes = [min(m, channels - start) for _, start in starts]
        return [(at + start, at + start + size, -(-size * n // m)) for (at, start), size in zip(starts, sizes, strict=True)]

    def _of_neighbours(
        self, links: Links, scores: Float[Tensor, "U F"], among: Bool[Tensor, "U F"] | None, share: float
    ) -> Bool[Tensor, "U F"]:
        """Neighbours are input channels at the same place of a kernel, as hardware multiplies them; of a rest of fewer, as large a part."""
        assert self.neighbours is not None
        n, m = self.neighbours
        kept = max(n, round(m * (n / m) ** share))
        low = torch.finfo(scores.dtype).min
        allowed = scores if among is None else torch.where(among, scores, low)
        table = allowed.unflatten(1, (-1, links.kernel)).transpose(1, 2)
        rest = -table.shape[2] % m
        groups = pad(table, (0, rest), value=-torch.inf).unflatten(2, (-1, m))
        order = groups.argsort(dim=3, descending=True, stable=True)
        ranks = torch.empty_like(order).scatter_(3, order, torch.arange(m, device=order.device).expand_as(order))
        most = torch.full((groups.shape[2], 1), kept, device=order.device)
        if rest:
            most[-1] = -(-(m - rest) * kept // m)
        found = (ranks < most).flatten(2)[..., : table.shape[2]].transpose(1, 2).flatten(1)
        return found if among is None else found & among

    def _of_blocks(self, scores: Float[Tensor, "U F"], count: LinkCount, among: Bool[Tensor, "U F"] | None) -> Bool[Tensor, "U F"]:
        """Blocks with the highest mean score; at the ends of a matrix they are cut off."""
        high, wide = self.block
        if not isinstance(count, int):
            raise InvalidInput("blocks of links compete within a layer, not within a unit")
        sizes = _block_sums(torch.ones_like(scores), high, wide)
        means = _block_sums(scores, high, wide) / sizes
        alive = None if among is None else _block_sums(among.to(scores), high, wide) > 0
        order = means.flatten().argsort(dim=0, descending=True, stable=True) if alive is None else _order_among(means, alive)
        held = sizes.flatten()[order].cumsum(0)
        blocks = max(1, int((held <= count + 0.5 * high * wide).sum()))
        chosen = torch.zeros_like(means, dtype=torch.bool).flatten()
        chosen[order[:blocks]] = True
        found = chosen.reshape(means.shape).repeat_interleave(high, 0).repeat_interleave(wide, 1)[: scores.shape[0], : scores.shape[1]]
        return found if among is None else found & among


def _order_among(means: Tensor, alive: Tensor) -> Tensor:
    """Blocks by score, those that are gone last."""
    return torch.where(alive, means, -torch.inf).flatten().argsort(dim=0, descending=True, stable=True)


def _block_sums(matrix: Float[Tensor, "U F"], high: int, wide: int) -> Float[Tensor, "_ _"]:
    """Sums over blocks."""
    padded = pad(matrix, (0, -matrix.shape[1] % wide, 0, -matrix.shape[0] % high))
    sums: Tensor = padded.unflatten(0, (-1, high)).unflatten(2, (-1, wide)).sum((1, 3))
    return sums
