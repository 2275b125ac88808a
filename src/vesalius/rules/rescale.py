"""DeepLIFT's Rescale rule on any graph: the table of two-point rules.

Reference: Shrikumar2017, section 3.5.1. Differs from the paper, which has rules for elementwise functions of one input alone: products,
quotients, softmax, normalisations, maxima, comparisons and choices have rules of their own here, each exactly complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from vesalius.core.errors import NoRule
from vesalius.rules.counted_places import COUNTED, INDEX_ARGUMENTS, with_counted_places
from vesalius.rules.decompositions import DECOMPOSITIONS, clamp, einsum_pairwise
from vesalius.rules.interpreter import Interpreter, OpCall, Rule, RuleTable, is_number, linear
from vesalius.rules.linear_systems import inverse, solve
from vesalius.rules.matrix_functions import matrix_function
from vesalius.rules.max_pool import reduce_max
from vesalius.rules.norms import norm
from vesalius.rules.op_kinds import op_name
from vesalius.rules.places import PLACE_RULES
from vesalius.rules.recurrent import RECURRENT_DECOMPOSITIONS
from vesalius.rules.running_products import product
from vesalius.rules.selection import running_extreme, select, sorted_places, unpool
from vesalius.rules.signal import Signal
from vesalius.rules.torch_decompositions import find_torch_decomposition
from vesalius.rules.transforms import complex_function, complex_quotient, is_complex, transform
from vesalius.rules.two_point import Endpoint, TwoPointRule, apply_two_point, bounded
from vesalius.rules.two_point_ops import (
    ELEMENTWISE_PRODUCT,
    MATRIX_PRODUCT,
    Elementwise,
    ElementwisePair,
    LogSoftmax,
    LogSumExp,
    Product,
    Quotient,
    Softmax,
    Square,
)

aten = torch.ops.aten

PIECEWISE_UNIT_SLOPE = frozenset("relu relu6 abs clamp clamp_min clamp_max hardtanh threshold".split())
"""Elementwise functions made of straight pieces of slope -1, 0 or 1."""
MOST_FACTORS = 8
"""Exponent up to which the secant of a power is written out."""
CLAMPS = frozenset({"clamp", "clamp_min", "clamp_max"})
EXTREMES = frozenset("maximum minimum fmax fmin".split())
"""Functions of two numbers that are one of them."""
COUNTING_OPS = frozenset("sum mean cumsum".split())
"""Ops after which a truth value is a number."""
REARRANGING_OPS = frozenset(
    "view reshape flatten unflatten unsqueeze squeeze transpose permute t expand expand_as contiguous clone slice select index gather"
    " index_select movedim swapaxes alias repeat repeat_interleave broadcast_to view_as reshape_as mT narrow flip roll to _to_copy type_as"
    " _unsafe_view _reshape_alias numpy_T dropout identity".split()
)
"""Moves that neither mix elements nor bring constants in, so that a reciprocal is still one afterwards."""


@final
@dataclass(frozen=True, eq=False)
class Choice(TwoPointRule):
    """where(c, a, b) = b + c (a - b) with a condition c that the inputs reach: a product.

    Attributes:
        constants: a and b where they are constant, else ``None`` and taken from the inputs after c.
    """

    constants: tuple[Any, Any]

    def value(self, *inputs: Tensor) -> Tensor:
        first, second = self._branches(inputs)
        return torch.where(inputs[0].bool(), first, second)

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        (a1, b1), (a0, b0) = self._branches(here.inputs), self._branches(there.inputs)
        c1, c0 = here.inputs[0], there.inputs[0]
        jump = ((a1 - b1) + (a0 - b0)) / 2
        of_first = (c1 + c0) / 2
        of_second = 1 - of_first
        if not bool(jump.sum().isfinite()):
            no_first, no_second = _is_undefined((a1, c1), (a0, c0)), _is_undefined((b1, 1 - c1), (b0, 1 - c0))
            first, second = (_defined_mean(*ends) for ends in ((a1, a0, no_first), (b1, b0, no_second)))
            jump = (first - second).nan_to_num(posinf=0.0, neginf=0.0)
            of_first, of_second = (part.masked_fill(gone, 0) for part, gone in ((of_first, no_first), (of_second, no_second)))
        found = [(grad * jump).sum_to_size(c1.shape), grad * of_first, grad * of_second]
        varying = [place for place, fixed in enumerate((None, *self.constants)) if fixed is None]
        return [found[place].sum_to_size(end.shape) for place, end in zip(varying, here.inputs, strict=True)]

    def _branches(self, inputs: Sequence[Tensor]) -> list[Any]:
        fresh = iter(inputs[1:])
        like = inputs[1] if len(inputs) > 1 else inputs[0]
        return [next(fresh) if fixed is None else torch.as_tensor(fixed, dtype=like.dtype, device=like.device) for fixed in self.constants]


def _is_undefined(*ends: tuple[Tensor, Tensor]) -> Tensor:
    """Where a branch is no number at an end at which it is not chosen: nothing can be said of its change, and nothing depends on it."""
    found = [~value.isfinite() & (chosen == 0) for value, chosen in ends]
    return torch.logical_or(*found)


def _defined_mean(end: Tensor, other: Tensor, undefined: Tensor) -> Tensor:
    """The mean of a branch's ends; the one that is a number where the other is not and does not matter."""
    one = torch.where(end.isfinite(), end, other)
    return torch.where(undefined, one, (end + other) / 2)


