"""Inverse matrices, and systems of linear equations, under two-point rules.

Axes: * batch; n by n matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from vesalius.rules.interpreter import Interpreter, OpCall
from vesalius.rules.op_kinds import op_name
from vesalius.rules.signal import shape_of
from vesalius.rules.two_point import Endpoint, TwoPointRule, apply_two_point

aten = torch.ops.aten


@final
@dataclass(frozen=True, eq=False)
class Inverse(TwoPointRule):
    """Y = A^-1, whose change is -Y1 (A1 - A0) Y0, and as well -Y0 (A1 - A0) Y1: the mean of both, so that neither end comes first."""

    def value(self, *inputs: Tensor) -> Tensor:
        found: Tensor = torch.linalg.inv(inputs[0])
        return found

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        assert here.output is not None and there.output is not None
        one, other = here.output.mH, there.output.mH
        return ((one @ grad @ other + other @ grad @ one) / -2,)


def inverse(run: Interpreter, call: OpCall) -> Any:
    """inv, and inv_ex with the word that it worked."""
    found = apply_two_point(run, Inverse(), call.signals[0])
    return (found, None) if op_name(call.target) == "linalg_inv_ex" else found


def solve(run: Interpreter, call: OpCall) -> Any:
    """X with A X = B, or X A = B: a product with the inverse of A."""
    matrix, right = call.args[:2]
    sizes, others = shape_of(matrix), shape_of(right)
    vectors = len(others) == 1 or (len(others) == len(sizes) - 1 and others == sizes[:-1])
    inverted = run(aten.linalg_inv.default, matrix)
    columns = run(aten.unsqueeze.default, right, -1) if vectors else right
    factors = (inverted, columns) if call.argument(2, "left", True) else (columns, inverted)
    product = run(aten.matmul.default, *factors)
    found = run(aten.squeeze.dim, product, -1) if vectors else product
    return (found, None) if op_name(call.target) == "linalg_solve_ex" else found
