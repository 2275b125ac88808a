"""Second moments of predictions and feature on rows that no disentangler saw, by groups of rows: measures, and their errors over rows.

Axes: G groups of rows, B batch, S seeds, L orders, Q = S L + 1 predictions of all seeds and orders, then the feature itself, E elements of
the feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from vesalius.complexity.readout import Disentangler
from vesalius.core.errors import InvalidInput
from vesalius.core.spread import jackknife_variance, normal_equivalent

GROUPS = 25
"""Groups of rows that the jackknife leaves out one at a time."""

HeldOutBatches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Batches of what the nets see and of the feature by position, the same each time."""


@dataclass(eq=False)
class PredictionMoments:
    """Second moments of predictions and feature as a sum over rows, each of one of some groups.

    Attributes:
        count: [G] rows.
        mean: [G Q E].
        products: [G Q Q] of deviations from the group's own mean, summed over elements.
    """

    count: Float64[Tensor, " G"] = field(default_factory=lambda: torch.zeros(GROUPS, dtype=torch.float64))
    mean: Float64[Tensor, "G Q E"] = field(default_factory=lambda: torch.zeros(GROUPS, 0, 0, dtype=torch.float64))
    products: Float64[Tensor, "G Q Q"] = field(default_factory=lambda: torch.zeros(GROUPS, 0, 0, dtype=torch.float64))

    def add(self, batch: tuple[Float64[Tensor, "Q B E"], Int64[Tensor, " B"]]) -> None:
        """Take in some rows.

        Args:
            batch: predictions with the feature behind them, and the group of each row.
        """
        found, groups = batch
        for group in groups.unique().tolist():
            own = found[:, groups == group]
            mean = own.mean(1)
            away = (own - mean[:, None]).flatten(1)
            self._join(group, torch.tensor(float(own.shape[1]), dtype=torch.float64), mean, away @ away.T)

    def merge(self, other: PredictionMoments) -> None:
        """Take in all rows that others have."""
        for group in other.count.nonzero().flatten().tolist():
            self._join(group, other.count[group], other.mean[group], other.products[group])

    def _join(self, group: int, count: Tensor, mean: Float64[Tensor, "Q E"], products: Float64[Tensor, "Q Q"]) -> None:
        """Reference: Chan1983."""
        if not self.mean.numel():
            self.mean, self.products = mean.new_zeros(GROUPS, *mean.shape), products.new_zeros(GROUPS, *products.shape)
        total = self.count[group] + count
        apart = mean - self.mean[group]
        self.products[group] += products + apart @ apart.T * (self.count[group] * count / total)
        self.mean[group] += apart * (count / total)
        self.count[group] = total

    def to_tensors(self) -> dict[str, Tensor]:
        """The sums."""
        return {"count": self.count, "mean": self.mean, "products": self.products}

    def with_sums(self, tensors: Mapping[str, Tensor]) -> PredictionMoments:
        """The sums that a file holds.

        Raises:
            ValueError, KeyError: they do not fit each other.
        """
        count, mean, products = (tensors[name].double() for name in ("count", "mean", "products"))
        if len(count) != GROUPS or mean.ndim != 3 or products.shape != (GROUPS, mean.shape[1], mean.shape[1]):
            raise ValueError("moments of other groups or predictions")
        return PredictionMoments(count, mean, products)

    def result(self) -> Float64[Tensor, "G Q Q"]:
        """What each group adds to the covariances, see :func:`group_moments`.

        Raises:
            InvalidInput: nothing was added.
        """
        kept = self.count > 0
        if not bool(kept.any()):
            raise InvalidInput("moments need rows, and there are none")
        count, mean = self.count[kept], self.mean[kept]
        apart = mean - (count[:, None, None] * mean).sum(0) / count.sum()
        return (self.products[kept] + count[:, None, None] * (apart @ apart.transpose(1, 2))) / count.sum()


@torch.no_grad()
def group_moments(nets: Sequence[Disentangler], rows: HeldOutBatches) -> Float64[Tensor, "G Q Q"]:
    """What each group of rows adds to the covariances of all predictions and the feature, summed over elements.

    Their sum is the covariance. Without a group, what is left is the covariance of the other rows but for a factor, and for the square of
    the little by which their mean is another.

    Args:
        nets: that predict.
        rows: held out.
    """
    count, place, moments = sum(len(f) for _, f in rows()), 0, PredictionMoments()
    group = torch.cat([torch.full((len(part),), at) for at, part in enumerate(torch.arange(count).tensor_split(min(GROUPS, count)))])
    for x, f in rows():
        moments.add((predictions(nets, x, f), group[place : place + len(f)]))
        place += len(f)
    return moments.result()


def without_each(groups: Float64[Tensor, "G Q Q"]) -> Float64[Tensor, "G Q Q"]:
    """The moments of the rows of all other groups, in a unit of their own."""
    return groups.sum(0) - groups


def predictions(nets: Sequence[Disentangler], x: Tensor, f: Tensor) -> Float64[Tensor, "Q B E"]:
    """What the nets predict of some rows, and the feature behind them."""
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
