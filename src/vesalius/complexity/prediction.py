"""Whether measures of complexity tell how accurate a network is, and whether the number of its training samples tells as much.

Axes: M networks, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearFit:
    """A linear model by least squares, and how it does on networks it has not seen.

    Attributes:
        intercept: of the model.
        weights: one per feature.
        r2: share of the variance that the model explains of the networks it was fitted to.
        left_out_r2: the same where each network is predicted by a model fitted to all others; below 0 where their mean predicts better.
        left_out_mae: mean absolute error of these predictions, in the unit of the target.
        left_out: these predictions.
    """

    intercept: float
    weights: Float64[Tensor, " F"]
    r2: float
    left_out_r2: float
    left_out_mae: float
    left_out: Float64[Tensor, " M"]


@dataclass(frozen=True, eq=False, kw_only=True)
class AccuracyPrediction:
    """Accuracy from features, beside accuracy from the number of training samples alone.

    Attributes:
        features: the model of the features.
        samples: the baseline: the model of log(number of training samples).
    """

    features: LinearFit
    samples: LinearFit

    @property
    def beats_baseline(self) -> bool:
        """Whether the features predict left-out networks better than the number of samples does."""
        return self.features.left_out_r2 > self.samples.left_out_r2


@verb
def predict_accuracy(features: Float[Tensor, "M F"], accuracy: Float[Tensor, " M"], *, samples: Shaped[Tensor, " M"]) -> AccuracyPrediction:
    """Fit accuracy to measures of a collection of networks, always beside what their sample sizes alone tell.

    Args:
        features: a row per network: significances, reliabilities, or anything else measured.
        accuracy: of each network, in any unit; or a loss.
        samples: how many training samples each network saw, above 0.

    Raises:
        InvalidInput: as :func:`least_squares`; sample sizes that are not above 0.

    Reference: Ren2021, section 4 (prediction of performance). Differs from the paper: it has no baseline and no left-out error.
    """
    if samples.shape != accuracy.shape or not (samples > 0).all():
        raise InvalidInput(
            f"the number of training samples is above 0 and given for each of {len(accuracy)} networks, not {samples.tolist()}"
        )
    return AccuracyPrediction(features=least_squares(features, accuracy), samples=least_squares(samples.double().log()[:, None], accuracy))


def least_squares(features: Float[Tensor, "M F"], target: Float[Tensor, " M"]) -> LinearFit:
    """Ordinary least squares with an intercept; every row is also predicted by the fit to all others, in closed form.

    Args:
        features: a row per network, in any unit.
        target: what to predict.

    Raises:
        InvalidInput: fewer than F + 2 networks; values that are not finite; a target or a feature that is constant; features that depend
            linearly on each other; a network that no others can predict.

    Reference: Allen1974 (left-out residuals are residuals over one less the leverage).
    """
    rows, count = features.shape
    if len(target) != rows or rows < count + 2:
        raise InvalidInput(f"{count} features need at least {count + 2} networks, each with a target, not {rows} and {len(target)} targets")
    if not (features.isfinite().all() and target.isfinite().all()):
        raise InvalidInput("features or targets have NaN or infinite values; leave those networks out")
    wanted, columns = target.double(), features.double()
    spread = (wanted - wanted.mean()).square().sum()
    centred = columns - columns.mean(0)
    scale = centred.square().mean(0).sqrt()
    if spread == 0 or (scale <= 1e-12 * columns.abs().amax(0)).any():
        raise InvalidInput("the target or a feature is the same for all networks; nothing can be learned of it")
    basis, triangle = torch.linalg.qr(centred / scale)
    if (triangle.diagonal().abs() < 1e-10 * rows**0.5).any():
        raise InvalidInput("some features are sums of others; leave them out")
    weights = torch.linalg.lstsq(centred / scale, (wanted - wanted.mean())[:, None]).solution[:, 0] / scale
    residual = wanted - wanted.mean() - centred @ weights
    free = 1 - 1 / rows - basis.square().sum(1)
    if (free < 1e-10).any():
        raise InvalidInput(f"network {int(free.argmin())} alone decides a weight, so the others cannot predict it; give more networks")
    missed = residual / free
    return LinearFit(
        intercept=float(wanted.mean() - columns.mean(0) @ weights),
        weights=weights,
        r2=float(1 - residual.square().sum() / spread),
        left_out_r2=float(1 - missed.square().sum() / spread),
        left_out_mae=float(missed.abs().mean()),
        left_out=wanted - missed,
    )
