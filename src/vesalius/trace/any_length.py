"""Graphs that hold at any length of a sequence: exported once, and made an ordinary graph for each length that comes.

``torch.export`` follows an axis that may move as a symbol through the whole graph, and notes every condition that the model's code put on
it on the way (a branch, a table with so many rows). Where all of them hold, the graph with that length in place of the symbol is the one
that an export at that length would have found.

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from vesalius.trace.axes import BatchLayout
from vesalius.trace.graph import ModelGraph, Value, copy_node
from vesalius.trace.open_program import extract_open_program
from vesalius.trace.rehearsal import compute_size, rehearse
from vesalius.trace.sizes import Lengths, Size, evaluate_size

Shapes = Mapping[str, Sequence[int]]
"""Shapes of inputs by name."""
Programs = dict[tuple[tuple[str, ...], tuple[str, ...]], GraphModule | None]
"""Parts of a graph by the values that they begin and end with; ``None`` where there is none at any length."""
STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)
"""By how much other lengths differ that are tried."""


@dataclass(frozen=True, eq=False)
class AnyLength:
    """A graph in which lengths are still open.

    Attributes:
        graph: as that of a :class:`ModelGraph`, but with the nodes that compute sizes; ``node.meta["sizes"]`` holds the size of every axis
            of a value, ``None`` where the batch size enters.
        inputs: sizes of the axes of each input.
        conditions: that lengths must meet.
        foreign: whether it comes from a file, so that at each length it is looked at first what it would take.
        features: axis of each input's features, once that was found at some length: it is the same at all.
        batch_layouts: of values of which an axis is exactly the batch, once that was found at some length: likewise.
    """

    graph: Graph
    inputs: Mapping[str, tuple[Size | None, ...]]
    conditions: tuple[Size, ...]
    foreign: bool = False
    features: dict[str, int | None] = field(default_factory=dict, repr=False)
    batch_layouts: dict[str, BatchLayout] = field(default_factory=dict, repr=False)
    _programs: dict[int, tuple[Mapping[str, Tensor], Programs]] = field(default_factory=dict, repr=False)

    def find_lengths(self, shapes: Shapes) -> dict[str, int] | None:
        """The lengths at which inputs have some shapes, if there are any that the graph holds for."""
        lengths: dict[str, int] = {}
        for name, sizes in self.inputs.items():
            if len(shapes[name]) != len(sizes):
                return None
            lengths |= {size: side for size, side in zip(sizes, shapes[name], strict=True) if isinstance(size, str)}
        fits = all(
            size is None or evaluate_size(size, lengths) == side
            for name, sizes in self.inputs.items()
            for size, side in zip(sizes, shapes[name], strict=True)
        )
        return lengths if fits and self.allows(lengths) else None

    def lengths_at(self, names: Sequence[str], shapes: Sequence[Sequence[int]]) -> dict[str, int] | None:
        """The lengths at which inner values have some shapes, as far as their axes are lengths and nothing else; ``None`` where these do
        not tell all lengths."""
        sizes = {node.meta["value"].name: node.meta["sizes"] for node in self.graph.nodes if "sizes" in node.meta}
        known = [pair for name, shape in zip(names, shapes, strict=True) for pair in zip(sizes.get(name, ()), shape, strict=False)]
        lengths = {size: side for size, side in known if isinstance(size, str)}
        wanted = {size for own in self.inputs.values() for size in own if isinstance(size, str)}
        return lengths if wanted <= lengths.keys() else None

    def shapes_at(self, lengths: Lengths) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs at some lengths, for one sample."""
        return {name: tuple(1 if size is None else evaluate_size(size, lengths) for size in sizes) for name, sizes in self.inputs.items()}

    def allows(self, lengths: Lengths) -> bool:
        """Whether the graph holds at some lengths."""
        return all(side > 0 for side in lengths.values()) and all(evaluate_size(one, lengths) for one in self.conditions)

    def others(self, lengths: Lengths) -> Iterator[dict[str, int]]:
        """Other lengths that the graph holds for, the nearest shorter and the nearest longer ones."""
        for sign in (-1, 1):
            tried = ({name: side + sign * step for name, side in lengths.items()} for step in STEPS)
            yield from ([found for found in tried if self.allows(found)])[:1]

    def __str__(self) -> str:
        """From where to where lengths may go, as far as that can be said of each alone."""
        names = dict.fromkeys(size for own in self.inputs.values() for size in own if isinstance(size, str))
        spans = {self._span(name): None for name in names}
        return " and ".join(spans)

    def _span(self, name: str) -> str:
        bounds = [one for one in self.conditions if isinstance(one, tuple) and one[1] == name and isinstance(one[2], int)]
        least = max((one[2] for one in bounds if one[0] == ">="), default=1)
        most = min((one[2] for one in bounds if one[0] == "<="), default=None)
        return f"any length from {least}" + ("" if most is None else f" to {most}")

    def resize(self, tensors: Mapping[str, Tensor], lengths: Lengths) -> list[Tensor]:
        """Inputs at other lengths: their first elements, or theirs and the same again."""
        found = []
        for name, sizes in self.inputs.items():
            tensor = tensors[name]
            for axis, size in enumerate(sizes):
                if size is not None and not isinstance(size, int):
                    places = torch.arange(evaluate_size(size, lengths), device=tensor.device) % tensor.shape[axis]
                    tensor = tensor.index_select(axis, places)
            found.append(tensor)
        return found

    def at(self, lengths: Lengths, tensors: Mapping[str, Tensor], output: str) -> ModelGraph:
        """The graph at some lengths, as an export at these lengths would have found it.

        Args:
            lengths: that it holds for.
            tensors: parameters, buffers and constants by name.
            output: name of the output.

        Raises:
            ValueError: it comes from a file, and is not what the file says of it.
        """
        graph = Graph()
        known: dict[Node, Any] = {}
        nodes: dict[str, Node] = {}
        found = KnownSizes(lengths)
        for node in self.graph.nodes:
            if node.op == "output":
                continue
            number = None if "value" in node.meta or node.op != "call_function" else _number(node, known, found)
            if number is not None:
                known[node] = number
                continue
            copy = known[node] = copy_node(graph, node, known)
            if "sizes" in node.meta:
                value = copy.meta["value"] = _value_at(node, found)
                del copy.meta["sizes"]
                if value.is_tensor:
                    nodes[value.name] = copy
        graph.output(nodes[output])
        if self.foreign:
            rehearse(graph, tensors)
        return ModelGraph(graph, tensors, nodes, tuple(self.inputs), output, self)

    def program(self, tensors: Mapping[str, Tensor], inputs: Sequence[str], outputs: Sequence[str]) -> GraphModule | None:
        """The part of the graph from some values to others, at any length it holds for, see
        :func:`vesalius.trace.open_program.extract_open_program`; made once for the same tensors."""
        kept = self._programs.get(id(tensors))
        if kept is None or kept[0] is not tensors:
            self._programs.clear()  # of one set of tensors, so that no pruned copy is held longer than its owner holds it
            kept = self._programs[id(tensors)] = tensors, {}
        key = (tuple(inputs), tuple(outputs))
        if key not in kept[1]:
            kept[1][key] = extract_open_program(self.graph, tensors, *key)
        return kept[1][key]

    def name_families(self, model_graph: ModelGraph) -> None:
        """Take over the family that each value has at some length, which is its family at all."""
        for node in self.graph.nodes:
            value: Value | None = node.meta.get("value")
            twin = None if value is None else model_graph.nodes.get(value.name)
            if value is not None and twin is not None:
                node.meta["value"] = replace(value, family=twin.meta["value"].family)


