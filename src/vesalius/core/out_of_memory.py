"""Whether an error means that memory ran out."""

from __future__ import annotations

import torch

from vesalius.core.errors import MemoryExhausted


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) and not isinstance(error, MemoryExhausted):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
