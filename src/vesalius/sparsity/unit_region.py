"""The part of a graph behind a layer in which every unit is treated by itself, whatever the others are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_aggregate

from vesalius.trace.graph_axes import GraphAxes
from vesalius.trace.layers import Layer
from vesalius.trace.opset import base_op_name

STILL_OPS = frozenset("contiguous alias detach dropout feature_dropout alpha_dropout clone lift_fresh_copy".split())
"""Ops that do nothing when a network is not trained."""
MOVING_OPS = frozenset("view reshape flatten unflatten unsqueeze squeeze transpose permute t _unsafe_view _reshape_alias numpy_T".split())
"""Ops that only move elements: a function of one number is the same before and after them."""
POINTWISE_OPS = frozenset("hardswish prelu log_sigmoid rsub masked_fill selu relu6 rrelu to _to_copy type_as batch_norm".split())
"""Ops that treat every element by itself without PyTorch's saying so, besides a batch norm that is not trained, which is affine."""
CAST_OPS = frozenset("to _to_copy type_as".split())
LIKE_OPS = frozenset("zeros_like ones_like full_like new_zeros new_ones new_full".split())
"""Ops that ask a tensor for its kind only."""
MAX_POOL_OPS = frozenset("max_pool1d max_pool2d max_pool3d".split())


@dataclass(frozen=True, eq=False, kw_only=True)
class UnitRegion:
    """Values that are functions of one unit's sum.

    Attributes:
        axes: of the graph.
        layer: whose sums.
        start: the layer's value.
        path: nodes behind it, in order of computation, up to the last through which all that is read of the layer passes.
        constants: what else they read, as one number or one per unit, by reader and node.
        beyond: nodes that read the last of the path, or the start.
    """

    axes: GraphAxes
    layer: Layer
    start: Node
    path: tuple[Node, ...]
    constants: dict[tuple[Node, Node], Tensor]
    beyond: tuple[Node, ...]

    def moves_only(self, node: Node) -> bool:
        """Whether it leaves every element as it is."""
        cast = _op(node) in CAST_OPS and all(one.meta["value"].is_floating for one in (node, node.args[0]))  # type: ignore[union-attr]
        return cast or _op(node) in STILL_OPS | MOVING_OPS | MAX_POOL_OPS

    def is_pool(self, node: Node) -> bool:
        """Whether it takes a maximum over positions."""
        return _op(node) in MAX_POOL_OPS

    def is_chain(self, node: Node) -> bool:
        """Whether it reads one value of the region, and is that value's only reader."""
        inside = {self.start, *self.path}
        read = [one for one in _operands(node) if one in inside]
        return len(read) == 1 and len(_readers(read[0])) == 1


def find_region(axes: GraphAxes, layer: Layer, *, pools: bool) -> UnitRegion:
    """Follow a layer's output.

    Args:
        axes: of the graph.
        layer: of it.
        pools: whether a maximum over positions is passed by.
    """
    start = axes.model_graph.nodes[layer.value]
    layouts: dict[Node, Node] = {start: start}
    constants: dict[tuple[Node, Node], Tensor] = {}
    queue, order = [start], [start]
    while queue:
        node = queue.pop(0)
        for user in _readers(node):
            if user in layouts or (layout := _layout(axes, layer, user, layouts, constants, pools=pools)) is None:
                continue
            layouts[user] = layout
            order.append(user)
            queue.append(user)
    path = _until_joined(start, set(order))
    return UnitRegion(
        axes=axes, layer=layer, start=start, path=path, constants=constants, beyond=tuple(_readers(path[-1] if path else start))
    )


def _op(node: Node) -> str:
    return base_op_name(node.target).rstrip("_") if node.op == "call_function" else ""  # type: ignore[arg-type]


def _readers(node: Node) -> list[Node]:
    """What reads a value other than for the size of its batch."""
    return [user for user in node.users if "value" in user.meta or user.op == "output"]


def _operands(node: Node) -> list[Node]:
    return [one for one in node.all_input_nodes if "value" in one.meta or one.op == "get_attr"]


def is_pointwise(node: Node) -> bool:
    """Whether an op treats every element by itself."""
    if _op(node) == "batch_norm":
        return isinstance(node.args[3], Node) and isinstance(node.args[4], Node) and not node.args[5]
    tagged = isinstance(node.target, torch._ops.OpOverload) and torch.Tag.pointwise in node.target.tags
    return tagged or _op(node) in POINTWISE_OPS | LIKE_OPS


