"""Ops computed by way of simpler ones, so that one table of rules for the simple ones is enough.

Most functions take the run and then the op's own arguments, as torch's schema has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from vesalius.core.errors import NoRule
from vesalius.rules.interpreter import Interpreter, OpCall, Rule
from vesalius.rules.op_kinds import op_name
from vesalius.rules.scattering import SCATTERING
from vesalius.rules.signal import Signal, dtype_of, shape_of
from vesalius.rules.transforms import angle, hypot, polar

aten = torch.ops.aten


def attention(run: Interpreter, call: OpCall) -> Any:
    """softmax(q k / sqrt(d) + mask) v."""
    query, key, value = call.args[:3]
    mask = call.argument(3, "attn_mask")
    scale = call.kwargs.get("scale") or 1 / math.sqrt(shape_of(query)[-1])
    if call.kwargs.get("enable_gqa"):
        groups = shape_of(query)[-3] // shape_of(key)[-3]
        key, value = (run(aten.repeat_interleave.self_int, part, groups, -3) for part in (key, value))
    scores = run(aten.mul.Tensor, run(aten.matmul.default, query, run(aten.transpose.int, key, -2, -1)), scale)
    if call.argument(5, "is_causal", False):
        ahead = torch.ones(shape_of(scores)[-2:], dtype=torch.bool, device=_device(query)).triu(1)
        scores = run(aten.masked_fill.Scalar, scores, ahead, -math.inf)
    if mask is not None:
        boolean = isinstance(mask, torch.Tensor) and mask.dtype == torch.bool
        scores = run(aten.masked_fill.Scalar, scores, ~mask, -math.inf) if boolean else run(aten.add.Tensor, scores, mask)
    return run(aten.matmul.default, run(aten.softmax.int, scores, -1), value)


def normalise(run: Interpreter, x: Any, axes: Sequence[int], eps: float, *, centred: bool = True) -> Any:
    """x (minus its mean) over the root of its mean square plus eps."""
    if centred:
        x = run(aten.sub.Tensor, x, run(aten.mean.dim, x, list(axes), True))
    square = run(aten.mean.dim, run(aten.mul.Tensor, x, x), list(axes), True)
    return run(aten.div.Tensor, x, run(aten.sqrt.default, run(aten.add.Scalar, square, eps)))


def scale_and_shift(run: Interpreter, y: Any, weight: Any, bias: Any, shape: Sequence[int]) -> Any:
    """y * weight + bias, either of which may be missing."""
    if weight is not None:
        y = run(aten.mul.Tensor, y, weight.reshape(shape))
    return y if bias is None else run(aten.add.Tensor, y, bias.reshape(shape))


def layer_norm(run: Interpreter, x: Any, shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5, *rest: Any) -> Any:
    """Over the last axes."""
    return scale_and_shift(run, normalise(run, x, range(-len(shape), 0), eps), weight, bias, tuple(shape))


def rms_norm(run: Interpreter, x: Any, shape: Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """Over the last axes, about zero."""
    eps = torch.finfo(dtype_of(x)).eps if eps is None else eps
    return scale_and_shift(run, normalise(run, x, range(-len(shape), 0), eps, centred=False), weight, None, tuple(shape))


def group_norm(run: Interpreter, x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *rest: Any) -> Any:
    """Over the channels of a group and all positions."""
    shape = shape_of(x)
    split = run(aten.view.default, x, [shape[0], groups, shape[1] // groups, *shape[2:]])
    whole = run(aten.view.default, normalise(run, split, range(2, len(shape) + 1), eps), list(shape))
    return scale_and_shift(run, whole, weight, bias, (-1, *[1] * (len(shape) - 2)))


def native_group_norm(run: Interpreter, call: OpCall) -> Any:
    """The same with the arguments of its decomposed form."""
    x, weight, bias, _, _, _, groups, eps = call.args
    return group_norm(run, x, groups, weight, bias, eps), None, None


def instance_norm(run: Interpreter, x: Any, weight: Any = None, bias: Any = None, *rest: Any) -> Any:
    """A group per channel; running statistics are not used in eval unless they are tracked."""
    mean, variance, by_input, _, eps, *_ = rest
    if not by_input:
        return run(aten.batch_norm.default, x, weight, bias, mean, variance, False, 0.0, eps, False)
    return group_norm(run, x, shape_of(x)[1], weight, bias, eps)


def glu(run: Interpreter, x: Any, dim: int = -1) -> Any:
    """The first half times the sigmoid of the second."""
    first, second = run(aten.chunk.default, x, 2, dim)
    return run(aten.mul.Tensor, first, run(aten.sigmoid.default, second))


def variance(run: Interpreter, x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None) -> Any:
    """Mean square about the mean, with Bessel's correction."""
    axes, unbiased = _axes(x, dim), dim if isinstance(dim, bool) else unbiased  # var.default has unbiased in the place of dim
    count = math.prod(shape_of(x)[axis] for axis in axes)
    centred = run(aten.sub.Tensor, x, run(aten.mean.dim, x, axes, True))
    total = run(aten.sum.dim_IntList, run(aten.mul.Tensor, centred, centred), axes, keepdim)
    return run(aten.div.Scalar, total, max(count - (int(unbiased) if correction is None else correction), 0))


