"""A program in which parts of inner values are mixed with what stands in for them, by gates that a gradient reaches.

Axes: N rows, P players.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.fx import GraphModule, Node

from vesalius.trace.axes import BatchLayout
from vesalius.trace.graph_axes import GraphAxes


def build_gated_program(axes: GraphAxes, sites: Sequence[str], output: str) -> GraphModule:
    """A program from the inputs, gates [N P], and for each site the owners of its elements and what stands in for them, to the output.

    What lies behind a site is computed from its mixture; a site that is not behind the output has no effect.

    Args:
        axes: of the network, with its graph.
        sites: names of values.
        output: name of the value that is explained.
    """
    program = axes.model_graph.program(axes.model_graph.inputs, [output])
    graph = program.graph
    by_name: dict[str, Node] = {node.meta["value"].name: node for node in graph.nodes if "value" in node.meta}
    for place, node in enumerate([node for node in graph.nodes if node.op == "placeholder"]):
        by_name.setdefault(axes.model_graph.inputs[place], node)
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    given = []
    for name in ("gates", *(f"{what}_{place}" for place in range(len(sites)) for what in ("owner", "absent"))):
        with graph.inserting_after(last):
            last = graph.placeholder(name)
        given.append(last)
    for place, name in enumerate(sites):
        node = by_name.get(name)
        if node is None:
            continue
        layout = axes.batch_layout(name)
        arguments = (node, given[0], given[1 + 2 * place], given[2 + 2 * place], (layout.axis, layout.before, layout.after))
        with graph.inserting_after(node if node.op != "placeholder" else last):
            mixed = graph.call_function(mix, arguments)
        node.replace_all_uses_with(mixed, delete_user_cb=partial(operator.is_not, mixed))
    return GraphModule(program, graph)


def mix(value: Tensor, gates: Float[Tensor, "N P"], owner: Int[Tensor, "..."], absent: Tensor, place: Sequence[int]) -> Tensor:
    """A value of which each part is there as far as its gate is open; elements of no player are there."""
    layout = BatchLayout(*place)
    first = layout.batch_first(value)
    open_ones = torch.cat([gates, gates.new_ones(len(gates), 1)], 1)[:, owner]
    gate = open_ones.reshape(len(gates), *[1] * (first.ndim - open_ones.ndim), *open_ones.shape[1:]).to(first.dtype)
    return layout.restore(gate * first + (1 - gate) * absent.to(first.dtype))
