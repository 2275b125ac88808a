"""Explained values of which one is computed from another, such as attention heads of two layers.

What is absent is overwritten where it stands, and everything behind it is computed anew: a later value's present elements are those that
the network computes from the overwritten earlier ones. (*Direct effects*, where the later value stays as it was, are asked for by name.)

Axes: N rows evaluated.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Int, Shaped
from torch import Tensor
from torch.fx import GraphModule, Node

from vesalius.core.errors import InvalidInput
from vesalius.trace.axes import BatchLayout
from vesalius.trace.graph import ModelGraph, downstream_nodes
from vesalius.trace.network import Network


@dataclass(frozen=True, eq=False)
class DependentSites:
    """A head in which explained values that are computed from others are computed anew.

    Attributes:
        names: of the explained values.
        later: which of them are computed from others, by place.
        program: from the values of the other sites, the context, and presence and stand-in of each later site, to the output.
        layouts: where the samples are in each of its inputs.
        context: what the program reads besides, of all samples, batch first.
        kept: of each later site, the elements that are there at all, per sample; empty where all are.
    """

    names: tuple[str, ...]
    later: tuple[int, ...]
    program: GraphModule
    layouts: tuple[BatchLayout, ...]
    context: tuple[Tensor, ...]
    kept: tuple[Shaped[Tensor, "B ..."], ...] = ()

    def head(
        self, values: Sequence[Tensor], presence: Sequence[Tensor], absent: Sequence[Tensor], rows: Int[Tensor, " N"]
    ) -> Shaped[Tensor, "N ..."]:
        """The output where absent elements are overwritten.

        Args:
            values: [N *event] of each site; those of later ones are not read.
            presence: bool of each site, [N ...] with as many axes as the site; that of earlier ones is not read.
            absent: what stands in, [*event] or [N *event] per site; likewise.
            rows: which sample each row is a variant of.
        """
        given = [value for place, value in enumerate(values) if place not in self.later]
        given += [tensor.index_select(0, rows) for tensor in self.context]
        for number, place in enumerate(self.later):
            here = presence[place]
            stands_in = absent[place] if absent[place].ndim == here.ndim else absent[place][None]
            given += [here & self.kept[number].index_select(0, rows) if self.kept else here, stands_in]
        whole = [layout.broadcast(tensor, len(rows)) for tensor, layout in zip(given, self.layouts, strict=True)]
        output: Tensor = self.program(*(layout.restore(tensor) for tensor, layout in zip(whole, self.layouts, strict=True)))[0]
        return output

    def __str__(self) -> str:
        shown = ", ".join(repr(self.names[place]) for place in self.later)
        return f"{shown} {'are' if len(self.later) > 1 else 'is'} computed from other explained values"


def later_sites(model_graph: ModelGraph, names: Sequence[str]) -> tuple[int, ...]:
    """Which of some values are computed from another of them, by place."""
    found = []
    for place, name in enumerate(names):
        others = [model_graph.nodes[other] for other in names if other != name]
        if model_graph.nodes[name] in downstream_nodes(others):
            found.append(place)
    return tuple(found)


def find_dependent_sites(network: Network, inputs: Sequence[Tensor], names: tuple[str, ...], end: str | None) -> DependentSites | None:
    """How explained values depend on each other; ``None`` where they do not."""
    model_graph = network.model_graph
    if model_graph is None or len(names) < 2 or not (later := later_sites(model_graph, names)):
        return None
    output = end or model_graph.output
    first = tuple(name for place, name in enumerate(names) if place not in later)
    behind = tuple(names[place] for place in later)
    context = model_graph.head_context(first, output)
    layouts = [network.axes.batch_layout(name) for name in (*first, *context)]
    program = _overwrite(model_graph.program((*first, *context), [output]), behind)
    layouts += [layout for name in behind for layout in (network.axes.batch_layout(name),) * 2]
    with torch.no_grad():
        found = network.function([value.name for value in network.inputs], context)(*inputs) if context else ()
    read = tuple(layout.batch_first(tensor) for tensor, layout in zip(found, layouts[len(first) :], strict=False))
    return DependentSites(names, later, program, tuple(layouts), read)


def check_distinct(asked: Sequence[str], found: Sequence[str]) -> None:
    """Refuse one value that is asked for twice, under one name or two.

    Raises:
        InvalidInput: it is.
    """
    for place, name in enumerate(found):
        if (before := found.index(name)) < place:
            raise InvalidInput(f"at= names the value {name!r} twice, as {asked[before]!r} and as {asked[place]!r}; name it once")


def _overwrite(program: GraphModule, names: Sequence[str]) -> GraphModule:
    """A program, which is changed, with two more inputs for each of some values: where it is kept, and what replaces it elsewhere."""
    graph = program.graph
    by_name: dict[str, Node] = {node.meta["value"].name: node for node in graph.nodes if "value" in node.meta}
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    for number, name in enumerate(names):
        inputs = []
        for what in ("present", "absent"):
            with graph.inserting_after(last):
                last = graph.placeholder(f"{what}_{number}")
            inputs.append(last)
        node = by_name.get(name)
        if node is None:  # the output is computed without it
            continue
        with graph.inserting_after(node):
            seen = graph.call_function(torch.ops.aten.where.self, (inputs[0], node, inputs[1]))
        node.replace_all_uses_with(seen, delete_user_cb=partial(operator.is_not, seen))
    return GraphModule(program, graph)
