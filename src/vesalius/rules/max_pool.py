"""The two-point rule of a maximum over a window or axes.

Axes: * any; L elements that a maximum may be over, laid end to end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.rules.interpreter import Interpreter, OpCall
from vesalius.rules.op_kinds import op_name
from vesalius.rules.places import ranked_places
from vesalius.rules.signal import Places, Signal
from vesalius.rules.two_point import Endpoint, TwoPointRule, apply_two_point

MaxSearch = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maxima [*, windows] and their places along L, of elements [*, L]."""

aten = torch.ops.aten


@final
@dataclass(frozen=True, eq=False)
class Maximum(TwoPointRule):
    """The change of a maximum, as along the straight line between the ends: the winner at one end is heard until the other overtakes it.

    Multipliers are thus times, between 0 and 1, and what is between the two ends of a window with two winners is exact. Where one element
    wins at both ends, ties up to rounding included, it gets all.

    Attributes:
        search: finds maxima.
        axes: how many last axes L stands for; the input is laid out so that these are the axes searched.
    """

    search: MaxSearch
    axes: int

    def value(self, *inputs: Tensor) -> Tensor:
        return self.search(inputs[0])[0]

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        (y1, i1), (y0, i0) = self.search(here.inputs[0]), self.search(there.inputs[0])
        x1 = here.inputs[0].flatten(-self.axes)
        x0 = there.inputs[0].flatten(-self.axes).expand_as(x1)
        lead = x1.shape[:-1]
        y1, i1, grad = (tensor.reshape(*lead, -1) for tensor in (y1, i1, grad))
        y0, i0 = (tensor.reshape(*there.inputs[0].shape[: -self.axes], -1).expand_as(y1) for tensor in (y0, i0))
        i0 = torch.where(_ties(x0.gather(-1, i1), y0), i1, i0)
        i1 = torch.where(_ties(x1.gather(-1, i0), y1), i0, i1)
        ahead, behind = ((y - x.gather(-1, i)).clamp_(0, torch.finfo(y.dtype).max / 4) for y, x, i in ((y0, x0, i1), (y1, x1, i0)))
        whole = ahead + behind
        time = torch.where(whole == 0, torch.full_like(whole, 0.5), ahead / torch.where(whole == 0, torch.ones_like(whole), whole))
        found = torch.zeros_like(x1).scatter_add_(-1, i1, grad * (1 - time)).scatter_add_(-1, i0, grad * time)
        return (found.reshape(here.inputs[0].shape),)


def _ties(element: Tensor, maximum: Tensor) -> Tensor:
    """Whether an element is the maximum, or below it by rounding alone."""
    return (element == maximum) | (element >= maximum - 8 * torch.finfo(maximum.dtype).eps * maximum.abs())


def read_max_pool(call: OpCall) -> tuple[MaxSearch, int]:
    """How a pooling op finds its maxima, and over how many axes."""
    name = op_name(call.target)
    axes = int(next(letter for letter in name if letter.isdigit()))
    if name.startswith("adaptive"):
        size = call.args[1]
        function = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[axes - 1]
        return lambda x: function(x, size, return_indices=True), axes
    names = ("stride", "padding", "dilation", "ceil_mode")
    options = {
        key: call.argument(place, key, default) for place, (key, default) in enumerate(zip(names, (None, 0, 1, False), strict=True), 2)
    }
    options["stride"] = options["stride"] or None
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
    return lambda x: pool(x, call.args[1], **options, return_indices=True), axes


def max_last_axis(x: Tensor) -> tuple[Tensor, Tensor]:
    """The maximum over the last axis, and where it is."""
    return x.max(-1, keepdim=True)


def reduce_max(run: Interpreter, call: OpCall) -> Any:
    """max and min in all their spellings."""
    name = op_name(call.target)
    signal = call.args[0]
    if "pool" in name:
        search, axes = read_max_pool(call)
        found: Any = apply_two_point(run, Maximum(search, axes), signal)
        places = Places(name, signal, lambda keys: search(keys)[1])
        return (found, places) if "indices" in name or name.startswith("adaptive") else found
    if len(call.signals) == 2 or (len(call.args) > 1 and isinstance(call.args[1], Tensor)):
        return run(aten.maximum.default if name == "max" else aten.minimum.default, *call.args)
    if name in ("min", "amin"):
        found = _max_over_axes(run, run(aten.neg.default, signal), call)
        return (
            tuple(run(aten.neg.default, part) if isinstance(part, Signal) else part for part in found)
            if name == "min"
            else (run(aten.neg.default, found[0]))
        )
    found = _max_over_axes(run, signal, call)
    return found if name == "max" and len(call.args) > 1 else found[0]


def _max_over_axes(run: Interpreter, signal: Signal, call: OpCall) -> tuple[Any, ...]:
    """(maxima, their places) over the axes of a reduction."""
    dims = call.argument(1, "dim", ())
    dims = tuple(range(signal.value.ndim)) if dims in ((), None, []) else (dims,) if isinstance(dims, int) else tuple(dims)
    keep = bool(call.argument(2, "keepdim", False))
    rank = signal.value.ndim
    places = sorted(dim % rank for dim in dims)
    moved = run(aten.permute.default, signal, [axis for axis in range(rank) if axis not in places] + places)
    flat = run(aten.flatten.using_ints, moved, rank - len(places), rank - 1)
    largest = apply_two_point(run, Maximum(max_last_axis, 1), flat)
    where = ranked_places(run, op_name(call.target), flat, lambda keys: max_last_axis(keys)[1], [0], falling=True)
    return tuple(_keep_axes(run, found, places if keep else ()) for found in (largest, where))


def _keep_axes(run: Interpreter, found: Any, axes: Sequence[int]) -> Any:
    """[*, 1] with the axes reduced, each of length 1, or without them."""
    found = run(aten.squeeze.dim, found, -1)
    for axis in axes:
        found = run(aten.unsqueeze.default, found, axis)
    return found
