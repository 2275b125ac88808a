"""Half-precision networks are explained in float32: their own rounding is larger than most effects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vesalius.games.absence import Baseline
from vesalius.trace.network import Inputs, Network
from vesalius.trace.precision import HALF_DTYPES


def upcast_half_precision(network: Network, x: Inputs, baseline: Baseline) -> tuple[Network, Inputs, Baseline]:
    """Network, inputs and baseline, in float32 where they were in half precision; opaque networks as they are."""
    dtypes = {tensor.dtype for tensor in network.parameters.values()} | {getattr(torch, value.dtype) for value in network.inputs}
    if network.opaque or not dtypes & HALF_DTYPES:
        return network, x, baseline
    return network.cast(torch.float32), to_float32(x), to_float32(baseline)


def to_float32(given: Any) -> Any:
    """Half-precision tensors in float32, those in containers included; everything else as it is."""
    if isinstance(given, Tensor):
        return given.float() if given.dtype in HALF_DTYPES else given
    if isinstance(given, Mapping):
        return {key: to_float32(value) for key, value in given.items()}
    if isinstance(given, Sequence) and not isinstance(given, str):
        made: Callable[[Iterable[Any]], Any] = type(given)
        return made(to_float32(value) for value in given)
    return given
