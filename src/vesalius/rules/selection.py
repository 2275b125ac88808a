"""Order statistics (sort, topk, kthvalue, median, running maxima), and values that are put back where a maximum was found.

Sorting is a network of pairs of numbers, the smaller and the larger of each, so that a rule of two numbers is enough. Along the line from
one end to the other a pair changes places once at most: each has the change while it was in its place.

Axes: * any; n numbers that are sorted.

Reference: Knuth1998, section 5.2.2, algorithm M.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from vesalius.core.errors import NoRule
from vesalius.rules.interpreter import Interpreter, OpCall
from vesalius.rules.op_kinds import op_name
from vesalius.rules.places import ranked_places
from vesalius.rules.signal import Places, Signal
from vesalius.rules.two_point import Endpoint, TwoPointRule, apply_two_point
from vesalius.rules.two_point_ops import SECANTS

aten = torch.ops.aten


@final
@dataclass(frozen=True, eq=False)
class InOrder(TwoPointRule):
    """The larger of two numbers, or the smaller: the mean of the derivative along the line, which is the share of it that each was that.

    Attributes:
        larger: which of them.
    """

    larger: bool

    def value(self, *inputs: Tensor) -> Tensor:
        return (torch.maximum if self.larger else torch.minimum)(*inputs)

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        (a1, b1), (a0, b0) = here.inputs, there.inputs
        ahead, before = a1 - b1, a0 - b0
        first = torch.where((ahead == 0) & (before == 0), torch.full_like(ahead, 0.5), SECANTS["relu"](ahead, before))
        of_a = first if self.larger else 1 - first
        return grad * of_a, grad * (1 - of_a)


@dataclass(frozen=True)
class Selection:
    """What is taken of sorted numbers.

    Attributes:
        axis: that is sorted.
        ranks: which, counted from the first in order.
        falling: whether the largest comes first.
        kept: whether the axis is there still when one number is taken.
    """

    axis: int
    ranks: range
    falling: bool = False
    kept: bool = True


def select(run: Interpreter, call: OpCall) -> Any:
    """Values by rank, and the places they come from."""
    name, (signal,) = op_name(call.target), call.signals
    wanted = _read_selection(run, call, name)
    dim = max(signal.value.ndim - 1, 0)
    last = run(aten.transpose.int, signal, wanted.axis, dim) if signal.value.ndim else signal
    rising = sort_by_pairs(run, last)
    ordered = run(aten.flip.default, rising, [-1]) if wanted.falling else rising
    found = _in_place(run, run(aten.slice.Tensor, ordered, -1, wanted.ranks.start, wanted.ranks.stop), wanted, dim)
    if name == "msort":
        return found
    places = ranked_places(run, name, last, _finder(call, wanted, dim), wanted.ranks, wanted.falling)
    return found, _in_place(run, places, wanted, dim)


def sorted_places(run: Interpreter, call: OpCall) -> Any:
    """argsort, argmax and argmin."""
    name, (signal,) = op_name(call.target), call.signals
    if name == "argsort":
        first = 2 if call.target is aten.argsort.stable and len(call.args) > 2 else 1
        axis, falling = call.argument(first, "dim", -1), call.argument(first + 1, "descending", False)
        return run(aten.sort.default, signal, axis, falling)[1]
    dim = call.argument(1, "dim")
    if dim is None:
        raise NoRule(run.table.name, [f"{name} of all samples"])
    wanted = Selection(dim, range(1), name == "argmax", bool(call.argument(2, "keepdim", False)))
    last = run(aten.transpose.int, signal, dim, -1)
    where = torch.argmax if wanted.falling else torch.argmin
    places = ranked_places(run, name, last, lambda keys: where(keys, -1, keepdim=True), wanted.ranks, wanted.falling)
    return _in_place(run, places, wanted, signal.value.ndim - 1)


def _in_place(run: Interpreter, found: Any, wanted: Selection, dim: int) -> Any:
    """What was taken, with its axis where it was."""
    found = run(aten.transpose.int, found, wanted.axis, dim)
    return found if wanted.kept else run(aten.squeeze.dim, found, wanted.axis)


def _finder(call: OpCall, wanted: Selection, dim: int) -> Callable[[Tensor], Tensor]:
    """The op's own places, of numbers with the sorted axis last."""
    name = op_name(call.target)

    def find(last: Tensor) -> Tensor:
        if name == "topk":
            return last.topk(len(wanted.ranks), -1, wanted.falling)[1]
        if name == "sort":
            return last.sort(dim=-1, descending=wanted.falling, stable=True)[1]
        found: Tensor = call.on([last.transpose(wanted.axis, dim)])[1]
        return (found if wanted.kept else found.unsqueeze(wanted.axis)).transpose(wanted.axis, dim)

    return find


