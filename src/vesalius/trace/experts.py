"""Mixtures of experts read off the graph: the weights that a router gives to experts, all of them or the best few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.fx import GraphModule, Node

from vesalius.trace.attention import name_of, op_of
from vesalius.trace.axes import BatchLayout, ValueAxes
from vesalius.trace.graph import ModelGraph, data_inputs, downstream_nodes

SCORES = frozenset("softmax _safe_softmax sigmoid to add mul view reshape contiguous".split())
"""Ops between the router and the choice of the best."""
ROUTERS = frozenset("linear addmm mm matmul".split())


@dataclass(frozen=True)
class Router:
    """What says how much each expert is given.

    Attributes:
        layer: its place among the routers, in order of computation.
        module: path of the module that computes it, empty at the top.
        weights: name of the weights [..., experts], or [..., k] of the best k.
        chosen: name of the numbers of the best k; empty where all are given something.
        experts: how many there are.
    """

    layer: int
    module: str
    weights: str
    chosen: str
    experts: int


def find_routers(model_graph: ModelGraph, axes: Mapping[str, ValueAxes], others: Sequence[str]) -> tuple[Router, ...]:
    """All routers, in order of computation.

    Args:
        model_graph: the graph.
        axes: of its values.
        others: names of values that are weights of something else, such as sums that attention makes.
    """
    attended = {model_graph.nodes[name] for name in others}
    found: list[Router] = []
    for node in model_graph.graph.nodes:
        read = _best_few(model_graph, node) if op_of(node) == "topk" else _all(model_graph, node, attended)
        if read is not None and all(axes[name].batch is not None for name in read[:2] if name):
            weights, chosen, count = read
            found.append(Router(len(found), model_graph.value(weights).module, weights, chosen, count))
    return tuple(found)


def _router_behind(node: Node) -> Node | None:
    """The linear map whose outputs are scores of experts."""
    while op_of(node) in SCORES and data_inputs(node):
        node = data_inputs(node)[0]
    return node if op_of(node) in ROUTERS else None


def _best_few(model_graph: ModelGraph, topk: Node) -> tuple[str, str, int] | None:
    """The weights of the best, after they were normalised, and which they are."""
    router = _router_behind(data_inputs(topk)[0])
    parts = {user.args[1]: user for user in topk.users if op_of(user) == "getitem"}
    if router is None or set(parts) != {0, 1} or not parts[0].users or not parts[1].users:
        return None
    shape = parts[0].meta["value"].shape
    known = {parts[0]}
    last = parts[0]
    for node in model_graph.nodes.values():
        same = node.meta["value"].shape == shape and node.meta["value"].is_floating
        if same and any(one in known for one in data_inputs(node)) and node not in known:
            known.add(node)
            last = node
    return name_of(last), name_of(parts[1]), int(router.meta["value"].shape[-1] or 0)


def _all(model_graph: ModelGraph, softmax: Node, attended: set[Node]) -> tuple[str, str, int] | None:
    """Weights of all experts: a softmax of a linear map that something else is multiplied with, and no attention."""
    if op_of(softmax) not in ("softmax", "_safe_softmax") or name_of(softmax) == model_graph.output:
        return None
    if _router_behind(data_inputs(softmax)[0]) is None or any(op_of(user) == "topk" for user in downstream_of(softmax)):
        return None
    behind = downstream_nodes([softmax])
    varying = downstream_nodes(model_graph.nodes[name] for name in model_graph.inputs)
    products = [node for node in downstream_of(softmax) if op_of(node) in ("mul", "einsum", "bmm", "matmul")]
    weighs = any(len([one for one in data_inputs(node) if one in varying and one not in behind]) for node in products)
    return (name_of(softmax), "", int(softmax.meta["value"].shape[-1] or 0)) if weighs and not attended & set(products) else None


def downstream_of(node: Node) -> list[Node]:
    """Users of a value, through ops that move its elements."""
    found: list[Node] = []
    queue = [node]
    for one in queue:
        for user in one.users:
            found.append(user)
            if op_of(user) in ("view", "reshape", "unsqueeze", "expand", "transpose", "permute", "to", "contiguous"):
                queue.append(user)
    return found


def build_routed_program(model_graph: ModelGraph, axes: Mapping[str, ValueAxes], routers: Sequence[Router], output: str) -> GraphModule:
    """A program from the inputs and gates [N experts of all routers] to the output; an expert whose gate is closed is given nothing.

    Nothing is normalised again, and no other expert is chosen in its place.
    """
    program = model_graph.program(model_graph.inputs, [output])
    graph = program.graph
    by_name: dict[str, Node] = {node.meta["value"].name: node for node in graph.nodes if "value" in node.meta}
    with graph.inserting_after([node for node in graph.nodes if node.op == "placeholder"][-1]):
        gates = graph.placeholder("gates")
    start = 0
    for router in routers:
        node, chosen = by_name.get(router.weights), by_name.get(router.chosen)
        span = (start, start + router.experts)
        start += router.experts
        if node is None:
            continue
        layouts = [axes[name].batch for name in (router.weights, router.chosen or router.weights)]
        places = [(one.axis, one.before, one.after) for one in layouts if one is not None]
        with graph.inserting_after(node if chosen is None else max(node, chosen, key=list(graph.nodes).index)):
            routed = graph.call_function(route, (node, chosen, gates, span, places))
        users = [user for user in node.users if user is not routed]
        for user in users:
            user.replace_input_with(node, routed)
    graph.lint()
    return GraphModule(program, graph)


def route(
    weights: Tensor, chosen: Tensor | None, gates: Float[Tensor, "N P"], span: Sequence[int], places: Sequence[Sequence[int]]
) -> Tensor:
    """Weights of experts, each times its gate."""
    layout = BatchLayout(*places[0])
    first, own = layout.batch_first(weights), gates[:, span[0] : span[1]]
    if chosen is None:
        shape = [len(own), *[1] * (first.ndim - 2), own.shape[1]]
        return layout.restore(first * own.reshape(shape).to(first.dtype))
    numbers = BatchLayout(*places[1]).batch_first(chosen)
    gate = own.gather(1, numbers.reshape(len(own), -1)).reshape(numbers.shape)
    return layout.restore(first * gate.to(first.dtype))
