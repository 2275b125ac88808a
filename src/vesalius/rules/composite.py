"""Which LRP rule each layer follows, and batch norms folded into the layers before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.core.names import require_known
from vesalius.rules.layer_rules import AlphaBeta, Box, Epsilon, Gamma, LayerRule
from vesalius.rules.op_kinds import op_kind, op_name
from vesalius.rules.plan import Plan
from vesalius.trace.graph import Value

LINEAR_KINDS = frozenset("move add scale map affine shape transform".split())


@dataclass(frozen=True, kw_only=True, eq=False)
class Composite:
    """Rules by the place of a layer; where several apply, the last named below counts.

    Attributes:
        dense: of linear layers and all other products with a constant.
        convolution: of convolutions.
        first: of layers that stand on the explained tensor.
        last: of layers after which everything is linear.
        layers: of single layers, by module path.
    """

    dense: LayerRule = field(default_factory=Epsilon)
    convolution: LayerRule = field(default_factory=Epsilon)
    first: LayerRule | None = None
    last: LayerRule | None = None
    layers: Mapping[str, LayerRule] = field(default_factory=dict)

    def assign(self, plan: Plan) -> dict[Node, LayerRule]:
        """The rule of every map in a program.

        Raises:
            UnknownName: a layer that has no map in it.
            InvalidInput: no layer stands on the explained tensor, though there is a rule for those that do.
        """
        paths = plan.remember("maps", _map_paths)
        if unknown := [name for name in self.layers if name not in paths.values()]:
            raise UnknownName("layer", unknown[0], paths.values())
        first, last = plan.remember("first layers", _first_layers), plan.remember("last layers", _last_layers)
        if self.first is not None and not first:
            raise InvalidInput(
                f"no layer stands on the explained tensor, so that {type(self.first).__name__}, which knows its domain, has no place;"
                " explain the value that the first layer reads with at=, or leave that rule out"
            )
        return {node: self._rule(node, paths[node], node in first, node in last) for node in paths}

    def _rule(self, node: Node, path: str, first: bool, last: bool) -> LayerRule:
        rule = self.convolution if op_name(node.target).startswith("conv") else self.dense
        if first and self.first is not None:
            rule = self.first
        if last and self.last is not None:
            rule = self.last
        return self.layers.get(path, rule)


def epsilon_plus() -> Composite:
    """z+ on convolutions, epsilon on the rest; as zennit's EpsilonPlus."""
    return Composite(convolution=AlphaBeta(alpha=1, beta=0))


def epsilon_alpha2_beta1() -> Composite:
    """alpha = 2, beta = 1 on convolutions, epsilon on the rest; as zennit's EpsilonAlpha2Beta1."""
    return Composite(convolution=AlphaBeta())


def epsilon_gamma_box(low: float | Tensor, high: float | Tensor) -> Composite:
    """Bounds of the input on the first layer, gamma on convolutions, epsilon on the rest; as zennit's EpsilonGammaBox."""
    return Composite(convolution=Gamma(), first=Box(low=low, high=high))


PRESETS = {"epsilon_plus": epsilon_plus, "epsilon_alpha2_beta1": epsilon_alpha2_beta1}
"""Composites without options, by name."""


def resolve_composite(composite: str | Composite) -> Composite:
    """A composite by name, or as it is."""
    if isinstance(composite, Composite):
        return composite
    if composite == "epsilon_gamma_box":
        raise InvalidInput("epsilon_gamma_box needs the input's bounds: composite=epsilon_gamma_box(low, high)")
    require_known("composite", composite, PRESETS)
    return PRESETS[composite]()


def _map_paths(plan: Plan) -> dict[Node, str]:
    """The layer that each map is part of."""
    return {node: _module_path(node) for node in plan.traced if node.op == "call_function" and op_kind(node.target) == "map"}


def _module_path(node: Node) -> str:
    value: Value | None = node.meta.get("value")
    return "" if value is None else value.module or value.name


def _first_layers(plan: Plan) -> set[Node]:
    """Maps that read explained tensors, moved at most."""
    near, found = set(plan.explained), set()
    for node in plan.traced:
        if node.op != "call_function" or not any(source in near for source in node.all_input_nodes):
            continue
        kind = op_kind(node.target)
        if kind == "move":
            near.add(node)
        elif kind == "map":
            found.add(node)
    return found


