"""Truncated power series in t along b + t d, through a whole graph, in the one propagation loop.

A signal's value is the coefficient of order 0 and its ``extra`` holds those of orders 1 to K. Constants have order 0 alone. An op that is
linear has each coefficient sent through its derivative, which leaves constants out; products are Cauchy's; other functions are in
``power_series.py``; softmax, norms, attention and recurrent layers are decomposed into these. Nothing is differentiated numerically and
nothing cancels.

Ops made of pieces (relu, max, comparisons, ...) are replaced by the piece that holds just after b: at a point that sits on a kink itself,
the one that the line enters. From the first kink on the series is that of another function, so the ops are listed in the result.

Axes: N lines, K orders, * any.

Reference: Griewank2008, chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from vesalius.core.errors import InvalidInput, NoRule
from vesalius.rules import power_series
from vesalius.rules.decompositions import einsum_pairwise
from vesalius.rules.interpreter import Interpreter, OpCall, Rule, RuleTable, is_number
from vesalius.rules.op_kinds import op_name
from vesalius.rules.plan import plan_of
from vesalius.rules.rescale import ALL_DECOMPOSITIONS, detach, only_signal
from vesalius.rules.running_products import product_in_pairs
from vesalius.rules.signal import Signal
from vesalius.rules.taylor_pieces import PIECE_TIME, PIECEWISE_CURVED, coefficients, drop_order_zero, to_signal, value_after
from vesalius.rules.torch_decompositions import find_torch_decomposition
from vesalius.rules.transforms import complex_function, is_complex, require_linear
from vesalius.trace.question import Question, to_float64

aten = torch.ops.aten

PIECEWISE_LINEAR = frozenset(
    "relu relu6 leaky_relu prelu abs clamp clamp_min clamp_max hardtanh hardshrink softshrink threshold nan_to_num".split()
)
"""Functions made of straight pieces that meet, or may be taken to."""
DISCONTINUOUS = frozenset("floor ceil round trunc frac sign sgn remainder fmod".split())
"""Functions made of straight pieces that jump."""
WITHOUT_BATCHES = frozenset({"slice_scatter", "as_strided", "as_strided_scatter", "fill"})
"""Moves that torch does not map over a new axis."""


@dataclass(eq=False)
class TaylorState:
    """State of a pass.

    Attributes:
        order: K.
        pieces: ops of which one piece was followed, in order of computation.
    """

    order: int
    pieces: dict[str, None] = field(default_factory=dict)

    def follow(self, call: OpCall) -> None:
        """Remember that one piece of an op was followed."""
        value = call.node.meta.get("value") if call.node is not None else None
        self.pieces[op_name(call.target) if value is None else value.name] = None


@dataclass(frozen=True)
class TaylorCoefficients:
    """The target along each line.

    Attributes:
        coefficients: of orders 0 to K.
        pieces: names of the values that are one piece of their function; where there are none, the target is analytic at t = 0.
    """

    coefficients: Float[Tensor, "N K1"]
    pieces: tuple[str, ...]


class TaylorExpansion:
    """The part of a network that a question is about, ready to be expanded.

    Args:
        question: what is asked; of a network in float64, lest the higher orders be rounding.
        order: K, at least 1.

    Raises:
        NotTraceable: the network is opaque.
        NoRule: an op has no series.
        WrongType: an explained tensor is of integers, or not of float64.
    """

    def __init__(self, question: Question, order: int) -> None:
        if order < 1:
            raise InvalidInput(f"a series needs an order of at least 1, not {order}")
        question.network.graph(TAYLOR.name)
        question.require_differentiable(TAYLOR.name)
        assert question.subgraph is not None
        self.question, self.subgraph, self.order = question, question.subgraph, order
        self.plan = plan_of(self.subgraph.program, len(question.at))
        TAYLOR.require_rules(self.plan)

    def along(
        self, starts: Sequence[Shaped[Tensor, "N ..."]], directions: Sequence[Shaped[Tensor, "N ..."]], rows: Int[Tensor, " N"]
    ) -> TaylorCoefficients:
        """Coefficients of the target on lines start + t * direction.

        Args:
            starts: the explained tensors at t = 0, batch first.
            directions: of the lines.
            rows: the sample whose other tensors each line takes.

        Raises:
            InvalidInput: the target is not analytic at some start (a root or a logarithm of 0).
        """
        count = len(starts)
        points, slopes = self.subgraph.arguments(starts, rows), self.subgraph.arguments(directions, rows)
        signals = [_line_signal(point, slope, self.order) for point, slope in zip(points[:count], slopes[:count], strict=True)]
        state = TaylorState(self.order)
        with torch.no_grad():
            found = Interpreter(TAYLOR, state).through(self.plan, signals, points[count:])
            whole = coefficients(found) if isinstance(found, Signal) else power_series.constant(found, self.order + 1)
            picked = torch.stack([self.question.pick(part.expand(len(rows), *part.shape[1:]), rows) for part in whole], 1)
        if not bool(picked.isfinite().all()):
            raise InvalidInput(
                "the series at the baseline is not finite: some function is not analytic there (a root, a logarithm or a quotient"
                " at 0); move the baseline a little"
            )
        return TaylorCoefficients(picked, tuple(state.pieces))


def _line_signal(point: Tensor, direction: Tensor, order: int) -> Signal:
    more = point.new_zeros(order, *point.shape)
    more[0] = direction
    return Signal(point, extra=more)


def to_double(question: Question, fills: Sequence[Tensor]) -> tuple[Question, tuple[Tensor, ...]]:
    """The same question and stand-ins in float64, where they are not.

    Raises:
        NotTraceable: the network is opaque and not in float64.
        WrongType: an explained tensor is of integers.
    """
    question.require_differentiable(TAYLOR.name)
    if all(tensor.dtype == torch.float64 for tensor in question.present):
        return question, tuple(fills)
    return to_float64(question), tuple(fill.double() for fill in fills)


# ---- rules ------------------------------------------------------------------------------------------------------------------------


def linear(run: Interpreter, call: OpCall) -> Any:
    """Linear in its signals, constants aside."""
    if op_name(call.target) in WITHOUT_BATCHES:
        return _evaluate_each_order(call)
    return _push_forward(call, [signal.value for signal in call.signals])


def transform(run: Interpreter, call: OpCall) -> Any:
    """Linear, as it stands: torch has no derivative in forward mode of some."""
    require_linear(run, call)
    if len(call.signals) > 1 and op_name(call.target) != "complex":
        raise NoRule(run.table.name, [f"{op_name(call.target)} of {len(call.signals)} values"])
    return _evaluate_each_order(call)


def _evaluate_each_order(call: OpCall) -> Any:
    """A linear op of every order, less its constants in all but the first."""
    values = call.on([signal.value for signal in call.signals])
    fixed = call.on([torch.zeros_like(signal.value) for signal in call.signals])
    orders = [call.on(list(parts)) for parts in zip(*(signal.extra for signal in call.signals), strict=True)]
    if isinstance(values, Tensor):
        return Signal(values, extra=torch.stack([(order - fixed).nan_to_num(0.0) for order in orders]))
    found = [
        value if not is_number(value) else Signal(value, extra=torch.stack([order[place] - fixed[place] for order in orders]))
        for place, value in enumerate(values)
    ]
    return type(values)(found)


def piecewise_linear(run: Interpreter, call: OpCall) -> Any:
    """Linear on the piece just after b."""
    run.state.follow(call)
    return _push_forward(call, [value_after(signal) for signal in call.signals])


def step(run: Interpreter, call: OpCall) -> Any:
    """Constant on the piece just after b: comparisons, logic, roundings."""
    run.state.follow(call)
    return call.on([value_after(signal) for signal in call.signals])


def elementwise(run: Interpreter, call: OpCall) -> Any:
    """Functions of one number."""
    name = op_name(call.target)
    if any(is_complex(signal) for signal in call.signals):
        return complex_function(run, call)
    if name in PIECEWISE_LINEAR:
        return piecewise_linear(run, call)
    if name in DISCONTINUOUS:
        found = piecewise_linear(run, call)
        return replace(
            found,
            value=call.on([value_after(signal) for signal in call.signals]) - power_series.evaluate(drop_order_zero(found), PIECE_TIME),
        )
    if name in PIECEWISE_CURVED:
        run.state.follow(call)
        return PIECEWISE_CURVED[name](run, call)
    if name == "pow" and len(call.signals) == 2:
        base, exponent = call.args
        return run(aten.exp.default, run(aten.mul.Tensor, exponent, run(aten.log.default, base)))
    u, exponent = only_signal(run, call), call.argument(1, "exponent")
    if name == "pow":
        return _power(run, call, u, exponent)
    if name not in power_series.FUNCTIONS:
        raise NoRule(run.table.name, [name])
    found = to_signal(power_series.FUNCTIONS[name](coefficients(u), *call.args[1:], **call.kwargs))
    return (found, None) if name == "log_sigmoid_forward" else found


def _power(run: Interpreter, call: OpCall, u: Signal, exponent: Any) -> Any:
    """u^r of a constant r; c^u is an exponential."""
    if not isinstance(call.args[0], Signal):
        base = torch.as_tensor(call.args[0], dtype=u.value.dtype)
        return to_signal(power_series.exp(coefficients(run(aten.mul.Tensor, u, base.log()))))
    if isinstance(exponent, Tensor):
        if exponent.numel() != 1:
            raise NoRule(run.table.name, ["pow with a tensor of exponents"])
        exponent = exponent.item()
    return to_signal(power_series.power(coefficients(u), exponent))


def multiply(run: Interpreter, call: OpCall) -> Any:
    """Cauchy's product of two signals; linear of one."""
    if len(call.signals) == 1:
        return linear(run, call)
    return to_signal(power_series.product(*(coefficients(signal) for signal in call.signals)))


