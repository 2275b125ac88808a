"""Which coalitions are asked: counts, balance, no set twice."""

from __future__ import annotations

from math import comb

import pytest
import torch

from vesalius.games.estimators import coalition_sampling

DESIGNS = [coalition_sampling.balanced_pairs, coalition_sampling.singles_first_pairs, coalition_sampling.independent_pairs]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("draw", DESIGNS)
@pytest.mark.parametrize(("players", "pairs"), [(2, 1), (3, 2), (4, 7), (5, 9), (7, 20), (10, 100), (12, 300), (49, 200)])
def test_pairs_are_as_many_as_wanted_all_different_and_none_is_an_end(draw, players, pairs):
    rows = draw(players, pairs, generator=rng())
    every = {tuple(row) for row in torch.cat([rows, ~rows]).tolist()}
    assert rows.shape == (pairs, players)
    assert len(every) == 2 * pairs
    assert all(0 < sum(row) < players for row in every)


@pytest.mark.parametrize("draw", DESIGNS)
@pytest.mark.parametrize("players", [2, 3, 4, 5, 6])
def test_more_pairs_than_exist_gives_all_of_them(draw, players):
    rows = draw(players, 10_000, generator=rng())
    every = {tuple(row) for row in torch.cat([rows, ~rows]).tolist()}
    assert len(rows) == 2 ** (players - 1) - 1
    assert len(every) == 2**players - 2


@pytest.mark.parametrize("draw", DESIGNS)
def test_the_generator_decides(draw):
    first, again, other = (draw(9, 30, generator=rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_balanced_sizes_are_equal_up_to_what_exists():
    rows = coalition_sampling.balanced_pairs(12, 200, generator=rng())
    size = torch.minimum(rows.sum(1), 12 - rows.sum(1)).bincount().tolist()
    assert size[1] == 12  # all there are
    free = (200 - 12) / 4.5  # sizes 2 to 5 count once, 6 counts half
    assert all(abs(size[s] - free) <= 1 for s in (2, 3, 4, 5))
    assert abs(size[6] - free / 2) <= 1


def test_players_appear_equally_often_within_a_size():
    rows = coalition_sampling.balanced_pairs(49, 240, generator=rng())
    of_ten = rows[rows.sum(1) == 10]
    used = of_ten.sum(0)
    assert len(of_ten) >= 9
    assert used.max() - used.min() <= 1


def test_border_comes_first():
    rows = coalition_sampling.singles_first_pairs(9, 6, generator=rng())
    assert rows.sum(1).tolist() == [1] * 6
    rows = coalition_sampling.singles_first_pairs(9, 40, generator=rng())
    assert torch.equal(rows[:9].sum(0), torch.ones(9, dtype=torch.long))
    assert rows[9:].sum(1).min() >= 2
    assert rows[9:].sum(1).max() <= 7


def test_rounding_keeps_sum_and_expectation():
    share, most = torch.tensor([0.25, 0.5, 3.75, 2.5], dtype=torch.float64), torch.tensor([1.0, 9, 4, 9], dtype=torch.float64)
    draws = torch.tensor(
        [coalition_sampling.round_keeping_sum(share, most, generator=rng(seed)) for seed in range(2000)], dtype=torch.float64
    )
    assert set(draws.sum(1).tolist()) == {7.0}
    assert ((draws - share).abs() < 1).all()
    torch.testing.assert_close(draws.mean(0), share, atol=4 * 0.5 / 2000**0.5, rtol=0)


@pytest.mark.parametrize("players", [2, 5, 6, 11])
def test_strata_add_up_to_all_pairs(players):
    strata = [coalition_sampling.pairs_of_size(players, size) for size in range(1, players // 2 + 1)]
    assert sum(strata) == 2 ** (players - 1) - 1
    assert strata[0] == (players if players > 2 else 1) == comb(players, 1) // (2 if players == 2 else 1)


@pytest.mark.parametrize("players", [3, 8, 40, 64, 65, 130])
def test_the_first_of_each_pair_is_kept_in_order(players):
    rows = torch.rand(60, players, generator=rng()) < 0.3
    rows = torch.cat([rows, ~rows[:10], rows[20:25]])
    seen, kept = set(), []
    for row in rows.tolist():
        if tuple(row) not in seen:
            kept.append(row)
        seen |= {tuple(row), tuple(not member for member in row)}
    assert coalition_sampling.drop_repeated_pairs(rows).tolist() == kept


def test_independent_pairs_have_sizes_spread_evenly():
    size = coalition_sampling.independent_pairs(30, 600, generator=rng()).sum(1)
    assert all(abs(float((size <= 30 * share).double().mean()) - share) < 0.06 for share in (0.25, 0.5, 0.75))
