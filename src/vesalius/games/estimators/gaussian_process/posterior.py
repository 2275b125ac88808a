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
from vesalius.games.estimators.gaussian_process.covariance import Covariance, parameter_prior

optimize = LazyModule("scipy.optimize")

JITTER = 1e-8  # relative to the diagonal; keeps Cholesky stable where the noise is tiny
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
    start, spread = parameter_prior(rows.shape[1], odd)

    def objective(at: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        step = (parameters - start) / spread
        rates = parameters[6:]
        penalty = (step**2).sum() / 2 + ((rates - rates.mean()) ** 2).sum() / 2
        covariance = Covariance(parameters, odd)
        full = observed_covariance(covariance, rows)
        with torch.no_grad():
            factor = torch.linalg.cholesky(full)
            precision = torch.cholesky_inverse(factor)
            weights = precision @ y
            slope = (precision - weights[:, None] * weights) / 2  # of the marginal likelihood in the covariance matrix
        (gradient,) = torch.autograd.grad([full, penalty], parameters, [slope, torch.ones_like(penalty)])
        value = weights @ y / 2 + factor.diagonal().log().sum() + penalty.detach()
        return float(value), gradient.numpy()

    bounds = torch.stack([start - 4 * spread, start + 4 * spread], 1).tolist()
    with threadpool_limits(1, user_api="blas"):  # L-BFGS-B works on a few dozen numbers: several threads made it 60 times slower
        found = optimize.minimize(objective, start.numpy(), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps})
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
