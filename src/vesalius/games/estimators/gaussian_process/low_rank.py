"""The Gaussian process of ``covariance`` on few inducing coalitions, given the values of many.

What is learned is a mixture of the covariances with R inducing rows (the projected process, Rasmussen2006, section 8.3.4), so that the cost
grows with M R^2 in place of M^3. What the inducing rows cannot say of a value is counted as noise.

Axes: M rows, R inducing rows, P players.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.games.estimators.gaussian_process.covariance import JITTER, Covariance


@dataclass(frozen=True, eq=False)
class ProjectedPosterior:
    """What the process says after the values of all rows.

    Attributes:
        shapley: expected Shapley values of the part that the inducing rows span.
        residual: what is left of the values.
        left_out: the same, each predicted from all other rows.
    """

    shapley: Float[Tensor, " P"]
    residual: Float[Tensor, " M"]
    left_out: Float[Tensor, " M"]


def project(covariance: Covariance, rows: Float[Tensor, "M P"], y: Float[Tensor, " M"], inducing: Int[Tensor, " R"]) -> ProjectedPosterior:
    """The projected process given its values.

    Args:
        covariance: the process.
        rows: coalitions.
        y: their values, standardised.
        inducing: places of the inducing rows.
    """
    chosen = rows[inducing]
    among = covariance.between(chosen, chosen)
    factor = torch.linalg.cholesky(among + torch.diag(JITTER * among.diagonal()))
    basis = torch.linalg.solve_triangular(factor, covariance.between(chosen, rows), upper=False)
    missed = (covariance.variance_at(rows) - basis.square().sum(0)).clamp_min(0).mean()
    noise = covariance.noise + missed + JITTER
    inner = torch.linalg.cholesky(basis @ basis.T + noise * torch.eye(len(inducing), dtype=torch.float64))
    seen = torch.linalg.solve_triangular(inner, basis, upper=False)
    mean = seen @ y
    leverage = seen.square().sum(0).clamp_max(1 - 1e-9)
    residual = y - seen.T @ mean
    cross = torch.linalg.solve_triangular(factor, covariance.smooth_shapley(chosen).T, upper=False)
    shapley = torch.linalg.solve_triangular(inner, cross, upper=False).T @ mean
    return ProjectedPosterior(shapley, residual, residual / (1 - leverage))
