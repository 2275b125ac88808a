"""How labels of units go through layers with weights: what makes units, what reads them, and what normalises them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int
from torch.fx import Node

from vesalius.sparsity.compression.unit_pass import Moving, ReadAxis, Rule, Stored, UnitPass
from vesalius.trace.axis_pass import argument, op_of
from vesalius.trace.graph import Value

Labels = Int[torch.Tensor, " _"]
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
"""Rows of a recurrent layer's weights per unit."""


def _name(node: Node) -> str:
    value: Value = node.meta["value"]
    return value.name


def _read(run: UnitPass, node: Node, weight: Stored, axis: int, seen: Labels, source: Any = None) -> None:
    """Units that a weight reads along an axis, in a value."""
    run.labels.join(weight.axes[axis], seen, f"read by {_name(node)!r} with values that stay")
    _note(run, node, weight, axis, source)


def _note(run: UnitPass, node: Node, weight: Stored, axis: int, source: Any) -> None:
    read = _name(source) if isinstance(source, Node) and "value" in source.meta else ""
    run.reads += [ReadAxis(_name(node), read, name, weight.order[axis], weight.axes[axis]) for name in weight.names]


def _make(run: UnitPass, node: Node, labels: Labels, bias: Any) -> Moving:
    """The units that a layer makes, along the axis of its output that a layer's units are on."""
    if isinstance(bias, Stored):
        run.labels.join(bias.axes[0], labels, f"{_name(node)!r} adds values that stay")
    zero = bias is None or (isinstance(bias, Stored) and bias.zero)
    run.made[_name(node)] = labels
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
    _read(run, node, weight, into, run.along(source, -1, f"{_name(node)!r} reads it along another axis"), source_node)
    made = _make(run, node, weight.axes[out], bias)
    return Moving(made.labels.expand(*source.labels.shape[:-1], -1), made.zero and weight.zero)


def _bilinear(run: UnitPass, node: Node) -> Any:
    weight = run.of(node.args[2])
    if not isinstance(weight, Stored):
        return None
    for at in (0, 1):
        seen = run.along(run.moving(node.args[at]), -1, f"{_name(node)!r} reads it along another axis")
        _read(run, node, weight, 1 + at, seen, node.args[at])
    made = _make(run, node, weight.axes[0], run.of(node.args[3]) if len(node.args) > 3 else None)
    return Moving(made.labels.expand(*run.moving(node.args[0]).labels.shape[:-1], -1), made.zero and weight.zero)


def _embedding(run: UnitPass, node: Node) -> Any:
    weight = run.of(node.args[0])
    if not isinstance(weight, Stored):
        return None
    run.labels.fix(weight.axes[0], f"{_name(node)!r} looks rows up")
    made = _make(run, node, weight.axes[1], None)
    return Moving(made.labels.expand(*run.moving(node.args[1]).labels.shape, -1), weight.zero)


def _convolution(run: UnitPass, node: Node) -> Any:
    source, weight = run.moving(node.args[0]), run.of(node.args[1])
    if not isinstance(weight, Stored):
        return None
    for axis in weight.axes[2:]:
        run.labels.fix(axis, "it is the size of a kernel")
    transposed = "transpose" in op_of(node)
    groups = argument(node, 6, "groups", 1)
    bias = argument(node, 2, "bias")
    seen = run.along(source, 1, f"{_name(node)!r} reads it along another axis")
    if groups > 1:
        labels = _grouped(run, node, weight, seen, groups, transposed)
    else:
        _read(run, node, weight, 0 if transposed else 1, seen, node.args[0])
        labels = weight.axes[1 if transposed else 0]
    made = _make(run, node, labels, run.of(bias))
    space = [int(side or 1) for side in node.meta["value"].shape[2:]]
    shape = [1, len(labels), *[1] * len(space)]
    return Moving(made.labels.reshape(shape).expand(source.labels.shape[0], -1, *space), made.zero and weight.zero)


def _grouped(run: UnitPass, node: Node, weight: Stored, seen: Labels, groups: int, transposed: bool) -> Labels:
    """Channels of a group, in and out, go together."""
    reason = f"{_name(node)!r} is a grouped convolution of values that stay"
    run.labels.fix(weight.axes[1], reason)
    first = seen.reshape(groups, -1)[:, :1]
    run.labels.join(seen.reshape(groups, -1), first, reason)
    run.labels.join(weight.axes[0].reshape(groups, -1), first, reason)
    _note(run, node, weight, 0, node.args[0])
    return first.repeat_interleave(len(weight.axes[1]), 0).flatten() if transposed else weight.axes[0]


# ---- normalisations ------------------------------------------------------------------------------------------------------------------


def _batch_norm(run: UnitPass, node: Node) -> Any:
    known = run.moving(node.args[0])
    if argument(node, 5, "training", False):
        return None
    labels = run.along(known, 1, f"{_name(node)!r} is not along its units")
    vectors = [run.of(one) for one in node.args[1:5]]
    for one in vectors:
        if isinstance(one, Stored):
            run.labels.join(one.axes[0], labels, f"{_name(node)!r} scales values that stay")
    return Moving(known.labels, all(isinstance(one, Stored) and one.zero for one in vectors[:2]))


