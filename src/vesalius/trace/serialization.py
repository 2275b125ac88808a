"""A graph as data: written as JSON, read back op by op from a fixed list, so that no file can run code, write or fill the memory.

What could not be read is not written: both ways go through the same checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, Node

from vesalius.core.errors import ForeignFile
from vesalius.core.store import DAMAGE
from vesalius.trace.any_length import AnyLength
from vesalius.trace.graph import ModelGraph, Value
from vesalius.trace.opset import FAMILIES, readable_op_name
from vesalius.trace.rehearsal import rehearse
from vesalius.trace.safe_ops import DTYPES, SCALAR_OPS, UNWRITTEN, check_arguments, check_identifier, check_name, find_op, impurity
from vesalius.trace.sizes import decode_size

SCALAR_OP_NAMES = {function: name for name, function in SCALAR_OPS.items()}
KNOWN_FAMILIES = {*FAMILIES, "input", "unknown"}
LAYOUTS = {"strided": torch.strided}
MEMORY_FORMATS = {name: getattr(torch, name) for name in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")}
NAMED: Mapping[str, Mapping[str, Any]] = {"dtype": DTYPES, "layout": LAYOUTS, "memory_format": MEMORY_FORMATS}
"""Arguments that a file holds by name."""
MOST_STEPS = 1 << 31
"""Length that no sequence has."""


def encode_graph(model_graph: ModelGraph) -> dict[str, Any]:
    """The graph as JSON-able data, without its tensors.

    Raises:
        ForeignFile: an op or a name that a file may not hold.
    """
    whole: AnyLength | None = model_graph.any_length
    rows = [_encode_node(node) for node in (model_graph if whole is None else whole).graph.nodes if node.op != "output"]
    try:
        rehearse(model_graph.graph, model_graph.tensors)
    except DAMAGE as error:
        raise ForeignFile(f"this network cannot be saved, for it could not be read again: {str(error)[:400]}") from error
    facts = {"nodes": rows, "inputs": list(model_graph.inputs), "output": model_graph.output}
    return facts if whole is None else {**facts, "lengths": _lengths_of(model_graph), "conditions": whole.conditions}


def _lengths_of(model_graph: ModelGraph) -> dict[str, int]:
    """The lengths that a graph is at."""
    shapes = {name: [1 if side is None else side for side in model_graph.value(name).shape] for name in model_graph.inputs}
    found: dict[str, int] = model_graph.any_length.find_lengths(shapes)
    return found


def decode_graph(facts: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device) -> ModelGraph:
    """The graph again, over given tensors; what it makes itself (zeros, positions) it makes on the given device.

    Raises:
        ForeignFile: an op this version of torch does not have, or that no file may hold; values that are not what the file says of them.
    """
    try:
        found = _build_graph(facts, tensors, device)
        if "lengths" in facts:
            return _open_lengths(found, facts)
        rehearse(found.graph, found.tensors)
        return found
    except ForeignFile:
        raise
    except DAMAGE as error:
        raise ForeignFile(f"the graph in this file is corrupted ({type(error).__name__}: {str(error)[:400]}); write it again") from error


def _open_lengths(found: ModelGraph, facts: Mapping[str, Any]) -> ModelGraph:
    """A graph that holds at any length, at the one that it was written at."""
    lengths = dict(facts["lengths"])
    names = frozenset(lengths)
    if not all(isinstance(name, str) and type(side) is int and 0 < side < MOST_STEPS for name, side in lengths.items()):
        raise ValueError("its lengths are none")
    for node in found.graph.nodes:
        if "sizes" in node.meta:
            node.meta["sizes"] = tuple(None if size is None else decode_size(size, names) for size in node.meta["sizes"])
            if [size is None for size in node.meta["sizes"]] != [side is None for side in node.meta["value"].shape]:
                raise ValueError(f"{node.meta['value'].name!r} has sizes that are not of its shape")
    sizes = {name: found.nodes[name].meta["sizes"] for name in found.inputs}
    if names != {size for own in sizes.values() for size in own if isinstance(size, str)}:
        raise ValueError("there is a length that no axis of an input has")
    whole = AnyLength(found.graph, sizes, tuple(decode_size(one, names) for one in facts["conditions"]), foreign=True)
    if not whole.allows(lengths):
        raise ValueError(f"it does not hold at the lengths {lengths}")
    return whole.at(lengths, found.tensors, found.output)


def _build_graph(facts: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device) -> ModelGraph:
    graph = Graph()
    known: dict[str, Node] = {}
    nodes: dict[str, Node] = {}
    for row in facts["nodes"]:
        node = _decode_node(graph, row, known, device)
        if not isinstance(row["id"], str) or row["id"] in known:
            raise ValueError(f"two nodes are called {row['id']!r}")
        known[row["id"]] = node
        if row["value"] is not None:
            value = _decode_value(row["value"], row["target"])
            node.meta["value"] = value
            if "lengths" in facts:
                node.meta["sizes"] = row["sizes"]
            if value.is_tensor and value.name in nodes:
                raise ValueError(f"two values are called {value.name!r}")
            if value.is_tensor:
                nodes[value.name] = node
        if row["batch_size"]:
            node.meta["batch_size"] = True
    if absent := [node.target for node in graph.nodes if node.op == "get_attr" and node.target not in tensors]:
        raise ForeignFile(f"the graph in this file needs the tensor {absent[0]!r}, which the file does not hold")
    inputs = _check_inputs(tuple(facts["inputs"]), nodes, graph)
    graph.output(nodes[facts["output"]])
    return ModelGraph(graph, dict(tensors), nodes, inputs, facts["output"])


def _check_inputs(inputs: tuple[str, ...], nodes: Mapping[str, Node], graph: Graph) -> tuple[str, ...]:
    """Whether the inputs are all there are, in order, each with an axis for the batch."""
    if [nodes[name] for name in inputs] != [node for node in graph.nodes if node.op == "placeholder"] or not inputs:
        raise ValueError(f"its inputs are not {', '.join(map(str, inputs))}")
    for name in inputs:
        value = nodes[name].meta["value"]
        if value.batch_axis != 0 or any(side is None for side in value.shape[1:]) or value.op != "input":
            raise ValueError(f"{name!r} is no input with an axis for the batch")
    return inputs


def _decode_value(facts: Mapping[str, Any], target: str) -> Value:
    """Facts about a value, each of which is of the right type."""
    shape, axis = tuple(facts["shape"]), facts["batch_axis"]
    found = Value(**{**facts, "shape": shape})
    words = (getattr(found, one.name) for one in fields(found) if one.name not in ("shape", "batch_axis"))
    if not all(isinstance(word, str) for word in words) or found.family not in KNOWN_FAMILIES or found.dtype not in {*DTYPES, "tuple"}:
        raise ValueError(f"nothing like {found.name!r} of family {found.family!r} and type {found.dtype!r} is known")
    if not all(side is None or (type(side) is int and side >= 0) for side in shape):
        raise ValueError(f"{found.name!r} has no shape {list(shape)}")
    if axis is not None and (type(axis) is not int or not 0 <= axis < len(shape) or shape[axis] is not None):
        raise ValueError(f"{found.name!r} has no axis {axis} for the batch")
    parts = target.split(".")
    op = readable_op_name(find_op(target)) if target in SCALAR_OPS or (len(parts) == 3 and parts[0] == "aten") else found.op
    if parts[1:2] and parts[1] in UNWRITTEN:
        op = found.op
    if found.op != op:
        raise ValueError(f"{found.name!r} is made by {target}, and not by {found.op!r}")
    return found


def _encode_node(node: Node) -> dict[str, Any]:
    value: Value | None = node.meta.get("value")
    try:
        if node.op == "placeholder":
            check_identifier(node.target)
        elif node.op == "get_attr":
            check_name(node.target)
        sizes = {"sizes": node.meta["sizes"]} if "sizes" in node.meta else {}
        return {
            "id": node.name,
            "op": node.op,
            "target": _op_qualified_name(node) if node.op == "call_function" else str(node.target),
            "args": _encode_argument(node.args),
            "kwargs": _encode_argument(node.kwargs),
            "value": asdict(value) if value is not None else None,
            "batch_size": bool(node.meta.get("batch_size")),
            **sizes,
        }
    except ValueError as error:
        place = f" (line {value.line})" if value is not None and value.line else ""
        raise ForeignFile(f"this network cannot be saved: {error}{place}") from error


def _decode_node(graph: Graph, row: Mapping[str, Any], known: Mapping[str, Node], device: torch.device) -> Node:
    if row["op"] == "placeholder":
        check_identifier(row["target"])
        return graph.placeholder(row["target"])
    if row["op"] == "get_attr":
        check_name(row["target"])
        return graph.get_attr(row["target"])
    if row["op"] != "call_function":
        raise ValueError(f"there is no node of kind {row['op']!r}")
    op = find_op(row["target"])
    if not isinstance(row["args"], (list, tuple)) or [*row["kwargs"]] != ["dict"]:
        raise TypeError(f"the arguments of {row['target']} are none")
    args = _decode_argument(row["args"], known, device)
    kwargs = {str(name): _decode_argument(item, known, device) for name, item in row["kwargs"]["dict"].items()}
    check_arguments(op, args, kwargs)
    if isinstance(op, OpOverload) and op._opname in UNWRITTEN:
        name, overload = UNWRITTEN[op._opname]
        op = getattr(getattr(torch.ops.aten, name), overload)
        kwargs = {name: item for name, item in kwargs.items() if name in {one.name for one in op._schema.arguments}}
        args = args[: len(op._schema.arguments)]
    return graph.call_function(op, args, kwargs)


def _op_qualified_name(node: Node) -> str:
    """The name of a node's op, if a file may hold it."""
    target = node.target
    if isinstance(target, OpOverload):
        if reason := impurity(target):
            raise ValueError(f"its op {target} {reason}")
        check_arguments(target, node.args, node.kwargs)
        return str(target)
    if target not in SCALAR_OP_NAMES:
        raise ValueError(f"its op {target} is none of those that a file may hold")
    return SCALAR_OP_NAMES[target]


def _encode_argument(value: Any) -> Any:
    if isinstance(value, Node):
        return {"node": value.name}
    if isinstance(value, (tuple, list)):
        return [_encode_argument(item) for item in value]
    if isinstance(value, dict):
        return {"dict": {key: _encode_argument(item) for key, item in value.items()}}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    for kind, names in NAMED.items():
        if isinstance(value, getattr(torch, kind)):
            name = str(value).removeprefix("torch.")
            if name not in names:
                raise ValueError(f"its argument {value} is none that a file may hold")
            return {kind: name}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"its argument of type {type(value).__name__} is none that a file may hold")


def _decode_argument(value: Any, known: Mapping[str, Node], device: torch.device) -> Any:
    """An argument; whatever device a file names, the given one is meant."""
    if isinstance(value, (list, tuple)):
        return tuple(_decode_argument(item, known, device) for item in value)
    if type(value) is int and not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{value.bit_length()} bits are too many for a whole number")
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "node":
        return known[content]
    if kind == "device":
        return device
    if kind not in NAMED or not isinstance(content, str) or content not in NAMED[kind]:
        raise ValueError(f"it asks for {kind} {content!r}, which no file may")
    return NAMED[kind][content]
