"""Layer-wise relevance propagation on any graph: the table of rules for one run.

In multiplier form R = value * c: residual sums, concatenations and norms need no division. Attention, softmax and norms follow AttnLRP.

Reference: Bach2015 (maps), Achtibat2024 (products, softmax, norms), Ali2022 (``gate``).

Axes: B samples; * any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from vesalius.core.errors import NoRule
from vesalius.rules.absorbed import AbsorbedRelevance, LazySampleAxis, absorb_constant, absorb_detached
from vesalius.rules.decompositions import einsum_pairwise
from vesalius.rules.grid_sampling import samples_moving_grid
from vesalius.rules.interpreter import Interpreter, OpCall, Rule, RuleTable, constant, linear
from vesalius.rules.layer_rules import Epsilon, LayerRule, LayerVisit, apply_layer_rule
from vesalius.rules.linear_maps import moves_one, read_linear_map
from vesalius.rules.lrp_norms import NORM_RULES
from vesalius.rules.op_kinds import BRINGING_CONSTANTS, op_kind, op_name
from vesalius.rules.rescale import (
    ALL_DECOMPOSITIONS,
    CLAMPS,
    EXTREMES,
    bilinear_product,
    broadcast_signal,
    elementwise_of_several,
    elementwise_rule,
    only_signal,
)
from vesalius.rules.running_products import count_factors
from vesalius.rules.sample_owners import attach_meta
from vesalius.rules.signal import Signal, signals_in, to_tensors
from vesalius.rules.torch_decompositions import find_torch_decomposition
from vesalius.rules.transforms import complex_function, is_complex, require_linear
from vesalius.rules.two_point_ops import Elementwise, Product, vjp
from vesalius.rules.unit_rules import SUMMING_OPS, batch_norm_affine

aten = torch.ops.aten

GATES = frozenset({"sigmoid", "hardsigmoid"})
LINEAR_THROUGH_ORIGIN = frozenset({"relu", "leaky_relu", "abs"})
"""Straight pieces that meet at the origin: the slope from 0 is the gradient."""


@dataclass(eq=False)
class LRPState:
    """State of a run.

    Attributes:
        ledger: where relevance is booked that reaches no player.
        rules: the rule of each map in the graph.
        default_rule: the rule of maps inside ops that were decomposed.
        gated: whether a product with a softmax or a sigmoid gives all to its other factor, not half to each.
    """

    ledger: AbsorbedRelevance
    rules: Mapping[Node, LayerRule] = field(default_factory=dict)
    default_rule: LayerRule = field(default_factory=Epsilon)
    gated: bool = False


def move(run: Interpreter, call: OpCall) -> Any:
    """Elements moved, summed or averaged; constants among them keep their relevance."""
    mixing = op_name(call.target) in SUMMING_OPS or op_kind(call.target) == "choose"  # elements stay in their places, or are added up
    found = attach_meta(call, linear(run, call), gate=all([signal.extra.gate for signal in call.signals]), moved=not mixing)
    if not signals_in(found):
        return constant(run, call)
    fixed = _evaluate_constant_part(call)
    if fixed is not None:
        return _change_signals(
            found, fixed, lambda part, still: replace(part, value=absorb_constant(part.value, still, run.state.ledger, part.extra.owner))
        )
    source = call.signals[0]
    if len(call.signals) == 1 and source.inverse is not None:
        found = _change_signals(
            found, found, lambda part, _: replace(part, inverse=source.inverse)
        )  # that there is one is all that matters here
    if len(call.signals) == 1 and source.extra.raw is not None and not mixing:
        found = _change_signals(found, call.on([source.extra.raw]), lambda part, raw: replace(part, extra=replace(part.extra, raw=raw)))
    return found


def _change_signals(found: Any, other: Any, change: Callable[[Signal, Any], Signal]) -> Any:
    """A change of every signal of a result, together with the same part of another result."""
    if not isinstance(found, (tuple, list)):
        return change(found, other)
    return type(found)(change(part, twin) if isinstance(part, Signal) else part for part, twin in zip(found, other, strict=True))


def _evaluate_constant_part(call: OpCall) -> Any:
    """What a move gives for signals that are zero; ``None`` where it has no constants of its own."""
    fixed = [item for arg in call.args for item in (arg if isinstance(arg, (tuple, list)) else [arg])]
    if not (op_name(call.target) in BRINGING_CONSTANTS or any(isinstance(item, Tensor) and item.is_floating_point() for item in fixed)):
        return None
    with torch.no_grad():
        found = call.on([torch.zeros_like(signal.value) for signal in call.signals])
    return found if any(bool((part != 0).any()) for part in (found if isinstance(found, (tuple, list)) else [found])) else None


def add(run: Interpreter, call: OpCall) -> Any:
    """The multiplier goes to all terms; a constant term keeps its relevance."""
    found = attach_meta(call, linear(run, call))
    if len(call.signals) == 2:
        return found
    return _absorb_fixed(run, call, found)


def _absorb_fixed(run: Interpreter, call: OpCall, found: Signal) -> Signal:
    """A result whose constant part, which the op makes of zeros, keeps its relevance."""
    with torch.no_grad():
        fixed = call.on([torch.zeros_like(signal.value) for signal in call.signals])
    return replace(found, value=absorb_constant(found.value, fixed, run.state.ledger, found.extra.owner))


def multiply(run: Interpreter, call: OpCall) -> Any:
    """By a constant: linear. By the reciprocal of a root: as a norm, frozen. Else half to each factor, or all to the one that is no
    gate.
    """
    if len(call.signals) == 1:
        return attach_meta(call, linear(run, call), gate=call.signals[0].extra.gate)
    first, second = call.signals
    frozen = [signal.inverse is not None for signal in (first, second)]
    if first is not second and any(frozen):
        return attach_meta(call, Signal(_apply_with_frozen(call, frozen)))
    return _halve_or_gate(run, call)


def _apply_with_frozen(call: OpCall, frozen: list[bool]) -> Tensor:
    """A product or quotient in which some factors count as constants."""
    result: Tensor = call.on([signal.value.detach() if still else signal.value for signal, still in zip(call.signals, frozen, strict=True)])
    return result


def _halve_or_gate(run: Interpreter, call: OpCall) -> Any:
    gates = [signal.extra.gate for signal in call.signals]
    if run.state.gated and sum(gates) == 1:
        return attach_meta(call, Signal(_apply_with_frozen(call, gates)))
    product = bilinear_product(call)
    value = _SharedProductFunction.apply(product, 2, *(signal.value for signal in call.signals))  # type: ignore[no-untyped-call]
    return attach_meta(call, Signal(value))


class _SharedProductFunction(torch.autograd.Function):
    """A product of several values: an equal part of the gradient to each."""

    @staticmethod
    def forward(ctx: Any, product: Product, count: int | Tensor, *values: Tensor) -> Tensor:
        ctx.product, ctx.count, ctx.values = product, count, [value.detach() for value in values]
        return product.value(*values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return None, None, *ctx.product.gradients(grad / ctx.count, ctx.values)


def divide(run: Interpreter, call: OpCall) -> Any:
    """All to the numerator: the denominator counts as a constant, as the deviation of a norm does."""
    if not isinstance(call.args[1], Signal):
        return attach_meta(call, linear(run, call), gate=call.signals[0].extra.gate)
    if not isinstance(call.args[0], Signal):
        found = elementwise(run, call)
        return replace(found, inverse=lambda: call.args[1])
    return attach_meta(call, Signal(_apply_with_frozen(call, [False, True])))


def linear_map(run: Interpreter, call: OpCall) -> Any:
    """A map with a constant weight follows its layer's rule; one of two values is a product; one without a weight is a move."""
    name, bias = op_name(call.target), _bias_of(call)
    if moves_one(call):
        return move(run, call)
    if name == "einsum" and len(call.args[1]) > 2:
        return einsum_pairwise(run, *call.args[:2])
    if isinstance(bias, Signal) or (bias is not None and len(call.signals) > 1):
        return _split_bias(run, call, bias)
    if len(call.signals) == 2:
        return _halve_or_gate(run, call)
    signal = only_signal(run, call)
    rule = run.state.rules.get(call.node, run.state.default_rule) if call.node is not None else run.state.default_rule
    found, _ = read_linear_map(call)
    with torch.no_grad():
        z = call.on([signal.value])
    result = attach_meta(call, Signal(z))
    owner, ledger = result.extra.owner, run.state.ledger
    visit = LayerVisit(found, signal.value.detach(), z, lambda account, amount: ledger.absorb(account, amount.expand_as(z), owner))
    return replace(result, value=apply_layer_rule(rule, visit, signal.value, signal.extra.raw))


