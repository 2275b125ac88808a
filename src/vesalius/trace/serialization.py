"""A graph as data: written as JSON, read back op by op from a fixed list of namespaces, so that no file can run code."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

from vesalius.core.errors import ForeignFile
from vesalius.trace.graph import ModelGraph, Value

SCALAR_OPS: Mapping[str, Any] = {
    **{
        f"operator.{name}": getattr(operator, name) for name in "add sub mul floordiv truediv mod neg getitem pow eq ne lt le gt ge".split()
    },
    **{f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "trunc")},
    **{f"torch.{name}": getattr(torch, name) for name in ("sym_max", "sym_min", "sym_int", "sym_float", "sym_not", "sym_ite")},
}
SCALAR_OP_NAMES = {function: name for name, function in SCALAR_OPS.items()}


def encode_graph(model_graph: ModelGraph) -> dict[str, Any]:
    """The graph as JSON-able data, without its tensors."""
    rows = [_encode_node(node) for node in model_graph.graph.nodes if node.op != "output"]
    return {"nodes": rows, "inputs": list(model_graph.inputs), "output": model_graph.output}


def decode_graph(facts: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device) -> ModelGraph:
    """The graph again, over given tensors; what it makes itself (zeros, positions) it makes on the given device.

    Raises:
        ForeignFile: an op this version of torch does not have, or that is not an op of torch at all.
    """
    try:
        return _build_graph(facts, tensors, device)
    except ForeignFile:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise ForeignFile(f"the graph in this file is corrupted ({type(error).__name__}: {error}); write it again") from error


def _build_graph(facts: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device) -> ModelGraph:
    graph = Graph()
    known: dict[str, Node] = {}
    nodes: dict[str, Node] = {}
    for row in facts["nodes"]:
        node = known[row["id"]] = _decode_node(graph, row, known)
        if isinstance(node.kwargs.get("device"), torch.device):
            node.update_kwarg("device", device)
        if row["value"] is not None:
            value = Value(**{**row["value"], "shape": tuple(row["value"]["shape"])})
            node.meta["value"] = value
            if value.is_tensor:
                nodes[value.name] = node
        if row["batch_size"]:
            node.meta["batch_size"] = True
    if absent := [node.target for node in graph.nodes if node.op == "get_attr" and node.target not in tensors]:
        raise ForeignFile(f"the graph in this file needs the tensor {absent[0]!r}, which the file does not hold")
    graph.output(nodes[facts["output"]])
    return ModelGraph(graph, dict(tensors), nodes, tuple(facts["inputs"]), facts["output"])


def _encode_node(node: Node) -> dict[str, Any]:
    value = node.meta.get("value")
    return {
        "id": node.name,
        "op": node.op,
        "target": _op_qualified_name(node) if node.op == "call_function" else str(node.target),
        "args": _encode_argument(node.args),
        "kwargs": _encode_argument(node.kwargs),
        "value": asdict(value) if value is not None else None,
        "batch_size": bool(node.meta.get("batch_size")),
    }


def _decode_node(graph: Graph, row: Mapping[str, Any], known: Mapping[str, Node]) -> Node:
    if row["op"] == "placeholder":
        return graph.placeholder(row["target"])
    if row["op"] == "get_attr":
        return graph.get_attr(row["target"])
    return graph.call_function(_find_op(row["target"]), _decode_argument(row["args"], known), _decode_argument(row["kwargs"], known))


def _op_qualified_name(node: Node) -> str:
    if isinstance(node.target, torch._ops.OpOverload) and node.target.namespace == "aten":
        return str(node.target)
    if node.target not in SCALAR_OP_NAMES:
        raise ForeignFile(f"op {node.target} cannot be saved")
    return SCALAR_OP_NAMES[node.target]


def _find_op(name: str) -> Any:
    if name in SCALAR_OPS:
        return SCALAR_OPS[name]
    parts = name.split(".")
    op = getattr(torch.ops.aten, parts[1], None) if len(parts) == 3 and parts[0] == "aten" else None
    overload = getattr(op, parts[2], None) if op is not None else None
    if not isinstance(overload, torch._ops.OpOverload):
        raise ForeignFile(f"the file asks for the op {name!r}, which torch {torch.__version__} does not have")
    return overload


def _encode_argument(value: Any) -> Any:
    if isinstance(value, Node):
        return {"node": value.name}
    if isinstance(value, (tuple, list)):
        return [_encode_argument(item) for item in value]
    if isinstance(value, dict):
        return {"dict": {key: _encode_argument(item) for key, item in value.items()}}
    for kind in (torch.dtype, torch.device, torch.layout, torch.memory_format):
        if isinstance(value, kind):
            return {kind.__name__: str(value).removeprefix("torch.")}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ForeignFile(f"an argument of type {type(value).__name__} cannot be saved")


def _decode_argument(value: Any, known: Mapping[str, Node]) -> Any:
    if isinstance(value, list):
        return tuple(_decode_argument(item, known) for item in value)
    if not isinstance(value, dict):
        return value
    (kind, content), *_ = value.items()
    if kind == "node":
        return known[content]
    if kind == "dict":
        return {key: _decode_argument(item, known) for key, item in content.items()}
    if kind == "device":
        return torch.device(content)
    found = getattr(torch, content, None)
    if not isinstance(found, (torch.dtype, torch.layout, torch.memory_format)):
        raise ForeignFile(f"the file asks for {kind} {content!r}, which torch {torch.__version__} does not have")
    return found
