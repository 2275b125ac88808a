"""Graphs of modules that verbs were called on, kept as long as the module lives, so that the next call on it need not trace again.

What is kept refers to the module's tensors but not to the module, so that nothing is held longer than its user holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from vesalius.trace.cache import trace_key
from vesalius.trace.graph import ModelGraph
from vesalius.trace.network import Network
from vesalius.trace.signature import ModelCall

MAX_TRACES = 8
"""Traces kept of one module: of different shapes, outputs, or weights that were replaced."""


@dataclass(frozen=True, eq=False)
class RememberedTrace:
    """A trace without its module.

    Attributes:
        name: of the network.
        graph: ``None`` for one that does not export.
        reason: why not.
    """

    name: str
    graph: ModelGraph | None
    reason: str


_TRACES: WeakKeyDictionary[nn.Module, dict[tuple[object, ...], RememberedTrace]] = WeakKeyDictionary()


def find(call: ModelCall, example: Sequence[Tensor]) -> RememberedTrace | None:
    """The trace of this call on this module with these tensors in it, if there was one."""
    return _TRACES.get(call.model, {}).get(_key(call, example))


def keep(call: ModelCall, example: Sequence[Tensor], network: Network) -> None:
    """Remember a trace; the oldest of many is forgotten."""
    traces = _TRACES.setdefault(call.model, {})
    traces[_key(call, example)] = RememberedTrace(network.name, network.model_graph, network.reason)
    if len(traces) > MAX_TRACES:
        del traces[next(iter(traces))]


def _key(call: ModelCall, example: Sequence[Tensor]) -> tuple[object, ...]:
    """Structure and code, and where each tensor lies: one that was replaced lies elsewhere."""
    held = call.model.state_dict(keep_vars=True)
    return trace_key(call, example), tuple((name, tensor.data_ptr()) for name, tensor in held.items() if isinstance(tensor, Tensor))
