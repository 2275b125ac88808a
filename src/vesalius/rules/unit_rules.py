"""Rules that look at a unit and its players: what reaches a non-linear function through sums, maps, scales and moves.

Both ends travel side by side. A *source* is the explained tensor or the result of a non-linear op; its elements are players. Between a
source and the next non-linear function a signal carries, besides its change, the sum of a power of its players' contributions: of their
sizes, or of their squares. Those sums are made only where some function asks for them, so whatever lies above the last one costs nothing
extra.

Axes: * any.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from vesalius.rules import rescale
from vesalius.rules.interpreter import Interpreter, OpCall, Rule, linear
from vesalius.rules.linear_maps import LinearMap, moves_one, read_linear_map
from vesalius.rules.op_kinds import BRINGING_CONSTANTS, KIND_BY_OP, op_name
from vesalius.rules.signal import Signal
from vesalius.rules.transforms import is_complex
from vesalius.rules.two_point_ops import Elementwise

AVERAGING_OPS = frozenset(op for op, kind in KIND_BY_OP.items() if kind == "move" and ("avg_pool" in op or op == "mean"))
SUMMING_OPS = (
    AVERAGING_OPS | {"sum", "cumsum", "scatter_add", "index_add", "einsum"} | {op for op in KIND_BY_OP if op.startswith("upsample")}
)
"""Moves that add elements up, so that one element has several players afterwards."""
EVALUABLE_ANYWHERE = frozenset(
    "relu gelu silu sigmoid tanh softplus elu selu celu leaky_relu prelu hardtanh hardswish hardsigmoid relu6 mish erf sin cos logsigmoid"
    " abs clamp clamp_min clamp_max hardshrink softshrink tanhshrink threshold softsign atan square".split()
)
"""Functions that may be evaluated at points which no value takes; exp grows out of bounds there, log and sqrt are not defined."""


class PowerSum:
    """The sum of a power of the contributions to a signal, made when first asked for.

    Attributes:
        single: whether every element has one player at most.
        players: makes the contributions themselves [* players], where there are few.
    """

    def __init__(self, make: Callable[[], Tensor], *, single: bool = False, players: Callable[[], Tensor] | None = None) -> None:
        self._make = make
        self._made: Tensor | None = None
        self.single = single
        self.players = players

    def __call__(self) -> Tensor:
        if self._made is None:
            self._made = self._make()
        return self._made


class UnitRule(ABC):
    """Which power is summed, and what a function makes of it.

    Attributes:
        power: of the contributions.
    """

    power: ClassVar[int]

    @abstractmethod
    def source(self, value: Tensor, base: Tensor) -> Tensor:
        """The power of a source's elements, each its own player."""

    @abstractmethod
    def function(self, rule: Elementwise, signal: Signal) -> Signal:
        """A function of one value of several players."""

    def mapped(self, found: LinearMap, given: Signal, result: Signal) -> PowerSum:
        """Parts behind a linear map.

        Args:
            found: the map.
            given: what it is applied to; its total change is what counts (RESET), whatever it is made of.
            result: of the map.
        """
        del result
        return PowerSum(lambda: found.apply(self.source(*ends_of(given)), self.scale(found.weight)))

    def scale(self, factor: Any) -> Any:
        """What parts are multiplied by where contributions are multiplied by a factor."""
        return abs(factor) ** self.power


def ends_of(signal: Signal) -> tuple[Tensor, Tensor]:
    """Both ends of a signal, of which the other end travels along."""
    assert signal.base is not None
    return signal.value, signal.base


def power_sum_of(run: Interpreter, signal: Signal) -> PowerSum:
    """The parts a signal carries; those of a source where it carries none."""
    if isinstance(signal.extra, PowerSum):
        return signal.extra
    ends = ends_of(signal)
    parts = PowerSum(lambda: run.state.source(*ends), single=True)
    object.__setattr__(signal, "extra", parts)  # so that all that read this source share them
    return parts


def move(run: Interpreter, call: OpCall) -> Any:
    """Moves, with the same move of the parts."""
    found, name = rescale.move(run, call), op_name(call.target)
    given = [power_sum_of(run, signal) for signal in call.signals]
    single = name not in SUMMING_OPS and all(parts.single for parts in given)
    memo: list[Any] = []

    def result() -> Any:
        if not memo:
            memo.append(_move_without_constants(call, [parts() for parts in given]))
        return memo[0]

    def result_at(place: int) -> Callable[[], Any]:
        return lambda: result()[place]

    if isinstance(found, (tuple, list)):
        return type(found)(
            replace(part, extra=PowerSum(result_at(place), single=single)) if isinstance(part, Signal) else part
            for place, part in enumerate(found)
        )
    # an average of n has the n-th part of each contribution
    share = found.value.numel() / call.signals[0].value.numel() if name in AVERAGING_OPS else 1.0
    return replace(found, extra=PowerSum(lambda: result() * share ** (run.state.power - 1), single=single))


