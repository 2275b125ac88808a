"""Graphs of modules that verbs were called on, kept as long as the module lives, so that the next call on it need not trace again.

What is kept refers to the module's tensors but not to the module, so that nothing is held longer than its user holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import CellType, FunctionType, MethodType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from vesalius.core.tensor_identity import place_of, version_of
from vesalius.trace.any_length import at_shapes
from vesalius.trace.cache import trace_key
from vesalius.trace.graph import ModelGraph
from vesalius.trace.network import Network
from vesalius.trace.number_reads import KeptNumbers
from vesalius.trace.sequence_axes import sequence_axes
from vesalius.trace.signature import ModelCall

MAX_TRACES = 8
"""Traces kept of one module: of different shapes, outputs, or weights that were replaced."""
PLAIN = (bool, int, float, complex, str, bytes, torch.dtype, torch.device)
"""Values that say all there is to know of them."""


@dataclass(frozen=True, eq=False)
class RememberedTrace:
    """A trace without its module.

    Attributes:
        name: of the network.
        graph: ``None`` for one that does not export.
        reason: why not.
        differentiable: whether the graph is.
        numbers: see :class:`vesalius.trace.network.Network`.
        writes, draws, one_by_one: see :class:`vesalius.trace.signature.ModelCall`.
    """

    name: str
    graph: ModelGraph | None
    reason: str
    differentiable: bool
    numbers: KeptNumbers | None
    writes: bool
    draws: bool
    one_by_one: bool


_TRACES: WeakKeyDictionary[nn.Module, dict[tuple[object, object], RememberedTrace]] = WeakKeyDictionary()


def find(call: ModelCall, example: Sequence[Tensor]) -> RememberedTrace | None:
    """The trace of this call on this module with these tensors in it, if there was one; that of another length if it holds for this one."""
    key, traces = _key(call, example), _TRACES.get(call.model, {})
    shapes = [tensor.shape for tensor in example]
    for state, sides, kept in ((*known, kept) for known, kept in traces.items()):
        if state == key[0] and (sides == key[1] or (kept.graph is not None and kept.graph.any_length is not None)):
            graph = None if kept.graph is None else at_shapes(kept.graph, shapes)
            if kept.graph is None or graph is not None:
                return replace(kept, graph=graph)
    return None


def keep(call: ModelCall, example: Sequence[Tensor], network: Network) -> None:
    """Remember a trace; the oldest of many is forgotten."""
    traces = _TRACES.setdefault(call.model, {})
    seen = network.call
    assert seen is not None
    traces[_key(call, example)] = RememberedTrace(
        network.name, network.model_graph, network.reason, network.differentiable, network.numbers, seen.writes, seen.draws, seen.one_by_one
    )
    if len(traces) > MAX_TRACES:
        del traces[next(iter(traces))]


def _key(call: ModelCall, example: Sequence[Tensor]) -> tuple[object, object]:
    """Structure, code, shapes without lengths, what is made of the output, and the state of every module: a tensor that was replaced lies
    elsewhere, a function is another one; and the shapes with lengths.
    """
    tensors = [
        (name, place_of(tensor))
        for named in (call.model.named_parameters, call.model.named_buffers)
        for name, tensor in named(remove_duplicate=False)
    ]
    attributes = [(name, _state(_own_attributes(module))) for name, module in call.model.named_modules()]
    state = trace_key(call, example, sequence_axes(example)), _state(call.function), tuple(tensors), tuple(attributes)
    return state, tuple(tuple(tensor.shape[1:]) for tensor in example)


def _own_attributes(module: nn.Module) -> dict[str, Any]:
    """What a module holds besides tensors and modules, its hooks included; whether it is in training does not matter."""
    return {name: value for name, value in vars(module).items() if name not in ("training", "_parameters", "_buffers", "_modules")}


def _state(value: Any, depth: int = 4) -> object:
    """What there is to be seen of a value that code may branch on; objects by what they hold, and where that is hidden by identity."""
    if isinstance(value, Tensor):
        return "tensor", place_of(value), version_of(value), tuple(value.shape), str(value.dtype)
    if isinstance(value, np.ndarray):
        return "array", value.shape, str(value.dtype), hash(value.tobytes()) if value.dtype.kind != "O" else id(value)
    if value is None or isinstance(value, PLAIN):
        return type(value).__name__, repr(value)
    if isinstance(value, nn.Module) or depth == 0:
        return id(value)
    if isinstance(value, Mapping):
        return tuple((_state(name, depth - 1), _state(item, depth - 1)) for name, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_state(item, depth - 1) for item in value]
        return tuple(sorted(items, key=repr) if isinstance(value, (set, frozenset)) else items)
    if isinstance(value, FunctionType | MethodType):
        return _function_state(value, depth)
    held = getattr(value, "__dict__", None)
    return (type(value).__qualname__, _state(held, depth - 1)) if isinstance(held, dict) and held else id(value)


def _function_state(function: FunctionType | MethodType, depth: int) -> object:
    """A function by its code and by what it is bound to, since a new one may lie where an old one lay."""
    if isinstance(function, MethodType):
        return _state(function.__func__, depth), _state(function.__self__, depth - 1)
    code = function.__code__
    bound = [function.__defaults__, function.__kwdefaults__, *map(_contents, function.__closure__ or ())]
    return code.co_code, code.co_names, repr(code.co_consts), _state(bound, depth - 1)


def _contents(cell: CellType) -> Any:
    """What a closure refers to; ``None`` before it has been assigned."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
