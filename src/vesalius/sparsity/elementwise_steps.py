"""Ops of a graph, read as affine maps, as activations with a closed form, or as steps of any function of one number.

Axes: U units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_aggregate

from vesalius.sparsity.activations import Activation
from vesalius.sparsity.elementwise_function import Earlier, ElementwiseFunction, Step, UnitConstant
from vesalius.sparsity.unit_region import LIKE_OPS, UnitRegion

MAX_NAME = 48
"""Characters of a formula that are shown."""
INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "gt": ">", "lt": "<", "ge": ">=", "le": "<="}
Affine = tuple[Tensor | None, Tensor | None]


def _float_argument(node: Node, place: int, name: str, default: float) -> float:
    found = node.args[place] if len(node.args) > place else node.kwargs.get(name, default)
    return float(found)  # type: ignore[arg-type]


def _operand(node: Node, place: int, region: UnitRegion) -> Tensor | None:
    """The constant at a place of a node's arguments, one per unit; ``None`` for a value of the region."""
    argument = node.args[place]
    if isinstance(argument, Node):
        found = region.constants.get((node, argument))
        return None if found is None else found.expand(region.layer.units)
    return _full(region, float(argument))  # type: ignore[arg-type]


def _full(region: UnitRegion, number: float) -> Tensor:
    """A number for each unit, where the layer's weight is, and in its precision."""
    home = region.axes.model_graph.tensors[region.layer.weight]
    return torch.full((region.layer.units,), number, dtype=torch.promote_types(home.dtype, torch.float32), device=home.device)


def _other(node: Node, region: UnitRegion) -> tuple[int, Tensor | None]:
    """Place of the region's value among two operands, and the other one."""
    first = _operand(node, 0, region)
    return (0, _operand(node, 1, region)) if first is None else (1, first)


def _read_add(node: Node, region: UnitRegion) -> Affine | None:
    other = _other(node, region)[1]
    return None if other is None or node.kwargs else (None, other)


def _read_sub(node: Node, region: UnitRegion) -> Affine | None:
    place, other = _other(node, region)
    if other is None or node.kwargs:
        return None
    return (None, -other) if place == 0 else (-torch.ones_like(other), other)


def _read_rsub(node: Node, region: UnitRegion) -> Affine | None:
    place, other = _other(node, region)
    if other is None or node.kwargs or len(node.args) > 2:
        return None
    return (-torch.ones_like(other), other) if place == 0 else (None, -other)


def _read_mul(node: Node, region: UnitRegion) -> Affine | None:
    other = _other(node, region)[1]
    return None if other is None else (other, None)


def _read_div(node: Node, region: UnitRegion) -> Affine | None:
    place, other = _other(node, region)
    return None if other is None or place or node.kwargs else (other.reciprocal(), None)


def _read_batch_norm(node: Node, region: UnitRegion) -> Affine | None:
    """Batch norm with running statistics, whose parameters belong to the layer's units."""
    weight, bias, mean, variance = (region.constants.get((node, one)) if isinstance(one, Node) else None for one in node.args[1:5])
    if mean is None or variance is None:
        return None
    eps = next((float(argument) for argument in reversed(node.args) if isinstance(argument, float)), 1e-5)
    scale = ((variance + eps).rsqrt() * (1 if weight is None else weight)).expand(region.layer.units)
    return scale, ((0 if bias is None else bias) - mean * scale).expand(region.layer.units)


def _read_neg(node: Node, region: UnitRegion) -> Affine:
    return _full(region, -1.0), None


AFFINE_READERS: Mapping[str, Callable[[Node, UnitRegion], Affine | None]] = {
    "batch_norm": _read_batch_norm,
    "add": _read_add,
    "sub": _read_sub,
    "rsub": _read_rsub,
    "mul": _read_mul,
    "div": _read_div,
    "neg": _read_neg,
}


def read_affine(node: Node, region: UnitRegion) -> Affine | None:
    """Scale and shift of a node that is an affine map of each unit, ``None`` for any other."""
    reader = AFFINE_READERS.get(node.meta["value"].op)
    return None if reader is None else reader(node, region)


def _read_gelu(node: Node, region: UnitRegion) -> Activation:
    return Activation("gelu_tanh" if node.kwargs.get("approximate") == "tanh" else "gelu")


