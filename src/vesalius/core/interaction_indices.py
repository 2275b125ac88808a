"""Interaction indices as weights on dividends: I(S) = sum of w(|S|, |T|) d(T) over the coalitions T that contain S.

Every index of the Shapley family has this form; they differ in ``w`` alone, which is exact arithmetic on sizes. Summing over supersets is a
fast transform where the listed coalitions are most of all there are, and a look at each listed one where they are few.

Axes: B batch, K coalitions listed, C coalitions of the index, P players.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import comb
from numbers import Integral

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vesalius.core.errors import InvalidInput, UnknownName

DIVIDENDS = "dividend"
"""What an allocation's values are said to be where they are not an index of something."""
MAX_TABLE_PLAYERS = 24  # players for which a table of all coalitions is made: 128 MiB in float64
PAIRS_PER_BLOCK = 1 << 22  # pairs of a listed coalition and a candidate looked at together


@dataclass(frozen=True)
class InteractionIndex:
    """One index.

    Attributes:
        weight: w(s, t, k): what a coalition of s players gets of the dividend of one of t >= s players around it, at order k.
        order: up to which size coalitions have values, where nobody says so.
        single: whether it is defined for single players alone.
        sums_to_shapley: whether equal shares of its values are the Shapley values, as those of dividends are.
    """

    weight: Callable[[int, int, int], Fraction]
    order: int = 2
    single: bool = False
    sums_to_shapley: bool = False


def _sii_weight(s: int, t: int, k: int) -> Fraction:
    return Fraction(1, t - s + 1)


def _banzhaf_weight(s: int, t: int, k: int) -> Fraction:
    return Fraction(1, 2 ** (t - s))


def _k_sii_weight(s: int, t: int, k: int) -> Fraction:
    """SII of the sets of s + j players within T, weighted by Bernoulli numbers."""
    return sum((_bernoulli_number(j) * comb(t - s, j) * _sii_weight(s + j, t, k) for j in range(min(k, t) - s + 1)), Fraction(0))


def _stii_weight(s: int, t: int, k: int) -> Fraction:
    return Fraction(int(s == t)) if s < k else Fraction(1, comb(t, k))


def _fsii_weight(s: int, t: int, k: int) -> Fraction:
    if t <= k:
        return Fraction(int(s == t))
    size = Fraction(s, k + s) * comb(k, s) * Fraction(comb(t - 1, k), comb(t + k - 1, k + s))
    return -size if (k - s) % 2 else size


@cache
def _bernoulli_number(n: int) -> Fraction:
    """The n-th Bernoulli number, with B1 = -1/2."""
    return -sum((comb(n + 1, j) * _bernoulli_number(j) for j in range(n)), Fraction(0)) / (n + 1) if n else Fraction(1)


INDICES: Mapping[str, InteractionIndex] = {
    "shapley": InteractionIndex(_sii_weight, order=1, single=True),
    "banzhaf": InteractionIndex(_banzhaf_weight, order=1, single=True),
    "sii": InteractionIndex(_sii_weight),
    "k_sii": InteractionIndex(_k_sii_weight, sums_to_shapley=True),
    "stii": InteractionIndex(_stii_weight, sums_to_shapley=True),
    "fsii": InteractionIndex(_fsii_weight, sums_to_shapley=True),
}
"""Indices by name. Reference: Shapley1953, Banzhaf1965, Grabisch1999 (sii), Bordt2023 (k_sii), Sundararajan2020 (stii), Tsai2023 (fsii)."""


def resolve_order(index: str, order: int | None, players: int) -> int:
    """The order that is meant, checked.

    Raises:
        UnknownName: no such index.
        InvalidInput: an order that the index, or so few players, do not have.
    """
    if index not in INDICES:
        raise UnknownName("index", index, INDICES)
    known = INDICES[index]
    if order is None:
        return min(known.order, players)
    if known.single and order != 1:
        raise InvalidInput(f"{index!r} is for single players, so its order is 1, not {order}; 'sii' and 'k_sii' have higher orders")
    if not isinstance(order, Integral) or not 1 <= order <= players:
        raise InvalidInput(f"an order of {order}; with {players} players it is between 1 and {players}")
    return order


def check_reducible(made: str, index: str) -> None:
    """Refuse to take an index of what is an index already, save where the result is known to be right.

    Raises:
        InvalidInput: such an index would be of another game.
    """
    if made == DIVIDENDS or (index == "shapley" and made in INDICES and INDICES[made].sums_to_shapley):
        return
    raise InvalidInput(f"these values are {made!r} already, from which {index!r} does not follow; reduce the dividends they were made of")