def _layout(
    axes: GraphAxes, layer: Layer, node: Node, layouts: dict[Node, Node], constants: dict[tuple[Node, Node], Tensor], *, pools: bool
) -> Node | None:
    """The node by which a value's elements were last moved, if it is a function of one unit; constants that it reads are noted."""
    if node.op != "call_function" or "value" not in node.meta:
        return None
    inside = [one for one in _operands(node) if one in layouts]
    found = {layouts[one] for one in inside}
    if len(found) != 1:
        return None
    if _op(node) in MOVING_OPS or (pools and _op(node) in MAX_POOL_OPS):
        return node
    if _op(node) in STILL_OPS:
        return found.pop()
    shapes = {one.meta["value"].shape for one in inside if _op(one) not in LIKE_OPS}
    if not is_pointwise(node) or (_op(node) not in LIKE_OPS and shapes != {node.meta["value"].shape}):
        return None
    for other in _operands(node):
        if other not in layouts and (node, other) not in constants:
            constant = _unit_constant(axes, layer, node, other)
            if constant is None:
                return None
            constants[node, other] = constant
    return found.pop()


def _until_joined(start: Node, inside: set[Node]) -> tuple[Node, ...]:
    """The values up to the last of some through which everything passes that is read of the first."""
    graph_order = [node for node in start.graph.nodes if node in inside]
    for end in reversed(graph_order):
        needed = {end}
        for node in reversed(graph_order):
            if node in needed:
                needed |= {one for one in _operands(node) if one in inside}
        if all(set(_readers(node)) <= needed for node in needed - {end}) and start in needed:
            return tuple(node for node in graph_order if node in needed and node is not start)
    return ()


def _unit_constant(axes: GraphAxes, layer: Layer, node: Node, other: Node) -> Tensor | None:
    """A constant that a node reads, if it is one number or one per unit of the layer."""
    tensor = evaluate_constant(axes, other)
    if tensor is None:
        return None
    if tensor.numel() == 1:
        return tensor.reshape(())
    rank = len(node.meta["value"].shape)
    wide = [place - tensor.ndim for place, side in enumerate(tensor.shape) if side != 1]
    if len(wide) != 1 or tensor.numel() != layer.units:
        return None
    axis = 1 if _op(node) in ("prelu", "batch_norm") else rank + wide[0]
    return tensor.flatten() if _units_are_on(axes, node, layer, axis) else None


def _units_are_on(axes: GraphAxes, node: Node, layer: Layer, axis: int) -> bool:
    """Whether a value has a layer's units, all of them and nothing else, on an axis."""
    own = axes.values[layer.value].axes[layer.unit_axis]
    return axis >= 0 and axes.values[node.meta["value"].name].axes[axis] == own


def evaluate_constant(axes: GraphAxes, node: Node) -> Tensor | None:
    """A tensor that depends on no input; ``None`` for one that does."""
    if node.op == "get_attr":
        return axes.model_graph.tensors[str(node.target)].detach()
    value = node.meta.get("value")
    if node.op != "call_function" or node.meta.get("batch_size") or value is None or value.family != "zero":
        return None
    read = {one: evaluate_constant(axes, one) for one in node.all_input_nodes}
    if _op(node).startswith("new_") and isinstance(node.args[0], Node):
        read[node.args[0]] = torch.zeros((), dtype=getattr(torch, value.dtype))
    if any(one is None for one in read.values()):
        return None
    args, kwargs = map_aggregate((node.args, node.kwargs), lambda one: read[one] if isinstance(one, Node) else one)
    found: Shaped[Tensor, "..."] = node.target(*args, **kwargs)  # type: ignore[operator]
    return found.detach() if isinstance(found, Tensor) else None


def blocking_op(region: UnitRegion) -> str:
    """The op behind a region that bends a unit's value, but not by a function of that unit alone; empty if there is none."""
    for node in region.beyond:
        if node.op == "output" or "value" not in node.meta:
            continue
        value = node.meta["value"]
        others = [one for one in _operands(node) if one not in {region.start, *region.path}]
        alone = all(evaluate_constant(region.axes, one) is not None for one in others)
        if alone and (value.family in ("elementwise", "select") or value.op == "glu"):
            return str(value.op)
    return ""
