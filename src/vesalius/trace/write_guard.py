"""A model's weights, guarded while it is called for the first time."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


class WritesToWeights(Exception):
    """A model was about to write to a tensor that it shares with its copy."""


class WriteGuard(TorchDispatchMode):
    """Stops an op before it writes to memory of some tensors.

    An embedding with ``max_norm`` scales its rows when it is called; nobody who asks for an explanation expects that of it.

    Attributes:
        stopped: whether it has stopped an op.
        drew: whether an op drew random numbers.
    """

    def __init__(self, model: nn.Module) -> None:
        """Guard parameters, and tensors that are attributes; buffers are not shared."""
        super().__init__()  # type: ignore[no-untyped-call]
        held = [value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor)]
        self._guarded = {_memory(tensor) for tensor in (*model.parameters(), *held)} - {0}
        self.stopped = self.drew = False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        named = dict(kwargs or {})
        self.drew |= torch.Tag.nondeterministic_seeded in func.tags
        for place, argument in enumerate(func._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            written = args[place] if place < len(args) else named.get(argument.name)
            for tensor in written if isinstance(written, (list, tuple)) else [written]:
                if isinstance(tensor, Tensor) and _memory(tensor) in self._guarded:
                    self.stopped = True
                    raise WritesToWeights
        return func(*args, **named)


def forget_failed_compilation() -> None:
    """After a call under a mode has failed: torch compiles loops and branches that are ops when they are called, but not under a mode, and
    remembers that it did not, which would break the model for its owner. All that is lost is the time to compile again.
    """
    compiler = sys.modules.get("torch._dynamo")
    if compiler is not None:
        compiler.reset()


def _memory(tensor: Tensor) -> int:
    """Where a tensor's numbers lie; 0 where that has no answer."""
    if tensor.layout != torch.strided or tensor.is_meta:
        return 0
    return tensor.untyped_storage().data_ptr()
