"""Sums in which two ways of a network come together: those of residual blocks, and of branches side by side."""

from __future__ import annotations

from torch.fx import Node

from vesalius.information.hidden_states import CELL_OPS, RECURRENT_OPS
from vesalius.trace.graph import Value, data_inputs, downstream_nodes
from vesalius.trace.graph_axes import GraphAxes
from vesalius.trace.layers import LAYER_AXES

SUM_OPS = frozenset({"add", "sub"})
MIXING_OPS = frozenset({*LAYER_AXES, *RECURRENT_OPS, *CELL_OPS, "attention", "bmm", "baddbmm", "einsum"})
"""Ops whose presence on one way and absence from another makes two ways of them; an activation written by hand has none between."""


def find_residual_sums(axes: GraphAxes) -> dict[str, tuple[str, ...]]:
    """The sums, by the name of their value, each with the names of what is added.

    A sum of several, as in ``x + attention(x) + mlp(x)``, is one, though it is computed in steps.
    """
    graph = axes.model_graph
    behind = mixing_before(axes)
    found = {name: parts for name, node in graph.nodes.items() if (parts := _added_values(axes, node, behind))}
    partial = {name for parts in found.values() for name in parts if name in found and len(_readers(graph.nodes[name])) == 1}
    return {name: _all_parts(parts, found, partial) for name, parts in found.items() if name not in partial}


def mixing_before(axes: GraphAxes, ops: frozenset[str] = MIXING_OPS) -> dict[Node, frozenset[Node]]:
    """For each node that depends on an input, the layers, or other nodes of some ops, that it depends on."""
    varying = downstream_nodes(axes.model_graph.nodes[name] for name in axes.model_graph.inputs)
    found: dict[Node, frozenset[Node]] = {}
    for node in axes.model_graph.graph.nodes:
        if node in varying:
            own = {node} if "value" in node.meta and node.meta["value"].op in ops else set[Node]()
            found[node] = frozenset(own).union(*(found[source] for source in data_inputs(node) if source in found))
    return found


def _added_values(axes: GraphAxes, node: Node, behind: dict[Node, frozenset[Node]]) -> tuple[str, ...]:
    """Names of the two values that a node adds, if they come by two ways and have units; else nothing."""
    value: Value = node.meta["value"]
    parts = [source for source in data_inputs(node) if source in behind and "value" in source.meta]
    if value.op not in SUM_OPS or len(parts) != 2 or axes.values[value.name].units is None:
        return ()
    alike = all(part.meta["value"].shape == value.shape for part in parts)
    return tuple(part.meta["value"].name for part in parts) if alike and behind[parts[0]] != behind[parts[1]] else ()


def _all_parts(parts: tuple[str, ...], sums: dict[str, tuple[str, ...]], partial: set[str]) -> tuple[str, ...]:
    return tuple(one for name in parts for one in (_all_parts(sums[name], sums, partial) if name in partial else (name,)))


def _readers(node: Node) -> list[Node]:
    return [user for user in node.users if not user.meta.get("batch_size")]
