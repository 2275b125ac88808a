"""How much of a feature, and of each of its components, other networks of the same task know too.

What well-trained networks share, whatever their seed, is taken to be reliable. A linear map from another network's feature to this one's is
fitted on one half of the rows and judged on the other, and the other way round; the directions of this feature that are predicted well
make a fixed subspace, and the reliable part of a component is its projection on it.

Axes: L components, N rows, P positions, C channels, K other networks, event: one row's shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from vesalius.complexity.cross_fit import FeaturePair, cross_fits, second_moment
from vesalius.complexity.strength import strengths
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.numbers import POSITIVE, Limit
from vesalius.core.options import Options
from vesalius.core.spread import jackknife_stderr

GROUPS = 20
"""Groups of rows that the jackknife leaves out one at a time."""
ADAPTIVE_POOLS: Mapping[int, Callable[..., Tensor]] = {
    1: torch.nn.functional.adaptive_avg_pool1d,
    2: torch.nn.functional.adaptive_avg_pool2d,
    3: torch.nn.functional.adaptive_avg_pool3d,
}


@dataclass(frozen=True, kw_only=True)
class Matching(Options):
    """How features of different networks are compared.

    Attributes:
        threshold: share of its variance that others must predict for a direction to be reliable, from 0 to below 1.
        ridge: penalty of the linear maps, as a share of the mean variance of the other network's channels.
        axis: which axis holds the channels, 1 in [N C ...]; -1 for token sequences [N T C]. All axes between are positions, and every
            position is a row of its own.
        seed: of the halves.

    Raises:
        InvalidInput: a number out of range.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"threshold": Limit(least=0, below=1), "ridge": POSITIVE}
    threshold: float = 0.5
    ridge: float = 1e-3
    axis: int = 1
    seed: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Reliability:
    """What other networks know of a feature and its components.

    Attributes:
        explained: held-out R^2 of this feature given each other network's, from 0 to 1: negative values, worse than the mean, are set to 0.
        values: share of each component's variance within the reliable subspace, from 0 to 1; NaN for a component that does not vary.
        stderr: standard errors of these shares over rows, by a jackknife over groups of rows that finds the subspace anew each time. Where
            a direction is at the threshold, the share jumps with it and the error is large.
        component_r2: held-out R^2 of each component given each other network's feature, set to 0 where negative: without a threshold, but
            without a reliable part to look at.
        projection: orthogonal projection of channels on the reliable subspace.
        axis: of the channels.
    """

    explained: Float64[Tensor, " K"]
    values: Float64[Tensor, " L"]
    stderr: Float64[Tensor, " L"]
    component_r2: Float64[Tensor, "K L"]
    projection: Float64[Tensor, "C C"]
    axis: int

    @property
    def rank(self) -> int:
        """Dimensions of the reliable subspace."""
        return round(float(self.projection.trace()))

    @verb
    def part(self, feature: Float[Tensor, "N *event"]) -> Float[Tensor, "N *event"]:
        """The reliable part of a component, or of the feature itself. Linear, so parts of components sum to the part of their sum.

        Args:
            feature: with channels on the same axis.
        """
        return _project(feature, self.projection, self.axis)


