"""What an evaluation of a game costs, counted and not timed: a stopwatch would choose one thing today and another tomorrow."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

FLOP_PER_SECOND = 1e10
"""Of the nominal processor: what one core of a laptop makes of matrix products of the size that networks have."""
OVERHEAD = 2e-6
"""Seconds that the nominal processor takes for a coalition beside that: writing it out, composing the sample, remembering the value."""


def count_seconds(value: Callable[[Tensor], Tensor], players: int) -> float:
    """Seconds that the nominal processor takes for one coalition, in a batch of many.

    Counted are products of matrices and convolutions, of the full coalition.
    """
    with FlopCounterMode(display=False) as counter:
        value(torch.ones(1, players, dtype=torch.bool))
    return OVERHEAD + float(counter.get_total_flops()) / FLOP_PER_SECOND
