"""How labels of units go through ops: a rule for each kind of op."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from vesalius.sparsity.compression.unit_einsum import EINSUM_RULES
from vesalius.sparsity.compression.unit_layers import LAYER_RULES, apply_matrix
from vesalius.sparsity.compression.unit_moves import MOVE_RULES, described
from vesalius.sparsity.compression.unit_pass import Moving, Rule, Stored, UnitPass
from vesalius.sparsity.compression.unit_recurrent import RECURRENT_RULES
from vesalius.trace.axis_pass import argument, op_of
from vesalius.trace.opset import FAMILIES

# ---- ops on single elements ----------------------------------------------------------------------------------------------------------


def _unary(run: UnitPass, node: Node) -> Any:
    """A function of each element; whether 0 stays 0 is asked of it."""
    known = run.of(node.args[0])
    if isinstance(known, Stored):
        return replace(known, zero=known.zero and _keeps_zero(node))
    return Moving(known.labels, known.zero and _keeps_zero(node))


def _keeps_zero(node: Node) -> bool:
    args = [0.0 if isinstance(one, Node) else one for one in node.args[1:]]
    zero = torch.zeros(2, dtype=torch.float64)
    return bool((torch.nan_to_num(node.target(zero, *args, **node.kwargs), nan=1.0) == 0).all())  # type: ignore[operator]


def _prelu(run: UnitPass, node: Node) -> Any:
    """A slope for each channel, or one for all."""
    known, slopes = run.moving(node.args[0]), run.of(node.args[1])
    if not isinstance(slopes, Stored) or len(slopes.axes) != 1:
        return None
    if len(slopes.axes[0]) == 1:
        run.labels.fix(slopes.axes[0], f"{described(node)} has one slope for all units")
    else:
        labels = run.along(known, 1, f"{described(node)} is not along its units")
        run.labels.join(slopes.axes[0], labels, f"{described(node)} bends values that stay")
    return Moving(known.labels, known.zero)


def _same(run: UnitPass, node: Node) -> Any:
    return run.of(node.args[0])


def _elementwise(run: UnitPass, node: Node) -> Any:
    """Elements of several values that meet: their units are one, but for values that have one element for all of them."""
    operands = [
        run.of(_before_expansion(one, node)) for one in [*node.args, *node.kwargs.values()] if isinstance(run.of(one), (Moving, Stored))
    ]
    if all(isinstance(one, Stored) for one in operands):
        return _spread_parameter(run, node, operands) or _stored_elementwise(run, node, operands)
    rank = len(node.meta["value"].shape)
    moving = [one for one in operands if isinstance(one, Moving)]
    varying = {axis + rank - one.labels.ndim for one in moving for axis in run.labels.varies(one.labels)}
    reason = f"{described(node)} joins it with values that stay"
    if not varying and (alone := _spread_parameter(run, node, operands)) is not None:
        return alone
    sides = torch.broadcast_shapes(*(one.labels.shape if isinstance(one, Moving) else [len(axis) for axis in one.axes] for one in operands))
    whole = [one for one in moving if all(_side(one.labels, axis, rank) == sides[axis - rank + len(sides)] for axis in varying)]
    for one in moving:
        if one not in whole:
            run.fix(one, f"{described(node)} takes one number for all units")
    if not whole:
        return None
    first = whole[0].labels.expand(torch.broadcast_shapes(whole[0].labels.shape, sides))
    for one in whole[1:]:
        run.labels.join(first, one.labels, reason)
    for stored in (one for one in operands if isinstance(one, Stored)):
        _meet_parameter(run, stored, first, reason)
    return Moving(first, _zero_after(run, node))


def _before_expansion(argument: Any, node: Node) -> Any:
    """What was expanded, where an op expands it to the size of another operand, as it does by itself."""
    return argument.args[0] if expands_for(argument, node) else argument


def expands_for(argument: Any, node: Node) -> bool:
    """Whether an operand is expanded along axes that another operand has in full."""
    if not isinstance(argument, Node) or op_of(argument) not in EXPANSIONS:
        return False
    shape = node.meta["value"].shape
    others = [one for one in node.all_input_nodes if one is not argument and "value" in one.meta]
    return any(one.meta["value"].shape == shape for one in others if op_of(one) not in EXPANSIONS)


EXPANSIONS = frozenset("expand expand_as broadcast_to".split())


def _spread_parameter(run: UnitPass, node: Node, operands: list[Any]) -> Moving | None:
    """A number for each head, or unit, that meets values which are the same along its one axis."""
    for one in operands:
        wide = [at for at, axis in enumerate(one.axes) if len(axis) > 1] if isinstance(one, Stored) else []
        others = [other for other in operands if other is not one]
        if len(wide) != 1 or not others or any(_length(other, wide[0] - len(one.axes)) > 1 for other in others):
            continue
        run.fix([other for other in others if isinstance(other, Stored)], f"{described(node)} takes one number for all units")
        known = run.moving(next(given for given in node.all_input_nodes if run.of(given) is one))
        sides = torch.broadcast_shapes(known.labels.shape, *(_lengths(other) for other in others))
        return Moving(known.labels.expand(sides), _zero_after(run, node))
    return None


def _lengths(known: Any) -> list[int]:
    return list(known.labels.shape) if isinstance(known, Moving) else [len(axis) for axis in known.axes]


def _length(known: Any, axis: int) -> int:
    """Elements along an axis, counted from the last."""
    sides = _lengths(known)
    return sides[axis] if -axis <= len(sides) else 1


def _side(labels: Tensor, axis: int, rank: int) -> int:
    at = axis - rank + labels.ndim
    return labels.shape[at] if at >= 0 else 1


def _meet_parameter(run: UnitPass, stored: Stored, labels: Tensor, reason: str) -> None:
    """A parameter has a number per unit along the axis of the units; along others it stays."""
    varying = run.labels.varies(labels)
    for at, own in enumerate(stored.axes):
        axis = at + labels.ndim - len(stored.axes)
        if len(own) > 1 and axis in varying and len(varying) == 1:
            run.labels.join(own, labels.select(axis, 0) if labels.ndim == 1 else _vector(labels, axis), reason)
        else:
            run.labels.fix(own, reason)
            if len(own) > 1 and axis in varying:
                run.labels.fix(labels, reason)


def _vector(labels: Tensor, axis: int) -> Tensor:
    for other in reversed(range(labels.ndim)):
        if other != axis:
            labels = labels.select(other, 0)
    return labels


def _stored_elementwise(run: UnitPass, node: Node, operands: list[Any]) -> Any:
    """Parameters that meet: along axes of the same length their labels are one."""
    first = max(operands, key=lambda one: len(one.axes))
    for other in operands:
        for at in range(1, len(other.axes) + 1):
            if len(other.axes[-at]) == len(first.axes[-at]):
                run.labels.join(first.axes[-at], other.axes[-at], "parameters are joined")
            else:
                return None
    return replace(first, names=tuple(name for one in operands for name in one.names), zero=False)


def _zero_after(run: UnitPass, node: Node) -> bool:
    """Whether elements of a unit are 0 after an op on some that are."""
    zero = [_is_zero(run.of(one)) for one in node.args if not isinstance(one, bool)]
    op = op_of(node)
    if op == "mul":
        return any(zero)
    if op in ("div", "masked_fill", "pow", "prelu"):
        return zero[0]
    return op in ZERO_IF_ALL and all(zero[:3])


ZERO_IF_ALL = frozenset("add sub rsub maximum minimum where lerp".split())


def _is_zero(known: Any) -> bool:
    return known.zero if isinstance(known, (Moving, Stored)) else isinstance(known, (int, float)) and known == 0


def _glu(run: UnitPass, node: Node) -> Any:
    known, dim = run.moving(node.args[0]), argument(node, 1, "dim", -1)
    halves = known.labels.chunk(2, dim)
    run.labels.join(halves[0], halves[1], f"{described(node)} joins it with values that stay")
    return Moving(halves[0], known.zero)


# ---- ops over axes -------------------------------------------------------------------------------------------------------------------


def _reduce(run: UnitPass, node: Node) -> Any:
    """A number for many, over positions; or over units, of which those that are gone must be 0."""
    known, op = run.moving(node.args[0]), op_of(node)
    dims = argument(node, 2 if op in NORMS else 1, "dim")
    rank = known.labels.ndim
    whole = dims is None or isinstance(dims, bool)  # statistics of everything may have a flag there
    gone = set(range(rank)) if whole else {int(axis) % rank for axis in ([dims] if isinstance(dims, int) else dims)}
    varying = run.labels.varies(known.labels)
    for axis in gone & set(varying) if set(varying) - gone else ():
        run.labels.join_along(known.labels, axis, f"{described(node)} mixes its units")
    if gone & set(run.labels.varies(known.labels)):
        if not _adds_zeros(node) or not known.zero or len(varying) > 1:
            return None
        run.labels.need_zeros(known.labels)
        return run.unlabelled(node)
    labels, kept = known.labels, len(_shapes(node)[0]) == rank
    for axis in sorted(gone, reverse=True):
        labels = labels.narrow(axis, 0, 1) if kept else labels.select(axis, 0)
    return _results(node, Moving(labels, known.zero and op not in NOT_ZERO))


NORMS = frozenset(("norm", "linalg_vector_norm"))
SUMS = NORMS | frozenset(("mean", "sum"))
"""Reductions that elements of 0 add nothing to."""
NOT_ZERO = frozenset("logsumexp argmax argmin max min median".split())
"""Reductions of zeros that are not zero, or give places too."""


def _adds_zeros(node: Node) -> bool:
    """Whether a reduction is the same with some zeros more."""
    order = argument(node, 1, "ord" if op_of(node) == "linalg_vector_norm" else "p", 2) if op_of(node) in NORMS else 1
    return op_of(node) in SUMS and (order is None or (isinstance(order, (int, float)) and order > 0))


def _shapes(node: Node) -> list[Sequence[int | None]]:
    """Shapes of what a node gives, in order."""
    if node.meta["value"].is_tensor:
        return [node.meta["value"].shape]
    parts = {int(user.args[1]): user.meta["value"].shape for user in node.users if op_of(user) == "getitem"}  # type: ignore[arg-type]
    return [parts.get(place, next(iter(parts.values()))) for place in range(max(parts) + 1)]


def _results(node: Node, one: Moving) -> Any:
    """The same labels for each of a node's results."""
    return one if node.meta["value"].is_tensor else (one,) * len(_shapes(node))


