"""Ranks in which numbers that differ by rounding are equal."""

import torch

from vesalius.core.near_ties import descending_order, rank_with_ties


def test_numbers_that_differ_by_rounding_share_a_rank():
    values = torch.tensor([1.0, 3.0, 1.0 + 1e-6, 2.0, 3.0 - 1e-6, -1e-9, 0.0])
    assert rank_with_ties(values).tolist() == [2, 0, 2, 1, 0, 3, 3]
    assert len(set(rank_with_ties(values, rounding=0.0).tolist())) == len(values)


def test_those_that_tie_keep_their_order_whatever_the_last_digits_are():
    values = torch.tensor([0.5, 2.0, 0.5, 0.1, 2.0])
    for seed in range(5):
        moved = values * (1 + 1e-7 * torch.randn(5, generator=torch.Generator().manual_seed(seed)))
        assert descending_order(moved).tolist() == [1, 4, 0, 2, 3]


def test_many_numbers_close_together_are_not_one():
    ranks = rank_with_ties(torch.linspace(0, 1, 10_001, dtype=torch.float64), rounding=5e-4)
    assert 1500 < int(ranks.max()) < 2000, "each value is near the next, and a rank spans 5e-4 and no more"


def test_infinite_numbers_are_beyond_all_others():
    values = torch.tensor([1.0, torch.inf, -torch.inf, torch.inf, 1.0])
    assert rank_with_ties(values).tolist() == [1, 0, 2, 0, 1]
    assert rank_with_ties(torch.empty(0)).tolist() == []
