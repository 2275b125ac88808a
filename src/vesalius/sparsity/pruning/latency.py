"""How many operations must go until a network is as fast as it is asked to be, by building smaller ones and timing them here.

Axes: G groups of joined units.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vesalius.core.errors import InvalidInput
from vesalius.sparsity.compression.candidates import build_smaller
from vesalius.sparsity.compression.timing import measure_times
from vesalius.trace.network import Network
from vesalius.trace.signature import ModelCall

MOST_FLOPS = 0.95
"""Share of the operations beyond which nothing is tried."""
STEPS = 6
"""Halvings of the share of the operations."""
ROUNDS = 15
"""Turns that each of two models is timed for."""
CHECKED_ROWS = 32
TOLERANCE = 1e-3
"""How far from the masked model's output, in shares of its largest value, a model may be that is only timed."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LatencyRatio:
    """The time of smaller networks, as a share of that of the network before.

    Attributes:
        dense: the network before, without masks.
        samples: inputs.
        batch: how many of them are computed at once.
    """

    dense: Network
    samples: Sequence[Tensor]
    batch: int

    def measure(self, cleared: Network) -> float:
        """Of a network some of whose units are cleared, the time without them; least of some turns of both.

        Raises:
            InvalidInput: no smaller model computes the same.
        """
        assert self.dense.call is not None
        assert cleared.call is not None
        inputs = [part[torch.arange(self.batch, device=part.device) % len(part)] for part in self.samples]
        calls = {"dense": self.dense.call, "smaller": replace(cleared.call, model=self._without_units(cleared))}
        runs: dict[str, Callable[[], object]] = {name: partial(one.isolated().run, inputs) for name, one in calls.items()}
        with torch.no_grad():
            return measure_times(runs, time.perf_counter, rounds=ROUNDS).ratio("smaller", "dense")

    def _without_units(self, cleared: Network) -> nn.Module:
        call: ModelCall = cleared.call  # type: ignore[assignment]
        some = [part[:CHECKED_ROWS] for part in self.samples]
        with torch.no_grad():
            expected = call.evaluate(some)
        left_out: dict[str, str] = {}

        def offer(name: str, model: nn.Module) -> bool:
            try:
                with torch.no_grad():
                    found = replace(call, model=model).evaluate(some)
            except Exception as error:  # a user's forward may do anything with a layer of another size
                left_out[name] = f"does not run: {error}"
                return False
            left_out[name] = "gives another output"
            return found.shape == expected.shape and float((found - expected).abs().max()) <= TOLERANCE * max(
                1.0, float(expected.abs().max())
            )

        model, shrunk = build_smaller(cleared, call.model, offer, left_out)
        if not shrunk.tensors:
            raise InvalidInput(
                f"latency= times smaller models, and none could be built ({left_out.get('smaller', '')}); give flops= instead"
            )
        return model


def flops_for_latency(ratio_without: Callable[[float], float], share: float, batch: int) -> float:
    """The least share of the operations whose removal takes away a share of the time, to within a few percent.

    Args:
        ratio_without: from a share of the operations to the time that is left, as a share.
        share: of the time that is to go, in (0, 1).
        batch: how many samples are timed at once.

    Raises:
        InvalidInput: the time does not fall so far.
    """
    least = ratio_without(MOST_FLOPS)
    if least > 1 - share:
        raise InvalidInput(
            f"latency={share:g} asks for {1 - share:.0%} of the time of a batch of {batch}, and without {MOST_FLOPS:.0%} of the operations"
            f" {least:.0%} of it is left on this machine: ask for less, or for the time of a larger batch, latency={{64: {share:g}}}"
        )
    low, high = 0.0, MOST_FLOPS
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if ratio_without(middle) <= 1 - share else (middle, high)
    return high


def latency_facts(ratio: LatencyRatio, cleared: Network, asked: float) -> dict[str, Any]:
    """What was asked for and what was reached."""
    return {"batch": ratio.batch, "asked": 1 - asked, "measured": ratio.measure(cleared)}
