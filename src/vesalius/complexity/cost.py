"""What a run will cost, before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vesalius.complexity.family import WIDTHS, Shape, Trunk
from vesalius.complexity.training import Training

SPEED = 2e10
"""Floating point operations per second and thread that small nets reach on a CPU, roughly."""
PASSES = 6
"""Operations per multiplication of a forward pass: forward and backward, a product and a sum each."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """An estimate.

    Attributes:
        flop: floating point operations of training, all epochs run.
        seconds: on this machine's CPU, within a factor of about 3; early stopping takes less.
    """

    flop: float
    seconds: float

    def __repr__(self) -> str:
        return f"Cost({self.flop:.2g} operations, about {self.seconds:.0f} s)"


def cost(shape: Shape, rows: int, orders: Sequence[int], training: Training | None = None) -> Cost:
    """What training the disentanglers will cost.

    Args:
        shape: of one row.
        rows: in all.
        orders: numbers of nonlinear layers.
        training: the options.
    """
    how = training or Training()
    deep = [order for order in orders if order]
    width = how.width or WIDTHS[shape.kind]
    trained = {"shared": [max(deep, default=0)], "separate": deep, "paper": deep + deep[:-1]}[how.mode]
    exits = len(deep) if how.mode == "shared" else 1
    macs = sum(Trunk(shape, width, blocks).macs(exits) for blocks in trained) if deep else 0
    flop = float(PASSES * macs * rows * (1 - how.held_out) * how.epochs * how.seeds)
    return Cost(flop=flop, seconds=flop / (SPEED * torch.get_num_threads()))
