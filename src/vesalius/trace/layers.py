"""Layers read off the graph: which parameter links which units, and along which axes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from torch.fx import Node

from vesalius.trace.graph import ModelGraph, Value, downstream_nodes
from vesalius.trace.opset import base_op_name

WEIGHT_ARGUMENT = {"addmm": 2, "embedding": 0, "matmul": 1, "mm": 1}
"""Position of the weight where it is not the second argument."""

LAYER_AXES = {
    "linear": (0, 1, -1),
    "addmm": (1, 0, -1),
    "matmul": (1, 0, -1),
    "mm": (1, 0, -1),
    "conv1d": (0, 1, 1),
    "conv2d": (0, 1, 1),
    "conv3d": (0, 1, 1),
    "conv_transpose1d": (1, 0, 1),
    "conv_transpose2d": (1, 0, 1),
    "conv_transpose3d": (1, 0, 1),
    "embedding": (1, 0, -1),
}
"""Per op: the weight's axis of output units and of input units, and the output value's axis of units."""

BIAS_ARGUMENT = {"addmm": 0, "embedding": None, "matmul": None, "mm": None}


@dataclass(frozen=True)
class Layer:
    """A parametrised linear map in the graph.

    Attributes:
        name: module path, or the value's name where a module has several or none.
        op: ``linear``, ``conv2d``, ``embedding``, ...
        value: name of its output value.
        source: name of its input value, empty for a parameter.
        weight: name of the weight; of one that is computed from parameters, as ``weight_norm`` does, the name it has in its module, or
            that of the value.
        out_axis: the weight's axis that runs over the layer's units.
        in_axis: the weight's axis that runs over the units it reads (within a group, if grouped).
        shape: shape of the weight.
        unit_axis: axis of the output value that runs over units, counted with the batch.
        units: number of units.
        bias: name of the bias, empty if there is none.
        groups: groups of a convolution, else 1.
        computed: name of the value that is the weight, where it is computed from parameters; empty where it is one.
    """

    name: str
    op: str
    value: str
    source: str
    weight: str
    out_axis: int
    in_axis: int
    shape: tuple[int, ...]
    unit_axis: int
    units: int
    bias: str = ""
    groups: int = 1
    computed: str = ""

    @property
    def weight_value(self) -> str:
        """Name by which a program takes the weight: of the parameter, or of the value."""
        return self.computed or self.weight


def find_layers(model_graph: ModelGraph) -> dict[str, Layer]:
    """All layers, in order of computation."""
    varying = downstream_nodes(model_graph.nodes[name] for name in model_graph.inputs)
    found = [layer for node in model_graph.nodes.values() if (layer := _read_layer(model_graph, node, varying)) is not None]
    owners = Counter(_weight_owner(layer) for layer in found)
    modules = Counter(model_graph.value(layer.value).module for layer in found)
    named = [_with_name(layer, _layer_name(layer, model_graph.value(layer.value), owners, modules)) for layer in found]
    return {layer.name: layer for layer in named}


def _weight_owner(layer: Layer) -> str:
    """Path of the module that owns the weight, if the weight is its only one."""
    path, _, leaf = layer.weight.rpartition(".")
    return path if leaf == "weight" else ""


def _layer_name(layer: Layer, value: Value, owners: Counter[str], modules: Counter[str]) -> str:
    """The weight's module, else the module that computes, else the value: the first that belongs to this layer alone."""
    if _weight_owner(layer) and owners[_weight_owner(layer)] == 1:
        return _weight_owner(layer)
    return value.module if value.module and modules[value.module] == 1 and value.module not in owners else value.name


def _with_name(layer: Layer, name: str) -> Layer:
    return Layer(**{**vars(layer), "name": name})


