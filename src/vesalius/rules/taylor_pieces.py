"""Signals as series, and functions made of curved pieces, for a series that follows one of them.

Axes: K orders, * any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vesalius.rules import power_series
from vesalius.rules.interpreter import Interpreter, OpCall, Rule
from vesalius.rules.op_kinds import op_name
from vesalius.rules.rescale import only_signal
from vesalius.rules.signal import Signal

aten = torch.ops.aten

PIECE_TIME = 1e-6
"""Time at which the piece of an op is chosen: after b, and before any kink that is worth a series."""


def coefficients(signal: Signal) -> power_series.Series:
    """All orders."""
    return torch.cat([signal.value[None], signal.extra])


def to_signal(whole: power_series.Series) -> Signal:
    return Signal(whole[0], extra=whole[1:])


def drop_order_zero(signal: Signal) -> power_series.Series:
    """All orders but 0."""
    return torch.cat([torch.zeros_like(signal.value)[None], signal.extra])


def value_after(signal: Signal) -> Tensor:
    """Just after b."""
    return power_series.evaluate(coefficients(signal), PIECE_TIME)


def _elu(run: Interpreter, call: OpCall) -> Any:
    """elu, selu and celu: straight above 0, an exponential below."""
    name, u = op_name(call.target), only_signal(run, call)
    alpha, scale, rate = (call.argument(place, key, 1.0) for place, key in enumerate(("alpha", "scale", "input_scale"), 1))
    if name == "selu":
        alpha, scale, rate = 1.6732632423543772, 1.0507009873554805, 1.0
    elif name == "celu":
        scale, rate = 1.0, 1 / alpha
    whole = coefficients(u)
    below = alpha * power_series.FUNCTIONS["expm1"](rate * whole)
    return to_signal(scale * torch.where(value_after(u) > 0, whole, below))


def _hardsigmoid(run: Interpreter, call: OpCall) -> Any:
    """relu6(u + 3) / 6; torch's own derivative of it has the sixth in single precision."""
    gate = run(aten.hardtanh.default, run(aten.add.Scalar, call.signals[0], 3.0), 0.0, 6.0)
    return run(aten.div.Scalar, gate, 6.0)


def _hardswish(run: Interpreter, call: OpCall) -> Any:
    """u times the above."""
    return run(aten.mul.Tensor, call.signals[0], _hardsigmoid(run, call))


def _rrelu(run: Interpreter, call: OpCall) -> Any:
    """Outside of training, a leaky ReLU of the mean slope."""
    low, high = call.argument(1, "lower", 1 / 8), call.argument(2, "upper", 1 / 3)
    return run(aten.leaky_relu.default, call.signals[0], (low + high) / 2)


def _softsign(run: Interpreter, call: OpCall) -> Any:
    """u / (1 + |u|)."""
    (u,) = call.signals
    return run(aten.div.Tensor, u, run(aten.add.Scalar, run(aten.abs.default, u), 1.0))


PIECEWISE_CURVED: Mapping[str, Rule] = {
    "elu": _elu,
    "selu": _elu,
    "celu": _elu,
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "rrelu": _rrelu,
    "softsign": _softsign,
}
"""Functions made of curved pieces, or whose derivative is not torch's."""
