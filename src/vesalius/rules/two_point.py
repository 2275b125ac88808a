"""Two-point rules: how a change of an output is shared among changes of its inputs.

Between two ends, there (the baseline) and here (the input), a rule gives multipliers m with sum m_in * (in_here - in_there) =
m_out * (out_here - out_there), to rounding, on any op. Chained by autograd, they share f(x) - f(b) out completely on any graph.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vesalius.rules.interpreter import Interpreter
from vesalius.rules.signal import Signal

FAR = 1e4
"""Stands for infinity where the inputs decide whether it is chosen: its exponential is no number's share of a softmax."""


@dataclass(eq=False)
class Endpoint:
    """What one non-linear op saw in one pass. Written again when a pass is made again."""

    inputs: tuple[Tensor, ...] = ()
    output: Tensor | None = None


@dataclass(eq=False)
class Tape:
    """The ends of all non-linear ops of a pass, in order of computation."""

    ends: list[Endpoint] = field(default_factory=list)
    place: int = 0

    def next(self) -> Endpoint:
        """The end of the next op."""
        if self.place == len(self.ends):
            self.ends.append(Endpoint())
        self.place += 1
        return self.ends[self.place - 1]

    def rewind(self) -> Tape:
        """The same tape, to be written or read from its beginning."""
        self.place = 0
        return self


@dataclass(eq=False)
class TwoPointState:
    """State of a pass that is compared with another pass, made before or after it.

    Attributes:
        here: the tape that this pass writes.
        there: the tape of the other pass; ``None`` in a reference pass.
    """

    here: Tape
    there: Tape | None = None


class TwoPointRule(ABC):
    """An op and its two-point rule."""

    @abstractmethod
    def value(self, *inputs: Tensor) -> Tensor:
        """The op."""

    @abstractmethod
    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        """Multipliers of the inputs, given that of the output; ends may have one row for all samples."""


class _TwoPointFunction(torch.autograd.Function):
    """An op whose backward pass is a two-point rule."""

    @staticmethod
    def forward(ctx: Any, rule: TwoPointRule, here: Endpoint, there: Endpoint, *inputs: Tensor) -> Tensor:
        ctx.rule, ctx.here, ctx.there = rule, here, there
        output = rule.value(*inputs)
        here.inputs, here.output = tuple(tensor.detach() for tensor in inputs), output.detach()
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return None, None, None, *ctx.rule.share(grad, ctx.here, ctx.there)


def apply_two_point(run: Interpreter, rule: TwoPointRule, *signals: Signal) -> Signal:
    """Apply an op to signals under its two-point rule.

    Where both ends travel side by side (``Signal.base``), the other end is computed here; else it is on a tape.
    """
    inputs = tuple(signal.value for signal in signals)
    if not isinstance(run.state, TwoPointState):
        bases = tuple(signal.base for signal in signals)
        with torch.no_grad():
            other = Endpoint(bases, rule.value(*bases))  # type: ignore[arg-type]
        found = _TwoPointFunction.apply(rule, Endpoint(), other, *inputs)  # type: ignore[no-untyped-call]
        return Signal(found, base=other.output)
    here = run.state.here.next()
    if run.state.there is None:
        here.inputs, here.output = inputs, rule.value(*inputs)
        return Signal(here.output)
    return Signal(_TwoPointFunction.apply(rule, here, run.state.there.next(), *inputs))  # type: ignore[no-untyped-call]


def bounded(number: Any) -> Any:
    """An infinite constant as a far one: what changes between it and a number has a share, which is none of infinity."""
    if isinstance(number, Tensor):
        far = min(FAR, torch.finfo(number.dtype).max) if number.is_floating_point() else FAR
        return number.clamp(-far, far) if number.is_floating_point() and bool(number.isinf().any()) else number
    return math.copysign(FAR, number) if isinstance(number, float) and math.isinf(number) else number
