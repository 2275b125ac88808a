"""LRP rules of linear maps, in multiplier form: the relevance of a value is the value times its multiplier c.

A rule gets c of the map's result z and gives c of its input x. Nothing is ever divided by a value that may vanish but the sums z+ and z-
of one sign, so that relevance cannot blow up where branches are added. Whatever does not reach x is booked.

Axes: * any.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.numbers import Limit, is_number, real_number
from vesalius.core.options import Options
from vesalius.core.rows import to_tensor
from vesalius.rules.linear_maps import LinearMap

Absorb = Callable[[str, Tensor], None]


@dataclass(frozen=True, eq=False)
class LayerVisit:
    """A map on the way back.

    Attributes:
        found: the map.
        x: its input.
        z: its result, bias included.
        absorb: takes an account and an amount in the shape of z.
    """

    found: LinearMap
    x: Tensor
    z: Tensor
    absorb: Absorb

    @property
    def bias(self) -> Tensor:
        """The bias, zero where there is none."""
        return self.z.new_zeros(()) if self.found.bias is None else self.found.bias

    def signed(self, with_sign: Tensor, against: Tensor) -> Tensor:
        """with_sign applied to what is positive in x, plus against applied to what is negative."""
        total = self.found.apply(self.positive, with_sign)
        return total if self.is_nonnegative else total + self.found.apply(self.negative, against)

    def back_by_sign(self, c: Tensor, with_sign: Tensor, against: Tensor, other: Tensor | None = None) -> Tensor:
        """The transposed of :meth:`signed`; plus the same of another multiplier with both weights exchanged."""

        def back(first: Tensor, second: Tensor) -> Tensor:
            found = self.found.back(c, self.x, first)
            return found if other is None else found + self.found.back(other, self.x, second)

        found = back(with_sign, against)
        return found if self.is_nonnegative else torch.where(self.x > 0, found, back(against, with_sign))

    @cached_property
    def positive(self) -> Tensor:
        """What is positive in x."""
        return self.x if self.is_nonnegative else self.x.clamp(min=0)

    @cached_property
    def negative(self) -> Tensor:
        """What is negative in x."""
        return self.x.clamp(max=0)

    @cached_property
    def is_nonnegative(self) -> bool:
        """Whether x is nowhere negative."""
        return not bool(self.x.amin() < 0)


class LayerRule(Options, ABC):
    """How relevance passes a linear map."""

    direct = False
    """Whether the rule gives relevance itself, not a multiplier; only for maps that stand on the explained tensor."""

    @abstractmethod
    def back(self, visit: LayerVisit, c: Tensor) -> Tensor:
        """Multiplier (or relevance, where ``direct``) of the input, given the multiplier of the result."""


@final
@dataclass(frozen=True, kw_only=True)
class Epsilon(LayerRule):
    """Contributions in proportion, the denominator moved away from zero.

    Attributes:
        epsilon: what |z| is increased by; 0 is Gradient x Input on networks of ReLUs.

    Reference: Bach2015, equation 58.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"epsilon": Limit(least=0)}
    epsilon: float = 1e-6

    def back(self, visit: LayerVisit, c: Tensor) -> Tensor:
        kept = c
        if self.epsilon > 0:
            size = visit.z.abs()
            kept = c * (size / (size + self.epsilon))
            visit.absorb("stabiliser", visit.z * (c - kept))
        if visit.found.bias is not None:
            visit.absorb("bias", visit.bias * kept)
        return visit.found.back(kept, visit.x, visit.found.weight)


