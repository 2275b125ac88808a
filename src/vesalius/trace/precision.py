"""Half precision, and the same network in another one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

from vesalius.core.errors import WrongType
from vesalius.trace.graph import ModelGraph, Value

HALF_DTYPES = frozenset({torch.bfloat16, torch.float16})
"""Types whose rounding is larger than most of what is measured here; float32 takes their place."""


def cast_graph(model_graph: ModelGraph, dtype: torch.dtype) -> ModelGraph:
    """A graph whose floating tensors, and whose casts to floating types, are of one type."""
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise WrongType(f"a network computes in torch.float64, torch.float32 or a smaller one, not {dtype!r}")
    tensors = {name: _cast_tensor(tensor, dtype) for name, tensor in model_graph.tensors.items()}
    graph, copies = _cast_nodes(model_graph.graph, dtype)
    nodes = {name: copies[node] for name, node in model_graph.nodes.items()}
    whole = model_graph.any_length
    any_length = None if whole is None else replace(whole, graph=_cast_nodes(whole.graph, dtype)[0], _programs={})
    return ModelGraph(graph, tensors, nodes, model_graph.inputs, model_graph.output, any_length)


def _cast_nodes(given: Graph, dtype: torch.dtype) -> tuple[Graph, dict[Node, Node]]:
    """A graph in another type, and the copy of each node."""
    graph = Graph()
    copies: dict[Node, Node] = {}
    for node in given.nodes:
        if node.op == "output":
            graph.output(copies[node.args[0]])
            continue
        copy = copies[node] = graph.node_copy(node, copies.__getitem__)
        copy.args, copy.kwargs = _cast_argument(copy.args, dtype), _cast_argument(copy.kwargs, dtype)
        value: Value | None = node.meta.get("value")
        if value is not None and value.is_floating:
            copy.meta = {**node.meta, "value": replace(value, dtype=str(dtype).removeprefix("torch."))}
    return graph, copies


def parameters_match(model_graph: ModelGraph, copy: ModelGraph, dtype: torch.dtype) -> bool:
    """Whether an earlier copy still has the original's parameters; told by their values, since not every write leaves a mark."""
    return all(torch.equal(_cast_tensor(tensor, dtype), copy.tensors[name]) for name, tensor in model_graph.tensors.items())


def _cast_tensor(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _cast_argument(argument: Any, dtype: torch.dtype) -> Any:
    if isinstance(argument, (tuple, list)):
        return tuple(_cast_argument(item, dtype) for item in argument)
    if isinstance(argument, dict):
        return {key: _cast_argument(item, dtype) for key, item in argument.items()}
    return dtype if isinstance(argument, torch.dtype) and argument.is_floating_point else argument