def move(run: Interpreter, call: OpCall) -> Any:
    """Elements moved, summed or averaged: linear."""
    name = op_name(call.target)
    if name in INDEX_ARGUMENTS and (opened := with_counted_places(run, call)) is not call:
        return run.table.by_places[name](run, opened)
    if name in COUNTING_OPS:
        call = _counting_in_numbers(run, call)
    result, source = linear(run, call), call.signals[0]
    if isinstance(result, Signal):
        if not is_number(result.value):
            return _whole_number(run, source, result.value.dtype)
        if source.inverse is not None and name in REARRANGING_OPS:
            origin = source.inverse
            return replace(result, inverse=lambda: move(run, replace_signal(call, origin())))
        return as_boolean(result, source.boolean and name not in COUNTING_OPS and name not in ("to", "_to_copy"))
    return result


def as_boolean(signal: Signal, boolean: bool) -> Signal:
    """A signal that is a truth value or is none; itself where it is so already."""
    return signal if signal.boolean == boolean else replace(signal, boolean=boolean)


def _counting_in_numbers(run: Interpreter, call: OpCall) -> OpCall:
    """A sum of truth values that asks for whole numbers, without asking."""
    dtype = call.kwargs.get("dtype")
    if dtype is None or dtype.is_floating_point or dtype.is_complex:
        return call
    if not all(signal.boolean for signal in call.signals):
        raise NoRule(run.table.name, [f"{op_name(call.target)} as {dtype}"])
    return OpCall(call.target, call.args, {key: value for key, value in call.kwargs.items() if key != "dtype"}, call.node)


def _whole_number(run: Interpreter, source: Signal, dtype: torch.dtype) -> Signal:
    """A truth value counted as 0 and 1; a number without what it has after the point, or whether it is one beside 0."""
    if source.boolean:
        return replace(source, boolean=dtype == torch.bool)
    found: Signal = run(aten.ne.Scalar, source, 0) if dtype == torch.bool else run(aten.trunc.default, source)
    return found


def replace_signal(call: OpCall, signal: Signal) -> OpCall:
    """The same call with another signal in the first place."""
    return OpCall(call.target, (signal, *call.args[1:]), call.kwargs, call.node)


def add(run: Interpreter, call: OpCall) -> Any:
    """Sums and differences: linear, and numbers whatever was added."""
    return as_boolean(linear(run, call), False)


def elementwise(run: Interpreter, call: OpCall) -> Any:
    """Functions of one value, element by element; some may have further arguments that are values too."""
    name = op_name(call.target)
    if len(call.signals) > 1 or (name in CLAMPS and any(isinstance(arg, Tensor) for arg in call.args[1:])):
        return elementwise_of_several(run, call)
    if is_complex(call.signals[0]):
        return complex_function(run, call)
    signal = broadcast_signal(run, call)
    power = call.argument(1, "exponent") if name == "pow" and not isinstance(call.argument(1, "exponent"), Tensor) else None
    if name == "square" or power == 2:
        return apply_two_point(run, Square(), signal)
    found = apply_two_point(run, elementwise_rule(call, lambda z: _first_result(call.on([z]))), signal)
    if name == "rsqrt" or power == -0.5:
        return replace(found, inverse=lambda: run(aten.sqrt.default, signal))
    if name == "reciprocal" or power == -1:
        return replace(found, inverse=lambda: signal)
    return (found, None) if name == "log_sigmoid_forward" else found


def elementwise_rule(call: OpCall, function: Callable[[Tensor], Tensor]) -> Elementwise:
    """The two-point rule of a function of one value."""
    name = op_name(call.target)
    power = call.argument(1, "exponent") if name == "pow" else 0
    whole = isinstance(power, (int, float)) and 2 <= power <= MOST_FACTORS and power == int(power)
    return Elementwise(function, name in PIECEWISE_UNIT_SLOPE, name, int(power) if whole else 0)


