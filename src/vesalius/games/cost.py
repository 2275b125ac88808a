"""What an evaluation of a game costs, counted and not timed: a stopwatch would choose one thing today and another tomorrow."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vesalius.trace.write_guard import forget_failed_compilation

FLOP_PER_SECOND = 1e10
"""Of the nominal processor: what one core of a laptop makes of matrix products of the size that networks have."""
UNCOUNTED = 1e-3
"""Seconds of a model whose products cannot be counted: one that differentiates within, or compiles a part of itself."""
OVERHEAD = 2e-6
"""Seconds that the nominal processor takes for a coalition beside that: writing it out, composing the sample, remembering the value."""


def count_seconds(value: Callable[[Tensor], Tensor], players: int) -> float:
    """Seconds that the nominal processor takes for one coalition, in a batch of many.

    Counted are products of matrices and convolutions, of the full coalition.
    """
    everybody = torch.ones(1, players, dtype=torch.bool)
    try:
        with FlopCounterMode(display=False) as counter:
            value(everybody)
    except Exception:  # the counter's fault, or the model's, which raises it again without one
        forget_failed_compilation()
        value(everybody)
        return UNCOUNTED
    return OVERHEAD + float(counter.get_total_flops()) / FLOP_PER_SECOND
