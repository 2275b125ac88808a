"""How much is run at once, and what happens when that was too much."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from vesalius.core.errors import MemoryExhausted
from vesalius.core.out_of_memory import is_out_of_memory
from vesalius.trace.network import Network
from vesalius.trace.question import Question

Result = TypeVar("Result")

CPU_BYTES = 1 << 26
"""Memory that one batch may take on a CPU, where a call costs far more than the model's ops."""
CACHE_BYTES = 1 << 23
"""The same for each thread where the model alone is called: beyond it a batch falls out of the caches. Measured on a GPT-2 of 16, 64 and
256 tokens, of which a row takes 1.3 to 1.6 times as long at 64 MB; of convolutions and layers without positions as long, within 5 %."""
DEVICE_SHARE = 0.25
"""Share of an accelerator's free memory that one batch may take."""


def rows_at_once(question: Question, device: torch.device) -> int:
    """Evaluations of a question that are fastest at once, and fit into the memory budget of a device."""
    budget = None if device.type == "cuda" or question.row_bytes is not None else CACHE_BYTES * torch.get_num_threads()
    return batch_size(question.network, device, question.row_bytes, budget=budget)


def batch_size(network: Network, device: torch.device, row_bytes: int | None = None, *, budget: int | None = None) -> int:
    """Samples that fit into a budget of memory at once, by default that of a device; of the network, or of so many bytes each."""
    if budget is None:
        budget = int(torch.cuda.mem_get_info(device)[0] * DEVICE_SHARE) if device.type == "cuda" else CPU_BYTES
    return int(max(1, min(4096, budget // (row_bytes or network.sample_bytes))))


@dataclass(eq=False)
class Batches:
    """Rows taken in batches that fit into memory; halved, for good, whenever memory runs out.

    Attributes:
        size: rows at once.
        what: what does not fit if one row does not, for the message.
    """

    size: int
    what: str

    def over(self, rows: Int[Tensor, " N"], run: Callable[[Int[Tensor, " n"]], Result]) -> Iterator[Result]:
        """Results of a function, batch by batch, in order.

        Raises:
            MemoryExhausted: not even one row fits.
        """
        done = 0
        while done < len(rows):
            part = rows[done : done + self.size]
            try:
                found = run(part)
            except (RuntimeError, MemoryError) as error:
                self._shrink(error, len(part))
                continue
            done += len(part)
            yield found

    def _shrink(self, error: RuntimeError | MemoryError, tried: int) -> None:
        if not is_out_of_memory(error):
            raise error
        if tried == 1:
            raise MemoryExhausted(f"{self.what} does not fit into memory; use a smaller input or another device") from error
        free_cached_memory()
        self.size = max(1, tried // 2)


def free_cached_memory() -> None:
    """Give cached memory back to the accelerator."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
