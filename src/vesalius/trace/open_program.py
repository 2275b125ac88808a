"""Parts of a graph in which lengths are still open, as callables that take values of any length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from vesalius.trace.graph import Value, copy_node, finish_program
from vesalius.trace.sizes import OPS, Size


class UnknownLength(ValueError):
    """A length is needed that the inputs of a program do not tell."""


def extract_open_program(graph: Graph, tensors: Mapping[str, Tensor], inputs: Sequence[str], outputs: Sequence[str]) -> GraphModule | None:
    """The part of an open graph that computes some values from others, at any length; ``None`` where the others do not tell all lengths, or
    are not enough.

    Args:
        graph: of an :class:`vesalius.trace.any_length.AnyLength`.
        tensors: parameters, buffers and constants by name.
        inputs: names of the values that it takes, in order.
        outputs: names of the values that it returns, as a tuple in order.
    """
    named = {node.meta["value"].name: node for node in graph.nodes if "sizes" in node.meta}
    if not {*inputs, *outputs} <= named.keys():
        return None
    try:
        return _Extraction(tensors, [named[name] for name in inputs]).program(graph, [named[name] for name in outputs])
    except UnknownLength:
        return None


class _Extraction:
    """A program that is being written."""

    def __init__(self, tensors: Mapping[str, Tensor], inputs: Sequence[Node]) -> None:
        self.tensors, self.inputs, self.graph = tensors, inputs, Graph()
        self.copies: dict[Node, Any] = {node: self.graph.placeholder(f"input_{place}") for place, node in enumerate(inputs)}
        self.sizes: dict[Size | None, Any] = {}

    def program(self, graph: Graph, outputs: Sequence[Node]) -> GraphModule:
        wanted = _needed(outputs, set(self.copies))
        for node in graph.nodes:
            if node not in wanted:
                continue
            if node.op == "placeholder":
                raise UnknownLength(f"{node.name} is needed too")
            if _is_size(node):
                self.copies[node] = self._size(_side(node))
            else:
                copy = self.copies[node] = copy_node(self.graph, node, self.copies)
                if "value" not in node.meta:
                    copy.meta["batch_size"] = True  # a number made of sizes, through which no value depends on another
        self.graph.output(tuple(self.copies[node] for node in outputs))
        return finish_program(self.graph, self.tensors)

    def _size(self, size: Size | None) -> Any:
        if isinstance(size, int):
            return size
        if size not in self.sizes:
            if isinstance(size, tuple):
                first, *rest = [self._size(part) for part in size[1:]]
                for one in rest:
                    first = self._note(self.graph.call_function(OPS[size[0]], (first, one)))
                self.sizes[size] = first
            else:
                self.sizes[size] = self._read(size)
        return self.sizes[size]

    def _read(self, size: str | None) -> Node:
        for node in self.inputs:
            value: Value = node.meta["value"]
            sides = [value.batch_axis] if size is None else [at for at, side in enumerate(node.meta["sizes"]) if side == size]
            if sides and sides[0] is not None:
                return self._note(self.graph.call_function(torch.ops.aten.sym_size.int, (self.copies[node], sides[0])))
        raise UnknownLength(f"no input tells {size}")

    def _note(self, node: Node) -> Node:
        node.meta["batch_size"] = True
        return node


def _side(node: Node) -> Size | None:
    """Which side of a value is read; ``None`` for the batch size."""
    source: Any = node.args[0]
    place: Any = node.args[1]
    found: Size | None = source.meta["sizes"][place]
    return found


def _is_size(node: Node) -> bool:
    """Whether a node reads a side that can be told from the lengths, or the batch size, and not the batch size times something."""
    reads = node.op == "call_function" and node.target is torch.ops.aten.sym_size.int
    return reads and (bool(node.meta.get("batch_size")) or _side(node) is not None)


def _needed(outputs: Iterable[Node], given: set[Node]) -> set[Node]:
    """Nodes to compute, without those that are given; sides of values are read elsewhere."""
    wanted: set[Node] = set()
    queue = [node for node in outputs if node not in given]
    while queue:
        node = queue.pop()
        if node not in wanted:
            wanted.add(node)
            queue += [] if _is_size(node) else [source for source in node.all_input_nodes if source not in given]
    return wanted
