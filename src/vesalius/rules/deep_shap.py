"""Deep SHAP with the Shapley value of every small component.

Reference: Lundberg2017, section 4.2. A component is one non-linear function of a sum of contributions. Up to ``MAX_ENUMERATED`` of them it
is enumerated; beyond, the Shapley value of contribution c of a unit with contributions of sum C and sum of squares V is c g1 + c**2 g2: g1
is the mean slope over coalitions as the central limit has them, g2 what makes the values add up. Products, quotients, softmax rows and
normalised rows are chains of components of one or two players, for which the two-point rules are used as they are; maxima are shared by
their own rule.

Axes: * any; C coalitions; K players.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor

from vesalius.rules.interpreter import RuleTable
from vesalius.rules.linear_maps import LinearMap
from vesalius.rules.rescale import ALL_DECOMPOSITIONS, BY_PLACES
from vesalius.rules.signal import Signal
from vesalius.rules.torch_decompositions import find_torch_decomposition
from vesalius.rules.two_point_ops import CLOSE_ENDS, Elementwise, derivative
from vesalius.rules.unit_rules import RULES, PowerSum, UnitRule, ends_of

DEEP_SHAP = RuleTable("deep_shap", RULES, ALL_DECOMPOSITIONS, by_places=BY_PLACES, opened=find_torch_decomposition)

MAX_ENUMERATED = 10
"""Players up to which a unit's coalitions are enumerated."""
SHARE_NODES, NORMAL_NODES = 8, 5
"""Nodes of the integral over the share of players present, and of that over which they are."""


@final
@dataclass(frozen=True, eq=False)
class UnitShapley(UnitRule):
    """Parts are the sum of squared contributions."""

    power: ClassVar[int] = 2

    def source(self, value: Tensor, base: Tensor) -> Tensor:
        change = value - base
        return change.detach() * change  # its derivative is c, not 2 c: the multiplier of a player, not of its square

    def mapped(self, found: LinearMap, given: Signal, result: Signal) -> PowerSum:
        parts = super().mapped(found, given, result)
        value, base = ends_of(given)
        few = not found.convolution and found.weight.ndim == 2 and value.shape[-1] <= MAX_ENUMERATED
        if few and found.weight.shape == (result.value.shape[-1], value.shape[-1]):
            parts.players = lambda: (value - base)[..., None, :] * found.weight
        return parts

    def function(self, rule: Elementwise, signal: Signal) -> Signal:
        assert signal.base is not None
        with torch.no_grad():
            base = rule.value(signal.base)
        if signal.extra.players is not None:
            players = signal.extra.players()
            found = _EnumeratedShapleyFunction.apply(rule, signal.value.detach(), signal.base, players)  # type: ignore[no-untyped-call]
            return Signal(found, base=base)
        found = _NormalShapleyFunction.apply(rule, (signal.base, base), signal.value, signal.extra())  # type: ignore[no-untyped-call]
        return Signal(found, base=base)


class _EnumeratedShapleyFunction(torch.autograd.Function):
    """s(z) of a few contributions: the Shapley value of each, over it."""

    @staticmethod
    def forward(ctx: Any, rule: Elementwise, z: Tensor, start: Tensor, players: Tensor) -> Tensor:
        ctx.rule, ctx.start, ctx.players = rule, start, players.detach()
        return rule.value(z)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        rule, players = ctx.rule, ctx.players
        member, gain, mean = (table.to(players) for table in _enumerate_coalitions(players.shape[-1]))
        points = ctx.start[..., None] + players @ member.T
        values = rule.function(points) @ gain
        close = players.abs() <= CLOSE_ENDS[players.dtype] * (1 + ctx.start.abs()[..., None])
        slopes = values / torch.where(close, torch.ones_like(players), players)
        if bool(close.any()):
            slopes = torch.where(close, derivative(rule.function, points) @ mean, slopes)
        return None, None, None, grad[..., None] * slopes