def _along_positions(run: UnitPass, node: Node) -> Any:
    """An op along an axis, such as softmax, that must not be that of the units; units that vary along others go together along it."""
    known, dim = run.moving(node.args[0]), int(argument(node, 1, "dim")) % run.moving(node.args[0]).labels.ndim
    varying = run.labels.varies(known.labels)
    if dim in varying and len(varying) == 1:
        return None
    if dim in varying:
        run.labels.join_along(known.labels, dim, f"{described(node)} mixes its units")
    return Moving(known.labels, zero=False)


def _pool(run: UnitPass, node: Node) -> Any:
    """Space in other sizes."""
    known, shape = run.moving(node.args[0]), _shapes(node)[0]
    if any(axis > 1 for axis in run.labels.varies(known.labels)):
        return None
    labels = known.labels
    for axis in range(2, labels.ndim):
        labels = labels.narrow(axis, 0, 1).expand([int(shape[axis] or 1) if at == axis else -1 for at in range(labels.ndim)])
    return _results(node, Moving(labels, known.zero))


def _product(run: UnitPass, node: Node) -> Any:
    """A product of two values that both vary: along the axis that is summed over, units of both are one."""
    one, other = run.moving(node.args[0]).labels, run.moving(node.args[1]).labels
    zero = run.moving(node.args[0]).zero or run.moving(node.args[1]).zero
    rows, columns = ([axis - labels.ndim for axis in run.labels.varies(labels)] for labels in (one, other))
    reason = f"{described(node)} mixes its units"
    _join_all_but_first(run, one, rows, reason)
    _join_all_but_first(run, other, columns, reason)
    rows, columns = ([axis - labels.ndim for axis in run.labels.varies(labels)] for labels in (one, other))
    left, right = rows[0] if rows else None, columns[0] if columns else None
    if left == -1 or right == -2:
        if not zero:
            return None
        summed = _vector(one, one.ndim - 1)
        run.labels.join(summed, _vector(other, other.ndim - 2), reason)
        run.labels.need_zeros(summed)
    batch = torch.broadcast_shapes(one.shape[:-2], other.shape[:-2])
    sides = (*batch, one.shape[-2], other.shape[-1])
    if left is not None and left < -2:
        labels = one[..., :1, :1].expand(sides)
        if right is not None and right < -2:
            run.labels.join(labels[..., :1, :1], other[..., :1, :1], reason)
        return Moving(labels, zero)
    if right is not None and right < -2:
        return Moving(other[..., :1, :1].expand(sides), zero)
    if left == -2 and right == -1:
        run.labels.fix(other, f"{described(node)} has a number for each pair of units")
    if left == -2:
        return Moving(one[..., :1].expand(sides), zero)
    return Moving(other[..., :1, :].expand(sides), zero) if right == -1 else run.unlabelled(node)


