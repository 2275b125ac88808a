"""Indices against the definitions in their papers, against each other, and on games whose answer is known by hand."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from tests.reference import interaction_indices as slow
from vesalius.core import interaction_indices
from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.core.players import Players
from vesalius.games.moebius import dividends, membership

HIGHER = ["sii", "k_sii", "stii", "fsii"]
SUMMING = ["k_sii", "stii", "fsii"]

tables = (
    st.integers(2, 5)
    .flatmap(lambda n: st.lists(st.floats(-100, 100, width=32), min_size=1 << n, max_size=1 << n))
    .map(lambda rows: torch.tensor(rows, dtype=torch.float64))
)


def allocation(coalitions, values, base=0.0, total=None):
    """Dividends of listed coalitions; they add up unless a total is given."""
    values = torch.as_tensor(values, dtype=torch.float64)
    base = torch.full(values.shape[:-1], base, dtype=torch.float64)
    total = base + values.sum(-1) if total is None else torch.as_tensor(total, dtype=torch.float64).expand(base.shape)
    players = Players.features(torch.zeros(coalitions.shape[1]))
    return Allocation(players=players, values=values, coalitions=coalitions, base=base, total=total)


def whole(table):
    return allocation(membership(len(table).bit_length() - 1)[1:], dividends(table)[1:], float(table[0]), table[-1])


def random_table(players, seed=0):
    return torch.randn(1 << players, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def named(found):
    """{members: value}, in the order given."""
    coalitions = torch.eye(found.players.n).bool() if found.coalitions is None else found.coalitions
    return {tuple(row.nonzero().flatten().tolist()): float(value) for row, value in zip(coalitions, found.flat, strict=True)}


def same(found, expected, close=1e-10):
    assert list(found) == list(expected)
    torch.testing.assert_close(torch.tensor(list(found.values())), torch.tensor(list(expected.values())), atol=close, rtol=close)


# ---- against the definitions


@pytest.mark.parametrize("index", HIGHER)
@pytest.mark.parametrize(("players", "order"), [(1, 1), (2, 1), (2, 2), (3, 2), (4, 3), (5, 2), (5, 4), (5, 5), (6, 3)])
def test_every_index_is_its_papers_definition(index, players, order):
    table = random_table(players)
    same(named(whole(table).reduce(index, order=order)), getattr(slow, index)(table.tolist(), order), 1e-9)


@pytest.mark.parametrize("players", [1, 2, 5])
def test_banzhaf_is_the_mean_contribution(players):
    table = random_table(players)
    same(named(whole(table).reduce("banzhaf")), slow.banzhaf(table.tolist()))


def test_bernoulli_numbers_are_the_known_ones():
    found = [interaction_indices._bernoulli_number(n) for n in range(13)]
    assert found == [
        Fraction(*pair)
        for pair in [(1, 1), (-1, 2), (1, 6), (0, 1), (-1, 30), (0, 1), (1, 42), (0, 1), (-1, 30), (0, 1), (5, 66), (0, 1), (-691, 2730)]
    ]


# ---- games known by hand


@pytest.mark.slow
@given(st.integers(1, 7), st.data())
def test_a_unanimity_game(players, data):
    """One dividend d of t players: SII gives d / (t - s + 1) to each part of s members; STII gives its C(t, k) parts of k equal shares."""
    members = data.draw(st.sets(st.integers(0, players - 1), min_size=1))
    t, row = len(members), torch.zeros(1, players, dtype=torch.bool)
    row[0, list(members)] = True
    game = allocation(row, [6.0])
    for order in range(1, players + 1):
        for part, value in named(game.reduce("sii", order=order)).items():
            assert value == pytest.approx(6 / (t - len(part) + 1) if set(part) <= members else 0)
        for part, value in named(game.reduce("stii", order=order)).items():
            shared = len(part) == order and set(part) <= members
            assert value == pytest.approx(6 / comb(t, order) if shared else 6.0 * (set(part) == members))


def test_two_of_three_by_hand():
    """v = 1 where two or three are present. SII: singles 1/3, pairs 0. k-SII of order 2 the same; STII: singles 0, pairs 1/3."""
    table = torch.tensor([0, 0, 0, 1, 0, 1, 1, 1], dtype=torch.float64)
    assert named(whole(table).reduce("sii")) == pytest.approx({(0,): 1 / 3, (1,): 1 / 3, (2,): 1 / 3, (0, 1): 0, (0, 2): 0, (1, 2): 0})
    assert named(whole(table).reduce("k_sii")) == pytest.approx(named(whole(table).reduce("sii")))
    assert named(whole(table).reduce("stii")) == pytest.approx({(0,): 0, (1,): 0, (2,): 0, (0, 1): 1 / 3, (0, 2): 1 / 3, (1, 2): 1 / 3})


# ---- algebra


@given(tables, st.data())
def test_indices_that_claim_it_add_up(table, data):
    order = data.draw(st.integers(1, len(table).bit_length() - 1))
    for index in ("shapley", *SUMMING):
        found = whole(table).reduce(index, order=None if index == "shapley" else order)
        assert abs(float(found.gap)) <= 1e-9 * (1 + float(table.abs().max()))


@given(tables)
def test_at_order_one_every_index_is_the_shapley_value(table):
    expected = whole(table).reduce("shapley").values
    for index in HIGHER:
        found = whole(table).reduce(index, order=1)
        assert found.coalitions is None
        torch.testing.assert_close(found.values, expected, atol=1e-10, rtol=1e-10)


@given(tables)
def test_at_the_highest_order_nothing_is_shared_out(table):
    """k-SII, STII and FSII of order n are the dividends."""
    game = whole(table)
    expected = named(game)
    for index in SUMMING:
        found = named(game.reduce(index, order=game.players.n))
        assert found == pytest.approx({members: expected[members] for members in found}, abs=1e-9)


@given(tables, st.data())
def test_equal_shares_of_an_index_that_adds_up_are_the_shapley_values(table, data):
    order = data.draw(st.integers(2, len(table).bit_length() - 1))
    for index in SUMMING:
        found = whole(table).reduce(index, order=order).reduce("shapley")
        torch.testing.assert_close(found.values, whole(table).reduce("shapley").values, atol=1e-9, rtol=1e-9)
        assert found.provenance["index"] == "shapley"


@given(tables, st.floats(-3, 3), st.sampled_from(HIGHER))
def test_indices_are_linear(table, scale, index):
    other = table.flip(0)
    both, one, two = (whole(t).reduce(index).values for t in (table + scale * other, table, other))
    torch.testing.assert_close(both, one + scale * two, atol=1e-9, rtol=1e-9)


def test_a_game_of_low_order_is_its_own_index():
    """Where no coalition of more than k players has a dividend, k-SII, STII and FSII give the dividends back."""
    members = membership(5)[1:]
    kept = members[members.sum(1) <= 2]
    game = allocation(kept, torch.randn(len(kept), dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    for index in SUMMING:
        assert named(game.reduce(index)) == pytest.approx({m: named(game)[m] for m in named(game.reduce(index))})


@settings(max_examples=25)
@given(st.integers(3, 9), st.integers(1, 40), st.integers(0, 1000), st.data())
def test_looking_and_transforming_agree(players, count, seed, data):
    """The two ways to sum over supersets, on the same list, with a batch."""
    generator = torch.Generator().manual_seed(seed)
    rows = membership(players)[1:]
    rows = rows[torch.randperm(len(rows), generator=generator)[:count]]
    values = torch.randn(3, len(rows), dtype=torch.float64, generator=generator)
    order = data.draw(st.integers(1, min(4, players)))
    scale = interaction_indices.index_weights("k_sii", order, players)
    wanted = interaction_indices._subsets(players, order, values.device)
    one, other = (
        torch.cat(way(rows, values, scale, wanted), 1)
        for way in (interaction_indices._sum_by_enumeration, interaction_indices._sum_by_transform)
    )
    torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def test_a_batch_is_many_games():
    tables = torch.stack([random_table(4, seed) for seed in range(6)]).reshape(2, 3, 16)
    values = torch.stack([dividends(table)[1:] for table in tables.reshape(6, 16)]).reshape(2, 3, 15)
    together = allocation(membership(4)[1:], values).reduce("fsii", order=3)
    assert together.values.shape == (2, 3, 14)
    torch.testing.assert_close(together.values[1, 2], whole(tables[1, 2]).reduce("fsii", order=3).values)
    singles = allocation(membership(4)[1:], values).reduce("shapley")
    torch.testing.assert_close(singles.values[0, 1], whole(tables[0, 1]).reduce("shapley").values)


def test_many_players_with_few_coalitions():
    """64 players, where no table of all coalitions can be made: a triple of 3 and a pair of 1."""
    rows = torch.zeros(2, 64, dtype=torch.bool)
    rows[0, [3, 40, 63]] = rows[1, [3, 5]] = True
    found = allocation(rows, [3.0, 1.0]).reduce("k_sii")
    assert len(found.coalitions) == 64 + 64 * 63 // 2
    expected = {(3,): -0.5, (40,): -0.5, (63,): -0.5, (3, 5): 1.0, (3, 40): 1.5, (3, 63): 1.5, (40, 63): 1.5}
    assert {members: value for members, value in named(found).items() if abs(value) > 1e-12} == pytest.approx(expected)
    assert allocation(rows, [3.0, 1.0]).reduce("shapley").values[[3, 5, 40]].tolist() == pytest.approx([1.5, 0.5, 1.0])


def test_values_come_in_the_shape_of_the_players_and_in_their_precision():
    rows = membership(4)[1:]
    values = torch.arange(15.0)
    base = torch.tensor(0.0)
    game = Allocation(players=Players.features(torch.zeros(2, 2)), values=values, coalitions=rows, base=base, total=values.sum())
    found = game.reduce("sii", order=1)
    assert (found.values.shape, found.values.dtype, found.stderr) == ((2, 2), torch.float32, None)
    assert game.reduce("sii").values.dtype == torch.float32


# ---- what is refused


def test_an_index_of_an_index_is_refused_unless_it_is_right():
    game = whole(random_table(4))
    found = game.reduce("sii")
    with pytest.raises(InvalidInput, match="'sii' already, from which 'shapley' does not follow"):
        found.reduce("shapley")
    with pytest.raises(InvalidInput, match="'k_sii' already, from which 'fsii'"):
        game.reduce("k_sii").reduce("fsii")
    assert found.reduce("sii") is found
    assert game.reduce("sii", order=1).reduce("k_sii", order=1) is not None


@pytest.mark.parametrize(
    ("index", "order", "message"),
    [
        ("sii", 0, "an order of 0; with 3 players it is between 1 and 3"),
        ("fsii", 4, "an order of 4; with 3 players"),
        ("shapley", 2, "'shapley' is for single players.*'k_sii'"),
        ("banzhaf", 3, "'banzhaf' is for single players"),
    ],
)
def test_orders_that_do_not_exist_are_refused(index, order, message):
    with pytest.raises(InvalidInput, match=message):
        whole(random_table(3)).reduce(index, order=order)


def test_an_unknown_index_offers_the_near_ones():
    with pytest.raises(UnknownName, match="'k_sii'"):
        whole(random_table(3)).reduce("ksii")


def test_an_attribution_has_no_interactions():
    found = whole(random_table(3)).reduce("shapley")
    assert found.reduce("banzhaf") is found
    with pytest.raises(InvalidInput, match="'sii' of order 2 is made of dividends; this allocation has one value per player"):
        found.reduce("sii")