class _NormalShapleyFunction(torch.autograd.Function):
    """s(z) of many contributions: multipliers g1 of their sum and g2 of their sum of squares."""

    @staticmethod
    def forward(ctx: Any, rule: Elementwise, other: tuple[Tensor, Tensor], z: Tensor, squares: Tensor) -> Tensor:
        output = rule.value(z)
        ctx.rule, ctx.kept = rule, (*other, z.detach(), output.detach(), squares.detach())
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        rule, (start, y0, z, output, squares) = ctx.rule, ctx.kept
        change = z - start
        first = mean_coalition_slope(rule, start, change, squares)
        second = (output - y0 - first * change) / squares
        enough = squares - z.abs().add_(1).square_().mul_(torch.finfo(z.dtype).eps)
        if not bool(enough.amin() > 0):
            none = ~(enough > 0)
            first = torch.where(none, rule.slope(z, start, output, y0), first)
            second = torch.where(none, torch.zeros_like(second), second)
        return None, None, first * grad, second * grad


def mean_coalition_slope(rule: Elementwise, start: Tensor, change: Tensor, squares: Tensor) -> Tensor:
    """E s'(start + q C + sqrt(q (1 - q) V) xi) over shares q, uniform, and xi, normal."""
    nodes, weights = np.polynomial.legendre.leggauss(SHARE_NODES)
    total = torch.zeros_like(change)
    root = squares.clamp_min(torch.finfo(change.dtype).tiny).sqrt_()
    smooth = NORMAL_MEAN_SLOPES.get(rule.name, _gauss_hermite_mean_slope)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        mean = torch.add(start, change, alpha=node)
        total.add_(smooth(rule, mean, root * math.sqrt(node * (1 - node))), alpha=weight)
    return total


def _gauss_hermite_mean_slope(rule: Elementwise, mean: Tensor, deviation: Tensor) -> Tensor:
    """Mean derivative under a normal distribution, by Gauss-Hermite nodes."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NORMAL_NODES)
    total = torch.zeros_like(mean)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        total.add_(derivative(rule.function, torch.add(mean, deviation, alpha=node)), alpha=weight)
    return total


def _gelu_mean_slope(rule: Elementwise, mean: Tensor, deviation: Tensor) -> Tensor:
    """In closed form, since E[x Phi(x)] has one; the tanh form of GELU is close enough, as what is left goes to g2."""
    width = 1 + deviation * deviation
    a = mean * torch.rsqrt(width)
    return _normal_cdf(a) + a * torch.exp(-a * a / 2) / (math.sqrt(2 * math.pi) * width)


def _normal_cdf(t: Tensor) -> Tensor:
    """Phi(t); torch.special.ndtr takes twice as long on a CPU."""
    return (t * math.sqrt(0.5)).erf_().add_(1).div_(2)


NORMAL_MEAN_SLOPES: Mapping[str, Callable[[Elementwise, Tensor, Tensor], Tensor]] = {
    "relu": lambda rule, mean, deviation: _normal_cdf(mean / deviation),
    "abs": lambda rule, mean, deviation: 2 * _normal_cdf(mean / deviation) - 1,
    "gelu": _gelu_mean_slope,
}
"""Mean derivatives under a normal distribution, where there is a closed form."""


@lru_cache(maxsize=MAX_ENUMERATED)
def _enumerate_coalitions(players: int) -> tuple[Tensor, Tensor, Tensor]:
    """Members [C K] of all coalitions; Shapley weights of their values [C K], and of derivatives at those without a player [C K]."""
    member = (torch.arange(1 << players)[:, None] >> torch.arange(players)) & 1
    size = member.sum(1, keepdim=True)
    others = (size - member).tolist()
    weight = torch.tensor([[1 / (players * math.comb(players - 1, count)) for count in row] for row in others], dtype=torch.float64)
    return member.double(), torch.where(member == 1, weight, -weight), torch.where(member == 1, torch.zeros_like(weight), weight)
