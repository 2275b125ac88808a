"""Assignments to the elements that a mask marks, as a choice between two tensors of full size.

``h[h < 0] = 0`` and ``h[mask] = 0.1 * h[mask]`` pick as many elements as the mask says, so that the two ends of a comparison do not
correspond. What is computed on the elements picked is computed here on all of them, and ``where`` takes those that were meant.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

from vesalius.rules.op_kinds import op_kind, op_name
from vesalius.trace.graph import Value

aten = torch.ops.aten

ON_EACH_ELEMENT = frozenset("elementwise special multiply divide add scale pair step detach".split())
"""Kinds of ops that do to picked elements what they do to all."""
ACCUMULATE = 3
"""Place of index_put's argument that says whether to add."""
COPIES = frozenset("clone alias contiguous to _to_copy".split())


def open_masked_assignments(program: GraphModule) -> GraphModule:
    """The same program without them; the program itself where there are none, kept with it otherwise."""
    if "unmasked" not in program.meta:
        found = any(_mask_of(node, "index_put") is not None for node in program.graph.nodes)
        program.meta["unmasked"] = _open_copy(program) if found else program
    opened: GraphModule = program.meta["unmasked"]
    return opened


def _open_copy(program: GraphModule) -> GraphModule:
    graph = Graph()
    copies: dict[Node, Node] = {}
    output = graph.graph_copy(program.graph, copies)
    graph.output(output)
    for node in graph.nodes:
        if node.op == "get_attr":
            node.meta["constant_shape"] = tuple(attrgetter(str(node.target))(program).shape)
    for node in list(graph.nodes):
        mask = _mask_of(node, "index_put")
        if mask is not None and (choice := _write_choice(graph, node, mask)) is not None:
            node.replace_all_uses_with(choice)
    graph.eliminate_dead_code()
    return GraphModule(program, graph)


def _mask_of(node: Node, name: str) -> Node | None:
    """The mask of an op that reads or writes the elements that a single mask marks."""
    if node.op != "call_function" or op_name(node.target) != name:
        return None
    places: Any = node.args[1]
    mask = places[0] if len(places) == 1 else None
    value: Value | None = mask.meta.get("value") if isinstance(mask, Node) else None
    return mask if value is not None and value.dtype == "bool" else None


def _write_choice(graph: Graph, node: Node, mask: Node) -> Node | None:
    """An assignment as a choice, in front of it; ``None`` where what is assigned is neither as many numbers for all nor picked likewise."""
    target: Any = node.args[0]
    below = len(node.meta["value"].shape) - len(mask.meta["value"].shape)
    with graph.inserting_before(node):
        value = _of_full_size(graph, node.args[2], mask, below, {})
        if value is None:
            return None
        marks = mask
        for _ in range(below):
            marks = graph.call_function(aten.unsqueeze.default, (marks, -1))
        if len(node.args) > ACCUMULATE and node.args[ACCUMULATE]:
            value = graph.call_function(aten.add.Tensor, (target, value))
        choice = graph.call_function(aten.where.self, (marks, value, target))
    choice.meta = dict(node.meta)
    return choice


def _of_full_size(graph: Graph, node: Any, mask: Node, below: int, known: dict[Node, Node | None]) -> Any:
    """What an argument would be if all elements had been picked; ``None`` where that cannot be said.

    Args:
        graph: where it is written.
        node: the argument.
        mask: what picked it.
        below: how many axes each element that was picked has.
        known: what was written already.
    """
    if not isinstance(node, Node):
        return node
    if node not in known:
        picked_by = _mask_of(node, "index")
        if picked_by is not None and same_value(picked_by, mask):
            known[node] = node.args[0]  # type: ignore[assignment]
        elif node.op == "call_function" and _works_on_each_element(node) and not _is_same_for_all(node, below):
            parts = [_of_full_size(graph, arg, mask, below, known) for arg in node.args]
            lost = any(part is None and arg is not None for part, arg in zip(parts, node.args, strict=True))
            known[node] = None if lost else graph.call_function(node.target, tuple(parts), dict(node.kwargs))  # type: ignore[arg-type]
        else:
            known[node] = node if _is_same_for_all(node, below) else None
    return known[node]


def _works_on_each_element(node: Node) -> bool:
    name = op_name(node.target)
    return (op_kind(node.target) in ON_EACH_ELEMENT or name in COPIES) and not any(isinstance(arg, Node) for arg in node.kwargs.values())


def _is_same_for_all(node: Node, below: int) -> bool:
    """Whether a value has no axis for the elements that were picked."""
    value: Value | None = node.meta.get("value")
    shape = node.meta.get("constant_shape") if value is None else value.shape
    return shape is not None and all(side == 1 for side in shape[: max(len(shape) - below, 0)])


def same_value(one: Any, other: Any) -> bool:
    """Whether two arguments are computed in the same way from the same values."""
    if isinstance(one, Node) and isinstance(other, Node):
        if one is other:
            return True
        same = one.op == other.op == "call_function" and one.target is other.target and one.kwargs.keys() == other.kwargs.keys()
        return same and same_value(one.args, other.args) and all(same_value(one.kwargs[key], other.kwargs[key]) for key in one.kwargs)
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return len(one) == len(other) and all(map(same_value, one, other))
    return type(one) is type(other) and bool(one == other)
