"""Regions of an exported graph that are graphs of their own, put back into the graph they stand in.

A model may say of a part of itself that it computes in lower precision, or without gradients. Both are said in the graph's own words then:
casts, and ``detach`` where a value leaves such a part.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node

from vesalius.trace.opset import base_op_name

AUTOCAST_REGION, GRADIENT_REGION = "wrap_with_autocast", "wrap_with_set_grad_enabled"
FIRST_OPERAND = {AUTOCAST_REGION: 5, GRADIENT_REGION: 2}
"""Of each kind of region, the place of its first operand; its graph stands before it."""
CASTS = frozenset("to _to_copy type_as copy copy_".split())
"""Ops that change a type by themselves."""
PRECISION, GRADIENTS = "region_precision", "region_gradients"
"""What a node is told of the innermost regions that it stands in."""


def inline_regions(program: ExportedProgram, *, detached: bool = False) -> ExportedProgram:
    """The same program, in which regions are ordinary ops.

    Args:
        program: an exported program; it is changed.
        detached: whether what leaves a region without gradients has none; a program that was exported without gradients says nothing of it.
    """
    if not any(_region_kind(node) for node in program.graph.nodes):
        return program
    _inline_all(program.graph_module)
    if detached:
        _detach_results(program.graph)
    (end,) = program.graph.find_nodes(op="output")
    for spec, node in zip(program.graph_signature.output_specs, end.args[0], strict=True):
        if isinstance(node, Node):
            cast(Any, spec.arg).name = node.name
    program.graph_module.recompile()
    return program


def _region_kind(node: Node) -> str:
    """The name of the kind of region that a node calls; empty if it is none."""
    name = getattr(node.target, "__name__", "") if node.op == "call_function" else ""
    return name if name in FIRST_OPERAND else ""


def _inline_all(owner: GraphModule) -> None:
    """Put all regions of a graph in their places, the innermost first."""
    for node in list(owner.graph.nodes):
        if kind := _region_kind(node):
            place = FIRST_OPERAND[kind] - 1
            region: GraphModule = getattr(owner, cast(str, cast(Node, node.args[place]).target))
            _inline_all(region)
            if kind == GRADIENT_REGION:
                _mark(region.graph, GRADIENTS, bool(node.args[0]))
            elif node.args[2] is not False:
                _write_casts(region.graph)
            _mark(region.graph, PRECISION, kind == AUTOCAST_REGION or None)
            _inline(owner, node, place)


def _mark(graph: Graph, key: str, value: bool | None) -> None:
    """Tell nodes of a region about it, but for those of regions inside of it."""
    if value is not None:
        for node in graph.nodes:
            node.meta.setdefault(key, value)


def _write_casts(graph: Graph) -> None:
    """Write down what autocast does to the arguments of each op: they have the type of its result."""
    for node in list(graph.nodes):
        if node.op != "call_function" or PRECISION in node.meta or base_op_name(node.target) in CASTS:
            continue
        dtype = _float_type(node)
        if dtype is None or node.kwargs.get("dtype") is not None:
            continue
        for source in node.all_input_nodes:
            given = _float_type(source)
            if given not in (None, dtype, torch.float64):
                with graph.inserting_before(node):
                    turned = graph.call_function(torch.ops.aten.to.dtype, (source, dtype))
                turned.meta = {**node.meta, "val": source.meta["val"].to(dtype)}
                node.replace_input_with(source, turned)


def _float_type(node: Node) -> torch.dtype | None:
    """The floating type of a node's tensor, or of its first."""
    value = node.meta.get("val")
    first = value[0] if isinstance(value, (tuple, list)) and value else value
    return first.dtype if isinstance(first, Tensor) and first.is_floating_point() else None


def _inline(owner: GraphModule, region: Node, place: int) -> None:
    """Put a region's nodes in place of the node that calls it."""
    inner = cast(Node, region.args[place])
    graph: Graph = getattr(owner, cast(str, inner.target)).graph
    operands = iter(region.args[place + 1 :])
    copies: dict[Node, Node] = {}
    results: list[Node] = []
    with owner.graph.inserting_before(region):
        for node in graph.nodes:
            if node.op == "placeholder":
                copies[node] = cast(Node, next(operands))
            elif node.op == "output":
                results = [copies[result] for result in _flat(node.args[0])]
            elif node.op != "get_attr" or node.users:
                copies[node] = owner.graph.node_copy(node, copies.__getitem__)
    for user in list(region.users):
        if user.target is operator.getitem:
            user.replace_all_uses_with(results[cast(int, user.args[1])])
            owner.graph.erase_node(user)
    owner.graph.erase_node(region)
    if not inner.users:
        owner.graph.erase_node(inner)


def _flat(results: Any) -> Iterator[Node]:
    yield from results if isinstance(results, (tuple, list)) else [results]


def _detach_results(graph: Graph) -> None:
    """Cut the gradient of what was computed without one, where it is used with one."""
    for node in list(graph.nodes):
        if node.meta.get(GRADIENTS, True) or _float_type(node) is None or not isinstance(node.meta.get("val"), Tensor):
            continue
        users = [user for user in node.users if user.meta.get(GRADIENTS, True)]
        if users:
            with graph.inserting_after(node):
                cut = graph.call_function(torch.ops.aten.detach.default, (node,))
            cut.meta = dict(node.meta)
            for user in users:
                user.replace_input_with(node, cut)