def _instance_norm(run: UnitPass, node: Node) -> Any:
    known = run.moving(node.args[0])
    return _scaled(run, node, known, run.along(known, 1, f"{_name(node)!r} is not along its units"), node.args[1:3])


def _scaled(run: UnitPass, node: Node, known: Moving, labels: Labels, vectors: Any) -> Moving:
    """A scale and a shift per unit, as the last step of a normalisation."""
    given = [run.of(one) for one in vectors]
    for one in given:
        if isinstance(one, Stored):
            run.labels.join(one.axes[-1], labels, f"{_name(node)!r} scales values that stay")
    return Moving(known.labels, bool(given) and all(isinstance(one, Stored) and one.zero for one in given))


def _group_norm(run: UnitPass, node: Node) -> Any:
    """Channels that are normalised together go together; where that is all of them, those that are gone count as zeros."""
    known, groups = run.moving(node.args[0]), int(node.args[1])  # type: ignore[arg-type]
    labels = run.along(known, 1, f"{_name(node)!r} is not along its units")
    if groups == 1:
        _count_zeros(run, node, known, labels)
    else:
        run.labels.join_along(labels.reshape(groups, -1), 1, f"{_name(node)!r} normalises it with values that stay")
    return _scaled(run, node, known, labels, [argument(node, 2, "weight"), argument(node, 3, "bias")])


def _count_zeros(run: UnitPass, node: Node, known: Moving, labels: Labels) -> None:
    """A mean over units: what is gone must be 0, and is counted."""
    if known.zero:
        run.labels.need_zeros(labels)
    else:
        run.labels.fix(labels, f"{_name(node)!r} normalises over units that are not 0 without their weights")


def _layer_norm(run: UnitPass, node: Node) -> Any:
    known, over = run.moving(node.args[0]), argument(node, 1, "normalized_shape")
    varying = run.labels.varies(known.labels)
    weight, bias = (run.of(argument(node, at, name)) for at, name in ((2, "weight"), (3, "bias")))
    scales = [weight] if op_of(node) == "rms_norm" else [weight, bias]
    if len(over) != 1 or (varying and known.labels.ndim - 1 not in varying):
        if known.labels.ndim - 1 not in varying and len(over) == 1:
            run.fix([one for one in scales if isinstance(one, Stored)], f"{_name(node)!r} is not along units")
            return Moving(known.labels, zero=False)
        return None
    labels = run.along(known, -1, f"{_name(node)!r} is not along its units")
    _count_zeros(run, node, known, labels)
    return _scaled(run, node, known, labels, [one for one in (weight, bias)[: len(scales)] if one is not None])


# ---- recurrent layers ----------------------------------------------------------------------------------------------------------------


def _recurrent(run: UnitPass, node: Node) -> Any:
    """Units of a recurrent layer: the rows of all gates, the column that reads it a step later, and the state.

    All layers and directions have equally many, and the same go.
    """
    op = op_of(node)
    states: list[Any] = list(node.args[1]) if op == "lstm" else [node.args[1]]  # type: ignore[arg-type]
    weights = [run.of(one) for one in node.args[2]]  # type: ignore[union-attr]
    biased, layers, both = bool(node.args[3]), int(node.args[4]), bool(node.args[7])  # type: ignore[arg-type]
    each, ways = (4 if biased else 2), (2 if both else 1)
    if len(weights) != each * layers * ways or not all(isinstance(one, Stored) for one in weights):
        return None
    source = run.moving(node.args[0])
    seen = run.along(source, -1, f"{_name(node)!r} reads it along another axis")
    units: Labels = weights[1].axes[1]
    for at in range(0, len(weights), each):
        first = at < each * ways
        _cell(run, node, weights[at : at + each], seen if first else torch.cat([units] * ways), units, node.args[0] if first else None)
    if not all(isinstance(one, Node) and op_of(one) in ("zeros", "new_zeros", "full") for one in states):
        run.labels.fix(units, f"{_name(node)!r} starts from states that are given")
    run.made[_name(node)] = units
    batch = source.labels.shape[0 if node.args[8] else 1]
    last = Moving(units.expand(layers * ways, batch, -1))
    return (Moving(torch.cat([units] * ways).expand(*source.labels.shape[:2], -1)), *[last] * len(states))


def _cell(run: UnitPass, node: Node, parts: list[Stored], seen: Labels, units: Labels, source: Any) -> None:
    """One layer in one direction."""
    into, back, *biases = parts
    _read(run, node, into, 1, seen, source)
    _read(run, node, back, 1, units)
    for rows in (into.axes[0], back.axes[0], *(bias.axes[0] for bias in biases)):
        run.labels.join(rows.reshape(GATES[op_of(node)], -1), units[None], f"{_name(node)!r} computes with values that stay")


LAYER_RULES: Mapping[str, Rule] = {
    "linear": _linear,
    "addmm": _addmm,
    "bilinear": _bilinear,
    "embedding": _embedding,
    **{f"conv{kind}{axes}d": _convolution for kind in ("", "_transpose") for axes in (1, 2, 3)},
    "batch_norm": _batch_norm,
    "instance_norm": _instance_norm,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "rms_norm": _layer_norm,
    **dict.fromkeys(GATES, _recurrent),
}
