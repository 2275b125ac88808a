"""Places that are counted or rounded from numbers, and used as an index: the size of a support, a bin, a position that was predicted.

Such a number is one of n, and each of these is a step of it; so it is a place as those are which sorting finds
(:mod:`vesalius.rules.places`).

Axes: * any; n places.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from vesalius.core.errors import NoRule
from vesalius.rules.interpreter import Interpreter, OpCall, Rule
from vesalius.rules.op_kinds import op_name
from vesalius.rules.places import MOST_RANKED
from vesalius.rules.signal import Places, Signal, shape_of

aten = torch.ops.aten

INDEX_ARGUMENTS: Mapping[str, int] = {
    **dict.fromkeys("gather index_select scatter scatter_add".split(), 2),
    **dict.fromkeys("index index_put take_along_dim embedding".split(), 1),
    "one_hot": 0,
}
"""Ops that read or write at places, and which of their arguments says where."""


def with_counted_places(run: Interpreter, call: OpCall) -> OpCall:
    """A call whose index is made of numbers, with places for it; the call itself where its index is a constant."""
    if op_name(call.target) == "take_along_dim" and call.argument(2, "dim") is None:
        table, index = (_flat(run, one) for one in call.args[:2])
        call = OpCall(call.target, (table, index, 0), {}, call.node)
    where = INDEX_ARGUMENTS[op_name(call.target)]
    index = call.args[where]
    args = list(call.args)
    if isinstance(index, Signal):
        args[where] = _to_places(run, call, index, _count(call, 0))
    elif isinstance(index, (tuple, list)) and any(isinstance(one, Signal) for one in index):
        args[where] = [_to_places(run, call, one, _count(call, axis)) if isinstance(one, Signal) else one for axis, one in enumerate(index)]
    else:
        return call
    return OpCall(call.target, tuple(args), call.kwargs, call.node)


def at_counted_places(run: Interpreter, call: OpCall) -> Any:
    """Rows of a table at places that are numbers, or the places written as truth values."""
    opened = with_counted_places(run, call)
    if opened is not call:
        return run.table.by_places[op_name(call.target)](run, opened)
    (table,), places = call.signals, call.args[1]
    return run(aten.index.Tensor, table, [places])


def take(run: Interpreter, call: OpCall) -> Any:
    """Elements of a table that is read as one row."""
    return run(aten.index.Tensor, _flat(run, call.args[0]), [call.args[1]])


def bucketize(run: Interpreter, call: OpCall) -> Any:
    """How many of some rising numbers lie below a number, or are no larger (``right``): a sum of steps."""
    name = op_name(call.target)
    edges, numbers = call.args[:2] if name == "searchsorted" else (call.args[1], call.args[0])
    if call.kwargs.get("sorter") is not None:
        raise NoRule(run.table.name, [f"{name} with a sorter"])
    if len(shape_of(edges)) > 1:
        edges = run(aten.unsqueeze.default, edges, -2)
    closed = bool(call.kwargs.get("right")) or call.kwargs.get("side") == "right"
    op = (aten.ge if closed else aten.gt).Tensor
    return run(aten.sum.dim_IntList, run(op, run(aten.unsqueeze.default, numbers, -1), edges), [-1])


def _flat(run: Interpreter, tensor: Any) -> Any:
    return run(aten.reshape.default, tensor, [-1])


def _count(call: OpCall, axis: int) -> int:
    """How many places there are to choose from."""
    name = op_name(call.target)
    if name == "one_hot":
        return int(call.argument(1, "num_classes", -1))
    shape = shape_of(call.args[0])
    if name in ("index", "index_put", "embedding"):
        return int(shape[axis])
    return int(shape[call.argument(2, "dim") if name == "take_along_dim" else call.args[1]])


def _to_places(run: Interpreter, call: OpCall, number: Signal, count: int) -> Places:
    """Places of whole numbers that are none of sorting's.

    Raises:
        NoRule: a mask, places counted from the end, or too many of them.
    """
    name = op_name(call.target)
    if number.boolean:
        raise NoRule(run.table.name, [f"{name} by a mask that depends on the input"])
    if not 0 < count <= MOST_RANKED or bool((number.value < 0).any()):
        raise NoRule(run.table.name, [f"{name} at places that are counted (up to {MOST_RANKED}, from the first on)"])

    @cache
    def chosen() -> Signal:
        numbers = torch.arange(count, dtype=number.value.dtype, device=number.value.device)
        found: Signal = run(aten.eq.Tensor, run(aten.unsqueeze.default, number, -1), numbers)
        return found

    return Places("counting", chosen=chosen)


COUNTED: Mapping[str, Rule] = {
    **dict.fromkeys("embedding one_hot".split(), at_counted_places),
    **dict.fromkeys("bucketize searchsorted".split(), bucketize),
    "take": take,
}
"""Ops that count places, or look up what stands there."""
