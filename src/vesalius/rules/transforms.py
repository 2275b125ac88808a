"""Maps that are linear with weights of any sign, and complex numbers between them.

Multipliers of complex values are as autograd has gradients: a change z of a value with multiplier c counts Re(conj(c) z), so that linear
maps need nothing new, and products the conjugate of their other factor.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from vesalius.core.errors import NoRule
from vesalius.rules.grid_sampling import sample_grid, samples_moving_grid
from vesalius.rules.interpreter import Interpreter, OpCall, linear
from vesalius.rules.op_kinds import op_name
from vesalius.rules.signal import Signal
from vesalius.rules.two_point import apply_two_point
from vesalius.rules.two_point_ops import Product

aten = torch.ops.aten

RIGHT_HAND_SIDES = {"linalg_solve_triangular": 1, "triangular_solve": 0, "cholesky_solve": 0, "linalg_lu_solve": 2}
"""Solvers of systems, and which of their arguments they are linear in."""
LARGEST_OF_BAG = 2
"""The mode of an embedding bag that is no sum."""


def transform(run: Interpreter, call: OpCall) -> Any:
    """A map whose weights are constant; of an embedding bag, or a bag of given weights, both may vary, and so may a sampled grid."""
    name = op_name(call.target)
    if samples_moving_grid(call):
        return sample_grid(run, call)
    require_linear(run, call)
    if "embedding_bag" in name and len(call.signals) > 1:
        product = Product(lambda *values: call.on(values)[0])
        return (apply_two_point(run, product, *call.signals), None, None, None)
    return linear(run, call)


def require_linear(run: Interpreter, call: OpCall) -> None:
    """Refuse calls of transforms that are none.

    Raises:
        NoRule: a grid or a matrix that depends on the input, the largest of a bag.
    """
    name = op_name(call.target)
    if name in RIGHT_HAND_SIDES and any(isinstance(arg, Signal) for place, arg in enumerate(call.args) if place != RIGHT_HAND_SIDES[name]):
        raise NoRule(run.table.name, [f"{name} of a matrix that depends on the input"])
    if samples_moving_grid(call):
        raise NoRule(run.table.name, [f"{name} at places that depend on the input"])
    if "embedding_bag" in name and call.argument(4, "mode", 0) == LARGEST_OF_BAG:
        raise NoRule(run.table.name, [f"{name} of the largest"])


def is_complex(signal: Any) -> bool:
    """Whether an argument is a signal of complex numbers."""
    return isinstance(signal, Signal) and signal.value.is_complex()


def complex_function(run: Interpreter, call: OpCall) -> Any:
    """Functions of complex numbers by way of real ones."""
    name, (z,) = op_name(call.target), call.signals
    if name == "square" or (name == "pow" and call.args[1] == 2):
        return run(aten.mul.Tensor, z, z)
    if name == "exp":
        return polar(run, run(aten.exp.default, run(aten.real.default, z)), run(aten.imag.default, z))
    if name == "reciprocal" or (name == "pow" and call.args[1] == -1):
        return complex_quotient(run, torch.ones_like(z.value.detach()), z)
    if name != "abs":
        raise NoRule(run.table.name, [f"{name} of complex numbers"])
    return hypot(run, run(aten.real.default, z), run(aten.imag.default, z))


def complex_quotient(run: Interpreter, first: Any, second: Any) -> Any:
    """a / c as a times the conjugate of c, over its square."""
    if is_complex(second) or (isinstance(second, torch.Tensor) and second.is_complex()):
        real, imag = run(aten.real.default, second), run(aten.imag.default, second)
        size = run(aten.add.Tensor, run(aten.mul.Tensor, real, real), run(aten.mul.Tensor, imag, imag))
        first, second = run(aten.mul.Tensor, first, run(aten._conj.default, second)), size
    if not (is_complex(first) or (isinstance(first, torch.Tensor) and first.is_complex())):
        return run(aten.div.Tensor, first, second)
    parts = (run(aten.div.Tensor, run(part, first), second) for part in (aten.real.default, aten.imag.default))
    return run(aten.complex.default, *parts)


def hypot(run: Interpreter, x: Any, y: Any) -> Any:
    """sqrt(x^2 + y^2)."""
    return run(aten.sqrt.default, run(aten.add.Tensor, run(aten.mul.Tensor, x, x), run(aten.mul.Tensor, y, y)))


def angle(run: Interpreter, z: Any) -> Any:
    """Of complex numbers; that of a real one is 0 or pi."""
    if is_complex(z):
        return run(aten.atan2.default, run(aten.imag.default, z), run(aten.real.default, z))
    return run(aten.mul.Tensor, run(aten.lt.Scalar, z, 0), math.pi)


def polar(run: Interpreter, size: Any, phase: Any) -> Any:
    """A complex number of given size and angle."""
    return run(aten.complex.default, *(run(aten.mul.Tensor, size, run(part, phase)) for part in (aten.cos.default, aten.sin.default)))