def divide(run: Interpreter, call: OpCall) -> Any:
    """Quotients, of and by constants too."""
    if call.kwargs.get("rounding_mode") is not None:
        raise NoRule(run.table.name, ["div with rounding"])
    top, bottom = call.args[:2]
    if not isinstance(bottom, Signal):
        return linear(run, call)
    below = coefficients(bottom)
    above = coefficients(top) if isinstance(top, Signal) else power_series.constant(torch.as_tensor(top).to(below), len(below))
    return to_signal(power_series.quotient(above, below))


def linear_map(run: Interpreter, call: OpCall) -> Any:
    """Maps: linear in one signal, bilinear in two; what is added to a product is linear."""
    signals, name = call.signals, op_name(call.target)
    if name == "einsum" and len(signals) > 2:
        return einsum_pairwise(run, *call.args[:2])
    if len(signals) == 1 or (len(signals) == 2 and _has_bias_signal(call, signals)):
        return linear(run, call)
    if len(signals) > 2:
        raise NoRule(run.table.name, [f"{name} of {len(signals)} values"])
    a, b = (coefficients(signal) for signal in signals)
    total = torch.stack([torch.zeros_like(call.on([a[0], b[0]]))] * len(a))
    for j in range(1, len(a)):
        # the part of order j of the first factor, with all that the second has left; constants drop out of a derivative
        total[j:] += torch.vmap(lambda other, j=j: torch.func.jvp(lambda x: call.on([x, other]), (a[0],), (a[j],))[1])(b[: len(b) - j])
    total[1:] += torch.vmap(lambda other: torch.func.jvp(lambda y: call.on([a[0], y]), (b[0],), (other,))[1])(b[1:])
    total[0] = call.on([a[0], b[0]])
    return to_signal(total)


