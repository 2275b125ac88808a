"""What a run will cost, before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vesalius.complexity.features import feature_source
from vesalius.complexity.networks import Trunk
from vesalius.complexity.orders import check_orders
from vesalius.complexity.training import Training
from vesalius.complexity.training_plan import FLOP_PER_MAC, first_width, most_rows, with_batch, with_epochs
from vesalius.core.entry import verb
from vesalius.core.numbers import POSITIVE_COUNT, whole_number
from vesalius.trace.network import Network

CPU_FLOP_PER_SECOND = 2e10
"""Floating point operations per second and thread that small nets reach on a CPU, roughly."""


@dataclass(frozen=True, kw_only=True)
class CostEstimate:
    """An estimate.

    Attributes:
        flop: floating point operations of training, all epochs and all controls run, at the first width.
        seconds: on this machine's CPU, within a factor of about 3; early stopping takes less.
    """

    flop: float
    seconds: float

    def __repr__(self) -> str:
        return f"Cost({self.flop:.2g} operations, about {self.seconds:.0f} s)"


@verb
def estimate_cost(
    network: Network, rows: int, *, at: str, orders: Sequence[int] = (0, 1, 2, 4), training: Training | None = None
) -> CostEstimate:
    """What :func:`vesalius.complexity.complexity` will cost, before it starts; nothing is run.

    Args:
        network: traced.
        rows: in all.
        at: the feature: a value or module of the network.
        orders: numbers of nonlinear layers, rising.
        training: the options.

    Raises: as :func:`vesalius.complexity.features.feature_source`.
    """
    how, orders = training or Training(), check_orders(orders)
    rows = whole_number("rows", rows, POSITIVE_COUNT)
    shape = feature_source(network, at, pre_activation=how.pre_activation).shape
    deep = [order for order in orders if order]
    how, width = with_batch(how, rows), how.width or first_width(shape)
    assert how.held_out is not None
    train = rows * (1 - how.held_out)
    train = min(train, most_rows(shape, orders, width)) if how.epochs is None else train
    how = with_epochs(how, shape, orders, round(train), width)
    assert how.epochs is not None
    trained = {"shared": [max(deep, default=0), *deep[:-1]], "separate": deep, "paper": deep + deep[:-1]}[how.mode]
    exits = [len(deep) if how.mode == "shared" and not at else 1 for at in range(len(trained))]
    macs = sum(Trunk(shape, width, blocks).macs(each) for blocks, each in zip(trained, exits, strict=True)) if deep else 0
    flop = float(FLOP_PER_MAC * macs * train * how.epochs * how.seeds)
    return CostEstimate(flop=flop, seconds=flop / (CPU_FLOP_PER_SECOND * torch.get_num_threads()))
