"""Networks that are copied and pickled: the graph goes along as data, and stays tied to the model that goes with it.

A traced network shares its parameters with the live model. So does a copy with the copied model, which neither PyTorch's deepcopy (a
parameter's memory is copied apart from that of its views) nor pickle would see to.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vesalius.core.tensor_identity import place_of
from vesalius.trace.graph import ModelGraph
from vesalius.trace.serialization import decode_graph, encode_graph
from vesalius.trace.signature import ModelCall


@dataclass(frozen=True, eq=False, kw_only=True)
class PackedGraph:
    """A graph as data.

    Attributes:
        facts: its nodes, as JSON.
        tensors: those of its own.
        shared: names of those that are the model's.
        device: where it makes what it makes itself.
    """

    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    shared: tuple[str, ...]
    device: torch.device

    @classmethod
    def of(cls, model_graph: ModelGraph, call: ModelCall | None) -> PackedGraph:
        """Pack a graph.

        Raises:
            ForeignFile: an op that could not be found again.
        """
        shared = shared_names(model_graph, call)
        own = {name: tensor for name, tensor in model_graph.tensors.items() if name not in shared}
        device = next((tensor.device for tensor in model_graph.tensors.values()), torch.device("cpu"))
        return cls(facts=encode_graph(model_graph), tensors=own, shared=shared, device=device)

    def unpack(self, call: ModelCall | None) -> ModelGraph:
        """The graph, on its own tensors and those of the model."""
        return decode_graph(self.facts, {**self.tensors, **_take(self.shared, call)}, self.device)


def copy_graph(model_graph: ModelGraph, call: ModelCall | None, copied: ModelCall | None, memo: dict[int, Any]) -> ModelGraph:
    """A deep copy that shares with the copied model what the graph shares with the model."""
    graph = copy.deepcopy(model_graph, memo)
    return replace(graph, tensors={**graph.tensors, **_take(shared_names(model_graph, call), copied)})


def computed_attributes(model: nn.Module) -> dict[int, Any]:
    """A memo for deepcopy with tensors that modules compute and keep (a masked or a normalised weight), which it refuses to copy.

    They are copied as values; the modules compute them again when they are called.
    """
    kept = [value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor) and not value.is_leaf]
    return {id(value): value.detach().clone() for value in kept}


def shared_names(model_graph: ModelGraph, call: ModelCall | None) -> tuple[str, ...]:
    """Names of a graph's tensors that are the model's own, in its memory."""
    own = {} if call is None else _model_tensors(call)
    return tuple(name for name, tensor in model_graph.tensors.items() if name in own and _is_same_memory(tensor, own[name]))


def _take(names: Iterable[str], call: ModelCall | None) -> dict[str, Tensor]:
    own = {} if call is None else _model_tensors(call)
    return {name: own[name].detach() for name in names}


def _model_tensors(call: ModelCall) -> dict[str, Tensor]:
    return {**dict(call.model.named_buffers(remove_duplicate=False)), **dict(call.model.named_parameters(remove_duplicate=False))}


def _is_same_memory(one: Tensor, other: Tensor) -> bool:
    alike = one.shape == other.shape and one.dtype == other.dtype and one.device == other.device
    return alike and place_of(one) == place_of(other) and one.stride() == other.stride()
