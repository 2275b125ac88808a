"""Any function of one number that a graph applies to a unit's sum: computed as it is, and its means over a Gaussian argument by quadrature.

Axes: U units.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.fx.node import map_aggregate

from vesalius.sparsity.activations import Activation

STEP, REACH = 0.4, 6.4
"""Nodes of the trapezoidal rule, in standard deviations: exact to rounding for smooth functions, and to 5e-3 of the change of slope at a
corner, where as many Gauss-Hermite nodes lie farther apart."""


@dataclass(frozen=True)
class Earlier:
    """The result of an earlier step; step 0 is the argument."""

    place: int


@dataclass(frozen=True, eq=False)
class UnitConstant:
    """A constant: one for all units, or one of each.

    Attributes:
        values: without axes, or [U] and then as many axes of one element as follow the axis of units.
    """

    values: Float[Tensor, "..."]

    def select(self, units: slice | Int[Tensor, " u"]) -> UnitConstant:
        """That of some units."""
        return UnitConstant(self.values[units]) if self.values.ndim else self

    def at(self, axis: int) -> UnitConstant:
        """For tensors whose units are on an axis, counted from the end."""
        return UnitConstant(self.values.reshape([-1, *[1] * (-axis - 1)])) if self.values.ndim else self


@dataclass(frozen=True, eq=False)
class Step:
    """One op.

    Attributes:
        compute: elementwise.
        operands: positional arguments: :class:`Earlier`, :class:`UnitConstant`, or as they are.
        options: keyword arguments, likewise.
    """

    compute: Callable[..., Tensor]
    operands: tuple[Any, ...]
    options: dict[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class ElementwiseFunction:
    """A function of one number that is made of several ops, or of one without a closed form.

    Attributes:
        name: its formula, of the argument ``h``.
        steps: in order; the last is its value.
    """

    name: str
    steps: tuple[Step, ...]

    @property
    def monotone(self) -> bool:
        """Whether it is known never to fall."""
        return False

    def select(self, units: slice | Int[Tensor, " u"]) -> ElementwiseFunction:
        """That of some units."""
        return self._map_constants(lambda one: one.select(units))

    def at(self, axis: int) -> ElementwiseFunction:
        """The same for tensors whose units are on an axis, counted from the end: -1, unless it is told otherwise."""
        return self._map_constants(lambda one: one.at(axis))

    def _map_constants(self, change: Callable[[UnitConstant], UnitConstant]) -> ElementwiseFunction:
        def over(operand: Any) -> Any:
            return change(operand) if isinstance(operand, UnitConstant) else operand

        steps = [
            replace(step, operands=map_aggregate(step.operands, over), options=map_aggregate(step.options, over)) for step in self.steps
        ]
        return replace(self, steps=tuple(steps))

    def __call__(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Its value."""
        values = [z]

        def fill(operand: Any) -> Any:
            if isinstance(operand, UnitConstant):
                return operand.values.to(z) if operand.values.is_floating_point() else operand.values.to(z.device)
            return values[operand.place] if isinstance(operand, Earlier) else operand

        for step in self.steps:
            values.append(step.compute(*map_aggregate(step.operands, fill), **map_aggregate(step.options, fill)))
        return values[-1].to(z.dtype)

    def slope(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Its derivative, over a width of the square root of rounding; at a corner the mean of both sides."""
        return self.mean_slope(z, z.new_zeros(()))

    def mean(self, m: Float[Tensor, "..."], s: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """E f(m + s Z) for a standard normal Z, by the trapezoidal rule.

        Args:
            m: means.
            s: standard deviations, 0 or more, broadcastable to ``m``.
        """
        return self._expectation(m, s, lambda node: 1.0, centred=False)

    def mean_slope(self, m: Float[Tensor, "..."], s: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """E f'(m + s Z) = E f(m + s Z) Z / s, which asks for no derivative."""
        s = _at_least(m, s, 1 / 3)
        return self._expectation(m, s, lambda node: node, centred=True) / s

    def mean_curvature(self, m: Float[Tensor, "..."], s: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """E f''(m + s Z) = E f(m + s Z) (Z^2 - 1) / s^2."""
        s = _at_least(m, s, 1 / 4)
        return self._expectation(m, s, lambda node: node * node - 1, centred=True) / s.square()

    def _expectation(self, m: Tensor, s: Tensor, factor: Callable[[float], float], *, centred: bool) -> Float[Tensor, "..."]:
        """Mean of the function times a factor; less its value in the middle where the factor is 0 on average."""
        middle = self(m) if centred else None
        total = torch.zeros_like(m + s)
        for node, share in normal_nodes():
            value = self(m + s * node)
            total += share * factor(node) * (value if middle is None else value - middle)
        return total


UnitFunction = Activation | ElementwiseFunction


def _at_least(m: Tensor, s: Tensor, power: float) -> Tensor:
    """A width that differences can be taken over."""
    return torch.maximum(s, torch.finfo(m.dtype).eps ** power * (1 + m.abs()))


@lru_cache
def normal_nodes() -> tuple[tuple[float, float], ...]:
    """Nodes and shares for means over a standard normal variable."""
    places = [STEP * place for place in range(-round(REACH / STEP), round(REACH / STEP) + 1)]
    shares = [math.exp(-place * place / 2) for place in places]
    return tuple((place, share / sum(shares)) for place, share in zip(places, shares, strict=True))