def std(run: Interpreter, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Root of the variance."""
    return run(aten.sqrt.default, variance(run, x, *args, **kwargs))


def with_mean(statistic: Callable[..., Any]) -> Callable[..., Any]:
    """A statistic, and the mean."""

    def both(run: Interpreter, x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None) -> Any:
        found = statistic(run, x, dim, unbiased, keepdim, correction=correction)
        return found, run(aten.mean.dim, x, _axes(x, dim), keepdim)

    return both


def vector_norm(run: Interpreter, x: Any, order: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Sum of powers, and its root."""
    axes = _axes(x, dim)
    if order == 2:
        return run(aten.sqrt.default, run(aten.sum.dim_IntList, run(aten.mul.Tensor, x, x), axes, keepdim))
    if order == 0:
        return run(aten.sum.dim_IntList, run(aten._to_copy.default, run(aten.ne.Scalar, x, 0), dtype=dtype_of(x)), axes, keepdim)
    size = run(aten.abs.default, x)
    if abs(order) == math.inf:
        return run(aten.amax.default if order > 0 else aten.amin.default, size, axes, keepdim)
    if order == 1:
        return run(aten.sum.dim_IntList, size, axes, keepdim)
    total = run(aten.sum.dim_IntList, run(aten.pow.Tensor_Scalar, size, order), axes, keepdim)
    return run(aten.pow.Tensor_Scalar, total, 1 / order)


def addcmul(run: Interpreter, x: Any, first: Any, second: Any, *, value: float = 1) -> Any:
    """x + value * first * second."""
    return run(aten.add.Tensor, x, run(aten.mul.Tensor, run(aten.mul.Tensor, first, second), value))


def addcdiv(run: Interpreter, x: Any, first: Any, second: Any, *, value: float = 1) -> Any:
    """x + value * first / second."""
    return run(aten.add.Tensor, x, run(aten.mul.Tensor, run(aten.div.Tensor, first, second), value))


def lerp(run: Interpreter, start: Any, end: Any, weight: Any) -> Any:
    """start + weight * (end - start)."""
    return run(aten.add.Tensor, start, run(aten.mul.Tensor, run(aten.sub.Tensor, end, start), weight))


def bilinear(run: Interpreter, x: Any, y: Any, weight: Any, bias: Any = None) -> Any:
    """x W_k y for every unit k."""
    product = run(aten.einsum.default, "...kj,...j->...k", [run(aten.einsum.default, "...i,kij->...kj", [x, weight]), y])
    return product if bias is None else run(aten.add.Tensor, product, bias)


def logaddexp(run: Interpreter, x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y))."""
    return run(aten.logsumexp.default, run(aten.stack.default, [x, y], -1), [-1])


def logcumsumexp(run: Interpreter, x: Any, dim: int) -> Any:
    """The log-sum-exp of all up to each."""
    last = run(aten.transpose.int, x, dim, -1)
    size = shape_of(last)[-1]
    ahead = torch.ones(size, size, dtype=torch.bool, device=_device(x)).triu(1)
    rows = run(aten.expand.default, run(aten.unsqueeze.default, last, -2), [*shape_of(last)[:-1], size, size])
    found = run(aten.logsumexp.default, run(aten.masked_fill.Scalar, rows, ahead, -math.inf), [-1])
    return run(aten.transpose.int, found, dim, -1)


def quantile(run: Interpreter, call: OpCall) -> Any:
    """Between two neighbours in rising order; several along a first axis."""
    x, q, dim = call.args[0], call.args[1], call.argument(2, "dim")
    if isinstance(q, Signal) or dim is None or call.kwargs.get("interpolation", "linear") != "linear":
        raise NoRule(
            run.table.name, [f"{op_name(call.target)} of all samples, at shares that depend on the input, or that is not interpolated"]
        )
    rising = run(aten.sort.default, x, dim, False)[0]
    several = isinstance(q, torch.Tensor) and q.ndim > 0
    found = []
    for share in q.tolist() if several else [float(q)]:
        place = share * (shape_of(x)[dim] - 1)
        low, high = math.floor(place), math.ceil(place)
        first, second = (run(aten.slice.Tensor, rising, dim, i, i + 1) for i in (low, high))
        one = lerp(run, first, second, place - low)
        found.append(one if call.argument(3, "keepdim", False) else run(aten.squeeze.dim, one, dim))
    return run(aten.stack.default, found) if several else found[0]


def masked_select(run: Interpreter, x: Any, mask: Any) -> Any:
    """Elements where a mask of constants is true, one after the other."""
    if isinstance(mask, Signal) or not isinstance(x, Signal):
        raise NoRule(run.table.name, ["masked_select by a mask that depends on the input"])
    shape = torch.broadcast_shapes(shape_of(x), mask.shape)
    spread = x if shape == shape_of(x) else run(aten.expand.default, x, list(shape))
    return run(aten.index.Tensor, spread, [mask.expand(shape)])


def count_nonzero(run: Interpreter, x: Any, dim: Any = None) -> Any:
    """A sum of steps."""
    return run(aten.sum.dim_IntList, run(aten.ne.Scalar, x, 0) if not x.boolean else x, _axes(x, dim))


def pairwise_distance(run: Interpreter, x: Any, y: Any, p: float = 2, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """Norm of x - y + eps over the last axis."""
    return vector_norm(run, run(aten.add.Scalar, run(aten.sub.Tensor, x, y), eps), p, -1, keepdim)


def cdist(run: Interpreter, x: Any, y: Any, p: float = 2, compute_mode: Any = None) -> Any:
    """Norm of x_i - y_j for all i and j."""
    return vector_norm(run, run(aten.sub.Tensor, run(aten.unsqueeze.default, x, -2), run(aten.unsqueeze.default, y, -3)), p, -1)


def cosine_similarity(run: Interpreter, x: Any, y: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """The product of both, each over its norm."""
    sizes = (run(aten.clamp_min.default, vector_norm(run, part, 2, dim, True), eps) for part in (x, y))
    units = (run(aten.div.Tensor, part, size) for part, size in zip((x, y), sizes, strict=True))
    return run(aten.sum.dim_IntList, run(aten.mul.Tensor, *units), [dim])


def clamp(run: Interpreter, x: Any, low: Any = None, high: Any = None) -> Any:
    """Between bounds that are tensors."""
    for bound, choose, by_number in ((low, aten.maximum, aten.clamp_min), (high, aten.minimum, aten.clamp_max)):
        if bound is not None:
            x = run(by_number.default, x, bound) if isinstance(bound, (int, float)) else run(choose.default, x, bound)
    return x


def any_true(run: Interpreter, call: OpCall) -> Any:
    """Whether one of several is true, or all are."""
    (signal,) = call.signals
    found = replace(run(aten.ne.Scalar, signal, 0) if not signal.boolean else signal, boolean=False)
    op = aten.amax if op_name(call.target) == "any" else aten.amin
    dims = call.argument(1, "dim")
    axes = [dims] if isinstance(dims, int) else list(dims or ())
    return replace(run(op.default, found, axes, bool(call.argument(2, "keepdim", False))), boolean=True)


def einsum_pairwise(run: Interpreter, equation: str, operands: Sequence[Any]) -> Any:
    """An einsum of many values, two at a time."""
    terms, _, result = equation.replace(" ", "").partition("->")
    letters = [set(term.replace(".", "")) for term in terms.split(",")]
    if not result:
        every = "".join(terms.split(","))
        result = ("..." if "." in terms else "") + "".join(sorted(letter for letter in set(every) - {"."} if every.count(letter) == 1))
    first, second, *rest = terms.split(",")
    wanted = set(result.replace(".", "")).union(*letters[2:])
    joint = ("..." if "." in first + second else "") + "".join(sorted((letters[0] | letters[1]) & wanted))
    joined = run(aten.einsum.default, f"{first},{second}->{joint}", list(operands[:2]))
    return run(aten.einsum.default, f"{','.join([joint, *rest])}->{result}", [joined, *operands[2:]])


def _with_no_statistics(function: Callable[..., Any]) -> Callable[..., Any]:
    """For ops that also return statistics nobody reads."""
    return lambda run, *args, **kwargs: (function(run, *args, **kwargs), None, None)


def _axes(x: Any, dim: Any) -> list[int]:
    """Axes of a reduction; all of them where none are given."""
    if dim is None or isinstance(dim, bool) or dim == []:
        return list(range(len(shape_of(x))))
    return [dim] if isinstance(dim, int) else list(dim)


def _device(x: Any) -> torch.device:
    return x.device if isinstance(x, torch.Tensor) else x.value.device


def _rule_from_arguments(function: Callable[..., Any]) -> Rule:
    """A rule from a function of the op's own arguments."""
    return lambda run, call: function(run, *call.args, **call.kwargs)


