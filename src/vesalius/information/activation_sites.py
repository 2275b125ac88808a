"""Where units are once what belongs to their layer is done: unfolding, normalisation, activation; a residual sum begins new ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from torch.fx import Node

from vesalius.trace.graph import ModelGraph, Value
from vesalius.trace.graph_axes import GraphAxes
from vesalius.trace.layers import Layer

UNIT_PRESERVING_OPS = frozenset({"batch_norm", "dropout", "add", "group_norm"})
"""Ops between a layer and its activation that keep its units apart; a sum of two ways ends them."""
NORM_OPS = frozenset({"batch_norm", "group_norm"})
ARITHMETIC_OPS = frozenset({"add", "sub", "mul", "div"})
"""Ops, beside elementwise ones, that an activation written by hand is made of."""


@dataclass(frozen=True, kw_only=True)
class ActivationSite:
    """Where units are.

    Attributes:
        value: name of the value.
        axis: of it, batch first, that runs over units.
        active: whether it is the output of an activation.
    """

    value: str
    axis: int
    active: bool = False


def pre_activation_site(axes: GraphAxes, layer: Layer) -> ActivationSite:
    """The layer's own value, one row or grid of units per sample.

    Raises:
        InvalidInput: its samples or its units cannot be found.
    """
    name = _node_value(_output_node(axes, layer)).name
    return ActivationSite(value=name, axis=axes.unit_axis(name))


def post_activation_site(axes: GraphAxes, layer: Layer, sums: Collection[str]) -> ActivationSite:
    """The same after normalisation and activation, as far as the units stay what they are.

    Args:
        axes: of the graph.
        layer: of it.
        sums: names of residual sums, where the layer ends.

    Raises:
        InvalidInput: as :func:`pre_activation_site`.
    """
    return _site_behind(axes, _output_node(axes, layer), sums)


def residual_sum_site(axes: GraphAxes, name: str, sums: Collection[str]) -> ActivationSite:
    """A residual sum after normalisation and activation.

    Raises:
        InvalidInput: as :func:`pre_activation_site`.
    """
    return _site_behind(axes, axes.model_graph.nodes[name], sums)


def _site_behind(axes: GraphAxes, node: Node, sums: Collection[str]) -> ActivationSite:
    last = _node_value(node).name
    axis = axes.unit_axis(last)
    while (user := _following_node(axes.model_graph, node)) is not None:
        follower = _node_value(user)
        if follower.name in sums:
            break
        if follower.family == "elementwise" or len(_consumers(node)) > 1:
            return ActivationSite(value=follower.name, axis=axis, active=True)
        if follower.op not in UNIT_PRESERVING_OPS:
            break
        last = follower.name if follower.op in NORM_OPS else last
        node = user
    return ActivationSite(value=last, axis=axis)


def _node_value(node: Node) -> Value:
    found: Value = node.meta["value"]
    return found


def _output_node(axes: GraphAxes, layer: Layer) -> Node:
    """Where a layer ran on all positions of all samples as one batch, what that is reshaped to; else its own value."""
    node = axes.model_graph.nodes[layer.value]
    users = _consumers(node)
    if _node_value(node).batch_axis is None and len(users) == 1 and "value" in users[0].meta:
        user = _node_value(users[0])
        found = axes.values[user.name].units if user.family == "reshape" and user.batch_axis == 0 else None
        if found is not None and user.shape[found] == layer.units:
            return users[0]
    return node


def _following_node(model_graph: ModelGraph, node: Node) -> Node | None:
    """The one value made of this one that has its shape; of several, the one that they all come together in, as in x * sigmoid(x)."""
    users = _consumers(node)
    if not users or not _have_same_shape(users, node):
        return None
    if len(users) == 1:
        return users[0]
    order = {name: place for place, name in enumerate(model_graph.nodes)}
    between, active = set(users), False
    while len(between) > 1:
        first = min(between, key=lambda each: order[_node_value(each).name])
        further = _consumers(first)
        if not further or not _have_same_shape(further, node) or not _are_elementwise(first):
            return None
        active |= _node_value(first).family == "elementwise"
        between = between - {first} | set(further)
    return between.pop() if active and _are_elementwise(*between) else None


def _consumers(node: Node) -> list[Node]:
    return [user for user in node.users if not user.meta.get("batch_size")]


def _have_same_shape(nodes: Iterable[Node], node: Node) -> bool:
    return all("value" in each.meta and _node_value(each).shape == _node_value(node).shape for each in nodes)


def _are_elementwise(*nodes: Node) -> bool:
    return all(_node_value(each).family == "elementwise" or _node_value(each).op in ARITHMETIC_OPS for each in nodes)
