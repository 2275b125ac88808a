"""Exact games against the definitions, written with loops, and against games whose truth is known by construction."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from tests.reference import shapley as slow
from vesalius.core.errors import InvalidInput, TooManyPlayers
from vesalius.games import moebius

tables = (
    st.integers(0, 6)
    .flatmap(lambda n: st.lists(st.floats(-100, 100, width=32), min_size=1 << n, max_size=1 << n))
    .map(lambda rows: torch.tensor(rows, dtype=torch.float64))
)


@given(tables)
def test_dividends_match_the_definition(values):
    torch.testing.assert_close(moebius.dividends(values).tolist(), slow.dividends(values.tolist()))


@given(tables)
def test_values_of_undoes_dividends(values):
    torch.testing.assert_close(moebius.values_from_dividends(moebius.dividends(values)), values, atol=1e-9, rtol=0)


@given(tables)
def test_shapley_matches_all_orders_and_adds_up(values):
    shapley = moebius.shapley_values(moebius.dividends(values))
    torch.testing.assert_close(shapley.tolist(), slow.shapley_by_orders(values.tolist()), atol=1e-10, rtol=0)
    torch.testing.assert_close(shapley.sum(), values[-1] - values[0], atol=1e-10, rtol=0)


@pytest.mark.parametrize("players", [7, 8])
def test_shapley_matches_all_orders_of_more_players(players):
    values = torch.randn(1 << players, dtype=torch.float64, generator=torch.Generator().manual_seed(players))
    expected = torch.tensor(slow.shapley_by_orders(values.tolist()), dtype=torch.float64)
    torch.testing.assert_close(moebius.shapley_values(moebius.dividends(values)), expected, atol=1e-10, rtol=0)


def test_unanimity_game_has_one_dividend():
    """v(S) = 5 if S contains players 0 and 2, else 0."""
    values = torch.tensor([5.0 if s & 0b101 == 0b101 else 0.0 for s in range(16)])
    assert moebius.dividends(values).nonzero().flatten().tolist() == [0b101]
    assert moebius.shapley_values(moebius.dividends(values)).tolist() == [2.5, 0, 2.5, 0]


def test_outputs_are_carried_along():
    values = torch.randn(16, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    together = moebius.shapley_values(moebius.dividends(values))
    assert together.shape == (4, 3, 2)
    torch.testing.assert_close(together[:, 1, 1], moebius.shapley_values(moebius.dividends(values[:, 1, 1].clone())))


def test_dividends_leave_their_input_alone():
    values = torch.arange(8.0)
    moebius.dividends(values)
    moebius.values_from_dividends(values)
    assert values.tolist() == list(range(8))


@given(tables)
def test_in_place_is_the_same_and_in_place(values):
    expected = moebius.dividends(values)
    found = moebius.dividends_(values)
    assert found is values
    assert torch.equal(values, expected)


def test_a_table_that_is_not_contiguous_is_not_changed_in_place():
    values = torch.arange(32.0).reshape(16, 2)
    with pytest.raises(InvalidInput, match="not contiguous"):
        moebius.dividends_(values.T[0])
    with pytest.raises(InvalidInput, match="not contiguous"):
        moebius.dividends_(values[:, :1])
    assert torch.equal(values, torch.arange(32.0).reshape(16, 2))


def test_membership_and_sizes_follow_index_order():
    member = moebius.membership(4)
    assert member.tolist() == [[bool(x) for x in row] for row in slow.all_coalitions(4)]
    assert moebius.coalition_sizes(4).tolist() == member.sum(1).tolist()
    assert moebius.coalition_sizes(4).long().bincount().tolist() == [1, 4, 6, 4, 1]


@pytest.mark.parametrize("rows", [0, 3, 12])
def test_a_table_that_is_no_power_of_two_is_refused(rows):
    with pytest.raises(ValueError, match=f"2\\*\\*n rows.*{rows}"):
        moebius.dividends(torch.zeros(rows))


def test_too_many_players_are_refused():
    with pytest.raises(TooManyPlayers, match="25 players, but at most 24"):
        moebius.player_count(torch.empty(1).expand(1 << 25))