def index_weights(index: str, order: int, players: int) -> Float[Tensor, "s t"]:
    """w(s, t) for s up to the order and t up to all players, in float64; 0 where t < s, and in row and column 0."""
    weight = INDICES[index].weight
    rows = [[float(weight(s, t, order)) if 1 <= s <= t else 0.0 for t in range(players + 1)] for s in range(order + 1)]
    return torch.tensor(rows, dtype=torch.float64)


def compute_index(
    coalitions: Bool[Tensor, "K P"], values: Float[Tensor, "B K"], index: str, order: int
) -> tuple[Bool[Tensor, "C P"], Float[Tensor, "B C"]]:
    """An index of all coalitions of up to ``order`` players.

    Args:
        coalitions: those with a dividend; the others' are 0.
        values: their dividends, in any unit.
        index: a key of ``INDICES``.
        order: between 1 and the number of players.

    Returns:
        The coalitions, by size and then in lexicographic order, and their values in float64, in the unit of the dividends.
    """
    players = coalitions.shape[1]
    coalitions, dividend = coalitions.to(values.device), values.double()
    scale = index_weights(index, order, players).to(values.device)
    wanted = _subsets(players, order, values.device)
    candidates = sum(len(members) for members in wanted)
    dense = players <= MAX_TABLE_PLAYERS and len(coalitions) * candidates >= 1 << players
    each = (_sum_by_transform if dense else _sum_by_enumeration)(coalitions, dividend, scale, wanted)
    return torch.cat([_members_to_masks(members, players) for members in wanted]), torch.cat(each, 1)


def _sum_by_transform(
    coalitions: Bool[Tensor, "K P"], dividend: Float[Tensor, "B K"], scale: Float[Tensor, "s t"], wanted: list[Int[Tensor, "_ _"]]
) -> list[Float[Tensor, "B _"]]:
    """Sums over supersets in tables of all coalitions: n 2**n additions for each size."""
    players = coalitions.shape[1]
    bits = 2.0 ** torch.arange(players, device=dividend.device, dtype=torch.float64)
    both = torch.stack([bits, torch.ones_like(bits)], 1)  # whole numbers, which a matrix product of doubles keeps
    blocks = coalitions.split(PAIRS_PER_BLOCK // 64)
    place, size = torch.cat([rows.double() @ both for rows in blocks]).long().unbind(1)
    found = []
    for s, members in enumerate(wanted, start=1):
        table = dividend.new_zeros(len(dividend), 1 << players).index_add_(1, place, dividend * scale[s, size])
        for player in range(players):
            absent, present = table.view(-1, 2, 1 << player).unbind(1)
            absent += present
        found.append(table[:, (1 << members).sum(1)])
    return found


def _sum_by_enumeration(
    coalitions: Bool[Tensor, "K P"], dividend: Float[Tensor, "B K"], scale: Float[Tensor, "s t"], wanted: list[Int[Tensor, "_ _"]]
) -> list[Float[Tensor, "B _"]]:
    """Sums over the listed coalitions that contain each wanted one, in blocks."""
    size = coalitions.sum(1)
    found = []
    for s, members in enumerate(wanted, start=1):
        weighted = dividend * scale[s, size]
        blocks = members.split(max(1, PAIRS_PER_BLOCK // max(1, len(coalitions))))
        found.append(torch.cat([weighted @ coalitions[:, block].all(2).double() for block in blocks], 1))
    return found


def _subsets(players: int, order: int, device: torch.device) -> list[Int[Tensor, "_ _"]]:
    """Members of all coalitions of 1, 2, ..., ``order`` players, each in lexicographic order."""
    found = [torch.arange(players, device=device)[:, None]]
    for _ in range(order - 1):
        smaller = found[-1]
        last = smaller[:, -1]
        larger = players - 1 - last  # players that may follow
        first = (larger.cumsum(0) - larger).repeat_interleave(larger)
        following = last.repeat_interleave(larger) + 1 + torch.arange(len(first), device=device) - first
        found.append(torch.cat([smaller.repeat_interleave(larger, 0), following[:, None]], 1))
    return found


def _members_to_masks(members: Int[Tensor, "C s"], players: int) -> Bool[Tensor, "C P"]:
    masks = torch.zeros(len(members), players, dtype=torch.bool, device=members.device)
    return masks.scatter_(1, members, True)