DECOMPOSITIONS: Mapping[str, Rule] = {
    "scaled_dot_product_attention": attention,
    "layer_norm": _rule_from_arguments(layer_norm),
    "native_layer_norm": _rule_from_arguments(_with_no_statistics(layer_norm)),
    "rms_norm": _rule_from_arguments(rms_norm),
    "_fused_rms_norm": _rule_from_arguments(lambda run, *args: (rms_norm(run, *args), None)),
    "group_norm": _rule_from_arguments(group_norm),
    "native_group_norm": native_group_norm,
    "instance_norm": _rule_from_arguments(instance_norm),
    "glu": _rule_from_arguments(glu),
    "var": _rule_from_arguments(variance),
    "std": _rule_from_arguments(std),
    "var_mean": _rule_from_arguments(with_mean(variance)),
    "std_mean": _rule_from_arguments(with_mean(std)),
    "linalg_vector_norm": _rule_from_arguments(vector_norm),
    "addcmul": _rule_from_arguments(addcmul),
    "addcdiv": _rule_from_arguments(addcdiv),
    "lerp": _rule_from_arguments(lerp),
    "bilinear": _rule_from_arguments(bilinear),
    "logaddexp": _rule_from_arguments(logaddexp),
    "logcumsumexp": _rule_from_arguments(logcumsumexp),
    "pairwise_distance": _rule_from_arguments(pairwise_distance),
    "cdist": _rule_from_arguments(cdist),
    "_cdist_forward": _rule_from_arguments(cdist),
    "cosine_similarity": _rule_from_arguments(cosine_similarity),
    "hypot": _rule_from_arguments(hypot),
    **SCATTERING,
    "quantile": quantile,
    "nanquantile": quantile,
    "masked_select": _rule_from_arguments(masked_select),
    "count_nonzero": _rule_from_arguments(count_nonzero),
    "angle": _rule_from_arguments(angle),
    "polar": _rule_from_arguments(polar),
    "any": any_true,
    "all": any_true,
}
"""Ops that are decomposed into others, by name."""