def _has_bias_argument(name: str) -> bool:
    return name == "linear" or name.startswith("conv")


def _bias_of(call: OpCall) -> Any:
    """What a map adds to its product."""
    name = op_name(call.target)
    return call.args[0] if name in ("addmm", "baddbmm") else call.argument(2, "bias") if _has_bias_argument(name) else None


def _split_bias(run: Interpreter, call: OpCall, bias: Any) -> Any:
    """A product and what is added to it as terms of their own: where both factors are values, or the bias is one."""
    if not _has_bias_argument(op_name(call.target)):
        terms = (run(aten.matmul.default, *call.args[1:3]), "alpha"), (bias, "beta")
        return run(aten.add.Tensor, *(run(aten.mul.Scalar, term, call.kwargs.get(name, 1)) for term, name in terms))
    kwargs = {key: value for key, value in call.kwargs.items() if key != "bias"}
    bare = replace(call, args=(*call.args[:2], None, *call.args[3:]), kwargs=kwargs)
    product = linear_map(run, bare) if bare.signals else bare.evaluate()
    rank = len(to_tensors(call.args[1]).shape)
    return run(aten.add.Tensor, product, run(aten.view.default, bias, [-1, *[1] * (rank - 2)]))


def affine(run: Interpreter, call: OpCall) -> Any:
    """Batch norm that could not be folded into a map: a scale, whose shift keeps its relevance."""
    if call.args[3] is None:
        raise NoRule(run.table.name, ["batch_norm with the statistics of the batch, which mixes samples"])
    found = attach_meta(call, linear(run, call))
    first = found[0] if isinstance(found, tuple) else found
    shift = batch_norm_affine(call)[1]
    first = replace(first, value=absorb_constant(first.value, shift, run.state.ledger, first.extra.owner))
    return (first, *found[1:]) if isinstance(found, tuple) else first