def _matmul(run: UnitPass, node: Node) -> Any:
    """A layer, or a product of two values."""
    weight = run.of(node.args[1])
    if isinstance(weight, Stored) and len(weight.axes) == 2 and isinstance(run.of(node.args[0]), Moving):
        return apply_matrix(run, node, run.moving(node.args[0]), weight, (1, 0), None)
    return _product(run, node)


def _join_all_but_first(run: UnitPass, labels: Tensor, axes: list[int], reason: str) -> None:
    for axis in axes[1:]:
        run.labels.join_along(labels, axis % labels.ndim, reason)


def _attention(run: UnitPass, node: Node) -> Any:
    """Heads of queries, keys and values are one; a head that is gone gives nothing."""
    queries, keys, values = (run.moving(one) for one in node.args[:3])
    reason = f"{described(node)} mixes its units"
    for one in (queries, keys, values):
        _join_all_but_first(run, one.labels, run.labels.varies(one.labels), reason)
        if any(axis >= one.labels.ndim - 2 for axis in run.labels.varies(one.labels)):
            return None
    ask, key, give = (one.labels[..., :1, :1] for one in (queries, keys, values))
    times = ask.shape[-3] // key.shape[-3] if ask.ndim > 3 else 1
    if times > 1:
        key, give = (one.repeat_interleave(times, -3) for one in (key, give))
    run.labels.join(ask, key, reason)
    run.labels.join(ask, give, reason)
    sides = (*queries.labels.shape[:-1], values.labels.shape[-1])
    _join_mask(run, node, ask.expand(*sides[:-1], keys.labels.shape[-2]))
    return Moving(ask.expand(sides), values.zero)