def _last_layers(plan: Plan) -> set[Node]:
    """Maps after which no op is non-linear."""
    traced = set(plan.traced)
    bent: set[Node] = set()
    for node in reversed(plan.traced):
        after = [user for user in node.users if user in traced]
        if any(user in bent or not _is_linear(user, traced) for user in after):
            bent.add(node)
    return {node for node in plan.traced if node not in bent}


def _is_linear(node: Node, traced: set[Node]) -> bool:
    if node.op != "call_function":
        return True
    kind = op_kind(node.target)
    if kind in ("multiply", "divide", "map"):
        return sum(source in traced for source in node.all_input_nodes) == 1 and (kind != "divide" or node.args[0] in traced)
    return kind in LINEAR_KINDS


# ---- batch norm -------------------------------------------------------------------------------------------------------------------


def fold_batch_norms(program: GraphModule) -> GraphModule:
    """The same program with every batch norm that directly follows a layer, and is its only reader, folded into the layer's weight and
    bias; kept with the program, since torch never forgets the source of a program that it has compiled.
    """
    if "folded" not in program.meta:
        program.meta["folded"] = _fold_copy(program)
    found: GraphModule = program.meta["folded"]
    return found


def _fold_copy(program: GraphModule) -> GraphModule:
    graph = torch.fx.Graph()
    copies: dict[Node, Node] = {}
    output = graph.graph_copy(program.graph, copies)
    graph.output(output)
    for node in list(graph.nodes):
        if node.op == "call_function" and op_kind(node.target) == "affine":
            _fold_norm(graph, node)
    graph.eliminate_dead_code()
    return GraphModule(program, graph)


def _fold_norm(graph: torch.fx.Graph, norm: Node) -> None:
    layer = norm.args[0]
    if not isinstance(layer, Node) or layer.op != "call_function" or len(layer.users) > 1 or not _can_fold_norm(layer):
        return
    if norm.args[3] is None:  # statistics of the batch
        return
    turned = op_name(layer.target).startswith("conv_transpose")
    native = op_name(norm.target).startswith("_")
    eps = norm.args[6] if native else norm.args[7]
    bias = layer.args[2] if len(layer.args) > 2 else layer.kwargs.get("bias")
    with graph.inserting_before(layer):
        weight = graph.call_function(fold_weight, (layer.args[1], *_norm_statistics(norm), eps, turned))
        shift = graph.call_function(fold_bias, (bias, *_norm_statistics(norm), eps))
    layer.args = (layer.args[0], weight, shift, *layer.args[3:])
    layer.kwargs = {key: value for key, value in layer.kwargs.items() if key != "bias"}
    readers = [user for user in list(norm.users)] if native else [norm]
    for reader in readers:
        reader.replace_all_uses_with(layer)


def _can_fold_norm(layer: Node) -> bool:
    """Whether a layer's outputs are the channels of a norm behind it, and its weight is a plain constant."""
    name = op_name(layer.target)
    value: Value | None = layer.meta.get("value")
    if op_kind(layer.target) != "map" or not isinstance(layer.args[1], Node) or layer.args[1].op != "get_attr":
        return False
    if name == "linear":
        return value is not None and len(value.shape) == 2
    groups: Any = layer.args[6] if name.startswith("conv_transpose") and len(layer.args) > 6 else 1
    return name.startswith("conv") and name != "convolution" and bool(groups == 1)


def _norm_statistics(norm: Node) -> tuple[Any, ...]:
    """Mean, variance, weight and bias."""
    weight, bias, mean, variance = norm.args[1:5]
    return mean, variance, weight, bias


def fold_weight(weight: Tensor, mean: Tensor, variance: Tensor, *rest: Any) -> Tensor:
    """A layer's weight times the norm's scale, per output channel."""
    gain, _, eps, turned = rest
    scale = _norm_scale(variance, gain, eps)
    place = [1] * weight.ndim
    place[1 if turned else 0] = -1
    return weight * scale.reshape(place)


def fold_bias(bias: Tensor | None, mean: Tensor, variance: Tensor, *rest: Any) -> Tensor:
    """A layer's bias behind the norm."""
    gain, shift, eps = rest
    moved = (-mean if bias is None else bias - mean) * _norm_scale(variance, gain, eps)
    return moved if shift is None else moved + shift


def _norm_scale(variance: Tensor, gain: Tensor | None, eps: float) -> Tensor:
    scale = torch.rsqrt(variance + eps)
    return scale if gain is None else scale * gain