def _has_bias_signal(call: OpCall, signals: Sequence[Signal]) -> bool:
    """Whether one of two signals is a bias."""
    bias = call.args[0] if op_name(call.target) in ("addmm", "baddbmm") else call.argument(2, "bias")
    return op_name(call.target) != "einsum" and any(bias is signal for signal in signals)


def elementwise_pair(run: Interpreter, call: OpCall) -> Any:
    """Maximum and minimum of two, and products with a logarithm."""
    name = op_name(call.target)
    if name == "atan2":
        raise NoRule(run.table.name, ["atan2"])
    if name in ("xlogy", "special_xlog1py"):
        factor, argument = call.args
        log = aten.log.default if name == "xlogy" else aten.log1p.default
        return run(aten.mul.Tensor, factor, run(log, argument) if isinstance(argument, Signal) else log(argument))
    return piecewise_linear(run, call)


def softmax(run: Interpreter, call: OpCall) -> Any:
    """Exponentials over their sum, shifted by their largest at b."""
    signal, dim = only_signal(run, call), call.args[1]
    shift = signal.value.amax(dim, keepdim=True)
    powers = run(aten.exp.default, run(aten.sub.Tensor, signal, shift))
    return run(aten.div.Tensor, powers, run(aten.sum.dim_IntList, powers, [dim], True))


