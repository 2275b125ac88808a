"""Numbers that a model reads from tensors while it runs: ``if self.flag:``, ``int(self.steps)``, ``float(weight.norm())``.

torch.export does not know the numbers in a tensor, and so no model that asks for one has a graph. But where the tensor is made of the
model's own alone, the number is the same for all inputs; and a number that only decides whether the model raises an error is not part of
what it computes. Both kinds are read in an ordinary call, and given to the model in the same order while it is exported.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

import jaxtyping
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from vesalius.core.errors import InvalidInput
from vesalius.core.random_state import RandomState
from vesalius.core.tensor_identity import place_of, version_of
from vesalius.trace.packed_sequences import PACK, EqualLengths, equal_lengths
from vesalius.trace.signature import ModelCall, two_samples
from vesalius.trace.write_guard import forget_failed_compilation

READS: frozenset[Any] = frozenset(
    {Tensor.item, Tensor.tolist, Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__, Tensor.is_nonzero, Tensor.equal}
    | {Tensor.allclose, torch.is_nonzero, torch.equal, torch.allclose, torch.combinations, PACK}
)
"""Calls that make numbers or truth values of tensors; and two that make tensors of sizes that torch.export cannot know."""
Range = tuple[tuple[int, int], tuple[int, int]]
"""A piece of a file: line and column of its first and of its last character."""
TELLING = frozenset("warn warning warning_once warn_once print debug info error log".split())
"""Calls that say something and do nothing else."""


@dataclass(frozen=True)
class NumberRead:
    """One reading.

    Attributes:
        name: of the call.
        known: whether it is the same for all inputs, or only decides whether an error is raised.
        value: what was read.
    """

    name: str
    known: bool
    value: Any


@dataclass(eq=False)
class KeptNumbers:
    """Numbers in a graph that its model read from its own tensors, which may be written to afterwards.

    Attributes:
        reads: in order.
        state: of the model's tensors when the numbers were last seen to be the same.
    """

    reads: tuple[NumberRead, ...]
    state: Any = None

    def check(self, call: ModelCall, tensors: Sequence[Tensor]) -> None:
        """Refuse a model that reads other numbers by now; it is called once after each time that its tensors were written to.

        Raises:
            InvalidInput: it does.
        """
        held = [*call.model.parameters(), *call.model.buffers()]
        state = [(place_of(tensor), version_of(tensor)) for tensor in held]
        if state == self.state:
            return
        old, new = self._known(), KeptNumbers(read_numbers(call, two_samples(tensors)))._known()
        if old != new:
            was, now = next((pair for pair in zip(old, new, strict=False) if pair[0] != pair[1]), (old, new))
            raise InvalidInput(
                f"the model reads {now} from its own tensors, where it read {was} when it was traced, and its graph holds that as a"
                " constant: trace it again"
            )
        self.state = state

    def _known(self) -> list[Any]:
        """What is in the graph; to seven digits, since another device rounds otherwise."""
        values = [read.value.tolist() if isinstance(read.value, Tensor) else read.value for read in self.reads if read.known]
        return [float(f"{value:.7g}") if isinstance(value, float) else value for value in values]


class UnforeseenRead(RuntimeError):
    """While it is exported, a model reads other numbers than when it is called."""


class KnownReads(TorchFunctionMode):
    """Inside, tensors are read as they were before, where that is known."""

    def __init__(self, reads: Sequence[NumberRead]) -> None:
        super().__init__()
        self.reads, self.place = reads, 0
        self.packing = EqualLengths() if packs_sequences(reads) else None

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READS and self.place < len(self.reads):
            read = self.reads[self.place]
            self.place += 1
            if read.name != func.__name__:
                raise UnforeseenRead(f"{func.__name__} where {read.name} was read before")
            if read.known and func == PACK and self.packing is not None:
                return self.packing.pack(read.value, *args)
            if read.known:
                return list(read.value) if isinstance(read.value, list) else read.value
        if func == PACK:
            raise UnforeseenRead(
                "sequences of lengths that are not known to be equal are packed; give the layer padded ones, and use a mask"
            )
        made = None if self.packing is None else self.packing.find(func, args, _reading_frame())
        if made is not None:
            return made()
        return func(*args, **(kwargs or {}))


def packs_sequences(reads: Sequence[NumberRead]) -> bool:
    """Whether sequences of equal lengths are packed."""
    return any(read.known and read.name == PACK.__name__ for read in reads)


def read_numbers(call: ModelCall, tensors: Sequence[Tensor]) -> tuple[NumberRead, ...]:
    """What a model reads in one call, up to the first number that depends on its inputs and decides on more than an error."""
    copied, given = call.isolated(), [tensor.clone() for tensor in tensors]
    sources = _Sources(given)
    recorder = _Recorder(sources)
    try:
        with RandomState(), torch.no_grad(), sources, recorder:
            copied.run(given)
    except Exception:  # a user's model may raise anything
        forget_failed_compilation()
        return ()
    return tuple(recorder.reads)


class _Sources(TorchDispatchMode):
    """Follows which memory holds numbers that depend on the inputs.

    Attributes:
        lost: whether Python has been told something that depends on them, so that anything may from here on.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reached = {_memory(tensor) for tensor in inputs}
        self.lost = False

    def depends(self, arguments: Any) -> bool:
        """Whether some tensor among arguments depends on the inputs."""
        return any(_memory(tensor) in self.reached for tensor in _tensors(arguments))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        given = {_memory(tensor) for tensor in _tensors((args, tuple(named.values())))}
        depends = bool(given & self.reached)
        results = func(*args, **named)
        made = {_memory(tensor) for tensor in _tensors(results)}
        if depends:
            self.reached |= made | (given if func._schema.is_mutable else set())
            self.lost |= torch.Tag.dynamic_output_shape in func.tags  # sizes are numbers, too
        else:
            self.reached -= made - given  # memory that was another tensor's before
        return results


