"""Fitting the Gaussian process of ``covariance`` to observed values, and what it then says of the Shapley values.

Axes: M rows (coalitions, or pairs of complements), P players, D parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from threadpoolctl import threadpool_limits
from torch import Tensor

from vesalius.core.lazy import LazyModule
from vesalius.games.estimators.gaussian_process.covariance import JITTER, Covariance, parameter_prior
from vesalius.games.estimators.gaussian_process.likelihood import PenalisedLikelihood

optimize = LazyModule("scipy.optimize")

BLOCK = 256  # rows of the covariance matrix made at once, so that what is in between stays in the cache


@dataclass(frozen=True, eq=False)
class Posterior:
    """Shapley values given the data.

    Attributes:
        mean: expected Shapley values.
        variance: their posterior variance, before any calibration.
        weights: K^-1 y.
        precision: K^-1.
    """

    mean: Float[Tensor, " P"]
    variance: Float[Tensor, " P"]
    weights: Float[Tensor, " M"]
    precision: Float[Tensor, "M M"]


def fit_covariance(rows: Float[Tensor, "M P"], y: Float[Tensor, " M"], *, odd: bool, steps: int = 15) -> Covariance:
    """Parameters of highest posterior probability: marginal likelihood times a Gaussian prior."""
    start, spread = (part.numpy() for part in parameter_prior(rows.shape[1], odd))
    objective = PenalisedLikelihood(rows.numpy(), y.numpy(), odd, start, spread)
    bounds = np.stack([start - 4 * spread, start + 4 * spread], 1)
    with threadpool_limits(1, user_api="blas"):  # L-BFGS-B works on a few dozen numbers: several threads made it 60 times slower
        found = optimize.minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps})
    return Covariance(torch.tensor(found.x, dtype=torch.float64), odd)


def observed_covariance(covariance: Covariance, rows: Float[Tensor, "M P"]) -> Float[Tensor, "M M"]:
    """Covariance of the observed values of coalitions."""
    full = torch.cat([covariance.between(block, rows) for block in rows.split(BLOCK)])
    return full + torch.diag(covariance.noise_at(rows) + JITTER * full.diagonal())


def condition(covariance: Covariance, rows: Float[Tensor, "M P"], y: Float[Tensor, " M"]) -> Posterior:
    """The process given its values at some coalitions."""
    factor = torch.linalg.cholesky(observed_covariance(covariance, rows))
    cross = covariance.shapley(rows)
    precision = torch.cholesky_inverse(factor)
    weights = precision @ y
    explained = torch.linalg.solve_triangular(factor, cross.T, upper=False).square().sum(0)
    variance = (covariance.shapley_variance() - explained).clamp_min(0)
    return Posterior(cross @ weights, variance, weights, precision)