def _read_selection(run: Interpreter, call: OpCall, name: str) -> Selection:
    size = call.signals[0].value.shape
    if name == "msort":
        return Selection(0, range(size[0]))
    if name == "sort":
        places = (2, 3) if getattr(call.target, "_overloadname", "") == "stable" else (1, 2)
        axis = call.argument(places[0], "dim", -1)
        return Selection(axis, range(size[axis]), bool(call.argument(places[1], "descending", False)))
    if name == "topk":  # of one that is in no order the order is free
        return Selection(call.argument(2, "dim", -1), range(call.args[1]), call.argument(3, "largest", True))
    kept = bool(call.argument(3 if name == "kthvalue" else 2, "keepdim", False))
    if name == "kthvalue":
        return Selection(call.argument(2, "dim", -1), range(call.args[1] - 1, call.args[1]), kept=kept)
    if len(call.args) < 2 and "dim" not in call.kwargs:
        raise NoRule(run.table.name, [f"{name} of all samples"])
    axis = call.argument(1, "dim")
    place = (size[axis] - 1) // 2
    return Selection(axis, range(place, place + 1), kept=kept)


def sort_by_pairs(run: Interpreter, signal: Signal) -> Signal:
    """Numbers along the last axis in rising order, by Batcher's network."""
    count = signal.value.shape[-1]
    for low, step in pairs_of_network(count):
        first = torch.tensor(low, device=signal.value.device)
        both = [run(aten.index_select.default, signal, -1, places) for places in (first, first + step)]
        smaller, larger = (apply_two_point(run, InOrder(rising), *both) for rising in (False, True))
        rest = [place for place in range(count) if place not in {*low, *(i + step for i in low)}]
        order = torch.tensor([*low, *(i + step for i in low), *rest], device=signal.value.device)
        others = [run(aten.index_select.default, signal, -1, torch.tensor(rest, device=order.device))] if rest else []
        signal = run(aten.index_select.default, run(aten.cat.default, [smaller, larger, *others], -1), -1, order.argsort())
    return signal


def pairs_of_network(count: int) -> Iterator[tuple[list[int], int]]:
    """Steps of a sorting network: places i, and how far the places are that each is compared with."""
    top = 1 << max((count - 1).bit_length() - 1, 0)
    width = top if count > 1 else 0
    while width > 0:
        reach, offset, step = top, 0, width
        while True:
            low = [i for i in range(count - step) if i & width == offset]
            if low:
                yield low, step
            if reach == width:
                break
            step, reach, offset = reach - width, reach // 2, width
        width //= 2


def running_extreme(run: Interpreter, call: OpCall) -> Any:
    """cummax and cummin, in strides that double."""
    (signal,), dim = call.signals, call.args[1]
    largest = op_name(call.target) == "cummax"
    size, stride = signal.value.shape[dim], 1
    while stride < size:
        first = run(aten.slice.Tensor, signal, dim, 0, stride)
        later = (run(aten.slice.Tensor, signal, dim, stride, size), run(aten.slice.Tensor, signal, dim, 0, size - stride))
        signal = run(aten.cat.default, [first, apply_two_point(run, InOrder(largest), *later)], dim)
        stride *= 2
    return signal, Places(op_name(call.target))


@final
@dataclass(frozen=True, eq=False)
class Unpool(TwoPointRule):
    """Values put where the maxima of windows were found: a product of the values and of the truth that a place won.

    The value gets the mean of the multipliers of both places. That another place has won is due to the difference between the two
    winners, which changed its sign.

    Attributes:
        function: of values and places.
        find: the places, of what was searched.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    find: Callable[[Tensor], Tensor]

    def value(self, *inputs: Tensor) -> Tensor:
        return self.function(inputs[0], self.find(inputs[1]))

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        (v1, x1), (v0, x0) = here.inputs, there.inputs
        planes = self._planes(grad, v1)
        i1 = self.find(x1).reshape(*planes[:2], -1)
        i0 = self.find(x0.expand_as(x1)).reshape(i1.shape)
        slopes = grad.reshape(*planes[:2], -1)
        g1, g0 = slopes.gather(-1, i1), slopes.gather(-1, i0)
        mean = ((v1 + v0) / 2).reshape(i1.shape)
        k1, k0 = x1.reshape(*planes[:2], -1), x0.expand_as(x1).reshape(*planes[:2], -1)
        lead = (k1.gather(-1, i1) - k1.gather(-1, i0)) - (k0.gather(-1, i1) - k0.gather(-1, i0))
        moved = i1 != i0
        due = torch.where(moved, (g1 - g0) * mean / torch.where(moved & (lead != 0), lead, torch.ones_like(lead)), torch.zeros_like(mean))
        of_keys = torch.zeros_like(k1).scatter_add_(-1, i1, due).scatter_add_(-1, i0, -due)
        return ((g1 + g0) / 2).reshape(v1.shape), of_keys.reshape(x1.shape)

    def _planes(self, grad: Tensor, v: Tensor) -> tuple[int, int]:
        """Samples and channels, in each of which places are counted."""
        return grad.shape[0], grad.shape[1]


def unpool(run: Interpreter, call: OpCall) -> Any:
    """max_unpool, of values that vary, to places that do."""
    value, places = call.args[:2]
    if not isinstance(places, Places):
        return run.table.rules["move"](run, call)
    if places.keys is None or places.find is None or not isinstance(value, Signal):
        raise NoRule(run.table.name, [f"{op_name(call.target)} by {places.op}"])

    def function(v: Tensor, where: Tensor) -> Tensor:
        found: Tensor = call.target(v, where, *call.args[2:], **call.kwargs)
        return found

    return apply_two_point(run, Unpool(function, places.find), value, places.keys)
