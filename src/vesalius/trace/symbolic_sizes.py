"""What the symbols in the shapes of an exported program stand for: the batch size, or lengths that inputs may have.

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from vesalius.trace.sizes import Size, UnsayableSize, read_size


class SymbolicSizes:
    """The symbols of one program.

    Attributes:
        batch: expressions that are the batch size.
        lengths: sizes of the other axes of inputs that may change, by symbol, as they were in the example.

    Raises:
        UnsayableSize: such an axis is no length of its own.
    """

    def __init__(self, inputs: Iterable[Tensor]) -> None:
        self.batch: set[Any] = set()
        self.lengths: dict[str, int] = {}
        self._hints: dict[Any, int] = {}
        self._env: Any = None
        self._sizes: dict[Any, Size | None] = {}
        found = [(axis, side.node) for tensor in inputs for axis, side in enumerate(_sides(tensor)) if _is_open(side)]
        for axis, node in found:
            self._env = node.shape_env
            self._hints[node.expr] = node.hint
            self.batch |= {node.expr} if axis == 0 else set()
        for axis, node in found:
            if axis > 0 and (not node.expr.is_Symbol or node.expr in self.batch):
                raise UnsayableSize(f"an axis of an input has {node.expr} elements")
            if axis > 0:
                self.lengths[str(node.expr)] = node.hint

    def size(self, side: int | torch.SymInt) -> Size | None:
        """A size; ``None`` where the batch size enters, or what is in a tensor.

        Raises:
            UnsayableSize: a function of lengths that cannot be written down.
        """
        if not _is_open(side):
            return int(side)
        expression = side.node.expr  # type: ignore[union-attr]
        if expression not in self._sizes:
            of_lengths = {str(symbol) for symbol in expression.free_symbols} <= self.lengths.keys()
            self._sizes[expression] = read_size(expression) if of_lengths else None
        return self._sizes[expression]

    def conditions(self, program: ExportedProgram) -> tuple[Size, ...]:
        """What lengths must meet for the program to be that of the model.

        Raises:
            UnsayableSize: one that cannot be written down.
        """
        if not self.lengths:
            return ()
        asserts = [one.expr for several in self._env.deferred_runtime_asserts.values() for one in several]
        batch = {symbol: hint for symbol, hint in self._hints.items() if symbol in self.batch}
        found: dict[Size, None] = {}
        for expression in [*(guard.expr for guard in self._env.guards), *asserts]:
            known = self._env.replace(expression).subs(batch)
            if unknown := {str(symbol) for symbol in known.free_symbols} - self.lengths.keys():
                raise UnsayableSize(f"{sorted(unknown)[0]} in the condition {known} is no length of an input")
            if known.free_symbols:
                found[read_size(known)] = None
        return (*found, *_bounds(program.range_constraints, self.lengths))


def _sides(tensor: Tensor) -> tuple[Any, ...]:
    """A shape, of which torch's annotations do not say that it may hold symbols."""
    return tuple(tensor.shape)


def _is_open(side: int | torch.SymInt) -> bool:
    """Whether a size is a symbol that torch has not found to be one number."""
    return isinstance(side, torch.SymInt) and not side.node.expr.is_Integer


def _bounds(ranges: Mapping[Any, Any], lengths: Mapping[str, int]) -> Iterable[Size]:
    """From where to where each length may go."""
    for symbol, span in ranges.items():
        if str(symbol) in lengths:
            if span.lower.is_Integer:
                yield (">=", str(symbol), read_size(span.lower))
            if span.upper.is_Integer:
                yield ("<=", str(symbol), read_size(span.upper))
