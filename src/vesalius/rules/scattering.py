"""What an index sends to each place, reduced there: sums, means, products and extremes of as many values as come.

The index is a constant, so that for each place the list of what comes to it is one: extremes and products are those of a table with as many
columns as the longest list has values.

Axes: T places, all of them, laid end to end; K values of the longest list.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vesalius.core.errors import NoRule
from vesalius.rules.interpreter import Interpreter, OpCall, Rule
from vesalius.rules.op_kinds import op_name
from vesalius.rules.signal import Signal, dtype_of, shape_of

aten = torch.ops.aten

FILLS = {"amax": -math.inf, "amin": math.inf, "prod": 1.0}
"""What a table holds where a list is at its end."""


@dataclass(frozen=True)
class _Sent:
    """Values on their way: ``source`` along ``dim`` to the places that ``index`` says, where ``x`` is."""

    x: Any
    dim: int
    index: Tensor
    source: Any
    own: bool

    def counts(self) -> Tensor:
        """How many come to each place."""
        dtype, device = dtype_of(self.x), self.index.device
        ones = torch.ones(self.index.shape, dtype=dtype, device=device)
        return torch.zeros(shape_of(self.x), dtype=dtype, device=device).scatter_add(self.dim, self.index, ones)


def scatter_reduce(run: Interpreter, call: OpCall) -> Any:
    """By an index as large as what is sent."""
    x, dim, index, source, how = call.args[:5]
    if isinstance(index, Signal):
        raise NoRule(run.table.name, [f"{op_name(call.target)} to places that depend on the input"])
    for axis, size in enumerate(index.shape):
        source = run(aten.slice.Tensor, source, axis, 0, size) if size < shape_of(source)[axis] else source
    return _reduce(run, _Sent(x, dim % max(index.ndim, 1), index, source, bool(call.argument(5, "include_self", True))), how)


def index_reduce(run: Interpreter, call: OpCall) -> Any:
    """By the rows of an axis."""
    x, dim, index, source, how = call.args[:5]
    dim %= len(shape_of(x))
    along = [-1 if axis == dim else 1 for axis in range(len(shape_of(x)))]
    every = index.reshape(along).expand(shape_of(source))
    return _reduce(run, _Sent(x, dim, every, source, bool(call.argument(5, "include_self", True))), how)


def _reduce(run: Interpreter, sent: _Sent, how: str) -> Any:
    if how in ("sum", "mean"):
        return _sum(run, sent, mean=how == "mean")
    table = _table(run, sent, FILLS[how])
    if how == "prod":
        return run(aten.prod.dim_int, table, -1)
    return run(aten.amax.default if how == "amax" else aten.amin.default, table, [-1])


def _sum(run: Interpreter, sent: _Sent, *, mean: bool) -> Any:
    counts = sent.counts()
    kept = sent.x if sent.own else run(aten.mul.Tensor, sent.x, (counts == 0).to(counts.dtype))
    total = run(aten.scatter_add.default, kept, sent.dim, sent.index, sent.source)
    return run(aten.div.Tensor, total, torch.where(counts == 0, torch.ones_like(counts), counts + float(sent.own))) if mean else total


def _table(run: Interpreter, sent: _Sent, fill: float) -> Any:
    """[*places, K + 1]: what was at each place, where it counts, and what comes there."""
    shape, device = shape_of(sent.x), sent.index.device
    numbers = torch.arange(math.prod(shape), device=device).reshape(shape)
    inside = tuple(slice(0, size) for size in sent.index.shape)
    lane = numbers.movedim(sent.dim, -1)[..., :1].movedim(-1, sent.dim)[inside]
    step = math.prod(shape[sent.dim + 1 :])
    target = (lane + sent.index * step).flatten()
    order = target.argsort(stable=True)
    counts = torch.bincount(target, minlength=numbers.numel())
    rank = torch.arange(len(order), device=device) - (counts.cumsum(0) - counts)[target[order]]
    lists = torch.zeros(numbers.numel(), int(counts.max()), dtype=torch.long, device=device)
    lists[target[order], rank] = order
    empty = torch.arange(lists.shape[1], device=device) >= counts[:, None]
    came = run(aten.reshape.default, _fetch(run, sent, lists), [*shape, -1])
    came = run(aten.masked_fill.Scalar, came, empty.reshape(*shape, -1), fill)
    own = run(aten.unsqueeze.default, sent.x, -1)
    if not sent.own:
        own = run(aten.masked_fill.Scalar, own, (counts > 0).reshape(*shape, 1), fill)
    return run(aten.cat.default, [own, came], -1)


def _fetch(run: Interpreter, sent: _Sent, lists: Tensor) -> Any:
    """What lists of elements of the source hold, row by row where the first axis stays, so that samples are kept apart."""
    rows = sent.index.shape[0]
    if sent.dim == 0 or rows != shape_of(sent.x)[0]:
        return run(aten.index_select.default, run(aten.reshape.default, sent.source, [-1]), 0, lists.flatten())
    width = sent.index.numel() // rows
    within = (lists.reshape(rows, -1) - torch.arange(rows, device=lists.device)[:, None] * width).clamp_min(0)
    return run(aten.gather.default, run(aten.flatten.using_ints, sent.source, 1, -1), 1, within)


SCATTERING: Mapping[str, Rule] = {"scatter_reduce": scatter_reduce, "index_reduce": index_reduce}
"""Ops that reduce what is sent, by name."""
