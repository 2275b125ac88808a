"""How labels of units go through ops that move elements: the labels are moved in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from vesalius.sparsity.compression.unit_pass import Moving, Rule, Stored, UnitPass
from vesalius.trace.axis_pass import argument, op_of
from vesalius.trace.graph import Value


def described(node: Node) -> str:
    """A value and its op, for a reason."""
    value: Value = node.meta["value"]
    return f"{value.name!r} ({value.op})"


def _move(run: UnitPass, node: Node) -> Any:
    """The op itself is run on the labels."""
    known = run.of(node.args[0])
    if isinstance(known, Stored) and op_of(node) in STORED_MOVES:
        return STORED_MOVES[op_of(node)](run, node, known)
    return _move_values(run, node)


def _move_values(run: UnitPass, node: Node) -> Any:
    zero = True

    def take(one: Any) -> Any:
        nonlocal zero
        if isinstance(one, (list, tuple)):
            return [take(item) for item in one]
        if not isinstance(one, Node):
            return one
        if not isinstance(run.of(one), (Moving, Stored)):
            return run.of(one)
        known = run.moving(one)
        if op_of(node) in PICKS and one is not node.args[0]:
            if known.places is None:
                raise TypeError("places that are computed from inputs")
            return known.places
        zero = zero and known.zero
        return known.labels

    args = [take(one) for one in node.args]
    target: Any = torch.ops.aten.reshape.default if op_of(node) in ("view", "unsafe_view") else node.target
    found: Any = target(*args, **{name: take(one) for name, one in node.kwargs.items()})
    if not isinstance(found, Tensor):
        return tuple(Moving(one, zero) for one in found)
    first = run.moving(node.args[0])
    moved = None if first.places is None else target(first.places, *args[1:])
    return Moving(found, zero, moved)


PICKS = frozenset(("index", "index_select"))
"""Ops that pick elements by their places."""


def _join_parts(run: UnitPass, node: Node) -> Any:
    """Values one after another: along another axis than that of the units, their units are one."""
    given = [run.moving(one) for one in node.args[0]]  # type: ignore[union-attr]
    filled = [one for one in given if one.labels.shape != (0,)] or given  # an empty cache may be joined to anything
    parts = [one.labels for one in filled]
    rank = parts[0].ndim
    dim = int(argument(node, 1, "dim", 0)) % (rank + (op_of(node) == "stack"))
    varying = {axis for labels in parts for axis in run.labels.varies(labels)}
    if (op_of(node) == "stack" or dim not in varying) and varying:
        first = parts[0] if op_of(node) == "stack" else parts[0].narrow(dim, 0, 1)
        for other in parts[1:]:
            run.labels.join(
                first, other if op_of(node) == "stack" else other.narrow(dim, 0, 1), f"{described(node)} joins values that stay"
            )
    target: Any = node.target
    return Moving(target(parts, *node.args[1:]), all(one.zero for one in filled))


def _getitem(run: UnitPass, node: Node) -> Any:
    known = run.of(node.args[0])
    return known[int(argument(node, 1, "index"))] if isinstance(known, tuple) else run.unlabelled(node)


def _pixel_shuffle(run: UnitPass, node: Node) -> Any:
    """Channels that become neighbours in space go together."""
    known: Moving = _move_values(run, node)
    for axis in (known.labels.ndim - 1, known.labels.ndim - 2):
        run.labels.join_along(known.labels, axis, f"{described(node)} takes its units apart")
    return Moving(run.labels.find(known.labels), known.zero)


def _pad(run: UnitPass, node: Node) -> Any:
    """Positions may be added; and zeros beside units, which go with whatever they are added to."""
    known, sides = run.moving(node.args[0]), argument(node, 1, "pad")
    labels, varying = known.labels, set(run.labels.varies(known.labels))
    for at in range(len(sides) // 2):
        axis, ahead, behind = labels.ndim - 1 - at, *(int(side) for side in sides[2 * at : 2 * at + 2])
        if axis not in varying:
            side = labels.shape[axis] + ahead + behind
            labels = labels.narrow(axis, 0, 1).expand([side if one == axis else -1 for one in range(labels.ndim)])
            continue
        if (ahead or behind) and not _pads_zeros(node):
            return None
        labels = labels.narrow(axis, max(0, -ahead), labels.shape[axis] - max(0, -ahead) - max(0, -behind))
        labels = torch.cat([_fresh_along(run, labels, axis, ahead), labels, _fresh_along(run, labels, axis, behind)], axis)
    return Moving(labels, known.zero and _pads_zeros(node))


def _pads_zeros(node: Node) -> bool:
    if op_of(node) == "constant_pad_nd":
        return not argument(node, 2, "value", 0)
    return argument(node, 2, "mode", "constant") == "constant" and not argument(node, 3, "value", 0)


def _fresh_along(run: UnitPass, labels: Tensor, axis: int, count: int) -> Tensor:
    """New labels, the same along all other axes."""
    fresh = run.labels.fresh(max(0, count))
    shape = [len(fresh) if at == axis else 1 for at in range(labels.ndim)]
    return fresh.reshape(shape).expand([len(fresh) if at == axis else side for at, side in enumerate(labels.shape)])


def _channel_shuffle(run: UnitPass, node: Node) -> Any:
    """Channels that change places with each other go together, so that as many are left in each group."""
    known, groups = run.moving(node.args[0]), int(argument(node, 1, "groups"))
    labels = run.along(known, 1, f"{described(node)} is not along its units")
    run.labels.join_along(labels.reshape(groups, -1), 0, f"{described(node)} takes its units apart")
    return Moving(known.labels.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2), known.zero)


def _stored_transpose(run: UnitPass, node: Node, known: Stored) -> Any:
    order = list(range(len(known.axes)))
    if op_of(node) == "permute":
        order = [int(axis) % len(order) for axis in node.args[1]]  # type: ignore[arg-type, union-attr]
    else:
        one, other = (int(axis) % len(order) for axis in (node.args[1:3] if len(node.args) > 1 else (-2, -1)))  # type: ignore[arg-type]
        order[one], order[other] = order[other], order[one]
    return replace(known, axes=tuple(known.axes[at] for at in order), order=tuple(known.order[at] for at in order))


def _stored_unsqueeze(run: UnitPass, node: Node, known: Stored) -> Any:
    at = int(argument(node, 1, "dim")) % (len(known.axes) + 1)
    added = torch.zeros(1, dtype=torch.long)
    return replace(known, axes=(*known.axes[:at], added, *known.axes[at:]), order=(*known.order[:at], -1, *known.order[at:]))


def _stored_parts(run: UnitPass, node: Node, known: Stored) -> Any:
    """Parts of a parameter along one axis."""
    dim = argument(node, 1 if op_of(node) in ("slice", "narrow") else 2, "dim", 0) % len(known.axes)
    places = torch.arange(len(known.axes[dim]))
    args = [0 if at == (1 if op_of(node) in ("slice", "narrow") else 2) else one for at, one in enumerate(node.args[1:], 1)]
    found: Any = node.target(places, *args)  # type: ignore[operator]
    parts = [
        replace(known, axes=(*known.axes[:dim], known.axes[dim][one], *known.axes[dim + 1 :]))
        for one in ([found] if isinstance(found, Tensor) else found)
    ]
    return parts[0] if isinstance(found, Tensor) else tuple(parts)


STORED_MOVES: Mapping[str, Callable[[UnitPass, Node, Stored], Any]] = {
    **dict.fromkeys("t transpose permute swapaxes numpy_T mT".split(), _stored_transpose),
    **dict.fromkeys("slice narrow split chunk split_with_sizes".split(), _stored_parts),
    "unsqueeze": _stored_unsqueeze,
}

MOVES = (
    "view reshape flatten unflatten squeeze unsqueeze permute transpose t movedim swapaxes expand expand_as select slice narrow split chunk"
    " split_with_sizes unbind roll flip repeat repeat_interleave index index_select pixel_unshuffle view_as mT numpy_T tile"
    " broadcast_to _reshape_alias unsafe_view reshape_alias"
).split()

MOVE_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(MOVES, _move),
    **dict.fromkeys(("cat", "concat", "stack"), _join_parts),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    "pixel_shuffle": _pixel_shuffle,
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), _channel_shuffle),
    "getitem": _getitem,
}
"""Rules of ops that move elements."""
