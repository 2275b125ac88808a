"""How labels of units go through layers with weights: what makes units, what reads them, and what normalises them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int
from torch.fx import Node

from vesalius.sparsity.compression.unit_pass import BATCH, Moving, ReadAxis, Rule, Stored, UnitPass
from vesalius.trace.axis_pass import argument, op_of
from vesalius.trace.graph import Value

Labels = Int[torch.Tensor, " _"]


def value_name(node: Node) -> str:
    value: Value = node.meta["value"]
    return value.name


def read_axis(run: UnitPass, node: Node, weight: Stored, axis: int, seen: Labels, source: Any = None) -> None:
    """Units that a weight reads along an axis, in a value."""
    run.labels.join(weight.axes[axis], seen, f"read by {value_name(node)!r} with values that stay")
    note_reader(run, node, weight, axis, source)


def note_reader(run: UnitPass, node: Node, weight: Stored, axis: int, source: Any, along: int | None = None) -> None:
    """Note that a weight reads units along an axis, in a value along another."""
    read = value_name(source) if isinstance(source, Node) and "value" in source.meta else ""
    run.reads += [ReadAxis(value_name(node), read, name, weight.order[axis], weight.axes[axis], along) for name in weight.names]


def _make(run: UnitPass, node: Node, labels: Labels, bias: Any) -> Moving:
    """The units that a layer makes, along the axis of its output that a layer's units are on."""
    if isinstance(bias, Stored):
        run.labels.join(bias.axes[0], labels, f"{value_name(node)!r} adds values that stay")
    zero = bias is None or (isinstance(bias, Stored) and bias.zero)
    run.made[value_name(node)] = labels
    return Moving(labels, zero)


def _linear(run: UnitPass, node: Node) -> Any:
    source, weight = run.moving(node.args[0]), run.of(node.args[1])
    bias = run.of(node.args[2]) if len(node.args) > 2 else None
    if not isinstance(weight, Stored):
        return None
    return apply_matrix(run, node, source, weight, (0, 1), bias)


def _addmm(run: UnitPass, node: Node) -> Any:
    source, weight = run.moving(node.args[1]), run.of(node.args[2])
    return apply_matrix(run, node, source, weight, (1, 0), run.of(node.args[0])) if isinstance(weight, Stored) else None


def apply_matrix(run: UnitPass, node: Node, source: Moving, weight: Stored, axes: tuple[int, int], bias: Any) -> Any:
    """Units of a product with a matrix whose axes are (of units, of inputs)."""
    if len(weight.axes) != 2:
        return None
    out, into = axes
    source_node = node.args[1] if op_of(node) == "addmm" else node.args[0]
    read_axis(run, node, weight, into, run.along(source, -1, f"{value_name(node)!r} reads it along another axis"), source_node)
    made = _make(run, node, weight.axes[out], bias)
    return Moving(made.labels.expand(*source.labels.shape[:-1], -1), made.zero and weight.zero)


def _bilinear(run: UnitPass, node: Node) -> Any:
    weight = run.of(node.args[2])
    if not isinstance(weight, Stored):
        return None
    for at in (0, 1):
        seen = run.along(run.moving(node.args[at]), -1, f"{value_name(node)!r} reads it along another axis")
        read_axis(run, node, weight, 1 + at, seen, node.args[at])
    made = _make(run, node, weight.axes[0], run.of(node.args[3]) if len(node.args) > 3 else None)
    return Moving(made.labels.expand(*run.moving(node.args[0]).labels.shape[:-1], -1), made.zero and weight.zero)


def _embedding(run: UnitPass, node: Node) -> Any:
    weight = run.of(node.args[0])
    if not isinstance(weight, Stored):
        return None
    run.labels.fix(weight.axes[0], f"{value_name(node)!r} looks rows up")
    made = _make(run, node, weight.axes[1], None)
    return Moving(made.labels.expand(*run.moving(node.args[1]).labels.shape, -1), weight.zero)


def _embedding_bag(run: UnitPass, node: Node) -> Any:
    """Rows that are looked up and summed."""
    weight = run.of(node.args[0])
    if not isinstance(weight, Stored):
        return None
    run.labels.fix(weight.axes[0], f"{value_name(node)!r} looks rows up")
    return (Moving(_make(run, node, weight.axes[1], None).labels.expand(BATCH, -1), weight.zero),)


def _convolution(run: UnitPass, node: Node) -> Any:
    source, weight = run.moving(node.args[0]), run.of(node.args[1])
    if not isinstance(weight, Stored):
        return None
    for axis in weight.axes[2:]:
        run.labels.fix(axis, "it is the size of a kernel")
    transposed = "transpose" in op_of(node)
    groups = argument(node, 6, "groups", 1)
    bias = argument(node, 2, "bias")
    seen = run.along(source, 1, f"{value_name(node)!r} reads it along another axis")
    if groups > 1:
        labels = _grouped(run, node, weight, seen, groups, transposed)
    else:
        read_axis(run, node, weight, 0 if transposed else 1, seen, node.args[0])
        labels = weight.axes[1 if transposed else 0]
    made = _make(run, node, labels, run.of(bias))
    space = [int(side or 1) for side in node.meta["value"].shape[2:]]
    shape = [1, len(labels), *[1] * len(space)]
    return Moving(made.labels.reshape(shape).expand(source.labels.shape[0], -1, *space), made.zero and weight.zero)


