"""DeepLIFT's RevealCancel rule on any graph.

Reference: Shrikumar2017, section 3.5.2. Players of a unit are the elements of the sources that reach it, and count as positive or negative
by their total contribution.

Axes: * any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from vesalius.rules.interpreter import RuleTable
from vesalius.rules.linear_maps import LinearMap
from vesalius.rules.rescale import ALL_DECOMPOSITIONS, BY_PLACES
from vesalius.rules.signal import Signal
from vesalius.rules.torch_decompositions import find_torch_decomposition
from vesalius.rules.two_point_ops import Elementwise, times_multiplier
from vesalius.rules.unit_rules import RULES, PowerSum, UnitRule, ends_of

REVEAL_CANCEL = RuleTable("deeplift_revealcancel", RULES, ALL_DECOMPOSITIONS, by_places=BY_PLACES, opened=find_torch_decomposition)


@final
@dataclass(frozen=True, eq=False)
class RevealCancel(UnitRule):
    """Parts are the sum of the sizes of contributions: with their sum it tells the positive and the negative sum apart.

    A multiplier of the positive sum (change + sizes) / 2 and one of the negative sum (change - sizes) / 2 are half their sum for the change
    and half their difference for the sizes, which autograd takes back to the players.

    Attributes:
        convolutions: whether units behind convolutions have several players; else they count as one, which is the Rescale rule.
        dense: the same for all other maps.
    """

    power: ClassVar[int] = 1
    convolutions: bool = True
    dense: bool = True

    def source(self, value: Tensor, base: Tensor) -> Tensor:
        return (value - base).abs()

    def mapped(self, found: LinearMap, given: Signal, result: Signal) -> PowerSum:
        if self.convolutions if found.convolution else self.dense:
            return super().mapped(found, given, result)
        return PowerSum(lambda: self.source(*ends_of(result)), single=True)

    def function(self, rule: Elementwise, signal: Signal) -> Signal:
        assert signal.base is not None
        with torch.no_grad():
            base = rule.value(signal.base)
        found = _RevealCancelFunction.apply(rule, (signal.base, base), signal.value, signal.extra())  # type: ignore[no-untyped-call]
        return Signal(found, base=base)


class _RevealCancelFunction(torch.autograd.Function):
    """s(z): the positive and the negative sum each get the mean of their effects before and after the other."""

    @staticmethod
    def forward(ctx: Any, rule: Elementwise, other: tuple[Tensor, Tensor], z: Tensor, sizes: Tensor) -> Tensor:
        output = rule.value(z)
        ctx.rule, ctx.kept = rule, (*other, z.detach(), output.detach(), sizes.detach())
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        rule, (start, y0, end, y1, sizes) = ctx.rule, ctx.kept
        raised = start + (end - start + sizes) / 2
        lowered = start + (end - start - sizes) / 2
        above, below = (None, None) if rule.has_closed_form else (rule.value(raised), rule.value(lowered))
        of_up = rule.slope(raised, start, above, y0) + rule.slope(end, lowered, y1, below)
        of_down = rule.slope(lowered, start, below, y0) + rule.slope(end, raised, y1, above)
        return None, None, times_multiplier((of_up + of_down) / 4, grad), times_multiplier((of_up - of_down) / 4, grad)
