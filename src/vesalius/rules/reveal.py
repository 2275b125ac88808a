"""DeepLIFT's RevealCancel rule on any graph.

Reference: Shrikumar2017, section 3.5.2. Players of a unit are the elements of the sources that reach it, and count as positive or negative
by their total contribution.

Axes: * any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from vesalius.rules.maps import Map
from vesalius.rules.rescale import OPENINGS
from vesalius.rules.run import Table
from vesalius.rules.signal import Signal
from vesalius.rules.slopes import Elementwise
from vesalius.rules.units import RULES, Algebra, Parts

REVEAL = Table("deeplift_revealcancel", RULES, OPENINGS)


@final
@dataclass(frozen=True, eq=False)
class RevealCancel(Algebra):
    """Parts are the positive and the negative sum of contributions.

    Attributes:
        convolutions: whether units behind convolutions have several players; else they count as one, which is the Rescale rule.
        dense: the same for all other maps.
    """

    convolutions: bool = True
    dense: bool = True

    def source(self, value: Tensor, base: Tensor) -> tuple[Tensor, ...]:
        return _Split.apply(value, base)

    def mapped(self, found: Map, given: Signal, change: Tensor) -> Parts:
        assert given.base is not None
        base = given.base
        if not (self.convolutions if found.convolution else self.dense):
            return Parts(lambda: (change.clamp(min=0), change.clamp(max=0)), single=True)
        # the map's input counts by its total change, so its parts are those of a source
        return Parts(lambda: _Mapped.apply(found, change, *_Split.apply(given.value, base)))

    def scaled(self, parts: tuple[Tensor, ...], factor: Any) -> tuple[Tensor, ...]:
        up, down = parts
        if not isinstance(factor, Tensor):
            return (up * factor, down * factor) if factor >= 0 else (down * factor, up * factor)
        with_sign, against = factor.clamp(min=0), factor.clamp(max=0)
        if not bool((against < 0).any()):
            return up * factor, down * factor
        return with_sign * up + against * down, with_sign * down + against * up

    def averaged(self, parts: tuple[Tensor, ...], share: float) -> tuple[Tensor, ...]:
        return parts

    def function(self, rule: Elementwise, signal: Signal) -> Signal:
        assert signal.base is not None
        with torch.no_grad():
            base = rule.value(signal.base)
        ends = signal.value.detach(), signal.base
        return Signal(_Revealed.apply(rule, ends, *signal.more()), base=base)


class _Split(torch.autograd.Function):
    """A source's change as positive and negative part; backwards, the multiplier of the part that is there, of both where nothing
    changed.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        change = value - base
        ctx.save_for_backward(change)
        return change.clamp(min=0), change.clamp(max=0)

    @staticmethod
    def backward(ctx: Any, up: Tensor, down: Tensor) -> Any:  # type: ignore[override]
        (change,) = ctx.saved_tensors
        return torch.where(change > 0, up, torch.where(change < 0, down, (up + down) / 2)), None


class _Mapped(torch.autograd.Function):
    """z+ = W+ d+ + W- d- and z- = z - z+, with the transposed of both."""

    @staticmethod
    def forward(ctx: Any, found: Map, change: Tensor, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        ctx.found, ctx.up = found, up.detach()
        ctx.rising = not bool((down < 0).any())
        positive = found.weight.clamp(min=0)
        raised = found.apply(up, positive)
        if not ctx.rising:
            raised = raised + found.apply(down, found.weight - positive)
        return raised, change - raised

    @staticmethod
    def backward(ctx: Any, up: Tensor, down: Tensor) -> Any:  # type: ignore[override]
        found, x = ctx.found, ctx.up
        positive = found.back(up - down, x, found.weight.clamp(min=0))
        rise = positive + found.back(down, x, found.weight)
        fall = rise if ctx.rising else found.back(up, x, found.weight) - positive
        return None, None, rise, fall


class _Revealed(torch.autograd.Function):
    """s(z): each part gets the mean of its effects before and after the other."""

    @staticmethod
    def forward(ctx: Any, rule: Elementwise, ends: tuple[Tensor, Tensor], up: Tensor, down: Tensor) -> Tensor:  # type: ignore[override]
        ctx.rule, ctx.ends = rule, ends
        ctx.parts = up.detach(), down.detach()
        return rule.value(ends[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        rule, (end, start), (up, down) = ctx.rule, ctx.ends, ctx.parts
        raised, lowered = start + up, start + down
        y1, y0, above, below = (rule.value(z) for z in (end, start, raised, lowered))
        of_up = rule.slope(raised, start, above, y0) + rule.slope(end, lowered, y1, below)
        of_down = rule.slope(lowered, start, below, y0) + rule.slope(end, raised, y1, above)
        return None, None, grad * of_up / 2, grad * of_down / 2