class _Recorder(TorchFunctionMode):
    """Writes down what is read."""

    def __init__(self, sources: _Sources) -> None:
        super().__init__()
        self.sources = sources
        self.reads: list[NumberRead] = []

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func in READS and not self.sources.lost:
            read: Any = args[1] if func == PACK else args
            depends = self.sources.depends(read)
            value = equal_lengths(read) if func == PACK and not depends else found
            known = not depends or (func != PACK and _only_checks(_reading_frame()))
            self.sources.lost = not known
            self.reads.append(NumberRead(func.__name__, known and value is not None, value))
        return found


def _memory(tensor: Tensor) -> int:
    if tensor.layout != torch.strided:
        return id(tensor)
    return int(tensor.untyped_storage()._cdata)


def _tensors(given: Any) -> list[Tensor]:
    if isinstance(given, Tensor):
        return [given]
    return [tensor for item in given for tensor in _tensors(item)] if isinstance(given, (tuple, list)) else []


def _reading_frame() -> FrameType:
    """Where a tensor is read: outside of this module, and of what checks types and shapes around its functions."""
    frame = sys._getframe(1)
    own = (__file__, str(Path(jaxtyping.__file__).parent), "<@beartype")
    while frame.f_back is not None and frame.f_code.co_filename.startswith(own):
        frame = frame.f_back
    return frame


def _only_checks(frame: FrameType) -> bool:
    """Whether what is read in a frame decides on nothing but an error or a message."""
    positions: Any = getattr(frame.f_code, "co_positions", None)
    source = "".join(linecache.getlines(frame.f_code.co_filename))
    if positions is None:  # before Python 3.11 only lines are known
        return any(test[0][0] <= frame.f_lineno <= test[1][0] for _, test in _checks(source))
    first_line, last_line, first, last = list(positions())[frame.f_lasti // 2]
    if None in (first_line, last_line, first, last):
        return False
    start, end = (first_line, first), (last_line, last)  # of a truth value it is the whole statement, of a call the call
    return any(whole == (start, end) or (test[0] <= start and end <= test[1]) for whole, test in _checks(source))


@lru_cache(maxsize=64)
def _checks(source: str) -> tuple[tuple[Range, Range], ...]:
    """Where a file has statements that lead to an error or a message alone: each with its condition."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:
        return ()
    found = [
        node
        for node in nodes
        if isinstance(node, ast.Assert) or (isinstance(node, ast.If) and not node.orelse and all(map(_tells, node.body)))
    ]
    return tuple((_range(node), _range(node.test)) for node in found)


def _range(node: ast.stmt | ast.expr) -> Range:
    """Where something begins and ends; columns are counted in bytes, as those of an instruction are."""
    return (node.lineno, node.col_offset), (node.end_lineno or node.lineno, node.end_col_offset or 0)


def _tells(statement: ast.stmt) -> bool:
    """Whether a statement raises an error or says something."""
    if isinstance(statement, (ast.Raise, ast.Pass)):
        return True
    called = statement.value.func if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) else None
    return getattr(called, "attr", getattr(called, "id", "")) in TELLING
