"""Coalitions chosen for what they tell: the choice against conditioning again for every candidate, and what it buys."""

from __future__ import annotations

import pytest
import torch

from tests.reference import shapley as slow
from vesalius.games.estimators.adaptive import candidate_coalitions, select_most_informative
from vesalius.games.estimators.gaussian_process.covariance import Covariance
from vesalius.games.estimators.gaussian_process.posterior import condition


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(4))
def test_choices_are_those_that_lower_the_variance_most(seed):
    """Greedy choice by brute force: condition on every candidate in turn and take the one with the least summed variance."""
    covariance = Covariance(torch.randn(11, dtype=torch.float64, generator=rng(seed)), odd=False)
    every = torch.tensor(slow.all_coalitions(5), dtype=torch.float64)
    known, pool = every[[0, 31, 7, 16]], every[1:31][torch.randperm(30, generator=rng(seed))[:12]]
    pool = pool[[row.tolist() not in known.tolist() for row in pool]]
    expected, rows = [], known
    for _ in range(4):
        left = [at for at in range(len(pool)) if at not in expected]
        more = {at: torch.cat([rows, pool[at : at + 1]]) for at in left}
        variance = {at: condition(covariance, more[at], torch.zeros(len(rows) + 1).double()).variance.sum() for at in left}
        best = min(left, key=lambda at: float(variance[at]))
        expected.append(best)
        rows = torch.cat([rows, pool[best : best + 1]])
    assert select_most_informative(covariance, known, pool, 4) == expected


def test_choices_are_all_different_even_when_all_are_wanted():
    covariance = Covariance(torch.randn(10, dtype=torch.float64, generator=rng(1)), odd=False)
    every = torch.tensor(slow.all_coalitions(4), dtype=torch.float64)
    assert sorted(select_most_informative(covariance, every[[0, 15]], every[1:15], 99)) == list(range(14))


@pytest.mark.parametrize("players", [3, 6, 10, 11, 20])
def test_candidates_are_new_different_and_enough(players):
    rows = torch.cat([torch.zeros(1, players), torch.ones(1, players), 1 - torch.eye(players)]).bool()
    wanted = min(2 * players, 2**players - len(rows))
    pool = candidate_coalitions(rows, wanted, generator=rng())
    every = {tuple(row) for row in torch.cat([rows, pool]).tolist()}
    assert len(every) == len(rows) + len(pool)
    assert len(pool) >= wanted