def _grouped(run: UnitPass, node: Node, weight: Stored, seen: Labels, groups: int, transposed: bool) -> Labels:
    """Channels of a group, in and out, go together."""
    reason = f"{value_name(node)!r} is a grouped convolution of values that stay"
    run.labels.fix(weight.axes[1], reason)
    first = seen.reshape(groups, -1)[:, :1]
    run.labels.join(seen.reshape(groups, -1), first, reason)
    run.labels.join(weight.axes[0].reshape(groups, -1), first, reason)
    note_reader(run, node, weight, 0, node.args[0])
    return first.repeat_interleave(len(weight.axes[1]), 0).flatten() if transposed else weight.axes[0]


# ---- normalisations ------------------------------------------------------------------------------------------------------------------


def _batch_norm(run: UnitPass, node: Node) -> Any:
    known = run.moving(node.args[0])
    if argument(node, 5, "training", False):
        return None
    labels = run.along(known, 1, f"{value_name(node)!r} is not along its units")
    vectors = [run.of(one) for one in node.args[1:5]]
    for one in vectors:
        if isinstance(one, Stored):
            run.labels.join(one.axes[0], labels, f"{value_name(node)!r} scales values that stay")
    return Moving(known.labels, all(isinstance(one, Stored) and one.zero for one in vectors[:2]))


def _instance_norm(run: UnitPass, node: Node) -> Any:
    known = run.moving(node.args[0])
    labels = run.along(known, 1, f"{value_name(node)!r} is not along its units")
    _scaled(run, node, known, labels, [one for one in node.args[3:5] if one is not None])
    return _scaled(run, node, known, labels, [one for one in node.args[1:3] if one is not None])


def _scaled(run: UnitPass, node: Node, known: Moving, labels: Labels, vectors: Any) -> Moving:
    """A scale and a shift per unit, as the last step of a normalisation."""
    given = [run.of(one) for one in vectors]
    for one in given:
        if isinstance(one, Stored):
            run.labels.join(one.axes[-1], labels, f"{value_name(node)!r} scales values that stay")
    return Moving(known.labels, bool(given) and all(isinstance(one, Stored) and one.zero for one in given))


def _group_norm(run: UnitPass, node: Node) -> Any:
    """Channels that are normalised together go together; where that is all of them, those that are gone count as zeros."""
    known, groups = run.moving(node.args[0]), int(node.args[1])  # type: ignore[arg-type]
    labels = run.along(known, 1, f"{value_name(node)!r} is not along its units")
    if groups == 1:
        _count_zeros(run, node, known, labels)
    else:
        run.labels.join_along(labels.reshape(groups, -1), 1, f"{value_name(node)!r} normalises it with values that stay")
    return _scaled(run, node, known, labels, [argument(node, 2, "weight"), argument(node, 3, "bias")])


def _count_zeros(run: UnitPass, node: Node, known: Moving, labels: Labels) -> None:
    """A mean over units: what is gone must be 0, and is counted."""
    if known.zero:
        run.labels.need_zeros(labels)
    else:
        run.labels.fix(labels, f"{value_name(node)!r} normalises over units that are not 0 without their weights")


def _layer_norm(run: UnitPass, node: Node) -> Any:
    known, over = run.moving(node.args[0]), len(argument(node, 1, "normalized_shape"))
    first = known.labels.ndim - over
    inside = [axis for axis in run.labels.varies(known.labels) if axis >= first]
    given = [argument(node, 2, "weight"), *([] if op_of(node) == "rms_norm" else [argument(node, 3, "bias")])]
    scales = [one for one in map(run.of, given) if one is not None]
    if not all(isinstance(one, Stored) for one in scales) or len(inside) > 1 or (op_of(node) == "rms_norm" and over > 1):
        return None
    if not inside:
        run.fix(scales, f"{value_name(node)!r} is not along units")
        return Moving(known.labels, zero=False)
    labels = run.along(known, inside[0], f"{value_name(node)!r} is not along its units")
    _count_zeros(run, node, known, labels)
    for one in scales:
        for at, axis in enumerate(one.axes):
            if at == inside[0] - first:
                run.labels.join(axis, labels, f"{value_name(node)!r} scales values that stay")
            else:
                run.labels.fix(axis, f"{value_name(node)!r} scales positions")
    return Moving(known.labels, bool(scales) and all(one.zero for one in scales))


LAYER_RULES: Mapping[str, Rule] = {
    "linear": _linear,
    "addmm": _addmm,
    "bilinear": _bilinear,
    "embedding": _embedding,
    "embedding_bag": _embedding_bag,
    **{f"conv{kind}{axes}d": _convolution for kind in ("", "_transpose") for axes in (1, 2, 3)},
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "rms_norm": _layer_norm,
}