def match_features(
    parts: Float[Tensor, "L N *event"],
    rest: Float[Tensor, "N *event"],
    others: Sequence[Float[Tensor, "N ..."]],
    *,
    matching: Matching | None = None,
) -> Reliability:
    """How much of each component other networks share, by ridge maps, in closed form.

    The subspace. For a direction u of channels, u'(S - R)u / u'Su is the held-out R^2 of u'f, where S is the covariance of f and R that
    of the error of its prediction, mean over the other networks. Of all orthogonal projections Q, the one onto the eigenvectors of
    S - R - t S with positive eigenvalue maximises tr Q (S - R - t S): it keeps as much explained variance as it can while paying t for each
    unit of variance, so along every eigenvector it keeps, R^2 is above t. Being orthogonal it never makes a component larger:
    Var[Qc] <= Var[c]. Eigenvectors of explained over total variance are oblique, so theirs may; eigenvectors of S - R alone would keep a
    strong direction of which little is predicted.

    Args:
        parts: components of the feature.
        rest: what is left of the feature after them.
        others: features of other networks of the same task for the same rows, with any number of channels. A map of another grid is
            averaged, or repeated, to this feature's grid; a map beside a vector is averaged over its positions.
        matching: threshold, ridge, axis of the channels.

    Returns:
        Shares from 0 to 1.

    Raises:
        InvalidInput: no other network, fewer than 4 rows, rows that do not agree, a vector to be matched to a map, a feature that is
            constant, or values that are not finite.

    Reference: Ren2021, section 3 (reliability). Differs from the paper: maps that are trained and free to be invertible find everything
    reliable (:func:`vesalius.complexity.trained_reliability.trained_reliability`), and the difference of two trained families may exceed
    its component.
    """
    how = matching or Matching()
    if not (isinstance(parts, Tensor) and isinstance(rest, Tensor)) or parts.shape[1:] != rest.shape:
        raise InvalidInput("parts are a tensor [L N *event] of components, and rest a tensor [N *event] of what is left of them")
    feature = parts.sum(0) + rest
    _check_features(feature, others, how.axis)
    ours = torch.stack([_flatten_positions(one, how.axis) for one in (feature, *parts)])
    grid = feature.movedim(how.axis, 1).shape[2:]
    order = torch.randperm(len(feature), generator=torch.Generator().manual_seed(how.seed)).to(feature.device)
    halves = [half.chunk(GROUPS // 2) for half in order.chunk(2)]
    judged = [cross_fits(FeaturePair(_resample_to_grid(other, grid, how.axis), ours), halves, how.ridge) for other in others]
    total, missed = judged[0].total, torch.stack([one.missed for one in judged]).mean(0)
    if not torch.isfinite(missed).all():
        raise InvalidInput("a feature has NaN or infinite values; look for the rows where torch.isfinite(feature) is false")
    if total[0].trace() <= 0:
        raise InvalidInput(
            "the feature does not vary over these rows, so there is nothing to be reliable; give more rows, or another layer"
        )
    projections = [_reliable_subspace(*both, how.threshold) for both in zip(total, missed, strict=True)]
    size = strengths(parts)
    varies = size > 1e-16 * total[0].trace() / len(total[0])
    within = torch.stack([_shares_within(part, projections, [*halves[0], *halves[1]]) for part in ours[1:]], 1).clamp(0, 1)
    shares = torch.stack([one.share[0] for one in judged])
    return Reliability(
        explained=shares[:, 0].cpu(),
        values=torch.where(varies, within[0], torch.nan).cpu(),
        stderr=torch.where(varies, jackknife_stderr(within[1:]), torch.nan).cpu(),
        component_r2=torch.where(varies, shares[:, 1:], torch.nan).cpu(),
        projection=projections[0].cpu(),
        axis=how.axis,
    )


def _reliable_subspace(total: Float64[Tensor, "C C"], missed: Float64[Tensor, "C C"], threshold: float) -> Float64[Tensor, "C C"]:
    found, vectors = torch.linalg.eigh((1 - threshold) * total - missed)
    kept: Tensor = vectors[:, found > 1e-12 * total.trace()]
    return kept @ kept.mT


def _shares_within(
    part: Float[Tensor, "N P C"], projections: Sequence[Float64[Tensor, "C C"]], groups: Sequence[Int[Tensor, " _"]]
) -> Float64[Tensor, " R"]:
    """Share of a component's variance within a subspace: that of all rows, then without each group, each with its own subspace."""
    mean = part.mean(0, dtype=torch.float64)
    squares = torch.stack([second_moment(part[rows], mean) for rows in groups])
    kept = [squares.sum(0), *(squares.sum(0) - one for one in squares)]
    return torch.stack([(square * projection).sum() / square.trace() for square, projection in zip(kept, projections, strict=True)])


def _check_features(feature: Float[Tensor, "N *event"], others: Sequence[Float[Tensor, "N ..."]], axis: int) -> None:
    if not others:
        raise InvalidInput("reliability needs the feature of at least one other network of the same task")
    if len(feature) < 4:
        raise InvalidInput(f"halves of {len(feature)} rows cannot be compared; give at least 4, better thousands")
    for place, other in enumerate(others):
        if len(other) != len(feature):
            raise InvalidInput(
                f"network {place} has {len(other)} rows where this one has {len(feature)}; run both on the same rows in the same order"
            )
        if other.ndim not in (2, feature.ndim):
            if feature.ndim > 2:
                raise InvalidInput(f"features of shape {list(other.shape[1:])} and {list(feature.shape[1:])} have no positions in common")
        elif other.ndim < feature.ndim:
            raise InvalidInput(
                f"network {place} has a vector where this one has a map {list(feature.shape[1:])}; average the map over its positions first"
            )
    if not -feature.ndim < axis < feature.ndim or axis == 0:
        raise InvalidInput(f"channels are on an axis from 1 to {feature.ndim - 1} of a feature {list(feature.shape)}, not on {axis}")


def _project(feature: Float[Tensor, "N *event"], projection: Float64[Tensor, "C C"], axis: int) -> Float[Tensor, "N *event"]:
    return (feature.movedim(axis, -1) @ projection.to(feature)).movedim(-1, axis)


def _flatten_positions(feature: Float[Tensor, "N ..."], axis: int) -> Float[Tensor, "N P C"]:
    """Channels last, all positions on one axis."""
    last = feature.movedim(axis, -1)
    return last.reshape(len(last), -1, last.shape[-1])


def _resample_to_grid(feature: Float[Tensor, "N ..."], grid: Sequence[int], axis: int) -> Float[Tensor, "N P A"]:
    """Another network's feature at this one's positions."""
    first = feature.movedim(axis if feature.ndim > 2 else 1, 1)
    if first.shape[2:] != tuple(grid):
        first = first.flatten(2).mean(2) if not len(grid) else ADAPTIVE_POOLS[len(grid)](first, tuple(grid))
    return _flatten_positions(first, 1)