def _read_layer(model_graph: ModelGraph, node: Node, varying: Collection[Node]) -> Layer | None:
    op = base_op_name(node.target) if node.op == "call_function" else ""  # type: ignore[arg-type]
    if op not in LAYER_AXES:
        return None
    position = WEIGHT_ARGUMENT.get(op, 1)
    if node not in varying and op != "embedding":  # positions have embeddings, whatever comes in; a product makes another's weight
        return None
    matrix, swapped = _matrix_behind(node.args[position])
    if matrix is None or matrix in varying:
        return None
    weight, computed, shape = _weight_of(model_graph, matrix)
    if not shape or ("conv" not in op and len(shape) != 2):
        return None
    out_axis, in_axis, unit_axis = LAYER_AXES[op]
    value: Value = node.meta["value"]
    groups = _conv_groups(node, op)
    if swapped:
        out_axis, in_axis = in_axis, out_axis
    source = node.args[1] if op in ("addmm", "embedding") else node.args[0]
    bias_at = BIAS_ARGUMENT.get(op, 2)
    bias, _ = _matrix_behind(node.args[bias_at]) if bias_at is not None and len(node.args) > bias_at else (None, False)
    axis = unit_axis % len(value.shape)
    return Layer(
        name=value.name,
        op=op,
        value=value.name,
        source=source.meta["value"].name if isinstance(source, Node) and "value" in source.meta else "",
        weight=weight,
        out_axis=out_axis,
        in_axis=in_axis,
        shape=shape,
        unit_axis=axis,
        units=int(value.shape[axis] or 0),
        bias=str(bias.target) if bias is not None and bias.op == "get_attr" else "",
        groups=groups,
        computed=computed,
    )


def _matrix_behind(argument: object) -> tuple[Node | None, bool]:
    """What is behind an argument that was transposed on the way (as in tied weights), and whether it was."""
    swapped = False
    while isinstance(argument, Node) and argument.op == "call_function":
        op = base_op_name(argument.target)  # type: ignore[arg-type]
        if op not in ("t", "transpose", "numpy_T", "mT", "detach", "alias"):
            break
        swapped ^= op not in ("detach", "alias")
        argument = argument.args[0]
    return (argument, swapped) if isinstance(argument, Node) else (None, swapped)


def _weight_of(model_graph: ModelGraph, matrix: Node) -> tuple[str, str, tuple[int, ...]]:
    """Name of a weight, of the value if it is computed from parameters, and its shape; no shape if it is neither."""
    if matrix.op == "get_attr":
        return str(matrix.target), "", tuple(model_graph.tensors[str(matrix.target)].shape)
    value: Value | None = matrix.meta.get("value")
    if value is None or not value.is_tensor or not value.is_floating or None in value.shape:
        return "", "", ()
    sources = parameters_behind(matrix)
    return owner_name(sources) or value.name, value.name, tuple(int(side or 1) for side in value.shape) if sources else ()


def parameters_behind(node: Node) -> set[str]:
    """Names of the parameters and buffers that a value is computed from."""
    queue, seen = [node], {node}
    for one in queue:
        further = [source for source in one.all_input_nodes if source not in seen]
        seen |= set(further)
        queue += further
    return {str(one.target) for one in queue if one.op == "get_attr"}


PARTS = {"_orig": ("_mask", "_u"), "_v": ("_g",)}
"""Endings of parameters that a module's weight is computed from, each with those of others of which one comes along."""


def owner_name(sources: Collection[str]) -> str:
    """Name that a weight has in its module, computed from parametrisations or masks of PyTorch's; empty if it is neither."""
    for name in sorted(sources):
        path, inside, rest = name.partition("parametrizations.")
        if inside and (not path or path.endswith(".")):
            return path + rest.partition(".")[0]
        for ending, others in PARTS.items():
            stem = name.removesuffix(ending)
            if stem != name and any(stem + other in sources for other in others):
                return stem
    return ""


def _conv_groups(node: Node, op: str) -> int:
    place = {"conv1d": 6, "conv2d": 6, "conv3d": 6, "conv_transpose1d": 6, "conv_transpose2d": 6, "conv_transpose3d": 6}.get(op)
    groups = node.args[place] if place is not None and len(node.args) > place else 1
    return groups if isinstance(groups, int) else 1
