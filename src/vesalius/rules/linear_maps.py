"""Linear maps with a constant weight, as functions of value and weight, so that rules can change the weight.

Axes: * any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vesalius.rules.interpreter import OpCall
from vesalius.rules.op_kinds import op_name
from vesalius.rules.signal import Signal
from vesalius.rules.two_point_ops import vjp

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class LinearMap:
    """z = apply(x, weight) + bias.

    Attributes:
        weight: the constant factor.
        bias: broadcastable to z, or ``None``.
        apply: the map without its bias, for any weight of that shape.
        back: the transposed map: (gradient, x, weight) to the gradient of x.
        convolution: whether it is one.
    """

    weight: Tensor
    bias: Tensor | None
    apply: Callable[[Tensor, Tensor], Tensor]
    back: Callable[[Tensor, Tensor, Tensor], Tensor]
    convolution: bool = False


def moves_one(call: OpCall) -> bool:
    """Whether a call is an einsum of one value, which has no weight: sums, diagonals and transposes."""
    return op_name(call.target) == "einsum" and len(call.args[1]) == 1


def read_linear_map(call: OpCall) -> tuple[LinearMap, Signal]:
    """The map that a call with one signal is, and the signal it is applied to."""
    name = op_name(call.target)
    if (name == "linear" or name.startswith("conv")) and not isinstance(call.args[0], Signal):
        return _read_moving_weight(call)
    if name.startswith("conv"):
        return _read_convolution(call, name), call.signals[0]
    if name == "linear":
        bias = call.argument(2, "bias")
        return LinearMap(call.args[1], bias, torch.nn.functional.linear, lambda g, x, w: g @ w), call.signals[0]
    bias = call.args[0] if name in ("addmm", "baddbmm") else None
    scaled = {key: value for key, value in call.kwargs.items() if key in ("alpha", "beta") and value != 1}
    factors = call.args[1] if name == "einsum" else call.args[1:] if bias is not None else call.args
    place = next(i for i, factor in enumerate(factors[:2]) if isinstance(factor, Signal))
    if bias is not None and "beta" in scaled:
        bias = bias * scaled["beta"]
    alpha = scaled.get("alpha")

    def apply(x: Tensor, weight: Tensor) -> Tensor:
        pair = (x, weight) if place == 0 else (weight, x)
        if name == "einsum":
            return torch.einsum(call.args[0], *pair)
        if name == "outer":
            return torch.outer(*pair)
        return torch.matmul(*pair) if alpha is None else torch.matmul(*pair) * alpha

    def back(grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        if name not in ("einsum", "outer") and alpha is None and are_matrices(x, weight):
            return grad @ weight.mT if place == 0 else weight.mT @ grad
        found = vjp(lambda tensor: apply(tensor, weight), [x], grad)[0]
        return torch.zeros_like(x) if found is None else found

    return LinearMap(factors[1 - place], bias, apply, back), factors[place]


def are_matrices(x: Tensor, weight: Tensor) -> bool:
    """Whether a product of two is that of real matrices, or of as many of both, so that no axis is summed on the way back."""
    same = x.ndim == weight.ndim >= 2 and x.shape[:-2] == weight.shape[:-2]
    return same and x.dtype == weight.dtype and not x.is_complex()


def _read_moving_weight(call: OpCall) -> tuple[LinearMap, Signal]:
    """A layer of a constant, whose weight is what varies: the constant is the factor."""
    (weight,), options = call.signals, {key: value for key, value in call.kwargs.items() if key != "bias"}

    def apply(w: Tensor, x: Tensor) -> Tensor:
        found: Tensor = call.target(x, w, None, *call.args[3:], **options)
        return found

    def back(grad: Tensor, w: Tensor, x: Tensor) -> Tensor:
        found = vjp(lambda tensor: apply(tensor, x), [w], grad)[0]
        return torch.zeros_like(w) if found is None else found

    bias, name = call.argument(2, "bias"), op_name(call.target)
    if bias is not None and name != "linear":
        bias = bias.reshape(-1, *[1] * (weight.value.ndim - 2))
    return LinearMap(call.args[0], bias, apply, back, name != "linear"), weight


def _read_convolution(call: OpCall, name: str) -> LinearMap:
    """Convolutions of any dimension, transposed ones included."""
    weight, bias = call.args[1], call.argument(2, "bias")
    room = [1] * (weight.ndim - 2)

    def apply(x: Tensor, w: Tensor) -> Tensor:
        found: Tensor = call.target(x, w, None, *call.args[3:], **{key: value for key, value in call.kwargs.items() if key != "bias"})
        return found

    options = _convolution_options(call, name, weight.ndim - 2)

    def back(grad: Tensor, x: Tensor, w: Tensor) -> Tensor:
        if options is None:
            (found,) = vjp(lambda tensor: apply(tensor, w), [x], grad)
        else:
            found = aten.convolution_backward.default(grad, x, w, None, *options, [True, False, False])[0]
        assert found is not None
        return found

    return LinearMap(weight, None if bias is None else bias.reshape(-1, *room), apply, back, True)


def _convolution_options(call: OpCall, name: str, rank: int) -> tuple[Any, ...] | None:
    """stride, padding, dilation, transposed, output padding and groups; ``None`` where the padding is given as a word."""
    if name == "convolution":
        return tuple(call.args[3:9])
    names: tuple[str, ...]
    defaults: tuple[int, ...]
    if name.startswith("conv_transpose"):
        names, defaults = ("stride", "padding", "output_padding", "groups", "dilation"), (1, 0, 0, 1, 1)
    else:
        names, defaults = ("stride", "padding", "dilation", "groups"), (1, 0, 1, 1)
    given = {key: call.argument(place, key, default) for place, (key, default) in enumerate(zip(names, defaults, strict=True), 3)}
    if isinstance(given["padding"], str):
        return None
    sizes = {key: _per_dimension(given.get(key, 0), rank) for key in ("stride", "padding", "dilation", "output_padding")}
    turned = name.startswith("conv_transpose")
    return sizes["stride"], sizes["padding"], sizes["dilation"], turned, sizes["output_padding"], given["groups"]


def _per_dimension(value: Any, rank: int) -> list[int]:
    if isinstance(value, int):
        return [value] * rank
    return list(value) * rank if len(value) == 1 else list(value)
