"""The projected process against the dense formula, and the surrogate that hands its differences to the regression."""

from __future__ import annotations

import pytest
import torch

from tests.games.test_estimators import rng, smooth_table, table_game, truth
from vesalius.games.estimators import KernelShapley, SurrogateShapley
from vesalius.games.estimators.gaussian_process.covariance import JITTER, Covariance
from vesalius.games.estimators.gaussian_process.low_rank import project


def some_process(odd=True, seed=0, players=6, rows=20):
    parameters = torch.randn(6 + players, dtype=torch.float64, generator=rng(seed))
    x = (torch.rand(rows, players, generator=rng(seed + 1)) < 0.5).double()
    return Covariance(parameters, odd), x, torch.randn(rows, dtype=torch.float64, generator=rng(seed + 2))


@pytest.mark.parametrize("odd", [False, True])
def test_variances_are_the_diagonal(odd):
    covariance, x, _ = some_process(odd)
    torch.testing.assert_close(covariance.variance_at(x), covariance.between(x, x).diagonal())


@pytest.mark.parametrize("odd", [False, True])
def test_projection_is_regression_on_inducing_covariances(odd):
    """Weights w of k(., inducing) with prior covariance K^-1, by the dense normal equations; and without each row in turn."""
    covariance, x, y = some_process(odd)
    inducing = torch.tensor([0, 3, 7, 11, 19])
    among = covariance.between(x[inducing], x[inducing])
    among = among + torch.diag(JITTER * among.diagonal())
    basis = covariance.between(x, x[inducing])
    missed = covariance.variance_at(x) - (basis @ torch.linalg.inv(among) * basis).sum(1)
    noise = covariance.noise + missed.clamp_min(0).mean() + JITTER

    def weights(keep):
        return torch.linalg.solve(basis[keep].T @ basis[keep] / noise + among, basis[keep].T @ y[keep] / noise)

    found = project(covariance, x, y, inducing)
    every = torch.arange(len(x))
    torch.testing.assert_close(found.shapley, covariance.smooth_shapley(x[inducing]) @ weights(every), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(found.residual, y - basis @ weights(every), rtol=1e-6, atol=1e-8)
    left_out = torch.stack([y[at] - basis[at] @ weights(every[every != at]) for at in range(len(x))])
    torch.testing.assert_close(found.left_out, left_out, rtol=1e-5, atol=1e-7)


def test_adjusted_regression_is_more_precise_than_the_regression_and_its_errors_cover():
    hits, ours, plain = [], [], []
    for seed in range(8):
        game, values = table_game(smooth_table(11, seed)), truth(smooth_table(11, seed))
        estimate = SurrogateShapley(exact_pairs=100, inducing=60).estimate(game, 500, generator=rng(seed))
        hits.append(((estimate.values - values).abs() <= 1.96 * estimate.stderr).double().mean())
        ours.append((estimate.values - values).square().mean())
        plain.append((KernelShapley().estimate(game, 500, generator=rng(seed)).values - values).square().mean())
    assert torch.stack(ours).mean() < 0.85 * torch.stack(plain).mean()
    assert torch.stack(hits).mean() >= 0.85
