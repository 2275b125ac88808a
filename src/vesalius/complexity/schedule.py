"""The learning rate over epochs."""

from __future__ import annotations

from collections.abc import Iterator

from torch.optim import Optimizer


def exponential_schedule(optimiser: Optimizer, rates: tuple[float, float], epochs: int) -> Iterator[int]:
    """Epoch numbers, with the learning rate set for each: from the first rate to the last, evenly in its logarithm.

    Args:
        optimiser: whose rate is set.
        rates: first and last, above 0.
        epochs: how many.
    """
    for epoch in range(epochs):
        for group in optimiser.param_groups:
            group["lr"] = rates[0] * (rates[1] / rates[0]) ** (epoch / max(1, epochs - 1))
        yield epoch
