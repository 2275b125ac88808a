"""Recurrent layers in export: torch unrolls them over all steps to know the shapes of what they return, which binds a graph to one length
and takes seconds where sequences are long. The shapes can be said at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey

OPS = tuple(getattr(torch.ops.aten, name).input for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"))
KEYS = (DispatchKey.CompositeImplicitAutograd, DispatchKey.Autograd)
"""Where torch keeps what an op is made of."""


@contextlib.contextmanager
def recurrent_layers_by_shape() -> Iterator[None]:
    """Let recurrent layers of tensors without numbers return tensors of the right shape; layers of real tensors are as ever.

    Where this version of torch keeps no such thing, nothing is changed, and a graph is of one length.
    """
    kept = [(op, key, op.py_kernels[key]) for op in OPS for key in KEYS if key in getattr(op, "py_kernels", {})]
    for op, key, known in kept:
        _set(op, key, lambda *args, _known=known, **kwargs: _shapes_alone(_known, args, kwargs))
    try:
        yield
    finally:
        for op, key, known in kept:
            _set(op, key, known)


def _set(op: Any, key: Any, kernel: Any) -> None:
    op.py_kernels[key] = kernel
    op._dispatch_cache.clear()


def _shapes_alone(known: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """What a layer returns: the outputs of all steps, and the last states, shaped as the first."""
    steps = args[0]
    if kwargs or len(args) < 8 or not isinstance(steps, torch._subclasses.FakeTensor) or steps.ndim != 3:
        return known(*args, **kwargs)
    states: list[Tensor] = list(args[1]) if isinstance(args[1], (list, tuple)) else [args[1]]
    width = states[0].shape[2] * (2 if args[7] else 1)
    return (steps.new_empty([*steps.shape[:2], width]), *(state.new_empty(state.shape) for state in states))