def _read_prelu(node: Node, region: UnitRegion) -> Activation | None:
    """With one slope for all units."""
    slope = region.constants[node, node.args[1]]  # type: ignore[index]
    return None if slope.ndim else Activation("leaky_relu", float(slope))


def _read_softplus(node: Node, region: UnitRegion) -> Activation | None:
    return Activation("softplus", _float_argument(node, 1, "beta", 1.0)) if _float_argument(node, 2, "threshold", 20.0) >= 20 else None


ACTIVATION_READERS: Mapping[str, Callable[[Node, UnitRegion], Activation | None]] = {
    **{name: lambda node, _, name=name: Activation(name) for name in ("relu", "silu", "sigmoid", "tanh")},  # type: ignore[misc]
    "leaky_relu": lambda node, _: Activation("leaky_relu", _float_argument(node, 1, "negative_slope", 0.01)),
    "softplus": _read_softplus,
    "gelu": _read_gelu,
    "prelu": _read_prelu,
}
"""Activations with a closed form."""


def read_activation(node: Node, region: UnitRegion) -> Activation | None:
    """The activation with a closed form that a node is; ``None`` for any other."""
    reader = ACTIVATION_READERS.get(node.meta["value"].op)
    return None if reader is None else reader(node, region)


def _prelu(z: Tensor, slope: Tensor) -> Tensor:
    return torch.where(z > 0, z, slope * z)


def _affine(z: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return z * scale + shift


def build_function(region: UnitRegion, path: Sequence[Node]) -> ElementwiseFunction:
    """The function from what the first node of a path reads to the last one's value."""
    inside = {region.start, *region.path}
    first = [one for one in path[0].all_input_nodes if one in inside]
    places: dict[Node, int] = dict.fromkeys(first, 0)
    names: dict[Node, str] = dict.fromkeys(first, "h")
    steps: list[Step] = []
    for node in path:
        if region.moves_only(node):
            places[node], names[node] = places[node.args[0]], names[node.args[0]]  # type: ignore[index]
            continue
        steps.append(_read_step(node, region, places))
        places[node] = len(steps)
        names[node] = _formula(node, region, names)
    name = names[path[-1]]
    plain = path[-1].meta["value"].op if len(steps) == 1 and name == f"{path[-1].meta['value'].op}(h)" else name
    return ElementwiseFunction(name=plain if len(plain) <= MAX_NAME else f"{plain[: MAX_NAME - 1]}…", steps=tuple(steps))


def _read_step(node: Node, region: UnitRegion, places: Mapping[Node, int]) -> Step:
    """One op; those that know where channels are, rewritten."""

    def operand(one: Any) -> Any:
        if not isinstance(one, Node):
            return one
        return Earlier(places[one]) if one in places else UnitConstant(region.constants[node, one])

    op = node.meta["value"].op
    if op == "batch_norm":
        affine = _read_batch_norm(node, region)
        assert affine is not None and affine[0] is not None and affine[1] is not None
        return Step(_affine, (operand(node.args[0]), *(UnitConstant(part) for part in affine if part is not None)), {})
    compute = _prelu if op == "prelu" else node.target
    if op in LIKE_OPS and op.startswith("new"):
        shapeless = ((), *node.args[2:])
        return Step(node.target, (operand(node.args[0]), *shapeless), dict(node.kwargs))  # type: ignore[arg-type]
    return Step(compute, map_aggregate(node.args, operand), map_aggregate(node.kwargs, operand))  # type: ignore[arg-type]


def _formula(node: Node, region: UnitRegion, names: Mapping[Node, str]) -> str:
    """A node in words: its op, and what it is applied to."""

    def word(one: Any) -> str:
        if not isinstance(one, Node):
            return f"{one:g}" if isinstance(one, (int, float)) and not isinstance(one, bool) else str(one)
        if one in names:
            return names[one]
        constant = region.constants.get((node, one))
        return f"{float(constant):g}" if constant is not None and not constant.ndim else "c"

    op = node.meta["value"].op
    said = [word(one) for one in node.args if one is not None]
    return f"({said[0]} {INFIX[op]} {said[1]})" if op in INFIX and len(said) == 2 else f"{op}({', '.join(said)})"
