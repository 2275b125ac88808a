"""Places that the explained tensors decide on (indices of topk, argsort, argmax), and what is fetched from them or sent to them.

A place among n is n truth values, one of which is 1. They follow from the ranks: how many others come before a number, each of them a step
of the difference of two numbers. So what is fetched from a place is a product of matrices, and what changes with the order is shared out
as steps are (:mod:`vesalius.rules.rescale`): completely, and to those numbers that changed places.

Axes: * any; n numbers that are ranked; k ranks that are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from math import prod
from typing import Any, final

import torch
from torch import Tensor

from vesalius.core.errors import NoRule
from vesalius.rules.interpreter import Interpreter, OpCall, Rule
from vesalius.rules.op_kinds import op_name
from vesalius.rules.signal import Places, Signal, places_in, shape_of
from vesalius.rules.two_point import Endpoint, TwoPointRule, apply_two_point, bounded

aten = torch.ops.aten

MOST_RANKED = 1024
"""Numbers among which places are told apart: all pairs are compared."""
MOVES = frozenset(
    "view reshape flatten squeeze unsqueeze transpose permute slice select expand clone alias contiguous detach _unsafe_view index_select"
    " flip movedim t mT repeat split split_with_sizes chunk unbind".split()
)
ORDER_KEEPING = frozenset("view reshape flatten unflatten unsqueeze squeeze clone alias contiguous detach _unsafe_view view_as".split())
"""Moves after which elements lie one after the other as before."""
FUNCTIONS = frozenset(
    "_to_copy to type_as eq ne lt le gt ge add sub rsub mul div floor_divide remainder fmod neg bitwise_and bitwise_right_shift".split()
)
"""Functions of a number, element by element."""


@final
@dataclass(frozen=True, eq=False)
class Before(TwoPointRule):
    """Whether one number comes before another, for all pairs [*, n, n]: a step of their difference.

    Two that are equal at both ends may change places because others moved; that is owed to all that moved, by how far.

    Attributes:
        positions: of all numbers in their order, ties as the op broke them.
    """

    positions: Callable[[Tensor], Tensor]

    def value(self, *inputs: Tensor) -> Tensor:
        place = self.positions(inputs[0])
        return (place.unsqueeze(-1) < place.unsqueeze(-2)).to(inputs[0].dtype)

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        assert here.output is not None
        assert there.output is not None
        (x1,), (x0,) = here.inputs, there.inputs
        moved = here.output - there.output
        change = (x1.unsqueeze(-1) - x1.unsqueeze(-2)) - (x0.unsqueeze(-1) - x0.unsqueeze(-2))
        slope = grad * torch.where(change == 0, torch.zeros_like(moved), moved / change)
        way = (x1 - x0).sgn() / (x1 - x0).abs().sum(-1, keepdim=True)
        tied = (grad * moved * (change == 0)).sum((-1, -2)).unsqueeze(-1)
        found = slope.sum(-1) - slope.sum(-2) + torch.where(tied == 0, torch.zeros_like(way), tied * way)
        return (found.sum_to_size(x1.shape),)


def ranked_places(run: Interpreter, op: str, keys: Signal, find: Callable[[Tensor], Tensor], ranks: Sequence[int], falling: bool) -> Places:
    """The places of some ranks among numbers.

    Args:
        run: the pass.
        op: what asks.
        keys: the numbers, [*, n].
        find: the places [*, k] as the op finds them.
        ranks: which, k of them, counted from the first in order.
        falling: whether the largest comes first.
    """
    size = keys.value.shape[-1]

    @cache
    def chosen() -> Signal:
        if size > MOST_RANKED:
            raise NoRule(run.table.name, [f"places found by {op} among {size} numbers (up to {MOST_RANKED} are compared)"])
        before = apply_two_point(run, Before(lambda x: _positions(x, find(x), ranks, falling)), keys)
        rank = run(aten.unsqueeze.default, run(aten.sum.dim_IntList, before, [-2]), -2)
        asked = torch.tensor(ranks, dtype=rank.value.dtype, device=rank.value.device).unsqueeze(-1)
        found: Signal = run(aten.eq.Tensor, rank, asked)
        return found

    return Places(op, chosen=chosen)


def _positions(keys: Tensor, found: Tensor, ranks: Sequence[int], falling: bool) -> Tensor:
    """Where each number stands in an order that has those found at their ranks."""
    size = keys.shape[-1]
    order = keys.argsort(dim=-1, descending=falling, stable=True)
    taken = torch.zeros_like(keys, dtype=torch.bool).scatter_(-1, found, True)
    others = [rank for rank in range(size) if rank not in ranks]
    rest = order[~taken.gather(-1, order)].reshape(*keys.shape[:-1], len(others))
    order[..., torch.tensor(ranks, device=keys.device)] = found
    order[..., torch.tensor(others, device=keys.device, dtype=torch.long)] = rest
    return order.argsort(-1)


def move_places(run: Interpreter, call: OpCall) -> Any:
    """The same places in another shape."""
    del run
    places, name = call.args[0], op_name(call.target)
    target = aten.reshape.default if name in ("view", "_unsafe_view") else call.target

    def move(tensor: Tensor | None) -> Any:
        return target(tensor, *call.args[1:], **call.kwargs)

    if name not in ("split", "split_with_sizes", "chunk", "unbind"):
        return _moved(places, move, keeps_order=name in ORDER_KEEPING)
    return [_moved(places, partial(_part, move, part)) for part in range(len(move(places.to_tensor())))]


def _part(move: Callable[[Tensor], Any], part: int, tensor: Tensor) -> Tensor:
    found: Tensor = move(tensor)[part]
    return found


def _moved(places: Places, move: Callable[[Tensor], Tensor], *, keeps_order: bool = False) -> Places:
    find, chosen = places.find if keeps_order else None, places.chosen
    return Places(
        places.op,
        places.keys,
        None if find is None else lambda keys: move(find(keys)),
        None if chosen is None else cache(lambda: _move_lead(chosen(), move)),
    )


def _move_lead(chosen: Signal, move: Callable[[Tensor], Tensor]) -> Signal:
    """A move of all axes but the last."""

    def whole(tensor: Tensor) -> Tensor:
        found: Tensor = torch.vmap(move, -1, -1)(tensor)
        return found

    return Signal(whole(chosen.value), chosen.boolean, None if chosen.base is None else whole(chosen.base))


def gather(run: Interpreter, call: OpCall) -> Any:
    """Values fetched from places: y_j = sum_i [place j is i] v_i."""
    values, (places,) = bounded(call.args[0]), places_in(call.args)
    dim = call.args[1] if op_name(call.target) == "gather" else call.argument(2, "dim")
    chosen = _choices(run, places, "gather")
    rank = len(shape_of(values))
    if dim is None or rank != chosen.value.ndim - 1:
        raise NoRule(run.table.name, ["gather from places of another rank"])
    chosen, dim = run(aten.movedim.int, chosen, dim % rank, -2), dim % rank
    values = run(aten.movedim.int, values, dim, -1)
    for axis, size in enumerate([*chosen.value.shape[:-2], chosen.value.shape[-1]]):
        values = run(aten.slice.Tensor, values, axis, 0, size)
    found = run(aten.squeeze.dim, run(aten.matmul.default, chosen, run(aten.unsqueeze.default, values, -1)), -1)
    return run(aten.movedim.int, found, -1, dim)


def index(run: Interpreter, call: OpCall) -> Any:
    """Rows fetched from places along one axis, along others from fixed places."""
    values, indices = bounded(call.args[0]), list(call.args[1])
    at = [axis for axis, one in enumerate(indices) if one is not None]
    (dim,) = (axis for axis in at if isinstance(indices[axis], Places))
    if any(isinstance(one, Tensor) and one.dtype == torch.bool for one in indices):
        raise NoRule(run.table.name, [f"index by a mask and by places found by {indices[dim].op}"])
    chosen = _choices(run, indices[dim], "index")
    fixed = [axis for axis in at if axis != dim]
    others = [axis for axis in range(len(shape_of(values))) if axis not in at]
    values = run(aten.slice.Tensor, values, dim, 0, chosen.value.shape[-1])
    values = run(aten.permute.default, values, [*fixed, dim, *others])
    lead = torch.broadcast_shapes(chosen.value.shape[:-1], *(indices[axis].shape for axis in fixed))
    if fixed:
        values = run(aten.index.Tensor, values, [indices[axis].expand(lead) for axis in fixed])
    tail = [shape_of(values)[axis - len(others)] for axis in range(len(others))]
    rows = run(aten.reshape.default, values, [*(lead if fixed else ()), shape_of(values)[-1 - len(others)], -1])
    if fixed:
        chosen = run(aten.unsqueeze.default, run(aten.expand.default, chosen, [*lead, chosen.value.shape[-1]]), -2)
    found = run(aten.reshape.default, run(aten.matmul.default, chosen, rows), [*lead, *tail])
    ahead = sum(axis < at[0] for axis in others) if at == list(range(at[0], at[-1] + 1)) else 0
    return run(aten.permute.default, found, _lead_after(len(lead), len(others), ahead))


def _lead_after(lead: int, others: int, ahead: int) -> list[int]:
    """Axes [lead, others] in the order: those ahead, lead, the rest."""
    return [*range(lead, lead + ahead), *range(lead), *range(lead + ahead, lead + others)]


def index_select(run: Interpreter, call: OpCall) -> Any:
    """Rows fetched along one axis."""
    values, dim, places = call.args
    dim %= len(shape_of(values))
    return index(run, OpCall(aten.index.Tensor, (values, [*[None] * dim, places])))


def embedding(run: Interpreter, call: OpCall) -> Any:
    """Rows of a table."""
    return index(run, OpCall(aten.index.Tensor, (call.args[0], [call.args[1]])))


def one_hot(run: Interpreter, call: OpCall) -> Any:
    """The truth values themselves, more of them or fewer."""
    chosen = _choices(run, call.args[0], "one_hot")
    wanted, size = call.argument(1, "num_classes", -1), chosen.value.shape[-1]
    if wanted == -1:
        raise NoRule(run.table.name, ["one_hot of a number of classes that depends on the input"])
    found = (
        run(aten.slice.Tensor, chosen, -1, 0, wanted) if wanted < size else run(aten.constant_pad_nd.default, chosen, [0, wanted - size])
    )
    return replace(found, boolean=True)


def scatter(run: Interpreter, call: OpCall) -> Any:
    """Values sent to places, in the stead of what was there, or added to it."""
    x, dim, places, source = bounded(call.args[0]), *call.args[1:4]
    chosen = _choices(run, places, op_name(call.target))
    rank = len(shape_of(x))
    dim %= rank
    chosen = run(aten.movedim.int, chosen, dim, -2)
    lead = chosen.value.shape[:-2]
    x = run(aten.movedim.int, x, dim, -1)
    if call.kwargs or len(call.args) > 4 or shape_of(x)[:-1] != lead or chosen.value.shape[-1] > shape_of(x)[-1]:
        raise NoRule(run.table.name, [f"{op_name(call.target)} that reduces, or leaves rows out"])
    chosen = _pad_last(run, chosen, shape_of(x)[-1])
    source = _like_source(run, source, dim, chosen)
    sent = run(aten.squeeze.dim, run(aten.matmul.default, run(aten.unsqueeze.default, source, -2), chosen), -2)
    if op_name(call.target) == "scatter_add":
        return run(aten.movedim.int, run(aten.add.Tensor, x, sent), -1, dim)
    hits = run(aten.sum.dim_IntList, chosen, [-2])
    if bool((hits.value > 1).any()):
        raise NoRule(run.table.name, ["scatter of several values to one place"])
    kept = run(aten.mul.Tensor, run(aten.rsub.Scalar, hits, 1), x)
    return run(aten.movedim.int, run(aten.add.Tensor, kept, sent), -1, dim)


def _like_source(run: Interpreter, source: Any, dim: int, chosen: Signal) -> Any:
    """What is sent, [*, k]."""
    shape = chosen.value.shape[:-1]
    if not isinstance(source, (Tensor, Signal)):
        return chosen.value.new_full(shape, float(source))
    if shape_of(source) == torch.Size([]):
        return run(aten.expand.default, source, list(shape))
    source = run(aten.movedim.int, source, dim, -1)
    for axis, size in enumerate(shape):
        source = run(aten.slice.Tensor, source, axis, 0, size)
    return source if isinstance(source, Signal) else source.to(chosen.value.dtype)


def index_put(run: Interpreter, call: OpCall) -> Any:
    """Values sent to places along the last indexed axis, of each row its own."""
    x, indices, source = call.args[:3]
    *fixed, places = indices
    if isinstance(places, Places) and len(fixed) == 1 and isinstance(fixed[0], Tensor):
        lead = _choices(run, places, "index_put").value.shape[:-1]
        rows, shape = fixed[0].expand(lead), shape_of(x)
        if torch.equal(rows, torch.arange(shape[0], device=rows.device).reshape(-1, *[1] * (rows.ndim - 1)).expand(rows.shape)):
            each = run(aten.unsqueeze.default, run(aten.reshape.default, places, [rows.shape[0], -1]), -1)
            source = run(aten.expand.default, source, [*lead, *shape[2:]]) if isinstance(source, (Tensor, Signal)) else source
            x, source = (run(aten.reshape.default, part, [shape[0], -1, prod(shape[2:])]) for part in (x, source))
            add = call.argument(3, "accumulate", False)
            found = run(
                aten.scatter_add.default if add else aten.scatter.src,
                x,
                1,
                run(aten.expand.default, each, [-1, -1, prod(shape[2:])]),
                source,
            )
            return run(aten.reshape.default, found, list(shape))
    raise NoRule(run.table.name, [f"index_put at places found by {places_in(call.args)[0].op}"])


def function(run: Interpreter, call: OpCall) -> Any:
    """A function of a place as a number: its table, read at the place."""
    (places,) = places_in([*call.args])
    chosen = _choices(run, places, op_name(call.target))
    size, rank = chosen.value.shape[-1], chosen.value.ndim - 1
    numbers = torch.arange(size, device=chosen.value.device).reshape(*[1] * rank, size)

    def tabulated(argument: Any) -> Any:
        if isinstance(argument, Places):
            return numbers
        return argument.unsqueeze(-1) if isinstance(argument, Tensor) and argument.ndim else argument

    if call.signals or any(isinstance(arg, Tensor) and arg.ndim > rank for arg in call.args):
        raise NoRule(run.table.name, [f"{op_name(call.target)} of places found by {places.op} and another value"])
    table = call.target(*map(tabulated, call.args), **call.kwargs)
    if table.dtype != torch.bool and not table.is_floating_point():
        return _renamed(run, places, table.reshape(-1)) if table.numel() == size else _renamed_each(run, places, table)
    shape = torch.broadcast_shapes(chosen.value.shape, table.shape)
    read = run(aten.mul.Tensor, run(aten.expand.default, chosen, list(shape)), table.to(chosen.value.dtype))
    found = replace(run(aten.sum.dim_IntList, read, [-1]), boolean=table.dtype == torch.bool)
    return found


def _renamed(run: Interpreter, places: Places, names: Tensor) -> Places:
    """Places under other numbers, several of which may be the same."""
    if bool((names < 0).any()):
        raise NoRule(run.table.name, [f"places found by {places.op}, made negative"])
    if torch.equal(names, torch.arange(len(names), device=names.device)):
        return places

    @cache
    def chosen() -> Signal:
        old = _choices(run, places, "renamed")
        found: Signal = run(aten.matmul.default, old, torch.nn.functional.one_hot(names.long()).to(old.value.dtype))
        return found

    return Places(places.op, chosen=chosen)


def _renamed_each(run: Interpreter, places: Places, names: Tensor) -> Places:
    """Places under numbers of each element's own [*, n], such as those a series is rolled by."""
    if bool((names < 0).any()):
        raise NoRule(run.table.name, [f"places found by {places.op}, made negative"])

    @cache
    def chosen() -> Signal:
        old = _choices(run, places, "renamed")
        shape = torch.broadcast_shapes(old.value.shape, names.shape)
        wide = run(aten.unsqueeze.default, run(aten.expand.default, old, list(shape)), -1)
        found: Signal = run(
            aten.sum.dim_IntList, run(aten.mul.Tensor, wide, torch.nn.functional.one_hot(names.long()).to(old.value.dtype)), [-2]
        )
        return found

    return Places(places.op, chosen=chosen)


def _choices(run: Interpreter, places: Places, use: str) -> Signal:
    """The truth values [*, n] of places, as numbers."""
    if places.chosen is None:
        raise NoRule(run.table.name, [f"{use} with places found by {places.op}"])
    return replace(places.chosen(), boolean=False)


def _pad_last(run: Interpreter, chosen: Signal, size: int) -> Signal:
    short = size - chosen.value.shape[-1]
    padded: Signal = run(aten.constant_pad_nd.default, chosen, [0, short]) if short else chosen
    return padded


def _either(of_places: Rule, at_places: Rule) -> Rule:
    """A rule for places in the first argument, and one for places in another."""
    return lambda run, call: (of_places if isinstance(call.args[0], Places) else at_places)(run, call)


PLACE_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(MOVES | ORDER_KEEPING, move_places),
    **dict.fromkeys(FUNCTIONS, function),
    "gather": _either(move_places, gather),
    "take_along_dim": _either(move_places, gather),
    "index": _either(move_places, index),
    "index_select": _either(move_places, index_select),
    "embedding": embedding,
    "one_hot": one_hot,
    "scatter": scatter,
    "scatter_add": scatter,
    "index_put": index_put,
}
"""Ops of places that depend on the input, by name."""