@final
@dataclass(frozen=True, kw_only=True)
class AlphaBeta(LayerRule):
    """Positive contributions times alpha, negative ones times -beta, each in proportion to its own sum.

    Attributes:
        alpha: weight of the positive side.
        beta: weight of the negative side; alpha - beta = 1. (1, 0) is the z+ rule of Montavon2017.
        stabiliser: what both sums are moved away from zero by.

    Reference: Bach2015, equation 60; a bias joins the side of its sign.
    """

    alpha: float = 2.0
    beta: float = 1.0
    stabiliser: float = 1e-9

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.alpha >= 1 and abs(self.alpha - self.beta - 1) < 1e-9):
            raise InvalidInput(f"alpha - beta must be 1 and alpha at least 1, not {self.alpha:g} and {self.beta:g}")

    def back(self, visit: LayerVisit, c: Tensor) -> Tensor:
        weight, bias = visit.found.weight, visit.found.bias
        up, down = weight.clamp(min=0), weight.clamp(max=0)
        if not self.beta:
            whole = visit.signed(up, down)
            shifts = [] if bias is None else [bias.clamp(min=0)]
            kept = self._kept(visit, visit.z * c, sum(shifts, whole)[None], shifts)
            return visit.back_by_sign(kept[0], up, down)
        sums = [visit.signed(up, down), visit.signed(down, up)]
        shifts = [] if bias is None else [bias.clamp(min=0), bias.clamp(max=0)]
        if shifts:
            sums = [whole + shift for whole, shift in zip(sums, shifts, strict=True)]
        first, second = self._kept(visit, visit.z * c, torch.stack(sums), shifts)
        return visit.back_by_sign(first, up, down, second)

    def _kept(self, visit: LayerVisit, relevance: Tensor, whole: Tensor, shifts: Sequence[Tensor]) -> Tensor:
        """Each side's multiplier, weighted; what does not pass is booked. The sides lie in one tensor: half as many ops."""
        place = [-1, *[1] * relevance.ndim]
        signs, factors = (whole.new_tensor(pair[: len(whole)]).reshape(place) for pair in ([1, -1], [self.alpha, -self.beta]))
        somebody = whole.sign().abs_()  # as numbers: on a CPU truth values are ten times slower
        kept = relevance / (whole + signs * (self.stabiliser + 1 - somebody)) * somebody
        left = factors * (relevance - whole * kept)
        rest = left * somebody
        visit.absorb("one_sided", (left - rest).sum(0))
        visit.absorb("stabiliser", rest.sum(0))
        kept = factors * kept
        constant = [shift * part for shift, part in zip(shifts, kept, strict=False)]  # none without a bias
        if constant:
            visit.absorb("bias", sum(constant[1:], constant[0]))
        return kept


