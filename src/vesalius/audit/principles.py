"""The three principles as numbers: what a method's maps of masked samples say about how it shares out each effect.

With J the effects (dividends of the game) and M[S, i] the part of effect S that went to player i (dividends of the maps), P1 asks that
nothing of an effect is missing, P2 that players outside S get nothing of it, P3 that it is allocated once.

Axes: S all coalitions, N coalitions asked about, P players, R resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.games.moebius import dividends, membership, player_count

HELD_TOLERANCE = 1e-8
"""A principle is held if what breaks it is at most this share of all effects."""


@dataclass(frozen=True)
class PrincipleErrors:
    """Shares of all effects, in sums over coalitions of |J|.

    Attributes:
        miss: P1, what of the effects was not allocated.
        over: P3, over-counting: what was allocated beyond the effects.
        reverse: P3, what was allocated with the opposite sign.
        leak: P2, null-player violation: share of all that was allocated that went to players outside the effect.
        completeness_error: miss + over + reverse.
    """

    miss: float
    over: float
    reverse: float
    leak: float
    completeness_error: float


def principle_errors(values: Float[Tensor, " S"], maps: Float[Tensor, "S P"]) -> PrincipleErrors:
    """The principles from the game and the maps of all masked samples.

    No ratio M / J is formed, so that small effects weigh little.

    Args:
        values: the game in index order, any unit.
        maps: the method's map of each masked sample, in the same unit.

    Reference: Deng2024; the numbers are taylor.md, section 5.4.
    """
    effects, parts = dividends(values.double()), dividends(maps.double())
    total = parts.sum(1)[1:]
    effects = effects[1:]
    sign = torch.ones_like(effects).masked_fill(effects < 0, -1)
    size, paid = effects.abs(), total * sign
    whole = float(size.sum())
    outside = parts.abs().masked_fill(membership(player_count(values)), 0).sum()
    return PrincipleErrors(
        miss=_share(float((size - paid.clamp_min(0)).clamp_min(0).sum()), whole),
        over=_share(float((paid - size).clamp_min(0).sum()), whole),
        reverse=_share(float((-paid).clamp_min(0).sum()), whole),
        leak=_share(float(outside), float(parts.abs().sum())),
        completeness_error=_share(float((effects - total).abs().sum()), whole),
    )


@dataclass(frozen=True)
class SampledPrincipleErrors:
    """What each masked sample's map gives to absent players, gives in all, and fails to add up to, beside what there was to share."""

    outside: Float[Tensor, " N"]
    given: Float[Tensor, " N"]
    missing: Float[Tensor, " N"]
    change: Float[Tensor, " N"]

    @classmethod
    def of(cls, values: Float[Tensor, " N"], maps: Float[Tensor, "N P"], masks: Bool[Tensor, "N P"], base: float) -> SampledPrincipleErrors:
        """From the values of some coalitions and the method's maps of them."""
        change = values - base
        return cls(maps.abs().masked_fill(masks, 0).sum(1), maps.abs().sum(1), (change - maps.sum(1)).abs(), change.abs())

    def leak(self, weights: Float[Tensor, "*R N"]) -> Float[Tensor, "*R"]:
        """Share of what is given that goes to absent players; for one weight per coalition, or many resamples of them."""
        return _ratio(weights @ self.outside, weights @ self.given)

    def gap(self, weights: Float[Tensor, "*R N"]) -> Float[Tensor, "*R"]:
        """Mean |f(x_T) - f(b) - sum of the map| over mean |f(x_T) - f(b)|."""
        return _ratio(weights @ self.missing, weights @ self.change)


def rounding_tolerance(values: Float[Tensor, " S"], precision: float) -> float:
    """Smallest share of all effects that can be told from rounding, or ``HELD_TOLERANCE`` if that is larger.

    Args:
        values: the game in index order.
        precision: relative rounding of one value.

    Reference: taylor.md, section 5.1: errors s of the values become 10 s 2**(|S|/2) in an effect.
    """
    effects = dividends(values.double())[1:].abs().sum()
    noise = 10 * precision * float(values.abs().max()) * (1 + math.sqrt(2)) ** player_count(values)
    return max(HELD_TOLERANCE, noise / float(effects)) if float(effects) else HELD_TOLERANCE


def closed_form_leak(positive: float, negative: float, mixed: float, *, alpha: float, beta: float) -> float:
    """Share of one neuron's effects that the alpha-beta rule gives to inputs outside them, if its fixed ratios are read as weights.

    An audit of masked samples judges all that the neuron does and does not show this leak: a masked input has contribution zero.

    Args:
        positive: the neuron's change when only inputs with positive contributions are present.
        negative: the same for negative ones.
        mixed: the rest of its change with all inputs.
        alpha: weight of positive contributions; z+ is (1, 0).
        beta: weight of negative ones.

    Returns:
        A share, 0..1.

    Reference: taylor.md, section 5.4.
    """
    sizes = abs(positive) + abs(negative) + abs(mixed)
    return _share(alpha * abs(negative) + beta * abs(positive), (alpha + beta) * sizes)


def _share(part: float, whole: float) -> float:
    """part / whole; 0 where there is neither."""
    return 0.0 if part == 0 else part / whole if whole else math.inf


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(part == 0, torch.zeros_like(part), part / whole)
