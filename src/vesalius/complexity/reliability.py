"""How much of a feature, and of each of its components, other networks of the same task know too.

What well-trained networks share, whatever their seed, is taken to be reliable. A linear map from another network's feature to this one's is
fitted on one half of the rows and judged on the other, and the other way round; the directions of this feature that are predicted well
make a fixed subspace, and the reliable part of a component is its projection on it.

Axes: L components, N rows, P positions, C channels, K other networks, event: one row's shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from vesalius.complexity.strength import strengths
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.numbers import POSITIVE, Limit
from vesalius.core.options import Options

CHUNK_ROWS = 1 << 14
"""Rows times positions that are in memory as float64 at once."""
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
        stderr: standard errors of these shares over rows, for the subspace that was found.
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


@verb
def reliability(
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
    halves = order.chunk(2)
    judged = [_cross_fit(_FeaturePair(_resample_to_grid(other, grid, how.axis), ours), halves, how.ridge) for other in others]
    total, missed = judged[0].total, torch.stack([one.missed for one in judged]).mean(0)
    if not torch.isfinite(missed).all():
        raise InvalidInput("a feature has NaN or infinite values; look for the rows where torch.isfinite(feature) is false")
    if total.trace() <= 0:
        raise InvalidInput(
            "the feature does not vary over these rows, so there is nothing to be reliable; give more rows, or another layer"
        )
    found, vectors = torch.linalg.eigh((1 - how.threshold) * total - missed)
    kept = vectors[:, found > 1e-12 * total.trace()]
    projection = kept @ kept.T
    size = strengths(parts)
    varies = size > 1e-16 * total.trace() / len(total)
    within, spread = (torch.stack(found) for found in zip(*(_share_within(part, projection, how.axis) for part in parts), strict=True))
    shares = torch.stack([one.share for one in judged])
    return Reliability(
        explained=shares[:, 0].cpu(),
        values=torch.where(varies, within.clamp(0, 1), torch.nan).cpu(),
        stderr=torch.where(varies, spread, torch.nan).cpu(),
        component_r2=torch.where(varies, shares[:, 1:], torch.nan).cpu(),
        projection=projection.cpu(),
        axis=how.axis,
    )


def _share_within(part: Float[Tensor, "N *event"], projection: Float64[Tensor, "C C"], axis: int) -> tuple[Tensor, Tensor]:
    """Share of a component's variance within a subspace, and its standard error over rows: that of a ratio of two means."""
    away = part.double() - part.double().mean(0)
    all_of_it, inside = (one.square().flatten(1).sum(1) for one in (away, _project(away, projection, axis)))
    share = inside.sum() / all_of_it.sum()
    return share, (inside - share * all_of_it).square().sum().sqrt() / all_of_it.sum()


@dataclass(frozen=True, eq=False)
class _FeaturePair:
    """Another network's feature, and ours with its components."""

    source: Float[Tensor, "N P A"]
    ours: Float[Tensor, "T N P C"]

    def chunks(self, rows: Int[Tensor, " n"]) -> Iterator[tuple[Float64[Tensor, "r A"], Float64[Tensor, "r TC"]]]:
        """Rows and positions together, as many at once as fit; ours side by side."""
        for some in rows.split(max(1, CHUNK_ROWS // self.source.shape[1])):
            ours = self.ours[:, some].double().flatten(1, 2)
            yield self.source[some].double().flatten(0, 1), ours.movedim(0, 1).flatten(1)


@dataclass(frozen=True, eq=False)
class _CrossFit:
    """Second moments of our feature, of what another network misses of it, and the share it predicts of the feature and each component."""

    total: Float64[Tensor, "C C"]
    missed: Float64[Tensor, "C C"]
    share: Float64[Tensor, " T"]


def _cross_fit(pair: _FeaturePair, halves: Sequence[Int[Tensor, " n"]], ridge: float) -> _CrossFit:
    """Fit on one half and judge on the other, both ways, against the mean of the rows of the fit: the guess without another network."""
    kinds, channels = len(pair.ours), pair.ours.shape[-1]
    zeros = pair.source.new_zeros(channels, channels, dtype=torch.float64)
    total, missed = zeros, zeros
    squares = pair.source.new_zeros(2, kinds, dtype=torch.float64)
    rows = len(pair.source) * pair.source.shape[1]
    for fit, held in (halves, halves[::-1]):
        mean_source, mean_ours, weights = _fit_ridge(pair, fit, ridge)
        for source, ours in pair.chunks(held):
            away = ours - mean_ours
            error = away - (source - mean_source) @ weights
            total = total + away[:, :channels].T @ away[:, :channels] / rows
            missed = missed + error[:, :channels].T @ error[:, :channels] / rows
            squares += torch.stack([side.square().sum(0).view(kinds, channels).sum(1) for side in (away, error)])
    return _CrossFit(total, missed, (1 - squares[1] / squares[0]).clamp(0, 1))


def _fit_ridge(
    pair: _FeaturePair, rows: Int[Tensor, " n"], ridge: float
) -> tuple[Float64[Tensor, " A"], Float64[Tensor, " TC"], Float64[Tensor, "A TC"]]:
    """Means, and the linear map about them."""
    count = len(rows) * pair.source.shape[1]
    sums = [torch.stack(both).sum(0) for both in zip(*((s.sum(0), o.sum(0)) for s, o in pair.chunks(rows)), strict=True)]
    mean_source, mean_ours = sums[0] / count, sums[1] / count
    square = torch.zeros(len(mean_source), len(mean_source), dtype=torch.float64, device=mean_source.device)
    mixed = torch.zeros(len(mean_source), len(mean_ours), dtype=torch.float64, device=mean_source.device)
    for source, ours in pair.chunks(rows):
        source = source - mean_source
        square += source.T @ source / count
        mixed += source.T @ (ours - mean_ours) / count
    penalty = (ridge * square.diagonal().mean()).clamp_min(torch.finfo(torch.float64).tiny)
    return (
        mean_source,
        mean_ours,
        torch.linalg.solve(square + penalty * torch.eye(len(square), dtype=square.dtype, device=square.device), mixed),
    )


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
