"""Which sample each part of a signal belongs to, in an LRP run.

Axes: B samples; * any.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vesalius.rules.absorbed import LazySampleAxis, SampleAxis, read_sample_axis
from vesalius.rules.interpreter import OpCall
from vesalius.rules.linear_maps import moves_one, read_linear_map
from vesalius.rules.op_kinds import op_kind, op_name
from vesalius.rules.signal import Signal


@dataclass(eq=False, slots=True)
class LRPMeta:
    """What a signal carries; never written to, as the signal itself.

    Attributes:
        owner: which sample its parts belong to.
        gate: whether it is a softmax or a sigmoid, moved or scaled at most.
        raw: stands for the relevance of the value itself, while nothing but moves lie between it and the explained tensor.
    """

    owner: LazySampleAxis
    gate: bool = False
    raw: Tensor | None = None


def start_signal(value: Tensor, owner: SampleAxis) -> tuple[Signal, Tensor]:
    """An explained tensor as a signal, and the tensor whose gradient is relevance given directly."""
    raw = torch.zeros_like(value).requires_grad_()
    return Signal(value, extra=LRPMeta(LazySampleAxis(lambda: owner), raw=raw)), raw


def attach_meta(call: OpCall, found: Any, *, gate: bool = False, moved: bool = False) -> Any:
    """Results with their owners; ``moved`` where elements change places."""
    if not isinstance(found, (tuple, list)):
        return _attach_meta(call, found, None, gate, moved)
    return type(found)(_attach_meta(call, part, place, gate, moved) for place, part in enumerate(found))


def _attach_meta(call: OpCall, found: Any, part: int | None, gate: bool, moved: bool) -> Any:
    if not isinstance(found, Signal):
        return found
    owner = LazySampleAxis(_find_sample_axis, call, part, moved, found.value.shape)
    return Signal(found.value, found.boolean, found.base, found.inverse, LRPMeta(owner, gate))


def _find_sample_axis(call: OpCall, part: int | None, moved: bool, shape: torch.Size) -> SampleAxis:
    """How samples are told apart in a result: by the graph, else as in a factor of its shape, else by finding each element's sample."""
    value = call.node.meta.get("value") if call.node is not None else None
    if value is not None and value.batch_axis is not None:
        return SampleAxis(value.batch_axis, by_shape=True)
    known: dict[Any, SampleAxis] = {} if call.node is None else call.node.meta.setdefault("sample_axes", {})
    if (part, shape) in known:
        return known[part, shape]
    for signal in [] if moved or op_name(call.target) == "einsum" else call.signals:
        place: SampleAxis = signal.extra.owner()
        if signal.value.ndim == len(shape) and signal.value.shape[place.axis] == shape[place.axis]:
            return place
    found = read_sample_axis(_find_element_samples(call, part))
    if _follows_from_shapes(call):
        found = known[part, shape] = replace(found, by_shape=True)
    return found


def _follows_from_shapes(call: OpCall) -> bool:
    """Whether nothing but shapes decides whose the elements of a result are: no index, mask or weight that is another one next time."""
    constants = op_kind(call.target) != "map" and any(isinstance(item, Tensor) for item in (*call.args, *call.kwargs.values()))
    lists = any(isinstance(one, Tensor) for arg in call.args if isinstance(arg, (tuple, list)) for one in arg)
    return not constants and not lists and all([signal.extra.owner().by_shape for signal in call.signals])


@torch.no_grad()
def _find_element_samples(call: OpCall, part: int | None) -> Tensor:
    """The sample that each element of a result comes from: what the op makes of the samples' numbers, counted between zeros and ones."""
    signals = call.signals
    samples = [signal.extra.owner().sample_ids(signal.value.shape).to(signal.value) for signal in signals]
    ones, zeros = ([make(signal.value) for signal in signals] for make in (torch.ones_like, torch.zeros_like))
    if op_kind(call.target) in ("map", "multiply", "divide") and len(signals) == 2:
        samples[1] = zeros[1] = ones[1]  # the first factor says whose a product is
    numbers, nobody, somebody = (_apply_with_unit_weights(call, part, values) for values in (samples, zeros, ones))
    return ((numbers - nobody) / (somebody - nobody)).round()


def _apply_with_unit_weights(call: OpCall, part: int | None, values: list[Tensor]) -> Tensor:
    """An op of numbers; all weights of a map count 1."""
    if op_kind(call.target) == "map" and len(values) == 1 and not moves_one(call):
        found, _ = read_linear_map(call)
        return found.apply(values[0], torch.ones_like(found.weight))
    results = call.on(values)
    counted: Tensor = results if part is None else results[part]
    return counted