def elementwise_of_several(run: Interpreter, call: OpCall) -> Any:
    """Functions of one value whose bounds, exponent, divisor or slope is another."""
    name = op_name(call.target)
    if name in CLAMPS:
        low, high = call.argument(1, "max" if name == "clamp_max" else "min"), call.argument(2, "max")
        return clamp(run, call.args[0], *((None, low) if name == "clamp_max" else (low, high)))
    if name in ("pow", "remainder", "fmod"):
        return elementwise_pair(run, call)
    raise NoRule(run.table.name, [f"{name} of {len(call.signals)} values"])


def broadcast_signal(run: Interpreter, call: OpCall) -> Signal:
    """The only signal of a call, in the shape that its constants give the result."""
    signal = only_signal(run, call)
    shapes = [arg.shape for arg in (*call.args, *call.kwargs.values()) if isinstance(arg, Tensor) and op_name(call.target) != "prelu"]
    if not shapes:
        return signal
    shape = torch.broadcast_shapes(signal.value.shape, *shapes)
    return signal if shape == signal.value.shape else run(aten.expand.default, signal, list(shape))


def multiply(run: Interpreter, call: OpCall) -> Any:
    """A product of two values, one of which may be a constant or a reciprocal."""
    if len(call.signals) == 1:
        found = as_boolean(linear(run, call), False)
        return found if call.signals[0].inverse is None else replace(found, inverse=_reciprocal_source(run, call))
    first, second = call.signals
    if first is second:
        return apply_two_point(run, Square(), first)
    for value, other in ((first, second), (second, first)):
        if other.inverse is not None:
            return apply_two_point(run, Quotient(), value, other.inverse())
    return apply_two_point(run, ELEMENTWISE_PRODUCT, first, second)


def _reciprocal_source(run: Interpreter, call: OpCall) -> Callable[[], Signal] | None:
    """What a constant times a reciprocal is the reciprocal of."""
    (signal,), constant = call.signals, next(arg for arg in call.args if not isinstance(arg, Signal))
    if signal.inverse is None or not bool(torch.as_tensor(constant != 0).all()):
        return None
    origin = signal.inverse
    return lambda: run(aten.div.Tensor, origin(), constant)


def divide(run: Interpreter, call: OpCall) -> Any:
    """A quotient; by a constant it is linear, of a constant it is elementwise."""
    rounding = call.kwargs.get("rounding_mode")
    if rounding is not None:
        whole = aten.floor if rounding == "floor" else aten.trunc
        return run(whole.default, run(aten.div.Tensor, *call.args))
    first, second = call.args[0], call.args[1]
    if not isinstance(second, Signal):
        return as_boolean(linear(run, call), False)
    if is_complex(second) or is_complex(first) or (isinstance(first, Tensor) and first.is_complex()):
        return complex_quotient(run, first, second)
    if isinstance(first, Signal):
        return apply_two_point(run, Quotient(), first, second)
    found = apply_two_point(run, Elementwise(lambda z: call.on([z])), broadcast_signal(run, call))
    one = not isinstance(first, Tensor) and first == 1
    return replace(found, inverse=(lambda: second) if one else None)


def linear_map(run: Interpreter, call: OpCall) -> Any:
    """A map whose weight is a constant, or a value too."""
    if len(call.signals) == 1:
        return linear(run, call)
    if op_name(call.target) == "einsum" and len(call.args[1]) > 2:
        return einsum_pairwise(run, *call.args[:2])
    if op_name(call.target) in ("addmm", "baddbmm") and len(call.signals) == 3:
        product = run(aten.mul.Scalar, run(aten.matmul.default, *call.args[1:3]), call.kwargs.get("alpha", 1))
        return run(aten.add.Tensor, run(aten.mul.Scalar, call.args[0], call.kwargs.get("beta", 1)), product)
    if len(call.signals) != 2:
        raise NoRule(run.table.name, [f"{op_name(call.target)} of {len(call.signals)} values"])
    return apply_two_point(run, bilinear_product(call), *call.signals)


def bilinear_product(call: OpCall) -> Product:
    """What a product of two values is."""
    name = op_name(call.target)
    if name in ("matmul", "mm", "bmm") and all(signal.value.ndim > 1 for signal in call.signals):
        return MATRIX_PRODUCT
    return ELEMENTWISE_PRODUCT if name == "mul" else Product(lambda first, second: call.on([first, second]))


def affine(run: Interpreter, call: OpCall) -> Any:
    """Batch norm in eval mode."""
    return linear(run, call)


def softmax(run: Interpreter, call: OpCall) -> Any:
    """Softmax over one axis, and its logarithm."""
    rule = LogSoftmax if "log" in op_name(call.target) else Softmax
    found = apply_two_point(run, rule(call.args[1]), only_signal(run, call))
    dtype = call.argument(2, "dtype")
    return run(aten.to.dtype, found, dtype) if isinstance(dtype, torch.dtype) and dtype != found.value.dtype else found


