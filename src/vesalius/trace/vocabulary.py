"""Tables that inputs of whole numbers are looked up in: how many rows they have, and whether the numbers given are among them.

Axes: B batch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from vesalius.core.errors import InvalidInput
from vesalius.trace.graph import ModelGraph, Value, downstream_nodes
from vesalius.trace.opset import base_op_name

WHOLE_DTYPES = frozenset({torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8})
WHOLE_NAMES = frozenset(str(dtype).removeprefix("torch.") for dtype in WHOLE_DTYPES)
MOVES = frozenset(
    "view reshape flatten unflatten unsqueeze squeeze transpose permute t expand contiguous clone slice select split chunk unbind narrow"
    " alias detach to _to_copy type_as lift_fresh_copy movedim getitem _unsafe_view view_as reshape_as mT broadcast_to".split()
)
"""Ops that hand numbers on as they are, so that what is looked up is what the input holds."""


NO_SUCH_ROW = re.compile(r"index (-?\d+ is )?out of (range|bounds)|out of DATA bounds|Class values must be")
"""How torch and NumPy say that a table has no such row."""


@dataclass(frozen=True)
class Lookup:
    """Rows of a table, taken by whole numbers that are computed from inputs of whole numbers and nothing else.

    Attributes:
        index: name of the value that holds the numbers.
        table: name of the table, for messages.
        rows: how many it has.
        lowest: smallest number that is taken; negative where numbers below 0 count from the end.
        learned: whether the table is the same for every sample, as an embedding is.
        inputs: names of the inputs that the numbers come from.
        verbatim: whether they are the numbers of one input, moved about but not computed with.
    """

    index: str
    table: str
    rows: int
    lowest: int
    learned: bool
    inputs: tuple[str, ...]
    verbatim: bool


def find_lookups(model_graph: ModelGraph) -> tuple[Lookup, ...]:
    """All lookups, in order of computation."""
    sources = [name for name in model_graph.inputs if model_graph.value(name).dtype in WHOLE_NAMES]
    if not sources:
        return ()
    computed = {name: _reached(model_graph.nodes[name], moves_only=False) for name in sources}
    moved = {name: _reached(model_graph.nodes[name], moves_only=True) for name in sources}
    varying = downstream_nodes(model_graph.nodes[name] for name in model_graph.inputs)
    found = []
    for node in model_graph.graph.nodes:
        for index, axis, table in _tables_of(node):
            inputs = tuple(name for name in sources if index in computed[name])
            rows = _row_count(model_graph, node, axis, table)
            if not inputs or not rows or "value" not in index.meta:
                continue
            found.append(
                Lookup(
                    index=index.meta["value"].name,
                    table=_table_name(node, table),
                    rows=rows,
                    lowest=-rows if base_op_name(node.target) == "index" else 0,
                    learned=table is None or table not in varying,
                    inputs=inputs,
                    verbatim=any(index in moved[name] for name in inputs),
                )
            )
    return tuple(found)


def check_lookups(
    lookups: Sequence[Lookup], found: Sequence[Tensor], inputs: Mapping[str, Tensor], holder: str, *, strict: bool = False
) -> None:
    """Refuse whole numbers that a table has no row for.

    Args:
        lookups: what is looked up.
        found: the numbers of each.
        inputs: tensors [B ...] by name, for the message.
        holder: what a row of the inputs is, such as ``sample``.
        strict: refuse numbers below 0, though they would count from the end: they are no token.

    Raises:
        InvalidInput: naming the number, the input and how many rows there are.
    """
    for lookup, numbers in zip(lookups, found, strict=True):
        if numbers.dtype == torch.bool or not numbers.numel():
            continue
        lowest = 0 if strict and lookup.learned else lookup.lowest
        low, high = int(numbers.min()), int(numbers.max())
        if low >= lowest and high < lookup.rows:
            continue
        bad = high if high >= lookup.rows else low
        names = " and ".join(map(repr, lookup.inputs))
        if not lookup.verbatim:
            raise InvalidInput(f"a {holder} of {names} leads to row {bad} of {lookup.table!r}, which has {lookup.rows}")
        given = inputs[lookup.inputs[0]]
        row = int((given == bad).reshape(len(given), -1).any(1).nonzero()[0])
        where = f"the {holder}" if len(given) == 1 or holder == "baseline" else f"{holder} {row}"
        raise InvalidInput(
            f"{where} holds {bad}, and input {names} has a vocabulary of {lookup.rows}, 0 to {lookup.rows - 1}: the rows of"
            f" {lookup.table!r}"
        )


def check_positions(model_graph: ModelGraph, words: str) -> None:
    """Refuse a graph that looks up more positions than a table has, which no input can help.

    Args:
        model_graph: at some length.
        words: on that length, for the message.

    Raises:
        InvalidInput: naming the table.
    """
    varying = downstream_nodes(model_graph.nodes[name] for name in model_graph.inputs)
    for node in model_graph.graph.nodes:
        for index, axis, table in _tables_of(node):
            value: Value | None = index.meta.get("value")
            if index in varying or value is None or value.dtype not in WHOLE_NAMES:
                continue
            rows, found = _row_count(model_graph, node, axis, table), _constant(index, model_graph.tensors)
            if rows and found is not None and found.numel() and int(found.max()) >= rows:
                raise InvalidInput(f"{words}, and the model has no more than {rows} positions, the rows of {_table_name(node, table)!r}")


def _constant(node: Node, tensors: Mapping[str, Tensor]) -> Tensor | None:
    """A tensor of whole numbers that no input enters, for a batch of one; ``None`` where it cannot be had without one."""
    known: dict[Node, Any] = {}

    def find(one: Node) -> Any:
        if one not in known:
            known[one] = 1 if one.meta.get("batch_size") else compute(one)
        return known[one]

    def compute(one: Node) -> Any:
        if one.op == "get_attr":
            return tensors[str(one.target)]
        if one.op != "call_function":
            raise LookupError(one.name)
        args, kwargs = map_arg((one.args, one.kwargs), find)
        return one.target(*args, **kwargs)  # type: ignore[operator]

    try:
        found = find(node)
    except (LookupError, RuntimeError, TypeError, ValueError):
        return None
    return found if isinstance(found, Tensor) else None


@contextmanager
def explain_index_errors(names: Sequence[str]) -> Iterator[None]:
    """Torch's error about a row that a table lacks, in words, where these inputs of whole numbers may have caused it.

    Raises:
        InvalidInput: instead of that error.
    """
    try:
        yield
    except (IndexError, RuntimeError) as error:
        if not names or not NO_SUCH_ROW.search(str(error)):
            raise
        raise InvalidInput(
            f"the model looked up a row that is not there ({error}); {' and '.join(map(repr, names))} must hold ids within its vocabulary,"
            " in the samples and in the baseline"
        ) from error


def ranked_ids(lookups: Sequence[Lookup]) -> tuple[str, ...]:
    """Inputs that hold ids, the likeliest tokens first: looked up as they are, in the largest table (not token types, not positions)."""
    rank: dict[str, tuple[bool, int]] = {}
    for lookup in lookups:
        for name in lookup.inputs if lookup.learned else ():
            rank[name] = max(rank.get(name, (False, 0)), (lookup.verbatim, lookup.rows))
    return tuple(sorted(rank, key=lambda name: rank[name], reverse=True))


def _reached(start: Node, *, moves_only: bool) -> set[Node]:
    """Values of whole numbers that are made of an input: by any ops, or by moves alone."""
    reached, queue = {start}, [start]
    while queue:
        for user in queue.pop().users:
            value: Value | None = user.meta.get("value")
            if user in reached or user.op != "call_function" or user.meta.get("batch_size") or value is None:
                continue
            whole = value.dtype in WHOLE_NAMES or value.dtype in ("bool", "tuple")
            if whole and (not moves_only or base_op_name(user.target) in MOVES):  # type: ignore[arg-type]
                reached.add(user)
                queue.append(user)
    return reached


def _tables_of(node: Node) -> list[tuple[Node, int, Node | None]]:
    """What an op looks up: the node of the numbers, the axis of the table, and the table (``None``: of ones and zeros)."""
    finder = TABLES.get(base_op_name(node.target)) if node.op == "call_function" else None  # type: ignore[arg-type]
    return [part for part in finder(node) if isinstance(part[0], Node)] if finder and len(node.args) > 1 else []


def _indexed(node: Node) -> list[tuple[Node, int, Node | None]]:
    """``table[i, :, j]``: an index per axis, some of which are left out."""
    given = node.args[1] if isinstance(node.args[1], (list, tuple)) else []
    whole = [(part, axis) for axis, part in enumerate(given) if isinstance(part, Node)]
    booleans = any("value" in part.meta and part.meta["value"].dtype == "bool" for part, _ in whole)
    return [] if booleans else [(part, axis, node.args[0]) for part, axis in whole]  # type: ignore[misc]


TABLES: dict[str, Callable[[Node], list[tuple[Node, int, Node | None]]]] = {
    "embedding": lambda node: [(node.args[1], 0, node.args[0])],  # type: ignore[list-item]
    "embedding_bag": lambda node: [(node.args[1], 0, node.args[0])],  # type: ignore[list-item]
    "index_select": lambda node: [(node.args[2], node.args[1], node.args[0])] if len(node.args) > 2 else [],  # type: ignore[list-item]
    "gather": lambda node: [(node.args[2], node.args[1], node.args[0])] if len(node.args) > 2 else [],  # type: ignore[list-item]
    "one_hot": lambda node: [(node.args[0], 0, None)],  # type: ignore[list-item]
    "index": _indexed,
}
"""Ops that look rows up by whole numbers."""


def _row_count(model_graph: ModelGraph, node: Node, axis: int, table: Node | None) -> int:
    """Rows of a table; 0 where that is not known beforehand."""
    if table is None:
        count = node.args[1] if len(node.args) > 1 else -1
        return max(count, 0) if isinstance(count, int) else 0
    shape = model_graph.tensors[str(table.target)].shape if table.op == "get_attr" else _static_shape(table)
    return int(shape[axis] or 0) if -len(shape) <= axis < len(shape) else 0


def _static_shape(node: Node) -> Sequence[int | None]:
    value: Value | None = node.meta.get("value")
    return () if value is None else value.shape


def _table_name(node: Node, table: Node | None) -> str:
    if table is not None and table.op == "get_attr":
        return str(table.target).removesuffix(".weight")
    found: Value | None = node.meta.get("value") if table is None else table.meta.get("value")
    return "a table" if found is None else found.name