def _join_mask(run: UnitPass, node: Node, scores: Tensor) -> None:
    """What is added to the scores of heads, such as a bias for relative positions, has a slice per head, or one for all."""
    mask = run.of(argument(node, 3, "attn_mask"))
    reason = f"{described(node)} adds values that stay to its scores"
    if isinstance(mask, Stored):
        _meet_parameter(run, mask, scores, reason)
    elif isinstance(mask, Moving):
        for axis in run.labels.varies(scores):
            if _side(mask.labels, axis, scores.ndim) > 1:
                run.labels.join(scores, mask.labels, reason)
            else:
                run.fix(mask, f"{described(node)} takes one number for all heads")


def _unlabelled(run: UnitPass, node: Node) -> Any:
    """What is made of sizes alone."""
    return run.unlabelled(node) if not any(isinstance(run.of(one), (Moving, Stored)) for one in node.all_input_nodes) else None


SAME = "dropout feature_dropout alpha_dropout contiguous clone detach alias to type_as lift_fresh_copy native_dropout".split()

JOINING = "add sub rsub mul div maximum minimum where masked_fill lerp pow eq ne lt le gt ge logical_and logical_or".split()
"""Ops on elements of several values."""

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(FAMILIES["elementwise"] | {"neg", "isnan", "logical_not"}, _unary),
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(JOINING, _elementwise),
    **dict.fromkeys(("softmax", "log_softmax", "cumsum"), _along_positions),
    **dict.fromkeys((*SUMS, *NOT_ZERO, *"amax amin var std var_mean std_mean prod".split()), _reduce),
    **{f"{kind}_pool{axes}d": _pool for axes in (1, 2, 3) for kind in ("max", "avg", "adaptive_avg", "adaptive_max", "_adaptive_avg")},
    **{f"max_pool{axes}d_with_indices": _pool for axes in (2, 3)},
    **dict.fromkeys("upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_bilinear2d upsample_bicubic2d".split(), _pool),
    **dict.fromkeys("zeros ones full arange zeros_like ones_like full_like scalar_tensor empty new_zeros new_ones".split(), _unlabelled),
    "glu": _glu,
    "prelu": _prelu,
    "attention": _attention,
    "bmm": _product,
    "matmul": _matmul,
    "mm": _matmul,
    **MOVE_RULES,
    **LAYER_RULES,
    **RECURRENT_RULES,
    **EINSUM_RULES,
}
"""Rule of every op that units can be followed through; those of all others stay."""