def elementwise(run: Interpreter, call: OpCall) -> Any:
    """R passes unchanged, c by the slope from 0; what the function gives for 0 is a bias."""
    name = op_name(call.target)
    if name in CLAMPS and (len(call.signals) > 1 or any(isinstance(arg, Tensor) for arg in call.args[1:])):
        return elementwise_of_several(run, call)
    if len(call.signals) > 1:
        return taylor_rule("bias")(run, call)
    if is_complex(call.signals[0]):
        return complex_function(run, call)
    signal = broadcast_signal(run, call)
    if name in LINEAR_THROUGH_ORIGIN:
        return attach_meta(call, linear(run, call))

    function = partial(_evaluate, call)
    result = attach_meta(call, Signal(signal.value), gate=name in GATES)
    rule = elementwise_rule(call, function)
    value = _SlopeFromZeroFunction.apply(rule, run.state.ledger, result.extra.owner, signal.value)  # type: ignore[no-untyped-call]
    falling = name in ("rsqrt", "reciprocal") or (name == "pow" and call.args[1] in (-0.5, -1))
    inverse = (lambda: signal) if falling else None
    found = replace(result, value=value, inverse=inverse)
    return (found, None) if name == "log_sigmoid_forward" else found


def _evaluate(call: OpCall, z: Tensor) -> Tensor:
    result = call.on([z])
    found: Tensor = result[0] if isinstance(result, tuple) else result
    return found


class _SlopeFromZeroFunction(torch.autograd.Function):
    """s(z) with the slope (s(z) - s(0)) / z; s(z) / z where s has no value at 0."""

    @staticmethod
    def forward(ctx: Any, rule: Elementwise, ledger: AbsorbedRelevance, owner: LazySampleAxis, z: Tensor) -> Tensor:
        output = rule.value(z)
        ctx.kept = rule, ledger, owner, z.detach(), output.detach()
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        rule, ledger, owner, z, output = ctx.kept
        zero = torch.zeros_like(z)
        offset = rule.value(zero)
        offset = torch.where(offset.isfinite(), offset, zero)
        if bool((offset != 0).any()):
            ledger.absorb("bias", grad * offset, owner)
        return None, None, None, grad * rule.slope(z, zero, output, offset)


def taylor_rule(account: str) -> Rule:
    """The gradient at the values; what the linear term leaves over is booked."""

    def rule(run: Interpreter, call: OpCall) -> Any:
        values = [signal.value for signal in call.signals]
        with torch.no_grad():
            output = call.on(values)
        found = attach_meta(call, Signal(output), gate=account == "softmax" and "log" not in op_name(call.target))
        books = run.state.ledger, account, found.extra.owner, [signal.extra.owner for signal in call.signals]
        value = _LinearTermFunction.apply(call, books, output, *values)  # type: ignore[no-untyped-call]
        return replace(found, value=value)

    return rule


