"""Regions of an exported graph that are graphs of their own, put back into the graph they stand in."""

from __future__ import annotations

import operator
from typing import cast

from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node

AUTOCAST_REGION = "wrap_with_autocast"


def inline_full_precision(program: ExportedProgram) -> ExportedProgram:
    """The same program, in which regions under ``autocast(enabled=False)`` are ordinary ops: outside of autocast that changes nothing."""
    for node in list(program.graph.nodes):
        if node.op == "call_function" and getattr(node.target, "__name__", "") == AUTOCAST_REGION and node.args[2] is False:
            _inline(program.graph_module, node)
    program.graph_module.recompile()
    return program


def _inline(owner: GraphModule, region: Node) -> None:
    """Put a region's nodes in place of the node that calls it (device, dtype, enabled, cache, graph, operands)."""
    inner = cast(Node, region.args[4])
    graph: Graph = getattr(owner, cast(str, inner.target)).graph
    operands = iter(region.args[5:])
    copies: dict[Node, Node] = {}
    results: list[Node] = []
    with owner.graph.inserting_before(region):
        for node in graph.nodes:
            if node.op == "placeholder":
                copies[node] = cast(Node, next(operands))
            elif node.op == "output":
                results = [copies[result] for result in node.args[0]]
            else:
                copies[node] = owner.graph.node_copy(node, copies.__getitem__)
    for user in list(region.users):
        if user.target is operator.getitem:
            user.replace_all_uses_with(results[cast(int, user.args[1])])
            owner.graph.erase_node(user)
    owner.graph.erase_node(region)
    if not inner.users:
        owner.graph.erase_node(inner)
