"""Mutual information if the copula were Gaussian: a cross-check that costs one product of matrices.

Axes: N rows, A units of X, B units of Y.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.lazy import LazyModule
from vesalius.information.estimators.estimate import PairwiseInformation, check_pair, is_constant, sample_limit_doubts
from vesalius.information.estimators.mixed_variables import normal_scores

special = LazyModule("scipy.special")

STDERR_NOTE = (
    "holds for Gaussian copulas only: other dependence is missed, and atoms are smeared, which adds up to 40 % for half-dead ReLUs"
)


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """-log(1 - r^2) / 2 of the correlation r of normal scores.

    For monotone dependence without atoms it is close to the truth, and where it differs from another estimate a look at the pair is due.
    The test is that of r, with its exact variance under permutation; it sees monotone dependence only.

    Reference: CoverThomas2006 (information of correlated normals).
    """

    @verb
    def estimate(
        self, X: Shaped[Tensor, "N A"], Y: Shaped[Tensor, "N B"], *, generator: torch.Generator | None = None
    ) -> PairwiseInformation:
        """Information of all pairs; nothing is random.

        Raises: as :func:`~vesalius.information.estimators.estimate.check_pair`.
        """
        rows_x, rows_y = check_pair(X, Y)
        n = len(rows_x)
        dead_x, dead_y = is_constant(rows_x), is_constant(rows_y)
        square = (_unit_scores(rows_x).T @ _unit_scores(rows_y)).square_()
        null = _null_information(n)
        alive = ~(dead_x[:, None] | dead_y)
        values = torch.where(alive, _information(square.clone()) - null, 0.0)
        return PairwiseInformation(
            values=values,
            stderr=torch.where(alive, (square / n + 0.5 / n**2).sqrt(), 0.0),
            null=null * alive.double(),
            p=torch.where(alive, torch.from_numpy(special.chdtrc(1, (n - 1) * square.numpy())), 1.0),
            estimator="gaussian",
            samples=n,
            dead_x=dead_x,
            dead_y=dead_y,
            doubts=sample_limit_doubts(values, n),
            refined=torch.ones_like(alive),
            stderr_note=STDERR_NOTE,
        )


def information_within(rows: Float64[Tensor, "N A"]) -> Float64[Tensor, "A A"]:
    """The values of :meth:`Gaussian.estimate` between the units of one side, without their tests, at a third of the time."""
    scores = _unit_scores(rows)
    values = _information((scores.T @ scores).square_()).sub_(_null_information(len(rows)))
    dead = is_constant(rows)
    values[dead] = 0.0
    values[:, dead] = 0.0
    return values


def _unit_scores(rows: Float64[Tensor, "N A"]) -> Float64[Tensor, "N A"]:
    scores = normal_scores(rows)
    return torch.nn.functional.normalize(scores - scores.mean(0), dim=0)


def _information(square: Float64[Tensor, "A B"]) -> Float64[Tensor, "A B"]:
    """Of squared correlations, which are written over."""
    return square.clamp_max_(1 - 1e-15).neg_().log1p_().mul_(-0.5)


def _null_information(rows: int) -> float:
    """What independent units show on average."""
    return 0.5 * float(special.digamma((rows - 1) / 2) - special.digamma((rows - 2) / 2))