def log_softmax(run: Interpreter, call: OpCall) -> Any:
    """Minus the log-sum-exp."""
    signal, dim = only_signal(run, call), call.args[1]
    return run(aten.sub.Tensor, signal, run(aten.logsumexp.default, signal, [dim], True))


def logsumexp(run: Interpreter, call: OpCall) -> Any:
    """Over one or several axes."""
    signal, dims = only_signal(run, call), call.args[1]
    dims = [dims] if isinstance(dims, int) else list(dims)
    keep = bool(call.argument(2, "keepdim", False))
    shift = signal.value.amax(dims, keepdim=True)
    total = run(aten.sum.dim_IntList, run(aten.exp.default, run(aten.sub.Tensor, signal, shift)), dims, True)
    found = run(aten.add.Tensor, run(aten.log.default, total), shift)
    for place in () if keep else sorted((dim % signal.value.ndim for dim in dims), reverse=True):
        found = run(aten.squeeze.dim, found, place)
    return found


def choose(run: Interpreter, call: OpCall) -> Any:
    """where and masked_fill by a condition that is a constant, as all comparisons are here."""
    return linear(run, call)


def _push_forward(call: OpCall, points: Sequence[Tensor]) -> Any:
    """An op's value at b, and its derivative at some points in the direction of every order."""
    values = call.on([signal.value for signal in call.signals])
    several = isinstance(values, (tuple, list))
    moving = [isinstance(value, Tensor) and is_number(value) for value in (values if several else [values])]
    if not any(moving):
        return call.on(points)

    def function(*inputs: Tensor) -> tuple[Tensor, ...]:
        found = call.on(inputs)
        return tuple(part for part, moves in zip(found if several else [found], moving, strict=True) if moves)

    def slope(*directions: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = torch.func.jvp(function, tuple(points), directions)[1]
        return found

    try:
        slopes = iter(torch.vmap(slope)(*(signal.extra for signal in call.signals)))
    except RuntimeError as error:  # torch's own forward derivative is at fault, as that of stft
        raise NoRule("the Taylor series", [f"{op_name(call.target)}, of which torch has no forward derivative here"]) from error
    signals = [
        Signal(value, extra=next(slopes)) if moves else value for value, moves in zip(values if several else [values], moving, strict=True)
    ]
    return type(values)(signals) if several else signals[0]


RULES: Mapping[str, Callable[..., Any]] = {
    "move": linear,
    "add": linear,
    "scale": linear,
    "affine": linear,
    "map": linear_map,
    "multiply": multiply,
    "divide": divide,
    "elementwise": elementwise,
    "pair": elementwise_pair,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": logsumexp,
    "largest": piecewise_linear,
    "select": piecewise_linear,
    "running": piecewise_linear,
    "unpool": linear,
    "step": step,
    "choose": choose,
    "product": product_in_pairs,
    "transform": transform,
    "detach": detach,
}

OPS: Mapping[str, Rule] = dict.fromkeys("argmax argmin argsort any all count_nonzero bucketize".split(), step)

TAYLOR = RuleTable("a Taylor series", RULES, ALL_DECOMPOSITIONS, OPS, opened=find_torch_decomposition)
