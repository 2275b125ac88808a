"""Products over an axis, whole (prod) and running (cumprod).

Axes: * any; n factors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from vesalius.rules.interpreter import Interpreter, OpCall
from vesalius.rules.op_kinds import op_name
from vesalius.rules.two_point import Endpoint, TwoPointRule, apply_two_point
from vesalius.rules.two_point_ops import vjp

aten = torch.ops.aten


@final
@dataclass(frozen=True, eq=False)
class RunningProduct(TwoPointRule):
    """The mean of the derivative along the straight line between the ends, which is a polynomial: Gauss-Legendre nodes give it exactly.

    Attributes:
        function: prod or cumprod.
        factors: n, the most that are multiplied.
    """

    function: Callable[[Tensor], Tensor]
    factors: int

    def value(self, *inputs: Tensor) -> Tensor:
        return self.function(inputs[0])

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        x1, x0 = here.inputs[0], there.inputs[0]
        total = torch.zeros_like(x1)
        for time, weight in _nodes(self.factors // 2 + 1):
            (slope,) = vjp(self.function, [torch.lerp(x0.expand_as(x1), x1, time)], grad)
            total = total if slope is None else total.add_(slope, alpha=weight)
        return (total,)


@lru_cache(maxsize=64)
def _nodes(count: int) -> list[tuple[float, float]]:
    """Nodes and weights on [0, 1]; exact for polynomials of degree 2 count - 1."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return list(zip(((nodes + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))


def count_factors(call: OpCall) -> int:
    """How many numbers are multiplied."""
    (signal,) = call.signals
    dim = call.argument(1, "dim")
    return signal.value.numel() if not isinstance(dim, int) or isinstance(dim, bool) else signal.value.shape[dim]


def product(run: Interpreter, call: OpCall) -> Any:
    """prod and cumprod."""
    (signal,) = call.signals
    return apply_two_point(run, RunningProduct(lambda x: call.on([x]), count_factors(call)), signal)


def product_in_pairs(run: Interpreter, call: OpCall) -> Any:
    """The same as products of two."""
    (x,), dim = call.signals, call.argument(1, "dim")
    if op_name(call.target) == "cumprod":
        return _running_product(run, x, dim)
    if not isinstance(dim, int):
        x, dim = run(aten.flatten.using_ints, x, 0, -1), 0
    while (size := x.value.shape[dim]) > 1:
        halves = (run(aten.slice.Tensor, x, dim, start, start + size // 2) for start in (0, size // 2))
        found = run(aten.mul.Tensor, *halves)
        x = found if size % 2 == 0 else run(aten.cat.default, [found, run(aten.slice.Tensor, x, dim, size - 1, size)], dim)
    return x if call.argument(2, "keepdim", False) else run(aten.squeeze.dim, x, dim)


def _running_product(run: Interpreter, x: Any, dim: int) -> Any:
    """Each factor times the product so far, in strides that double."""
    size, stride = x.value.shape[dim], 1
    while stride < size:
        first = run(aten.slice.Tensor, x, dim, 0, stride)
        later = (run(aten.slice.Tensor, x, dim, stride, size), run(aten.slice.Tensor, x, dim, 0, size - stride))
        x = run(aten.cat.default, [first, run(aten.mul.Tensor, *later)], dim)
        stride *= 2
    return x
