"""The likelihood by hand against the density of the covariance, and its gradient against differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vesalius.games.estimators.gaussian_process.covariance import Covariance, parameter_prior
from vesalius.games.estimators.gaussian_process.likelihood import PenalisedLikelihood
from vesalius.games.estimators.gaussian_process.posterior import observed_covariance


def some_likelihood(odd, players=7, rows=30, seed=0):
    rng = np.random.default_rng(seed)
    start, spread = (part.numpy() for part in parameter_prior(players, odd))
    x = (rng.random((rows, players)) < 0.5).astype(float)
    x[1:, :2] = [0, 1]  # only the full coalition is without noise
    x[0] = 1
    at = start + rng.normal(size=len(start)) * 0.5 * (spread > 1e-3)
    at[5] = -2  # noise enough for differences to be of use
    return PenalisedLikelihood(x, rng.normal(size=rows), odd, start, spread), at


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_objective_is_minus_the_log_posterior(odd, seed):
    likelihood, at = some_likelihood(odd, seed=seed)
    other = at + 0.3 * (likelihood.spread > 1e-3)
    found = [likelihood(point)[0] for point in (at, other)]
    expected = []
    for point in (at, other):
        full = observed_covariance(Covariance(torch.tensor(point), odd), torch.tensor(likelihood.rows))
        density = torch.distributions.MultivariateNormal(torch.zeros(len(full), dtype=torch.float64), full)
        step, away = (point - likelihood.start) / likelihood.spread, point[6:] - point[6:].mean()
        expected.append(-float(density.log_prob(torch.tensor(likelihood.y))) + (step @ step + away @ away) / 2)
    assert found[1] - found[0] == pytest.approx(expected[1] - expected[0], rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize(("seed", "rate"), [(0, 0.0), (1, 0.0), (2, 3.0)])
def test_gradient_is_the_slope_of_the_objective(odd, seed, rate):
    """Of rates so large that a factor of the product is cut off, too."""
    likelihood, at = some_likelihood(odd, seed=seed)
    at[6] += rate
    width = 1e-5 * np.where(likelihood.spread > 1e-3, 1.0, 1e-3)
    slopes = [(likelihood(at + step)[0] - likelihood(at - step)[0]) / (2 * step.sum()) for step in np.diag(width)]
    free = likelihood.spread > 1e-3  # the pairwise kernel of the odd process is turned off by its prior
    gradient = likelihood(at)[1]
    assert np.abs(gradient - slopes)[free].max() <= 1e-5 * np.abs(slopes)[free].max()
