"""Packed sequences of equal lengths, as torch.export can follow them.

``pack_padded_sequence`` lays the steps of all samples one after the other, and how many samples have each step it says in numbers, which no
export knows. Where all samples have as many steps, which is known from an ordinary call, the rows are those of the steps laid out, and a
recurrent layer of packed rows is one of the steps.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.rnn import _apply_permutation
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

PACK, PAD = torch._VF._pack_padded_sequence, torch._VF._pad_packed_sequence
LAYERS = tuple(getattr(torch._VF, name) for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"))
SORTED_IN = frozenset({pack_padded_sequence.__code__, pad_packed_sequence.__code__, _apply_permutation.__code__})
"""Where torch puts the samples in the order of their lengths, and back."""


def equal_lengths(lengths: Tensor) -> int | None:
    """How long all sequences are; ``None`` where they differ."""
    found = set(lengths.tolist())
    return int(found.pop()) if len(found) == 1 else None


class EqualLengths:
    """Calls about packed sequences, made of others.

    Attributes:
        packed: what says how many samples have each step, and how many samples there are.
    """

    def __init__(self) -> None:
        self.packed: list[tuple[Tensor, Any]] = []

    def pack(self, steps: int, tensor: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Tensor]:
        """Rows of the first steps, and how many samples have each."""
        by_step = tensor.transpose(0, 1) if batch_first else tensor
        counts = torch.full((steps,), by_step.shape[1], dtype=torch.long)
        self.packed.append((counts, by_step.shape[1]))
        return by_step[:steps].flatten(0, 1), counts

    def find(self, func: Callable[..., Any], args: tuple[Any, ...], frame: FrameType) -> Callable[[], Any] | None:
        """What a call is made of, if it is about packed sequences."""
        if frame.f_code in SORTED_IN and func in (torch.sort, Tensor.index_select):
            return lambda: (args[0], torch.arange(args[0].shape[0])) if func is torch.sort else args[0]
        if func is Tensor.__getitem__ and isinstance(args[1], int):
            return next((lambda size=size: size for counts, size in self.packed if counts is args[0]), None)
        if func in LAYERS and len(args) > 3 and isinstance(args[3], (list, tuple)):
            return lambda: _layer(func, *args)
        return (lambda: self._pad(*args)) if func == PAD else None

    def _pad(self, rows: Tensor, counts: Tensor, batch_first: bool, value: float, total: int) -> tuple[Tensor, Tensor]:
        steps = counts.shape[0]
        found = _by_step(rows, steps)
        if total > steps:
            found = torch.cat([found, found.new_full((total - steps, *found.shape[1:]), value)])
        lengths = torch.full((found.shape[1],), steps, dtype=torch.long)
        return (found.transpose(0, 1) if batch_first else found), lengths


def _layer(func: Callable[..., Any], rows: Tensor, counts: Tensor, states: Any, *options: Any) -> tuple[Tensor, ...]:
    """A recurrent layer of packed rows."""
    outputs, *last = func(_by_step(rows, counts.shape[0]), states, *options, False)
    return (outputs.flatten(0, 1), *last)


def _by_step(rows: Tensor, steps: int) -> Tensor:
    found: Tensor = rows.unflatten(0, (steps, -1))
    return found


@contextlib.contextmanager
def without_size_checks(needed: bool) -> Iterator[None]:
    """Recurrent layers compare sizes of what they are given as plain numbers, which would bind a graph to one batch; the model was called
    before, and they agree."""
    kept = [(kind, kind.check_forward_args) for kind in (nn.RNNBase, nn.LSTM) if needed]
    for kind, _ in kept:
        kind.check_forward_args = lambda self, *sizes: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        for kind, check in kept:
            kind.check_forward_args = check  # type: ignore[method-assign]