class _LinearTermFunction(torch.autograd.Function):
    """A function with its own gradient, and the account of y c - sum z c_z."""

    @staticmethod
    def forward(ctx: Any, call: OpCall, books: tuple[Any, ...], output: Tensor, *values: Tensor) -> Tensor:
        ctx.kept = call, books, [z.detach() for z in values], output
        return output.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        call, (ledger, account, after, before), values, output = ctx.kept
        slopes = vjp(lambda *points: call.on(points), values, grad)
        ledger.absorb(account, grad * output.nan_to_num(), after)
        found = [torch.zeros_like(z) if slope is None else slope.nan_to_num() for z, slope in zip(values, slopes, strict=True)]
        for z, slope, owner in zip(values, found, before, strict=True):
            ledger.absorb(account, -torch.where(slope == 0, slope, z * slope), owner)  # a masked logit is infinite
        return None, None, None, *found


def gradient_rule(run: Interpreter, call: OpCall) -> Any:
    """The gradient as it is: of a change of sign, of the winner of a maximum."""
    return attach_meta(call, linear(run, call))


def elementwise_pair(run: Interpreter, call: OpCall) -> Any:
    """All to the winner; a constant that wins keeps its relevance, and so does what other functions have beside their linear term."""
    if len(call.signals) == 2 and op_name(call.target) in EXTREMES:
        return attach_meta(call, linear(run, call))
    return taylor_rule("bias")(run, call)


def choose(run: Interpreter, call: OpCall) -> Any:
    """The branch that was taken."""
    condition = call.args[0] if op_name(call.target) == "where" else call.args[1]
    if isinstance(condition, Signal):
        raise NoRule(run.table.name, [f"{op_name(call.target)} by a condition that is a number"])
    return move(run, call)


def transform(run: Interpreter, call: OpCall) -> Any:
    """Linear; what is given besides is a constant, and so are places that are sampled: that they moved is no relevance of theirs."""
    name = op_name(call.target)
    if samples_moving_grid(call):
        if not isinstance(call.args[0], Signal):
            raise NoRule(run.table.name, [f"{name} of constants, at places that depend on the input"])
        return attach_meta(call, Signal(_apply_with_frozen(call, [False, True])))
    require_linear(run, call)
    if "embedding_bag" in name and len(call.signals) > 1:
        raise NoRule(run.table.name, [f"{name} of vectors and weights that both depend on the input"])
    found = attach_meta(call, linear(run, call))
    if name != "complex" or len(call.signals) > 1:
        return found
    return _absorb_fixed(run, call, found)


def product(run: Interpreter, call: OpCall) -> Any:
    """A product of n values: the n-th part of the gradient to each."""
    (signal,), dim = call.signals, call.argument(1, "dim")
    count: float | Tensor = count_factors(call)
    if op_name(call.target) == "cumprod":
        count = torch.arange(1, int(count) + 1, device=signal.value.device).reshape(
            [-1 if axis == dim % signal.value.ndim else 1 for axis in range(signal.value.ndim)]
        )
    whole = Product(lambda z: call.on([z]))
    return attach_meta(call, Signal(_SharedProductFunction.apply(whole, count, signal.value)))  # type: ignore[no-untyped-call]


def detach(run: Interpreter, call: OpCall) -> Any:
    """What the user cut stays cut: the relevance that would have passed is booked."""
    (signal,) = call.signals
    value = absorb_detached(signal.value, run.state.ledger, signal.extra.owner)
    return replace(signal, value=value, extra=replace(signal.extra, raw=None))


RULES: Mapping[str, Rule] = {
    "move": move,
    "add": add,
    "scale": gradient_rule,
    "map": linear_map,
    "multiply": multiply,
    "divide": divide,
    "affine": affine,
    "elementwise": elementwise,
    "special": elementwise,
    "product": product,
    "transform": transform,
    "detach": detach,
    "pair": elementwise_pair,
    "softmax": taylor_rule("softmax"),
    "log_softmax": taylor_rule("softmax"),
    "logsumexp": taylor_rule("softmax"),
    "largest": gradient_rule,
    "select": gradient_rule,
    "running": gradient_rule,
    "unpool": move,
    "step": constant,
    "choose": choose,
}

OPS: Mapping[str, Rule] = {**dict.fromkeys("argmax argmin argsort any all count_nonzero bucketize".split(), constant), **NORM_RULES}
"""Whole numbers and truth values, which pass nothing on; and norms."""

LRP = RuleTable("layer-wise relevance propagation", RULES, ALL_DECOMPOSITIONS, OPS, opened=find_torch_decomposition)
