"""In-place ops of an exported graph as ordinary nodes.

Export leaves ``relu_`` and ``add_`` as they are. Where nothing else sees the memory they write to, they are renamed to ``relu`` and
``add`` here, which costs nothing; a graph that writes through a view is left to torch's own functionalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from vesalius.trace.opset import base_op_name, is_inplace, is_view


def functionalize(program: ExportedProgram) -> ExportedProgram:
    """The same program without in-place ops (its graph is changed when that is enough)."""
    writes = any(_writes_shared_memory(node) for node in program.graph.nodes if _is_inplace_node(node))
    if writes or any(_is_transform(node) for node in program.graph.nodes):
        for node in program.graph.nodes:
            if node.op == "call_function" and base_op_name(node.target) == "dropout" and not node.args[2]:
                node.target, node.args = torch.ops.aten.alias.default, node.args[:1]  # in eval it hands its input on, memory and all
        decomposed: ExportedProgram = program.run_decompositions(dict(DIFFERENTIABLE))
        return decomposed
    for node in list(program.graph.nodes):
        if _is_inplace_node(node):
            node.target = _pure_op(node)  # later uses refer to this node already: export follows the write
        if _is_floor_division(node):
            node.target = torch.ops.aten.div.Scalar_mode if node.target._overloadname == "Scalar" else torch.ops.aten.div.Tensor_mode
            node.kwargs = {"rounding_mode": "floor"}
    return program


def _is_floor_division(node: Node) -> bool:
    """Whether a node is a quotient rounded down by the op for it, which has no derivative; the one with a word for it has."""
    value = node.meta.get("val")
    floating = isinstance(value, torch.Tensor) and value.is_floating_point()
    return floating and node.op == "call_function" and base_op_name(node.target) == "floor_divide"  # type: ignore[arg-type]


def _differentiable_copy(written: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """``aten.copy`` in ops that have a derivative."""
    return source.to(written.dtype).expand(written.shape)


def _scatter_complex(op: Callable[..., Any]) -> Callable[..., Any]:
    """Writing a part of a tensor, of complex numbers by way of real ones: torch has no derivative of theirs."""

    def scatter(written: torch.Tensor, source: torch.Tensor, dim: int = 0, *place: Any, **named: Any) -> Any:
        if not written.is_complex():
            return NotImplemented
        real, given = (torch.view_as_real(tensor.resolve_conj()) for tensor in (written, source))
        return torch.view_as_complex(op(real, given, dim % written.ndim, *place, **named))

    return scatter


DIFFERENTIABLE: Mapping[Any, Callable[..., Any]] = {
    torch.ops.aten.copy.default: _differentiable_copy,
    torch.ops.aten.slice_scatter.default: _scatter_complex(torch.ops.aten.slice_scatter.default),
    torch.ops.aten.select_scatter.default: _scatter_complex(torch.ops.aten.select_scatter.default),
}
"""Ops that writing through views leaves behind, in others that have a derivative."""


def _is_transform(node: Node) -> bool:
    """Whether a node begins or ends what ``torch.vmap`` or another transform of functions is applied to."""
    return node.op == "call_function" and str(getattr(node.target, "__module__", "")).startswith("torch._functorch")


def _is_inplace_node(node: Node) -> bool:
    return node.op == "call_function" and is_inplace(node.target)  # type: ignore[arg-type]


def _writes_shared_memory(node: Node) -> bool:
    """Whether a node writes to memory that another live node, or the caller, may read afterwards, or has no pure twin."""
    written = cast(Node, node.args[0])
    if _pure_op(node) is None:
        return True
    if written.op != "call_function" or (is_view(written.target) and not _is_inplace_node(written)):  # type: ignore[arg-type]
        return True
    return any(user.op == "call_function" and is_view(user.target) and _is_used_after(user, node) for user in written.users)  # type: ignore[arg-type]


def _is_used_after(view: Node, write: Node) -> bool:
    """Whether a view, or a view of it, is read after (or by) a write."""
    if view > write:
        return False
    return any(
        user >= write or (user.op == "call_function" and is_view(user.target) and _is_used_after(user, write))  # type: ignore[arg-type]
        for user in view.users
    )


def _pure_op(node: Node) -> torch._ops.OpOverload | None:
    """The op that computes what an in-place one writes, if it exists and keeps the dtype."""
    overload = cast(torch._ops.OpOverload, node.target)
    op = getattr(torch.ops.aten, base_op_name(overload).rstrip("_"), None)
    tensors = [arg.meta["val"] for arg in node.args if isinstance(arg, Node) and isinstance(arg.meta.get("val"), torch.Tensor)]
    if op is None or not all(torch.can_cast(other.dtype, tensors[0].dtype) for other in tensors):
        return None
    names = sorted(op.overloads(), key=lambda name: name != overload._overloadname)
    return next((twin for name in names if _argument_types(twin := getattr(op, name)) == _argument_types(overload)), None)


def _argument_types(overload: torch._ops.OpOverload) -> list[str]:
    """Types of what an op takes; its twin may be another overload (``pow_.Scalar`` is ``pow.Tensor_Scalar``)."""
    return [str(argument.type) for argument in overload._schema.arguments]


def is_assertion(node: Node) -> bool:
    """Whether a node only asserts something about sizes or metadata."""
    name = base_op_name(node.target) if node.op == "call_function" else ""  # type: ignore[arg-type]
    return name.startswith(("_assert", "sym_constrain", "_check"))
