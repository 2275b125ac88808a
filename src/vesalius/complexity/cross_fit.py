"""Ridge maps from one network's feature to another's: fitted on half of the rows, judged on the other half, with and without each group.

All that is asked of the rows are their first and second moments, group by group; leaving a group out then costs no second look.

Axes: N rows, P positions, A channels of the source, C channels of ours, T features (ours, then its components), G groups of rows,
R = 1 + G: all rows, then without each group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from operator import add, sub
from typing import Any

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

CHUNK_ROWS = 1 << 14
"""Rows times positions that are in memory as float64 at once."""


@dataclass(frozen=True, eq=False)
class FeaturePair:
    """Another network's feature, and ours with its components."""

    source: Float[Tensor, "N P A"]
    ours: Float[Tensor, "T N P C"]

    def chunks(self, rows: Int[Tensor, " n"]) -> Iterator[tuple[Float64[Tensor, "r A"], Float64[Tensor, "r T C"]]]:
        """Rows and positions together, as many at once as fit, less the means over all rows, lest large means cost digits."""
        means = self.source.mean((0, 1), dtype=torch.float64), self.ours.mean((1, 2), dtype=torch.float64)
        for some in rows.split(max(1, CHUNK_ROWS // self.source.shape[1])):
            ours = self.ours[:, some].double().flatten(1, 2)
            yield self.source[some].double().flatten(0, 1) - means[0], ours.movedim(0, 1) - means[1]


@dataclass(frozen=True, eq=False)
class CrossFits:
    """Second moments of our feature, of what another network misses of it, and the share it predicts of each feature, from 0 to 1."""

    total: Float64[Tensor, "R C C"]
    missed: Float64[Tensor, "R C C"]
    share: Float64[Tensor, "R T"]


@dataclass(frozen=True, eq=False)
class _Moments:
    """Sums over rows and positions of first and second powers; of ours all pairs of channels, of its components each channel alone."""

    count: Float64[Tensor, ""]
    source: Float64[Tensor, " A"]
    ours: Float64[Tensor, "T C"]
    source_source: Float64[Tensor, "A A"]
    source_ours: Float64[Tensor, "A T C"]
    ours_ours: Float64[Tensor, "C C"]
    squares: Float64[Tensor, " T"]

    def __add__(self, other: _Moments) -> _Moments:
        return self._each(add, other)

    def __sub__(self, other: _Moments) -> _Moments:
        return self._each(sub, other)

    def _each(self, op: Callable[[Any, Any], Any], other: _Moments) -> _Moments:
        return _Moments(*(op(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)))

    def about(self, source: Float64[Tensor, " A"], ours: Float64[Tensor, "T C"]) -> _Moments:
        """The same of what is left after these means are taken off."""
        crossed = self.ours[0, :, None] * ours[0]
        return _Moments(
            self.count,
            self.source - self.count * source,
            self.ours - self.count * ours,
            self.source_source - _twice(self.source[:, None] * source) + self.count * source[:, None] * source,
            self.source_ours
            - self.source[:, None, None] * ours
            - source[:, None, None] * self.ours
            + self.count * source[:, None, None] * ours,
            self.ours_ours - _twice(crossed) + self.count * ours[0, :, None] * ours[0],
            self.squares - 2 * (self.ours * ours).sum(1) + self.count * ours.square().sum(1),
        )


def _twice(square: Float64[Tensor, "n n"]) -> Float64[Tensor, "n n"]:
    return square + square.T


def cross_fits(pair: FeaturePair, halves: Sequence[Sequence[Int[Tensor, " _"]]], ridge: float) -> CrossFits:
    """Fit on one half and judge on the other, both ways, against the mean of the rows of the fit: the guess without another network.

    Args:
        pair: what is predicted from what.
        halves: the groups of each.
        ridge: penalty, as a share of the mean variance of the source's channels.
    """
    groups = [[_moments(pair, rows) for rows in half] for half in halves]
    one, two = (reduce(add, half) for half in groups)
    kept = [(one, two), *((one - group, two) for group in groups[0]), *((one, two - group) for group in groups[1])]
    found = [_judge_both_ways(*both, ridge) for both in kept]
    return CrossFits(*(torch.stack(each) for each in zip(*found, strict=True)))


def second_moment(part: Float[Tensor, "N P C"], mean: Float64[Tensor, "P C"]) -> Float64[Tensor, "C C"]:
    """Sum over rows and positions of the products of all pairs of channels, about a mean of every position."""
    found = mean.new_zeros(part.shape[2], part.shape[2])
    for some in part.split(max(1, CHUNK_ROWS // part.shape[1])):
        away = (some.double() - mean).flatten(0, 1)
        found += away.T @ away
    return found


def _moments(pair: FeaturePair, rows: Int[Tensor, " n"]) -> _Moments:
    return reduce(add, (_moments_of_chunk(source, ours) for source, ours in pair.chunks(rows)))


def _moments_of_chunk(source: Float64[Tensor, "r A"], ours: Float64[Tensor, "r T C"]) -> _Moments:
    count = source.new_tensor(len(source))
    crossed = (source.T @ ours.flatten(1)).view(-1, *ours.shape[1:])
    return _Moments(count, source.sum(0), ours.sum(0), source.T @ source, crossed, ours[:, 0].T @ ours[:, 0], ours.square().sum((0, 2)))


def _judge_both_ways(one: _Moments, two: _Moments, ridge: float) -> tuple[Tensor, Tensor, Tensor]:
    """What :class:`CrossFits` holds, of one set of rows: total and missed [C C], share [T]."""
    rows = one.count + two.count
    (total, missed, all_of_it, errors), other = _judge(one, two, ridge), _judge(two, one, ridge)
    share = 1 - (errors + other[3]) / (all_of_it + other[2])
    return (total + other[0]) / rows, (missed + other[1]) / rows, share.clamp(0, 1)


def _judge(fit: _Moments, held: _Moments, ridge: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of the held-out half: second moments of ours and of its errors [C C], squares of all features and of their errors [T]."""
    means = fit.source / fit.count, fit.ours / fit.count
    weights = _fit_ridge(fit.about(*means), ridge)
    away = held.about(*means)
    explained = torch.tensordot(away.source_source, weights, 1)
    first = _twice(weights[:, 0].T @ away.source_ours[:, 0])
    missed = away.ours_ours - first + weights[:, 0].T @ explained[:, 0]
    errors = away.squares + (weights * (explained - 2 * away.source_ours)).sum((0, 2))
    return away.ours_ours, missed, away.squares, errors


def _fit_ridge(moments: _Moments, ridge: float) -> Float64[Tensor, "A T C"]:
    """The linear map, from moments about the means."""
    square, mixed = moments.source_source / moments.count, moments.source_ours / moments.count
    penalty = (ridge * square.diagonal().mean()).clamp_min(torch.finfo(square.dtype).tiny)
    eye = torch.eye(len(square), dtype=square.dtype, device=square.device)
    found: Tensor = torch.linalg.solve(square + penalty * eye, mixed.flatten(1))
    return found.view_as(mixed)