def logsumexp(run: Interpreter, call: OpCall) -> Any:
    """Over one or several axes."""
    dims = call.args[1]
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    return apply_two_point(run, LogSumExp(dims, bool(call.argument(2, "keepdim", False))), only_signal(run, call))


def elementwise_pair(run: Interpreter, call: OpCall) -> Any:
    """Maximum and minimum of two values, one of which may be a constant."""
    if len(call.signals) == 1:
        return apply_two_point(run, Elementwise(lambda z: call.on([z]), op_name(call.target) in EXTREMES), broadcast_signal(run, call))
    return apply_two_point(run, ElementwisePair(lambda first, second: call.on([first, second])), *call.signals)


def detach(run: Interpreter, call: OpCall) -> Any:
    """The value itself: what is compared are values, and they are what they are without a gradient."""
    del run
    return call.signals[0]


def step(run: Interpreter, call: OpCall) -> Any:
    """Comparisons and logic: functions with the values 0 and 1, which change in steps."""
    signals, name = call.signals, op_name(call.target)
    if name in ("logical_not", "bitwise_not"):
        return replace(run(aten.rsub.Scalar, signals[0], 1), boolean=True)
    logic = name.rpartition("_")[2]
    if logic in ("and", "or", "xor"):
        return _logical_op(run, call, logic)
    like = signals[0].value

    def indicator(*ends: Tensor) -> Tensor:
        found: Tensor = call.on(ends).to(like.dtype)
        return found

    if len(signals) == 1:
        return replace(apply_two_point(run, Elementwise(indicator), broadcast_signal(run, call)), boolean=True)
    return replace(apply_two_point(run, ElementwisePair(indicator), *signals), boolean=True)


def _logical_op(run: Interpreter, call: OpCall, logic: str) -> Any:
    """c and d = c d; c or d = not (not c and not d); c xor d = (c - d)^2."""
    like = call.signals[0].value.dtype
    parts = [replace(arg, boolean=False) if isinstance(arg, Signal) else torch.as_tensor(arg).to(like) for arg in call.args]
    if logic == "and":
        return replace(run(aten.mul.Tensor, *parts), boolean=True)
    if logic == "xor":
        return replace(run(aten.square.default, run(aten.sub.Tensor, *parts)), boolean=True)
    neither = run(aten.mul.Tensor, *(run(aten.rsub.Scalar, part, 1) for part in parts))
    return replace(run(aten.rsub.Scalar, neither, 1), boolean=True)


def choose(run: Interpreter, call: OpCall) -> Any:
    """where and masked_fill."""
    condition, first, second = call.args if op_name(call.target) == "where" else (call.args[1], call.args[2], call.args[0])
    if not isinstance(condition, Signal):
        return as_boolean(linear(run, call), False)
    branches = [branch for branch in (first, second) if isinstance(branch, Signal)]
    constants = None if isinstance(first, Signal) else bounded(first), None if isinstance(second, Signal) else bounded(second)
    return apply_two_point(run, Choice(constants), condition, *branches)


def only_signal(run: Interpreter, call: OpCall) -> Signal:
    """The only signal of a call."""
    if len(call.signals) != 1:
        raise NoRule(run.table.name, [f"{op_name(call.target)} of {len(call.signals)} values"])
    return call.signals[0]


def _first_result(result: Any) -> Tensor:
    found: Tensor = result[0] if isinstance(result, tuple) else result
    return found


RULES: Mapping[str, Rule] = {
    "move": move,
    "add": add,
    "scale": add,
    "map": linear_map,
    "multiply": multiply,
    "divide": divide,
    "affine": affine,
    "elementwise": elementwise,
    "special": elementwise,
    "product": product,
    "inverse": inverse,
    "matrix": matrix_function,
    "transform": transform,
    "detach": detach,
    "pair": elementwise_pair,
    "softmax": softmax,
    "log_softmax": softmax,
    "logsumexp": logsumexp,
    "norm": norm,
    "largest": reduce_max,
    "select": select,
    "running": running_extreme,
    "unpool": unpool,
    "step": step,
    "choose": choose,
}

ALL_DECOMPOSITIONS: Mapping[str, Rule] = {
    **DECOMPOSITIONS,
    **RECURRENT_DECOMPOSITIONS,
    **dict.fromkeys("argsort argmax argmin".split(), sorted_places),
    **COUNTED,
    **dict.fromkeys("linalg_solve linalg_solve_ex".split(), solve),
}

BY_PLACES: Mapping[str, Rule] = {**PLACE_RULES, "max_unpool2d": unpool, "max_unpool3d": unpool}
"""Ops of places that depend on the input."""

RESCALE = RuleTable("deeplift_rescale", RULES, ALL_DECOMPOSITIONS, by_places=BY_PLACES, opened=find_torch_decomposition)