def _move_without_constants(call: OpCall, column: Sequence[Tensor]) -> Any:
    """A move of parts, its constants left out."""
    moved = call.on(column)
    constants = op_name(call.target) in BRINGING_CONSTANTS or any(
        isinstance(item, Tensor) and item.is_floating_point()
        for arg in call.args
        for item in (arg if isinstance(arg, (tuple, list)) else [arg])
    )
    if not constants:
        return moved
    with torch.no_grad():
        fixed = call.on([torch.zeros_like(part) for part in column])
    return [part - still for part, still in zip(moved, fixed, strict=True)] if isinstance(moved, (tuple, list)) else moved - fixed


def add(run: Interpreter, call: OpCall) -> Any:
    """Sums and differences: the parts are added up, those of a subtracted value too."""
    found, name = rescale.add(run, call), op_name(call.target)
    alpha = call.kwargs.get("alpha", 1)
    factors = {"add": (1, alpha), "sub": (1, -alpha), "rsub": (-alpha, 1), "neg": (-1,)}[name]
    terms = [(power_sum_of(run, arg), factor) for arg, factor in zip(call.args, factors, strict=False) if isinstance(arg, Signal)]
    shape = found.value.shape

    def make() -> Tensor:
        first, *rest = (parts() if abs(factor) == 1 else parts() * run.state.scale(factor) for parts, factor in terms)
        return sum(rest, first).expand(shape)

    alone = terms[0][0]
    players = alone.players if len(terms) == 1 and factors[0] == 1 else None
    return replace(found, extra=PowerSum(make, single=len(terms) == 1 and alone.single, players=players))


def scale_by_constant(run: Interpreter, call: OpCall) -> Any:
    """Products with and quotients by a constant; of two values, a source."""
    rule = rescale.multiply if op_name(call.target) == "mul" else rescale.divide
    found = rule(run, call)
    rounded = call.kwargs.get("rounding_mode") is not None
    if rounded or len(call.signals) > 1 or (isinstance(call.args[1], Signal) and op_name(call.target) == "div"):
        return found
    parts = power_sum_of(run, call.signals[0])
    constant = next(arg for arg in call.args if not isinstance(arg, Signal))
    factor = constant if op_name(call.target) == "mul" else 1 / constant
    players = _scale_players(parts, factor) if found.value.shape == call.signals[0].value.shape else None
    return replace(found, extra=PowerSum(lambda: parts() * run.state.scale(factor), single=parts.single, players=players))


def affine(run: Interpreter, call: OpCall) -> Any:
    """Batch norm: a scale per channel."""
    found = linear(run, call)
    first = found[0] if isinstance(found, tuple) else found
    parts, factor = power_sum_of(run, call.signals[0]), batch_norm_affine(call)[0]
    more = PowerSum(lambda: parts() * run.state.scale(factor), single=parts.single, players=_scale_players(parts, factor))
    first = replace(first, extra=more)
    return (first, *found[1:]) if isinstance(found, tuple) else first


def _scale_players(parts: PowerSum, factor: Any) -> Callable[[], Tensor] | None:
    """The contributions themselves, times a factor, where they are known."""
    players = parts.players
    if players is None:
        return None
    return lambda: players() * (factor[..., None] if isinstance(factor, Tensor) and factor.ndim else factor)


def batch_norm_affine(call: OpCall) -> tuple[Tensor, Tensor]:
    """Scale and shift of a batch norm in eval mode, shaped to multiply its input."""
    weight, bias, mean, variance = call.args[1:5]
    eps = call.args[6] if op_name(call.target).startswith("_") else call.args[7]
    factor = torch.rsqrt(variance + eps)
    factor = factor if weight is None else factor * weight
    shift = -mean * factor if bias is None else bias - mean * factor
    place = (1, -1, *[1] * (call.signals[0].value.ndim - 2))
    return factor.reshape(place), shift.reshape(place)


def linear_map(run: Interpreter, call: OpCall) -> Any:
    """A map with a constant weight; with a weight that is a signal, a source; without a weight, a move."""
    if moves_one(call):
        return move(run, call)
    found = rescale.linear_map(run, call)
    if len(call.signals) > 1 or (op_name(call.target) == "einsum" and len(call.args[1]) > 2):
        return found
    what, given = read_linear_map(call)
    return replace(found, extra=run.state.mapped(what, given, found))


def elementwise(run: Interpreter, call: OpCall) -> Any:
    """A function of several players where it is tame; of one, or where it is not, the secant slope."""
    name, signals = op_name(call.target), call.signals
    power = call.argument(1, "exponent") if name == "pow" else None
    tame = name in EVALUABLE_ANYWHERE or (isinstance(power, (int, float)) and power > 0 and power == int(power))
    if not tame or len(signals) != 1 or is_complex(signals[0]) or power_sum_of(run, signals[0]).single:
        return rescale.elementwise(run, call)
    return run.state.function(rescale.elementwise_rule(call, lambda z: call.on([z])), signals[0])


RULES: Mapping[str, Rule] = {
    **rescale.RULES,
    "move": move,
    "add": add,
    "scale": add,
    "multiply": scale_by_constant,
    "divide": scale_by_constant,
    "affine": affine,
    "map": linear_map,
    "elementwise": elementwise,
}
