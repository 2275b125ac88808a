"""Traces on disk. A trace depends on the model's code and shapes, not on its weights: only the graph is kept, and bound to live weights.

The key covers the source files of the model's classes and every plain attribute; code elsewhere is not seen, which is why a cached graph
is always checked against the model on the example before it is used.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vesalius.core import store
from vesalius.core.errors import ForeignFile, MemoryExhausted
from vesalius.core.version import VERSION
from vesalius.trace.any_length import at_shapes
from vesalius.trace.graph import ModelGraph
from vesalius.trace.safe_ops import check_name
from vesalius.trace.sequence_axes import sequence_axes
from vesalius.trace.serialization import decode_graph, encode_graph
from vesalius.trace.signature import ModelCall


def load(folder: Path, call: ModelCall, example: Sequence[Tensor]) -> ModelGraph | None:
    """A kept graph over the model's own tensors, at the example's lengths, or ``None``."""
    for axes in (sequence_axes(example), None):
        path = folder / f"{trace_key(call, example, axes)}.safetensors"
        try:
            tensors, facts = store.read(path, "graph")
            with store.decoding(path):
                found = _bind(tensors, facts, call.model, example[0].device)
                if found is not None and (here := at_shapes(found, [tensor.shape for tensor in example])) is not None:
                    return here
        except (OSError, ForeignFile, MemoryExhausted):
            continue
    return None


def _bind(tensors: Mapping[str, Tensor], facts: Mapping[str, Any], model: nn.Module, device: torch.device) -> ModelGraph | None:
    """A file's graph over a model's tensors, and over those of the file that are not the model's; ``None`` if the model lacks one."""
    names = store.words(facts, "live")
    for name in names:
        check_name(name)
    live = {name: tensor for name in names if (tensor := _find_tensor(model, name)) is not None}
    if len(live) < len(names):
        return None
    constants = {name: tensor.to(device) for name, tensor in tensors.items()}
    return decode_graph(store.fact(facts, "graph", dict), {**constants, **live}, device)


def save(folder: Path, call: ModelCall, example: Sequence[Tensor], model_graph: ModelGraph) -> Path | None:
    """Keep a graph, unless an op of it cannot be kept; tensors that are not the model's own (lifted constants) are stored with it."""
    try:
        graph = encode_graph(model_graph)
    except ForeignFile:
        return None
    live = [name for name in model_graph.tensors if _find_tensor(call.model, name) is not None]
    constants = {name: tensor for name, tensor in model_graph.tensors.items() if name not in live}
    key = trace_key(call, example, sequence_axes(example) if model_graph.any_length is not None else None)
    return store.write(folder / f"{key}.safetensors", "graph", constants, {"live": live, "graph": graph})


def trace_key(call: ModelCall, example: Sequence[Tensor], axes: Sequence[Sequence[int]] | None = None) -> str:
    """Digest of everything the graph depends on; but for the sizes of some axes of each input, where it holds at any length."""
    parts: list[str] = [VERSION, torch.__version__, repr(call.args), repr(sorted(call.kwargs.items())), repr(call.output)]
    for tensor, moving in zip(example, axes or [()] * len(example), strict=True):
        sides = [None if axis in moving else side for axis, side in enumerate(tensor.shape)]
        parts.append(f"{sides[1:]} {tensor.dtype} {tensor.device}")
    for name, module in call.model.named_modules():
        parts += [name, type(module).__qualname__, repr(sorted(_plain_attributes(module).items()))]
    named = [*call.model.named_parameters(remove_duplicate=False), *call.model.named_buffers(remove_duplicate=False)]
    parts += [f"{name} {tuple(tensor.shape)} {tensor.dtype}" for name, tensor in named]
    parts += sorted({_source_digest(type(module)) for module in call.model.modules()})
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _plain_attributes(module: nn.Module) -> dict[str, Any]:
    """Attributes of a module that its code may branch on."""
    found = {name: _stable_value(value) for name, value in vars(module).items() if name != "training" and not name.startswith("_")}
    return {name: fact for name, fact in found.items() if "object at 0x" not in repr(fact)}


def _stable_value(value: Any) -> Any:
    """A value without what differs between processes or with the weights."""
    if isinstance(value, Tensor):
        return tuple(value.shape), str(value.dtype)
    if isinstance(value, (tuple, list)):
        return [_stable_value(item) for item in value]
    if isinstance(value, dict):
        return [(str(name), _stable_value(item)) for name, item in value.items()]
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return value


def _source_digest(cls: type) -> str:
    """Digest of the file a class was written in; its name where there is no file."""
    try:
        return hashlib.sha256(Path(inspect.getfile(cls)).read_bytes()).hexdigest()
    except (TypeError, OSError):
        return cls.__qualname__


def _find_tensor(model: nn.Module, name: str) -> Tensor | None:
    owner, _, leaf = name.rpartition(".")
    try:
        found = getattr(model.get_submodule(owner), leaf, None)
    except AttributeError:
        return None
    return found.detach() if isinstance(found, Tensor) else None