def at_shapes(model_graph: ModelGraph, shapes: Sequence[Sequence[int]]) -> ModelGraph | None:
    """A graph at the lengths at which its inputs have some shapes; ``None`` where it does not hold for them.

    Raises:
        ValueError: see :meth:`AnyLength.at`.
    """
    if [model_graph.value(name).shape[1:] for name in model_graph.inputs] == [tuple(shape[1:]) for shape in shapes]:
        return model_graph
    whole: AnyLength | None = model_graph.any_length
    if whole is None:
        return None
    lengths = whole.find_lengths(dict(zip(model_graph.inputs, shapes, strict=True)))
    return None if lengths is None else whole.at(lengths, model_graph.tensors, model_graph.output)


class KnownSizes(dict[Size, int]):
    """Sizes at some lengths, each worked out once."""

    def __init__(self, lengths: Lengths) -> None:
        super().__init__()
        self.lengths = lengths

    def __missing__(self, size: Size) -> int:
        found = self[size] = evaluate_size(size, self.lengths)
        return found


def _number(node: Node, known: Mapping[Node, Any], sizes: KnownSizes) -> Any:
    """What a node that makes a number of sizes makes; ``None`` where the batch size or what is in a tensor enters it."""
    if node.target is torch.ops.aten.sym_size.int:
        source, axis = node.args
        size: Size | None = source.meta["sizes"][axis]  # type: ignore[union-attr]
        return None if size is None else sizes[size]
    args = tuple(map_arg(node.args, known.__getitem__))
    if isinstance(node.target, OpOverload) or any(not isinstance(item, (int, float)) for item in args):
        return None
    return compute_size(node.target, args)


def _value_at(node: Node, sizes: KnownSizes) -> Value:
    value: Value = node.meta["value"]
    shape = tuple(None if size is None else sizes[size] for size in node.meta["sizes"])
    if shape == value.shape:
        return value
    found: Value = object.__new__(Value)
    found.__dict__.update(value.__dict__, shape=shape)  # what dataclasses.replace does, which takes as long as the ops of a small model
    return found
