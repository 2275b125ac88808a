"""The Gaussian process against its definition: kernel, Shapley read-off, prior variance and posterior, all by enumeration."""

from __future__ import annotations

import pytest
import torch

from tests.reference import shapley as slow
from vesalius.games.estimators.gaussian_process.covariance import (
    Covariance,
    gauss_legendre,
    indicator_shapley,
    noise_variance,
    parameter_prior,
)
from vesalius.games.estimators.gaussian_process.posterior import condition, fit_covariance, observed_covariance
from vesalius.games.estimators.surrogate import leave_pair_out_errors

PLAYERS = [1, 2, 3, 4, 5]


def some_parameters(players, seed=0, centre=0.3):
    generator = torch.Generator().manual_seed(seed)
    parameters = torch.randn(6 + players, generator=generator, dtype=torch.float64)
    parameters[4] = torch.tensor(centre).logit()
    return parameters


def everything(players):
    return torch.tensor(slow.all_coalitions(players), dtype=torch.float64)


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("players", PLAYERS)
def test_covariance_is_the_formula(players, odd):
    parameters, rows = some_parameters(players), everything(players)
    expected = [[(slow.odd_covariance if odd else slow.covariance)(parameters, s, t) for t in rows.tolist()] for s in rows.tolist()]
    torch.testing.assert_close(Covariance(parameters, odd).between(rows, rows), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("centre", [0.01, 0.5, 0.9])
@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("players", PLAYERS)
def test_read_off_is_the_shapley_value_of_every_section(players, odd, centre):
    """Quadrature and noise terms against Shapley values of k(., T), T by T, summed over all coalitions."""
    parameters, rows = some_parameters(players, centre=centre), everything(players)
    full = slow.noisy_covariance(parameters, rows.tolist(), odd)
    expected = torch.stack(slow.shapley_by_sum(list(full)))
    torch.testing.assert_close(Covariance(parameters, odd).shapley(rows), expected)


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("players", PLAYERS)
def test_prior_variance_is_the_shapley_value_in_both_arguments(players, odd):
    parameters, rows = some_parameters(players), everything(players)
    full = slow.noisy_covariance(parameters, rows.tolist(), odd)
    once = torch.stack(slow.shapley_by_sum(list(full)))
    twice = torch.stack(slow.shapley_by_sum(list(once.T)))
    torch.testing.assert_close(Covariance(parameters, odd).shapley_variance(), twice.diagonal())


def test_large_rates_are_clamped_alike_everywhere():
    """A rate above 1 / (centre (1 - centre)) makes a factor negative; kernel and read-off must clamp it the same way."""
    parameters, rows = some_parameters(4, centre=0.5), everything(4)
    parameters[6:] = 3.0
    covariance = Covariance(parameters, odd=False)
    full = slow.noisy_covariance(parameters, rows.tolist(), odd=False)
    torch.testing.assert_close(covariance.between(rows, rows) + torch.diag(covariance.noise_at(rows)), full)
    torch.testing.assert_close(covariance.shapley(rows), torch.stack(slow.shapley_by_sum(list(full))))


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("players", PLAYERS)
def test_noise_terms_are_shapley_values_of_single_values(players, odd):
    rows = everything(players)
    table = torch.eye(1 << players, dtype=torch.float64)
    table[0, 0] = table[-1, -1] = 0
    if odd:
        table = table - table.flip(0)
    expected = torch.stack(slow.shapley_by_sum(list(table)))
    torch.testing.assert_close(indicator_shapley(rows, odd), expected.T)
    variance = expected.square().sum(1) / (2 if odd else 1)  # odd: both members of a pair carry the same noise
    torch.testing.assert_close(variance, torch.full((players,), noise_variance(players, odd), dtype=torch.float64))


@pytest.mark.parametrize("players", [1, 2, 7, 16])
def test_quadrature_is_exact_for_the_multilinear_extension(players):
    for power in range(players):
        assert sum(weight * q**power for q, weight in gauss_legendre(players)) == pytest.approx(1 / (power + 1), abs=1e-14)


@pytest.mark.parametrize("odd", [False, True])
def test_posterior_is_the_dense_formula(odd):
    parameters = some_parameters(4)
    rows = everything(4)[[15, 1, 2, 7]] if odd else everything(4)[[15, 0, 1, 2, 7, 14, 13, 8]]
    y = torch.randn(len(rows), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    covariance = Covariance(parameters, odd)
    found = condition(covariance, rows, y)
    full = torch.stack([covariance.between(r[None], rows)[0] for r in rows]) + torch.diag(covariance.noise_at(rows))
    inverse = torch.linalg.inv(full + 1e-8 * torch.diag(covariance.between(rows, rows).diagonal()))
    cross = covariance.shapley(rows)
    torch.testing.assert_close(found.mean, cross @ inverse @ y)
    expected = covariance.shapley_variance() - (cross @ inverse * cross).sum(1)
    torch.testing.assert_close(found.variance, expected)


@pytest.mark.parametrize("odd", [False, True])
def test_left_out_errors_are_those_of_leaving_out(odd):
    """The closed form against conditioning again without each pair."""
    parameters, every = some_parameters(4), everything(4)
    pairs = torch.tensor([1, 2, 7, 12])
    rows = every[torch.cat([torch.tensor([15]), pairs])] if odd else every[torch.cat([torch.tensor([15, 0]), pairs, 15 - pairs])]
    y = torch.randn(len(rows), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    covariance = Covariance(parameters, odd)
    full = observed_covariance(covariance, rows)
    errors, variances = leave_pair_out_errors(condition(covariance, rows, y), odd)
    for at in range(len(pairs)):
        out = [1 + at] if odd else [2 + at, 2 + at + len(pairs)]
        keep = [row for row in range(len(rows)) if row not in out]
        gain = full[out][:, keep] @ torch.linalg.inv(full[keep][:, keep])
        error = y[out] - gain @ y[keep]
        spread = full[out][:, out] - gain @ full[keep][:, out]
        mix = torch.tensor([1.0] if odd else [0.5, -0.5], dtype=torch.float64)
        torch.testing.assert_close(errors[at], mix @ error)
        torch.testing.assert_close(variances[at], mix @ spread @ mix)


def test_fit_raises_the_posterior_probability_and_finds_who_plays():
    """A game of three players and three dummies: the players' rates must come out above those of the dummies."""
    rows = everything(6)
    y = 2 * rows[:, :3].prod(1) + rows[:, 0] - rows[:, 1]
    y = (y - y.mean()) / y.std()
    covariance = fit_covariance(rows, y, odd=False)
    start, _ = parameter_prior(6, odd=False)
    rates = covariance.parameters[6:]
    assert rates[:3].min() > rates[3:].max() + 0.5
    assert likelihood(covariance, rows, y) > likelihood(Covariance(start, odd=False), rows, y) + 10


def likelihood(covariance, rows, y):
    return float(torch.distributions.MultivariateNormal(torch.zeros_like(y), observed_covariance(covariance, rows)).log_prob(y))
