"""Second moments of predictions and feature on rows that no disentangler saw, by groups of rows: measures, and their errors over rows.

Axes: G groups of rows, B batch, S seeds, L orders, Q = S L + 1 predictions of all seeds and orders, then the feature itself, E elements of
the feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import torch
from jaxtyping import Float64
from torch import Tensor

from vesalius.complexity.readout import Disentangler
from vesalius.core.spread import jackknife_variance, normal_equivalent

GROUPS = 25
"""Groups of rows that the jackknife leaves out one at a time."""

HeldOutBatches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Batches of what the nets see and of the feature by position, the same each time."""


@torch.no_grad()
def group_moments(nets: Sequence[Disentangler], rows: HeldOutBatches) -> Float64[Tensor, "G Q Q"]:
    """What each group of rows adds to the covariances of all predictions and the feature, summed over elements.

    Their sum is the covariance. Without a group, what is left is the covariance of the other rows but for a factor, and for the square of
    the little by which their mean is another.

    Args:
        nets: that predict.
        rows: held out.
    """
    count, total = 0, torch.zeros((), dtype=torch.float64)
    for x, f in rows():
        found = _predictions(nets, x, f)
        count, total = count + found.shape[1], total + found.sum(1)
    mean, kept = total / count, []
    for x, f in rows():
        away = (_predictions(nets, x, f) - mean[:, None]).transpose(0, 1)
        kept.append(away @ away.transpose(1, 2) / count)
    return torch.stack([some.sum(0) for some in torch.cat(kept).tensor_split(min(GROUPS, count))])


def without_each(groups: Float64[Tensor, "G Q Q"]) -> Float64[Tensor, "G Q Q"]:
    """The moments of the rows of all other groups, in a unit of their own."""
    return groups.sum(0) - groups


def _predictions(nets: Sequence[Disentangler], x: Tensor, f: Tensor) -> Float64[Tensor, "Q B E"]:
    return torch.stack([*(net(x) for net in nets), f]).flatten(2).double().cpu()


def explained(moments: Float64[Tensor, "*g Q Q"], seeds: int) -> Float64[Tensor, "*g S L"]:
    """Share of the feature's variance that each prediction explains."""
    feature = moments[..., -1, -1, None]
    missed = moments.diagonal(dim1=-2, dim2=-1)[..., :-1] - 2 * moments[..., :-1, -1] + feature
    share: Float64[Tensor, "*g S L"] = (1 - missed / feature).unflatten(-1, (seeds, -1))
    return share


def gains(moments: Float64[Tensor, "*g Q Q"], seeds: int) -> Float64[Tensor, "*g S L"]:
    """Share of the variance that each component explains beyond those before."""
    r2 = explained(moments, seeds)
    return r2.diff(dim=-1, prepend=torch.zeros_like(r2[..., :1]))


def significance(moments: Float64[Tensor, "*g Q Q"], seeds: int) -> Float64[Tensor, "*g S L"]:
    """Var[component] / Var[feature]."""
    between = _component_covariances(moments, seeds).flatten(-4, -3).flatten(-2, -1)
    share: Float64[Tensor, "*g S L"] = between.diagonal(dim1=-2, dim2=-1).clamp_min(0).unflatten(-1, (seeds, -1))
    return share


def reproducible(moments: Float64[Tensor, "*g Q Q"], seeds: int) -> Float64[Tensor, "*g L"]:
    """Covariance of the components of two seeds / Var[feature], mean over pairs; NaN with one seed."""
    between = _component_covariances(moments, seeds)
    pairs = [between[..., one, :, other, :].diagonal(dim1=-2, dim2=-1) for one, other in combinations(range(seeds), 2)]
    return torch.stack(pairs).mean(0) if pairs else torch.full_like(between[..., 0, :, 0, 0], torch.nan)


def _component_covariances(moments: Float64[Tensor, "*g Q Q"], seeds: int) -> Float64[Tensor, "*g S L S L"]:
    """Covariances of all components, in units of the feature's variance."""
    between: Tensor = (moments[..., :-1, :-1] / moments[..., -1:, -1:]).unflatten(-1, (seeds, -1)).unflatten(-3, (seeds, -1))
    for axis in (-1, -3):
        between = between.diff(dim=axis, prepend=torch.zeros_like(between.narrow(axis, 0, 1)))
    return between


def mean_with_stderr(
    measure: Callable[[Float64[Tensor, "*g Q Q"], int], Float64[Tensor, "..."]], groups: Float64[Tensor, "G Q Q"], seeds: int
) -> tuple[Float64[Tensor, " L"], Float64[Tensor, " L"]]:
    """Mean of a measure over seeds, and its standard error: by a jackknife over groups of rows, and over seeds where there are several.

    1.96 of it make a 95 % interval, by Student's law with the degrees of freedom of both together.

    Reference: Welch1947.
    """
    found, left_out = measure(groups.sum(0), seeds), measure(without_each(groups), seeds)
    if found.ndim == 1:  # already of all seeds together
        found, left_out = found[None], left_out[:, None]
    rows, over_seeds = jackknife_variance(left_out.mean(1)), found.var(0) / seeds if len(found) > 1 else torch.zeros_like(found[0])
    total = rows + over_seeds
    inverse = (rows / total).square() / (len(groups) - 1) + (over_seeds / total).square() / max(len(found) - 1, 1)
    factors = [normal_equivalent(max(1, int(1 / one))) if one == one else 1.0 for one in inverse.tolist()]  # NaN: no error at all
    return found.mean(0), total.sqrt() * torch.tensor(factors, dtype=total.dtype)
