"""How strong components are: their variance, alone and as the head sees it.

The variance of a feature is the mean, over its elements, of their variances over rows (divided by N, not N - 1). Ratios do not depend on
that choice; effectiveness per unit of strength does, by a constant.

Axes: L components, N rows, event: one row's shape.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known

STATS = ("var", "std")
ROWS = 1024
"""Rows that are in memory as float64 at once."""

FeatureHead = Callable[[Tensor], Tensor]
"""From features [N *event] to outputs [N] or [N outputs], each row on its own."""


def covariance(a: Float[Tensor, "N *event"], b: Float[Tensor, "N *event"]) -> Float64[Tensor, ""]:
    """Covariance over rows, mean over elements, in one pass.

    Co-moments of batches are merged about their own means, so a large mean costs no digits.

    Args:
        a: rows, in any unit; read in batches, so a memory-mapped tensor is not loaded at once.
        b: the same rows of another feature.

    Returns:
        mean over elements of E[(a - E a)(b - E b)], on the device of ``a``.

    Raises:
        InvalidInput: there are no rows.

    Reference: Chan1983.
    """
    if not len(a) or not a[0].numel():
        raise InvalidInput(f"a variance needs rows; this feature has shape {list(a.shape)}")
    seen, moment = 0, torch.zeros((), dtype=torch.float64, device=a.device)
    mean_a = mean_b = torch.zeros(a.shape[1:], dtype=torch.float64, device=a.device)
    for left, right in zip(a.split(ROWS), b.split(ROWS), strict=True):
        left, right, rows = left.double(), right.double(), len(left)
        here_a, here_b = left.mean(0), right.mean(0)
        step_a, step_b, share = here_a - mean_a, here_b - mean_b, rows / (seen + rows)
        moment = moment + ((left - here_a) * (right - here_b)).sum() + (step_a * step_b).sum() * seen * share
        mean_a, mean_b, seen = mean_a + share * step_a, mean_b + share * step_b, seen + rows
    return moment / (seen * mean_a.numel())


def variance(feature: Float[Tensor, "N *event"]) -> Float64[Tensor, ""]:
    """Variance over rows, mean over elements: ``covariance(feature, feature)``.

    Raises: as :func:`covariance`.

    Reference: Ren2021, section 3 (Var[z] of the significance).
    """
    return covariance(feature, feature)


def strengths(parts: Float[Tensor, "L N *event"]) -> Float64[Tensor, " L"]:
    """Variance of every component, in the unit of the feature squared."""
    return torch.stack([variance(part) for part in parts])


def squared_deviations(parts: Float[Tensor, "L N *event"]) -> Float64[Tensor, "L N"]:
    """Squared distance of every row of a component from the component's mean, mean over elements; its mean over rows is the strength."""
    return torch.stack([_squared_deviations(part) for part in parts])


def _squared_deviations(part: Float[Tensor, "N *event"]) -> Float64[Tensor, " N"]:
    mean = part.mean(0, dtype=torch.float64)
    return torch.cat([(some.double() - mean).square().flatten(1).mean(1) for some in part.split(ROWS)])


def significance(parts: Float[Tensor, "L N *event"], feature: Float[Tensor, "N *event"], *, stat: str = "var") -> Float64[Tensor, " L"]:
    """Share of each component in the strength of the feature; the shares need not sum to 1, since components are not orthogonal.

    Args:
        parts: components.
        feature: what they are components of, or any other feature to be the unit.
        stat: ``"var"``: ratio of variances; ``"std"``: ratio of standard deviations, its root.

    Returns:
        rho >= 0, without unit; above 1 where components cancel each other.

    Raises:
        UnknownName: another ``stat``.
        InvalidInput: the feature is constant, or there are no rows.

    Reference: Ren2021, section 3 (significance). Differs from the paper: its plots mix both ratios under one name.
    """
    require_known("statistic of strength", stat, STATS)
    rho = strengths(parts) / _nonzero_variance(feature)
    return rho if stat == "var" else rho.sqrt()


def weighted_significance(
    parts: Float[Tensor, "L N *event"], rest: Float[Tensor, "N *event"], head: FeatureHead, *, stat: str = "var"
) -> Float64[Tensor, " L"]:
    """Significance as the head sees it: the shares of J c in J f, with J the Jacobian of the head at the mean feature.

    Channels may be scaled or rotated before a head that undoes it: the network stays the same and the plain significance does not; this one
    does. J is applied by forward differentiation, two forward passes per component; it is never stored.

    Args:
        parts: components.
        rest: what is left of the feature after all of them.
        head: from features to outputs, each row on its own (a network in evaluation mode).
        stat: as in :func:`significance`.

    Returns:
        Var[J c] / Var[J f] or its root, per component, without unit.

    Raises:
        UnknownName: another ``stat``.
        InvalidInput: the head is flat at the mean feature, so that J f is constant; or there are no rows.
    """
    feature = parts.sum(0) + rest
    if not len(feature):
        raise InvalidInput(f"a variance needs rows; this feature has shape {list(feature.shape)}")
    mean = feature.mean(0, dtype=torch.float64).to(feature)
    seen = torch.stack([_jacobian_product(head, mean, part) for part in parts])
    return significance(seen, _jacobian_product(head, mean, feature), stat=stat)


@torch.no_grad()
def _jacobian_product(
    head: FeatureHead, mean: Float[Tensor, "*event"], directions: Float[Tensor, "N *event"]
) -> Float[Tensor, "N *outputs"]:
    """J times every row."""
    found = [torch.func.jvp(head, (mean.expand_as(rows).contiguous(),), (rows,))[1] for rows in directions.split(ROWS)]
    return torch.cat(found)


def _nonzero_variance(feature: Float[Tensor, "N *event"]) -> Float64[Tensor, ""]:
    scale = variance(feature)
    if not torch.isfinite(scale):
        raise InvalidInput("the feature has NaN or infinite values; look for the rows where torch.isfinite(feature) is false")
    if scale == 0:
        raise InvalidInput("the feature does not vary over these rows, so it has no variance to share; give more rows, or another layer")
    return scale
