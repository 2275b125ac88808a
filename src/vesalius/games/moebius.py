"""Exact values of small games: the Moebius transform and what follows from it.

A game on n players is stored as a flat table of 2**n values, where bit i of an index says whether player i is present. The Moebius
transform turns values into *dividends* (Harsanyi 1959), the effect each coalition adds beyond its parts; every index of the Shapley family
is a weighting of that one vector, so nothing else in this package enumerates coalitions.

Axes: S coalitions (2**n), P players (n), * anything carried along (outputs, samples).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from vesalius.core.errors import InvalidInput, TooManyPlayers

MAX_PLAYERS = 24  # 2**24 float64 values are 128 MiB; the transform is in place


def dividends(values: Float[Tensor, "S *out"]) -> Float[Tensor, "S *out"]:
    """Harsanyi dividends of every coalition.

    Args:
        values: v(S) in index order, in any unit; float64 is advised, since rounding grows as 2**(|S|/2).

    Returns:
        d with v(S) = sum of d(T) over T within S, in the unit of ``values``; d[0] is v(empty).

    Raises:
        TooManyPlayers: above ``MAX_PLAYERS``.
        InvalidInput: if the first axis is not a power of two.

    Reference: Deng2024, theorem 1; the butterfly is Yates1937.
    """
    return dividends_(values.clone(memory_format=torch.contiguous_format))


def dividends_(values: Float[Tensor, "S *out"]) -> Float[Tensor, "S *out"]:
    """As :func:`dividends`, written over the values: no memory beyond the table.

    Raises:
        InvalidInput: if the table is not contiguous, or its first axis not a power of two.
        TooManyPlayers: above ``MAX_PLAYERS``.
    """
    if not values.is_contiguous():
        raise InvalidInput("a table that is not contiguous cannot be transformed in place; use dividends(), or .contiguous() first")
    for absent, present in _halves_per_player(values):
        present -= absent
    return values


def values_from_dividends(dividend: Float[Tensor, "S *out"]) -> Float[Tensor, "S *out"]:
    """The game with the given dividends: v(S) = sum of d(T) over T within S. The inverse of :func:`dividends`.

    Raises: as :func:`dividends`.
    """
    table = dividend.clone(memory_format=torch.contiguous_format)
    for absent, present in _halves_per_player(table):
        present += absent
    return table


def shapley_values(dividend: Float[Tensor, "S *out"]) -> Float[Tensor, "P *out"]:
    """Shapley values: every coalition's dividend, shared equally among its members.

    Raises: as :func:`dividends`.

    Reference: Shapley1953; equation 9 of Deng2024.
    """
    players = player_count(dividend)
    share = dividend / coalition_sizes(players).clamp_min(1).to(dividend).view(-1, *[1] * (dividend.dim() - 1))
    # One half of the table per player, as a view: a membership matrix would take n times the memory of the game.
    return torch.stack([present.sum((0, 1)) for _, present in _halves_per_player(share)]) if players else dividend[:0]


def membership(players: int) -> Bool[Tensor, "S P"]:
    """Whether player i is in coalition S, for all coalitions in index order."""
    member = torch.zeros(1 << players, players, dtype=torch.bool)
    for player, (_, present) in enumerate(_halves_per_player(member)):
        present[..., player] = True
    return member


def coalition_sizes(players: int) -> Float[Tensor, " S"]:
    """How many members each coalition has, in index order."""
    count = torch.zeros(1, dtype=torch.float32)
    for _ in range(players):
        count = torch.cat([count, count + 1])
    return count


def player_count(table: Shaped[Tensor, "S *out"]) -> int:
    """Number of players of a table, checked."""
    rows = len(table)
    if rows.bit_count() != 1:
        raise InvalidInput(f"a game's table has 2**n rows, one per coalition; this one has {rows}")
    players = rows.bit_length() - 1
    if players > MAX_PLAYERS:
        raise TooManyPlayers(players, MAX_PLAYERS, hint="group players, or use an estimator from games.estimators")
    return players


def _halves_per_player(table: Shaped[Tensor, "S *out"]) -> list[tuple[Tensor, ...]]:
    """For every player, views of the table without and with that player."""
    return [table.view(-1, 2, 1 << player, *table.shape[1:]).unbind(1) for player in range(player_count(table))]
