"""What becomes of a layer's output before anything else reads it: an affine map per unit, then an activation.

Axes: U units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx import Node

from vesalius.sparsity.activations import Activation
from vesalius.trace.graph import ModelGraph
from vesalius.trace.graph_axes import GraphAxes
from vesalius.trace.layers import Layer

PASS_THROUGH_OPS = frozenset(
    "view reshape flatten unflatten unsqueeze squeeze transpose permute t contiguous alias detach dropout feature_dropout"
    " _unsafe_view _reshape_alias clone".split()
)
"""Ops that only move elements, or do nothing when a network is not trained: an activation is the same before and after them."""
UNIT_LAST_OPS = frozenset({"linear", "addmm", "matmul", "mm"})


@dataclass(frozen=True, eq=False, kw_only=True)
class FusedActivation:
    """What follows a layer.

    Attributes:
        activation: the function of one unit; identity if none follows, or if several values read the output.
        scale, shift: the affine map between layer and activation, of a batch norm or of a bias added on its own: ``scale * z + shift``.
        unread: name of an elementwise op that follows and has no closed form here; empty otherwise.
    """

    activation: Activation
    scale: Float[Tensor, " U"] | None = None
    shift: Float[Tensor, " U"] | None = None
    unread: str = ""


def find_activation(axes: GraphAxes, layer: Layer) -> FusedActivation:
    """Follow a layer's output to its activation.

    Args:
        axes: of the graph.
        layer: of it.
    """
    model_graph = axes.model_graph
    node = model_graph.nodes[layer.value]
    scale: Tensor | None = None
    shift: Tensor | None = None
    while (node := _only_reader(node)) is not None:  # type: ignore[assignment]
        value = node.meta["value"]
        if value.op in PASS_THROUGH_OPS:
            continue
        affine = AFFINE_READERS[value.op](axes, node, layer) if value.op in AFFINE_READERS else None
        if affine is None:
            break
        scale, shift = _compose_affine((scale, shift), affine)
    if node is None:
        return FusedActivation(activation=Activation(), scale=scale, shift=shift)
    value = node.meta["value"]
    found = (
        PARAMETRIC_ACTIVATIONS[value.op](node)
        if value.op in PARAMETRIC_ACTIVATIONS
        else Activation(value.op)
        if value.op in PLAIN_ACTIVATIONS
        else None
    )
    unread = value.op if found is None and value.family == "elementwise" else ""
    return FusedActivation(activation=found or Activation(), scale=scale, shift=shift, unread=unread)


def _only_reader(node: Node) -> Node | None:
    """The one value that reads another; ``None`` if there are several, or none."""
    users = [user for user in node.users if "value" in user.meta or user.op == "output"]
    return users[0] if len(users) == 1 and "value" in users[0].meta else None


Affine = tuple[Tensor | None, Tensor | None]


def _compose_affine(first: Affine, then: Affine) -> Affine:
    """One affine map after another."""
    scale = then[0] if first[0] is None else first[0] if then[0] is None else first[0] * then[0]
    moved = first[1] if first[1] is None or then[0] is None else first[1] * then[0]
    return scale, then[1] if moved is None else moved if then[1] is None else moved + then[1]


def _batch_norm_affine(axes: GraphAxes, node: Node, layer: Layer) -> Affine | None:
    """Batch norm with running statistics, whose parameters belong to the layer's units."""
    weight, bias, mean, variance = (_stored_tensor(axes.model_graph, argument) for argument in node.args[1:5])
    if mean is None or variance is None or len(mean) != layer.units or not _units_are_on(axes, node, layer, 1):
        return None
    eps = next((float(argument) for argument in reversed(node.args) if isinstance(argument, float)), 1e-5)
    scale = (variance + eps).rsqrt() * (1 if weight is None else weight)
    return scale, (0 if bias is None else bias) - mean * scale


def _units_are_on(axes: GraphAxes, node: Node, layer: Layer, axis: int) -> bool:
    """Whether a value has a layer's units, all of them and nothing else, on an axis."""
    own = axes.values[layer.value].axes[layer.unit_axis]
    return axes.values[node.meta["value"].name].axes[axis] == own


def _added_bias_affine(axes: GraphAxes, node: Node, layer: Layer) -> Affine | None:
    """A parameter added to the units of a product of matrices."""
    if len(node.args) != 2 or node.kwargs or layer.op not in UNIT_LAST_OPS:
        return None
    tensors = [found for argument in node.args if (found := _stored_tensor(axes.model_graph, argument)) is not None]
    if len(tensors) != 1 or tensors[0].shape != (layer.units,) or not _units_are_on(axes, node, layer, -1):
        return None
    return None, tensors[0]


def _stored_tensor(model_graph: ModelGraph, argument: object) -> Tensor | None:
    return model_graph.tensors[str(argument.target)].detach() if isinstance(argument, Node) and argument.op == "get_attr" else None


AFFINE_READERS: Mapping[str, Callable[[GraphAxes, Node, Layer], Affine | None]] = {
    "batch_norm": _batch_norm_affine,
    "add": _added_bias_affine,
}


def _float_argument(node: Node, place: int, name: str, default: float) -> float:
    found = node.args[place] if len(node.args) > place else node.kwargs.get(name, default)
    return float(found)  # type: ignore[arg-type]


def _read_gelu(node: Node) -> Activation:
    return Activation("gelu_tanh" if node.kwargs.get("approximate") == "tanh" else "gelu")


PARAMETRIC_ACTIVATIONS: Mapping[str, Callable[[Node], Activation]] = {
    "leaky_relu": lambda node: Activation("leaky_relu", _float_argument(node, 1, "negative_slope", 0.01)),
    "softplus": lambda node: Activation("softplus", _float_argument(node, 1, "beta", 1.0)),
    "gelu": _read_gelu,
}
"""Activations with a parameter, read off the graph."""
PLAIN_ACTIVATIONS = frozenset("relu silu sigmoid tanh".split())


def fold_affine(
    found: FusedActivation, weight: Float[Tensor, "U F"], bias: Float[Tensor, " U"]
) -> tuple[Float[Tensor, "U F"], Float[Tensor, " U"]]:
    """Weight and bias of the activation's argument."""
    if found.scale is not None:
        weight, bias = weight * found.scale[:, None], bias * found.scale
    return weight, bias if found.shift is None else bias + torch.as_tensor(found.shift)
