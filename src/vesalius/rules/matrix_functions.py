"""Functions of matrices that have a derivative and no shorter rule: exponentials, determinants, factors, eigenvalues.

What such a function adds between two matrices is the integral of its derivative along the straight line from one to the other, found by
Gauss-Legendre rules on pieces of it that are halved until all add up, in double precision. The function may have no derivative on the way:
a matrix without an inverse between two whose determinants have different signs, a factor that is another one's negative from some point on.
Then nothing adds up, and the function is refused.

Axes: * batch; m by n matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from vesalius.core.errors import NoRule
from vesalius.rules.interpreter import Interpreter, OpCall
from vesalius.rules.op_kinds import op_name
from vesalius.rules.torch_decompositions import open_by_torch
from vesalius.rules.transforms import is_complex
from vesalius.rules.two_point import Endpoint, TwoPointRule, apply_two_point
from vesalius.rules.two_point_ops import vjp

aten = torch.ops.aten

NODES = 8
"""Nodes of a piece of the line: exact for polynomials of the 15th degree, such as the determinant of 16 rows."""
MOST_PANELS, NARROWEST = 256, 2.0**-20
"""Pieces that a line is cut into, and the length of the shortest."""
ADDS_UP = 1e-9
"""Share of what a matrix's elements count together that an integral may miss before a piece is halved."""
REFUSED = 1e-3
"""The same share of all pieces, above which there is no integral to be found; below it is shared out."""
Ends = Sequence[tuple[Tensor, Tensor]]
"""Of each value, the sample's and the baseline's."""
SPECTRAL_NORMS = ("nuc", 2, -2)
"""Norms of matrices that ask for singular values; torch writes the others in simpler ops."""


@final
@dataclass(frozen=True, eq=False)
class LineIntegral(TwoPointRule):
    """y = f(A, ...): the mean derivative along the line.

    Attributes:
        function: f, of a matrix or a batch of them, and of what else depends on the input.
        what: the op, for messages.
        table: whose rule this is.
    """

    function: Callable[..., Tensor]
    what: str
    table: str

    def value(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        assert here.output is not None and there.output is not None
        ends = [(one.double(), other.double().expand_as(one)) for one, other in zip(here.inputs, there.inputs, strict=True)]
        batch = ends[0][0].ndim - 2
        change = _sum(grad.double() * (here.output.double() - there.output.double()), batch)
        found, missed, size = self._integrate(grad.double(), ends, change, batch)
        if not bool((missed.abs() <= REFUSED * size).all()):
            raise NoRule(self.table, [f"{self.what} of matrices between which it has no derivative, or jumps"])
        weight = torch.stack([_sum((one - other).square(), batch) for one, other in ends]).sum(0)
        rest = torch.where(weight > 0, missed / torch.where(weight > 0, weight, torch.ones_like(weight)), torch.zeros_like(weight))
        return [
            (part + rest.reshape(*rest.shape, *[1] * (part.ndim - batch)) * (one - other)).to(end.dtype)
            for part, (one, other), end in zip(found, ends, here.inputs, strict=True)
        ]

    def _integrate(self, grad: Tensor, ends: Ends, change: Tensor, batch: int) -> tuple[list[Tensor], Tensor, Tensor]:
        """Mean derivatives; of each matrix what they miss of its change, and how much its elements count together."""
        total = [torch.zeros_like(one) for one, _ in ends]
        allowed: Tensor | None = None
        panels, spent = [(0.0, 1.0)], 0
        while panels:
            start, stop = panels.pop(0)
            spent += 1
            found = self._mean_slopes(grad, ends, start, stop)
            counted = [part * (one - other) for part, (one, other) in zip(found, ends, strict=True)]
            risen = self.value(*_points(ends, stop)) - self.value(*_points(ends, start))
            missed = (_sum(grad * risen, batch) - sum(_sum(part, batch) for part in counted)).abs()
            if allowed is None:
                allowed = ADDS_UP * (change.abs() + sum(_sum(part.abs(), batch) for part in counted))
            if bool((missed <= allowed).all()) or spent + len(panels) >= MOST_PANELS or stop - start < NARROWEST:
                total = [whole + part for whole, part in zip(total, found, strict=True)]
            else:
                panels += [(start, (start + stop) / 2), ((start + stop) / 2, stop)]
        counted = [part * (one - other) for part, (one, other) in zip(total, ends, strict=True)]
        size = change.abs() + sum(_sum(part.abs(), batch) for part in counted)
        return total, change - sum(_sum(part, batch) for part in counted), size

    def _mean_slopes(self, grad: Tensor, ends: Ends, start: float, stop: float) -> list[Tensor]:
        """The integral of the derivative over a piece of the line."""
        found = [torch.zeros_like(one) for one, _ in ends]
        for node, weight in zip(*np.polynomial.legendre.leggauss(NODES), strict=True):
            points = _points(ends, start + float(node + 1) / 2 * (stop - start))
            try:
                slopes = vjp(self.function, points, grad)
            except RuntimeError as error:  # torch's own refusals: repeated eigenvalues, a matrix that is not positive
                raise NoRule(self.table, [f"{self.what} as it is used here ({str(error).strip().splitlines()[0][:200]})"]) from error
            share = float(weight) / 2 * (stop - start)
            found = [part if slope is None else part + slope * share for part, slope in zip(found, slopes, strict=True)]
        return found


def _points(ends: Ends, time: float) -> list[Tensor]:
    return [torch.lerp(other, one, time) for one, other in ends]


def matrix_function(run: Interpreter, call: OpCall) -> Any:
    """A function of matrices, with one result or several."""
    name = op_name(call.target)
    if any(is_complex(signal) for signal in call.signals):
        raise NoRule(run.table.name, [f"{name} of complex numbers"])
    if name == "linalg_matrix_norm" and call.argument(1, "ord", "fro") not in SPECTRAL_NORMS:
        return open_by_torch(run, call)
    if "slogdet" in name:
        return run(aten.sign.default, run(aten.linalg_det.default, *call.signals)), _part(run, call, 1)
    results = call.evaluate()
    if isinstance(results, Tensor):
        return _part(run, call, None)
    return tuple(_part(run, call, place) if result.is_floating_point() else result for place, result in enumerate(results))


def _part(run: Interpreter, call: OpCall, place: int | None) -> Any:
    """One of the results."""

    def function(*values: Tensor) -> Tensor:
        fixed = [arg.to(values[0].dtype) if isinstance(arg, Tensor) and arg.is_floating_point() else arg for arg in call.args]
        results = OpCall(call.target, tuple(fixed), call.kwargs).on(values)
        found: Tensor = results if place is None else results[place]
        return found

    return apply_two_point(run, LineIntegral(function, op_name(call.target), run.table.name), *call.signals)


def _sum(tensor: Tensor, batch: int) -> Tensor:
    """Over all axes but those of the batch."""
    return tensor.flatten(batch).sum(-1) if tensor.ndim > batch else tensor