@final
@dataclass(frozen=True, kw_only=True)
class Gamma(LayerRule):
    """As epsilon, with contributions of the result's own sign counted 1 + gamma times.

    Attributes:
        gamma: how much more; 0 is the epsilon rule, infinity the z+ rule.
        stabiliser: what the sum is moved away from zero by.

    Reference: Montavon2019, section 10.2.3, in the form with signs of Andeol2021.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"gamma": Limit(least=0), "stabiliser": Limit(least=0)}
    gamma: float = 0.25
    stabiliser: float = 1e-6

    def back(self, visit: LayerVisit, c: Tensor) -> Tensor:
        weight, bias = visit.found.weight, visit.bias
        up, down = weight + self.gamma * weight.clamp(min=0), weight + self.gamma * weight.clamp(max=0)
        relevance = visit.z * c
        total = torch.zeros((), device=c.device, dtype=c.dtype)
        left = relevance
        for weights, extra, here in (((up, down), bias.clamp(min=0), visit.z > 0), ((down, up), bias.clamp(max=0), visit.z < 0)):
            counted = bias + self.gamma * extra
            whole = visit.signed(*weights) + counted
            kept = torch.where(here, relevance / stabilise(whole, self.stabiliser), torch.zeros_like(relevance))
            left = left - whole * kept
            if visit.found.bias is not None:
                visit.absorb("bias", counted * kept)
            total = total + visit.back_by_sign(kept, *weights)
        visit.absorb("stabiliser", left)
        return total


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Box(LayerRule):
    """For inputs within known bounds: x W - low W+ - high W-, in proportion.

    Attributes:
        low: lower bound, a number or a tensor broadcastable to x.
        high: upper bound.
        stabiliser: what the sum is moved away from zero by.

    Reference: Montavon2017, equation 12.
    """

    direct = True
    low: float | Tensor = 0.0
    high: float | Tensor = 1.0
    stabiliser: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("low", "high"):
            given = getattr(self, name)
            bound = real_number(name, given) if is_number(given) else to_tensor(given)
            if isinstance(bound, Tensor) and (bound.is_complex() or bound.dtype == torch.bool or not bool(bound.isfinite().all())):
                raise InvalidInput(f"{name} is a bound of the input, of finite real numbers, not {given!r}")
            object.__setattr__(self, name, bound)
        low, high = torch.as_tensor(self.low), torch.as_tensor(self.high)
        if not _broadcasts(low.shape, high.shape) or not bool((low <= high.to(low.device)).all()):
            raise InvalidInput(f"low is at most high everywhere, in shapes that fit; not {self.low} and {self.high}")

    def back(self, visit: LayerVisit, c: Tensor) -> Tensor:
        weight = visit.found.weight
        up, down = weight.clamp(min=0), weight.clamp(max=0)
        low, high = (torch.as_tensor(bound, dtype=c.dtype, device=c.device) for bound in (self.low, self.high))
        for name, bound in (("low", low), ("high", high)):
            if not _broadcasts(bound.shape, visit.x.shape) or bound.ndim > visit.x.ndim:
                raise InvalidInput(f"{name} has shape {list(bound.shape)} and does not fit the explained tensor, {list(visit.x.shape)}")
        low, high = low.expand_as(visit.x), high.expand_as(visit.x)
        apply, back = visit.found.apply, visit.found.back
        whole = apply(visit.x, weight) - apply(low, up) - apply(high, down)
        relevance = visit.z * c
        kept = relevance / stabilise(whole, self.stabiliser)
        visit.absorb("stabiliser", relevance - whole * kept)
        return visit.x * back(kept, visit.x, weight) - low * back(kept, visit.x, up) - high * back(kept, visit.x, down)


@final
@dataclass(frozen=True, kw_only=True)
class WSquare(LayerRule):
    """Squared weights, in proportion, whatever the input: for inputs without bounds.

    Attributes:
        flat: count every weight as 1 instead, which only projects relevance back.
        stabiliser: what the sum is moved away from zero by.

    Reference: Montavon2017, equation 8.
    """

    direct = True
    flat: bool = False
    stabiliser: float = 1e-6

    def back(self, visit: LayerVisit, c: Tensor) -> Tensor:
        weight = torch.ones_like(visit.found.weight) if self.flat else visit.found.weight * visit.found.weight
        whole = visit.found.apply(torch.ones_like(visit.x), weight)
        relevance = visit.z * c
        kept = relevance / stabilise(whole, self.stabiliser)
        visit.absorb("stabiliser", relevance - whole * kept)
        return visit.found.back(kept, visit.x, weight)


def _broadcasts(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether tensors of two shapes can be compared element by element."""
    return all(x == y or 1 in (x, y) for x, y in zip(reversed(a), reversed(b), strict=False))


def stabilise(whole: Tensor, distance: float) -> Tensor:
    """A denominator moved away from zero, by its sign; 0 counts as positive."""
    return torch.where(whole >= 0, whole + distance, whole - distance)


class _LayerRuleFunction(torch.autograd.Function):
    """A linear map whose backward pass is a layer rule."""

    @staticmethod
    def forward(ctx: Any, rule: LayerRule, visit: LayerVisit, x: Tensor, raw: Tensor | None) -> Tensor:
        ctx.rule, ctx.visit = rule, visit
        return visit.z.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        found = ctx.rule.back(ctx.visit, grad)
        return (None, None, None, found) if ctx.rule.direct else (None, None, found, None)


def apply_layer_rule(rule: LayerRule, visit: LayerVisit, x: Tensor, raw: Tensor | None) -> Tensor:
    """The map's result, with a rule for the way back.

    Args:
        rule: the rule.
        visit: the map; its tensors are not part of the autograd graph.
        x: the map's input, part of it.
        raw: stands for the relevance of x itself, for rules that give that; ``None`` where there is no way to the explained tensor.
    """
    if rule.direct and raw is None:
        raise InvalidInput(
            f"{type(rule).__name__} is for layers that stand on the explained tensor itself, with nothing but moves of its elements between"
        )
    found: Tensor = _LayerRuleFunction.apply(rule, visit, x, raw)  # type: ignore[no-untyped-call]
    return found
