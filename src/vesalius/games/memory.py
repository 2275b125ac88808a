"""How much is run at once, and what happens when that was too much."""

from __future__ import annotations

import torch

from vesalius.core.errors import MemoryExhausted
from vesalius.trace.network import Network

CPU_BYTES = 1 << 26
"""Working set of one batch on a CPU: larger ones fall out of the caches and are slower per sample (measured on ResNet-20)."""
DEVICE_SHARE = 0.25
"""Share of an accelerator's free memory that one batch may take."""


def batch_size(network: Network, device: torch.device) -> int:
    """Samples that fit into the memory budget of a device at once."""
    budget = CPU_BYTES
    if device.type == "cuda":
        budget = int(torch.cuda.mem_get_info(device)[0] * DEVICE_SHARE)
    return int(max(1, min(4096, budget // network.sample_bytes)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) and not isinstance(error, MemoryExhausted):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def release() -> None:
    """Give cached memory back to the accelerator."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
