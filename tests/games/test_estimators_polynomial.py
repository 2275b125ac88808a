"""The process that treats players alike against sums over all products of signs, and the regression that is read off it."""

from __future__ import annotations

from itertools import combinations
from math import comb, prod

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.games.test_estimators import rng, smooth_table, table_game, truth
from tests.reference import shapley as slow
from vesalius.games import moebius
from vesalius.games.estimators import KernelShapley, PolynomialShapley
from vesalius.games.estimators.gaussian_process.isotropic import (
    ORDERS,
    CandidateEvidence,
    ConditionedProcess,
    IsotropicCovariance,
    candidates,
    sign_products,
)
from vesalius.games.estimators.polynomial import spread_out

PROCESS = IsotropicCovariance(6, (1.0, 0.4, 0.2), 0.3)


def slow_covariance(process, s, t):
    """Of odd values of two coalitions, summed over every product of signs; the noise is that of a pair of complements."""
    alike = [1 if x == y else -1 for x, y in zip(s, t, strict=True)]
    total = 0.0
    for order, variance in zip(ORDERS, process.variances, strict=True):
        total += variance / comb(len(s), order) * sum(prod(some) for some in combinations(alike, order))
    inner = 0 < sum(s) < len(s)
    return total + process.noise * inner * ((s == t) - (s == [1 - x for x in t]))


def some_rows(seed=0):
    rows = moebius.membership(6)[33:62:2]
    return torch.cat([torch.ones(1, 6, dtype=torch.bool), rows]).double(), torch.randn(16, dtype=torch.float64, generator=rng(seed))


def dense(process, rows):
    every = [[int(x) for x in row] for row in rows.tolist()]
    return torch.tensor([[slow_covariance(process, s, t) for t in every] for s in every], dtype=torch.float64)


@pytest.mark.parametrize("players", [3, 4, 5, 9])
def test_products_of_signs_are_summed(players):
    for ones in range(players + 1):
        signs = [1] * ones + [-1] * (players - ones)
        expected = [sum(prod(some) for some in combinations(signs, k)) for k in range(6)]
        found = [float(part[ones]) for part in sign_products(players, 5)]
        assert found == pytest.approx(expected)


def test_covariances_are_those_of_all_products():
    rows, _ = some_rows()
    found = PROCESS.between(rows, rows) + torch.diag(PROCESS.noise_at(rows))
    torch.testing.assert_close(found, dense(PROCESS, rows))
    assert PROCESS.variance == pytest.approx(float(PROCESS.between(rows, rows)[0, 0]))


def test_shapley_values_of_the_process_are_those_of_its_covariances():
    rows, _ = some_rows()
    every = slow.all_coalitions(6)
    for at in (0, 3, 10):
        row = [int(x) for x in rows[at].tolist()]
        expected = slow.shapley_by_sum([slow_covariance(PROCESS, s, row) for s in every])
        torch.testing.assert_close(PROCESS.shapley(rows)[:, at], torch.tensor(expected, dtype=torch.float64))
    both = [slow.shapley_by_sum([slow_covariance(PROCESS, s, t) for s in every])[2] for t in every]
    assert PROCESS.shapley_variance() == pytest.approx(slow.shapley_by_sum(both)[2])


@pytest.mark.parametrize("players", [2, 3, 4, 5, 40])
def test_candidates_have_no_products_of_more_players_than_there_are(players):
    rows = (torch.rand(7, players, generator=rng()) < 0.5).double()
    for process in candidates(players):
        assert [variance > 0 for variance in process.variances] == [order <= players for order in ORDERS]
        assert process.between(rows, rows).diagonal().sub(process.variance).abs().max() < 1e-12


def test_what_is_read_off_is_the_process_given_its_values():
    rows, y = some_rows()
    full = dense(PROCESS, rows)
    inverse, cross = torch.linalg.inv(full), PROCESS.shapley(rows)
    errors = []
    for at in range(1, 16):  # of every value, predicted from all others
        rest = torch.arange(16) != at
        share = torch.linalg.solve(full[rest][:, rest], full[rest, at])
        errors.append((y[at] - share @ y[rest]) ** 2 / (full[at, at] - share @ full[rest, at]))
    variance = (PROCESS.shapley_variance() - (cross @ inverse * cross).sum(1)) * torch.stack(errors).mean()
    found = ConditionedProcess(PROCESS, rows).read(y)
    torch.testing.assert_close(found[0], cross @ inverse @ y, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1], variance, rtol=1e-5, atol=1e-6)


def test_evidence_is_the_density_of_values_in_the_best_unit():
    rows, y = some_rows()
    expected = []
    for process in candidates(6):
        full = dense(process, rows)
        full = full * float(y @ torch.linalg.solve(full, y)) / len(y)
        expected.append(torch.distributions.MultivariateNormal(torch.zeros(16, dtype=torch.float64), full).log_prob(y))
    found = CandidateEvidence(rows).log_density(y)
    torch.testing.assert_close(found - found[0], torch.stack(expected) - expected[0], rtol=1e-4, atol=1e-4)
    weights = CandidateEvidence(rows).weights(y)
    assert sum(weights) == pytest.approx(1)
    assert max(range(6), key=lambda at: weights[at]) == int(torch.stack(expected).argmax())


def test_it_is_far_more_precise_than_the_regression_on_single_players():
    ours, plain = [], []
    for seed in range(10):
        game, values = table_game(smooth_table(11, seed)), truth(smooth_table(11, seed))
        for found, estimator in ((ours, PolynomialShapley()), (plain, KernelShapley())):
            found.append((estimator.estimate(game, 330, generator=rng(seed)).values - values).square().mean())
    assert torch.stack(ours).mean() < 0.5 * torch.stack(plain).mean()


def test_above_its_most_pairs_it_is_the_regression_on_single_players():
    game = table_game(smooth_table(10, 0))
    found = PolynomialShapley(most_pairs=50).estimate(game, 104, generator=rng())
    assert found.provenance["estimator"] == "kernel"
    assert PolynomialShapley(most_pairs=51).estimate(game, 104, generator=rng()).provenance["estimator"] == "polynomial"


def test_samples_of_a_batch_have_the_values_that_they_have_alone():
    model = nn.Sequential(nn.Linear(14, 20), nn.Tanh(), nn.Linear(20, 1)).double()
    x = torch.randn(3, 14, dtype=torch.float64, generator=rng())
    method = vs.METHODS["shapley_value"](budget=120, estimator="polynomial")
    together = vs.attribute(model, x, method)
    for at in range(3):
        alone = vs.attribute(model, x[at : at + 1], method)
        torch.testing.assert_close(together.values[at], alone.values[0])
        torch.testing.assert_close(together.stderr[at], alone.stderr[0])


@pytest.mark.parametrize(("rows", "wanted"), [(2, 100), (101, 100), (102, 100), (5000, 100)])
def test_places_are_distinct_and_begin_with_the_first(rows, wanted):
    places = spread_out(rows, wanted)
    assert places[0] == 0
    assert places[-1] == rows - 1
    assert len(places.unique()) == len(places) == min(wanted + 1, rows)
