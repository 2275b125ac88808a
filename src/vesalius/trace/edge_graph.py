"""A network whose parts read each other along edges that can be cut: gates between writers and readers of the residual stream.

Each reader gets a copy of its own of what lies between the stream and it, so that what it reads can differ from what others read:

    stream + sum over writers w of (1 - gate[w, reader]) * (absent[w] - now[w])

where *now* is what the writer writes in this very run. With all gates at 1 that is the network as it is.

Axes: N rows, E edges, M elements of a value of the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from vesalius.trace.attention import Attention, name_of
from vesalius.trace.axes import BatchLayout
from vesalius.trace.batch_norm import retarget_batch_norms
from vesalius.trace.graph import data_inputs, take_any_strides
from vesalius.trace.graph_axes import GraphAxes
from vesalius.trace.residual_stream import ResidualStream, StreamReader


@dataclass(frozen=True, eq=False)
class EdgeGraph:
    """Programs on the edges of a network.

    Attributes:
        stream: writers, readers and edges.
        gated: from the inputs, gates [N E], what is added to the embedding [N M], and what each writer writes where it is absent [N M], to
            the output.
        writes: from the inputs, and what is added to the embedding, to what each writer writes, [N M] each.
    """

    stream: ResidualStream
    gated: GraphModule
    writes: GraphModule


def build_edge_graph(axes: GraphAxes, output: str) -> EdgeGraph:
    """The programs of a network's edges.

    Args:
        axes: of the network, with its graph.
        output: name of the value that is explained.

    Raises:
        InvalidInput: there is no residual stream, or one whose samples cannot be told apart.
    """
    axes.interior.edges()
    stream = axes.interior.stream
    for name in stream.sums:
        axes.batch_layout(name)
    return EdgeGraph(stream, _Builder(axes, stream, output).gated(), _Builder(axes, stream, output).writes())


class _Builder:
    """A graph that is being written anew."""

    def __init__(self, axes: GraphAxes, stream: ResidualStream, output: str) -> None:
        self.model, self.axes, self.stream = axes.model_graph, axes, stream
        self.output = self.model.nodes[output]
        self.graph, self.env = Graph(), dict[Node, Node]()
        self.differences: dict[int, Node] = {}
        self.written: dict[int, Node] = {}
        self.streams = {self.model.nodes[name]: name for name in stream.sums}
        self.heads = {self.model.nodes[one.value] for one in axes.interior.attentions}
        self.parts: dict[Node, list[int]] = {}
        for place, writer in enumerate(stream.writers):
            self.parts.setdefault(self.model.nodes[writer.value], []).append(place)
        self.sinks: dict[Node, list[int]] = {}
        for place, reader in enumerate(stream.readers):
            self.sinks.setdefault(self.model.nodes[reader.sink], []).append(place)
        self.edge = {edge: place for place, edge in enumerate(stream.edges)}

    # ---- the two programs ---------------------------------------------------------------------------------------------------------

    def gated(self) -> GraphModule:
        self._inputs()
        self.gates, self.shift = self.graph.placeholder("gates"), self.graph.placeholder("shift")
        self.absent = [self.graph.placeholder(f"absent_{place}") for place in range(len(self.stream.writers))]
        for node in self._nodes():
            self._copy(node)
            if node in self.sinks:
                self.env[node] = self._read(node, self.sinks[node])
            if node in self.parts:
                self._write(node)
                for place in self.parts[node]:
                    self.differences[place] = self.graph.call_function(torch.sub, (self.absent[place], self.written[place]))
        return self._finish(self.env[self.output])

    def writes(self) -> GraphModule:
        self._inputs()
        self.shift = self.graph.placeholder("shift")
        for node in self._nodes():
            self._copy(node)
            if node in self.parts:
                self._write(node)
        return self._finish(tuple(self.written[place] for place in range(len(self.stream.writers))))

    def _inputs(self) -> None:
        for name in self.model.inputs:
            self.env[self.model.nodes[name]] = self.graph.placeholder(name.replace(".", "_"))

    def _nodes(self) -> list[Node]:
        return [node for node in self.model.graph.nodes if node.op != "output"]

    def _copy(self, node: Node) -> None:
        if node not in self.env:
            self.env[node] = self.graph.node_copy(node, lambda old: self.env[old])

    def _finish(self, found: Any) -> GraphModule:
        self.graph.output(found)
        self.graph.eliminate_dead_code()
        retarget_batch_norms(self.graph)
        take_any_strides(self.graph)
        return GraphModule(dict(self.model.tensors), self.graph)

    # ---- writers ------------------------------------------------------------------------------------------------------------------

    def _write(self, node: Node) -> None:
        """What each writer of a value writes, batch first and flat."""
        places = self.parts[node]
        if 0 in places:
            self.env[node] = self.graph.call_function(add_flat, (self.env[node], self.shift, self._place(node)))
        for place in places:
            writer = self.stream.writers[place]
            value = self.env[node] if writer.attention is None else self._share(node, writer.attention, writer.head)
            self.written[place] = self.graph.call_function(flatten_rows, (value, self._place(node)))

    def _share(self, node: Node, one: Attention, head: int) -> Node:
        """The projection of one head alone, biases and all; these cancel where two of them are compared."""
        source = self.model.nodes[one.value]
        layout = self.axes.batch_layout(one.value)
        alone = self.graph.call_function(keep_head, (self.env[source], _plain(layout), one.axis, head))
        return self._again(node, {source: alone}, lambda other: other is source)

    def _place(self, node: Node) -> tuple[int, int, int]:
        return _plain(self.axes.batch_layout(name_of(node)))

    # ---- readers ------------------------------------------------------------------------------------------------------------------

    def _read(self, sink: Node, places: Sequence[int]) -> Node:
        """A value computed anew by each of its readers from what that one reads."""
        readers = [self.stream.readers[place] for place in places]
        shifts = [self._shifts(self.model.nodes[name], places) for name in readers[0].streams]
        copies = []
        for number, _ in enumerate(readers):
            given = {}
            for name, moved in zip(readers[0].streams, shifts, strict=True):
                stream = self.model.nodes[name]
                own = self.graph.call_function(torch.select, (moved, 1, number))
                given[stream] = self.graph.call_function(add_flat, (self.env[stream], own, self._place(stream)))
            copies.append(self._again(sink, given, self.streams.__contains__))
        return copies[0] if len(copies) == 1 else self._merge(readers[0], copies)

    def _merge(self, reader: StreamReader, copies: Sequence[Node]) -> Node:
        layout = self.axes.batch_layout(reader.sink)
        return self.graph.call_function(merge_heads, (_plain(layout), reader.layout_axis, *copies))

    def _shifts(self, stream: Node, places: Sequence[int]) -> Node:
        """How what each of some readers reads differs from the stream: [N readers M]."""
        writers = self.stream.sums[self.streams[stream]]
        edges = [self.edge[writer, place] for place in places for writer in writers]
        return self.graph.call_function(shifts, (self.gates, edges, len(places), *(self.differences[writer] for writer in writers)))

    # ---- copies -------------------------------------------------------------------------------------------------------------------

    def _again(self, sink: Node, given: Mapping[Node, Node], stop: Callable[[Node], bool]) -> Node:
        """A value computed again where some of what it depends on is given."""
        inside = _region(sink, lambda node: node is not sink and (stop(node) or (node in self.heads and node not in given)))
        mine: dict[Node, Node] = {}

        if sink in given:
            return given[sink]
        reached = set(given)
        for node in self._nodes():
            if node in inside and any(one in reached for one in data_inputs(node)):
                reached.add(node)
                mine[node] = self.graph.node_copy(node, lambda old: mine.get(old) or given.get(old) or self.env[old])
        return mine[sink]


def _region(sink: Node, stop: Callable[[Node], bool]) -> set[Node]:
    """What a value is computed of, up to where it is stopped."""
    queue, seen = [sink], {sink}
    for node in queue:
        further = [one for one in data_inputs(node) if one not in seen and not stop(one)]
        seen |= set(further)
        queue += further
    return seen


# ---- what the programs compute besides the network's own ops -------------------------------------------------------------------------


def flatten_rows(value: Tensor, place: Sequence[int]) -> Float[Tensor, "N M"]:
    """A value batch first, with a row per sample; one that all samples share comes once."""
    return BatchLayout(*place).batch_first(value).flatten(1)


def add_flat(value: Tensor, flat: Float[Tensor, "N M"], place: Sequence[int]) -> Tensor:
    """A value with something added that is batch first and flat."""
    layout = BatchLayout(*place)
    first = layout.batch_first(value)
    return layout.restore(first + flat.reshape(len(flat), *first.shape[1:]))


def _plain(layout: BatchLayout) -> tuple[int, int, int]:
    """A layout as a program can hold it."""
    return layout.axis, layout.before, layout.after


def keep_head(value: Tensor, place: Sequence[int], axis: int, head: int) -> Tensor:
    """A value in which all heads but one are 0."""
    if not axis:
        return value
    layout = BatchLayout(*place)
    first = layout.batch_first(value)
    kept = torch.arange(first.shape[axis], device=first.device) == head
    shape = [-1 if place == axis else 1 for place in range(first.ndim)]
    return layout.restore(torch.where(kept.reshape(shape), first, torch.zeros_like(first)))


def merge_heads(place: Sequence[int], axis: int, *copies: Tensor) -> Tensor:
    """A value whose every head comes from a copy of its own."""
    layout = BatchLayout(*place)
    each = [layout.batch_first(copy).narrow(axis, head, 1) for head, copy in enumerate(copies)]
    return layout.restore(torch.cat(each, axis))


def shifts(gates: Float[Tensor, "N E"], edges: Sequence[int], readers: int, *differences: Tensor) -> Float[Tensor, "N R M"]:
    """How what each reader reads differs from the stream, by the gates of its edges."""
    rows = len(gates)
    moved = torch.stack([one.expand(rows, -1) for one in differences], 1)
    cut = (1 - gates[:, list(edges)]).reshape(rows, readers, len(differences))
    return torch.bmm(cut.to(moved.dtype), moved)
