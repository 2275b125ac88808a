"""The graph of a model, cleaned: values with readable names, parameters by their own names, and programs cut out of it.

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.trace.batch_norm import retarget_batch_norms


@dataclass(frozen=True)
class Value:
    """One tensor that the model computes.

    Attributes:
        name: readable and unique, module path plus op: ``layer1.0/relu_1``.
        op: what computes it, such as ``relu``; ``input`` for an input.
        family: kind of op, see :mod:`vesalius.trace.opset`.
        shape: sizes, ``None`` where the batch size enters.
        dtype: element type, without the ``torch.`` prefix.
        batch_axis: the axis that is exactly the batch, if there is one.
        module: path of the module that computed it, empty at the top.
        line: source line, as ``file.py:12``.
    """

    name: str
    op: str
    family: str
    shape: tuple[int | None, ...]
    dtype: str
    batch_axis: int | None
    module: str = ""
    line: str = ""

    @property
    def event(self) -> tuple[int | None, ...]:
        """Shape of one sample."""
        return tuple(side for axis, side in enumerate(self.shape) if axis != self.batch_axis)

    @property
    def is_tensor(self) -> bool:
        """Whether it is a tensor, not a tuple whose parts are values of their own."""
        return self.dtype != "tuple"

    @property
    def is_floating(self) -> bool:
        """Whether gradients can reach it."""
        return "float" in self.dtype


@dataclass(frozen=True, eq=False)
class ModelGraph:
    """A cleaned graph.

    Attributes:
        graph: inputs are placeholders, parameters are ``get_attr`` nodes, everything else pure calls; ``node.meta["value"]`` is its
            :class:`Value`, ``node.meta["batch_size"]`` marks nodes that are the batch size itself.
        tensors: parameters, buffers and constants by name, sharing memory with the model's.
        nodes: node of each value, by the value's name, in order of computation.
        inputs: names of the inputs.
        output: name of the output.
        any_length: the graph that this one is at certain lengths of its inputs (a :class:`vesalius.trace.any_length.AnyLength`); ``None``
            where it is the graph of one length alone.
    """

    graph: Graph
    tensors: Mapping[str, Tensor]
    nodes: Mapping[str, Node]
    inputs: tuple[str, ...]
    output: str
    any_length: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> ModelGraph:
        """A copy whose names mean its own nodes."""
        graph = deepcopy(self.graph, memo)
        nodes = {node.meta["value"].name: node for node in graph.nodes if "value" in node.meta and node.meta["value"].is_tensor}
        return ModelGraph(graph, deepcopy(dict(self.tensors), memo), nodes, self.inputs, self.output, self.any_length)

    def value(self, name: str) -> Value:
        """Facts about a value."""
        found: Value = self.nodes[name].meta["value"]
        return found

    def resolve(self, name: str) -> str:
        """The value meant by a value's name or by a module's path (the module's output).

        Raises:
            UnknownName: neither.
            InvalidInput: a module that is called more than once, or returns more than one value.
        """
        if not isinstance(name, str):
            raise WrongType(f"a value or module is named by a string, not {type(name).__name__} {name!r}")
        inside = [node for node in self.graph.nodes if "value" in node.meta and name and _is_inside(node.meta["value"].module, name)]
        if name in self.nodes and not inside:
            return name
        if name in self.nodes:
            raise InvalidInput(f"{name!r} is both an input and a module; for the module, name one of its values: {_format_names(inside)}")
        if not inside:
            modules = {v.meta["value"].module for v in self.nodes.values()} - {""}
            raise UnknownName("value or module", name, [*self.nodes, *sorted(modules)])
        members = set(inside)
        leaving = [node.meta["value"].name for node in inside if node.meta["value"].is_tensor and self._is_used_outside(node, members)]
        if len(leaving) != 1:
            raise InvalidInput(f"module {name!r} has {len(leaving)} outputs in this graph; choose one of {', '.join(map(repr, leaving))}")
        return str(leaving[0])

    def _is_used_outside(self, node: Node, members: set[Node]) -> bool:
        """Whether a value is used outside a set (through sizes does not count), or is the model's output."""
        if node.meta["value"].name == self.output:
            return True
        outside = [user for user in node.users if user not in members and "value" in user.meta]
        return bool(outside)

    def program(self, inputs: Sequence[str], outputs: Sequence[str]) -> GraphModule:
        """The part of the graph that computes some values from others, as a callable.

        Args:
            inputs: values (or parameters) that the callable takes, in order.
            outputs: values that it returns, as a tuple in order.

        Raises:
            InvalidInput: an input of the model is needed that is not among ``inputs``.
        """
        return extract_program(self, inputs, outputs)

    def head_context(self, at: Sequence[str], output: str) -> tuple[str, ...]:
        """What else a head needs that starts at some values: the nearest values with a batch axis of their own.

        Values that the chosen ones do not reach are taken as they are where one axis is exactly the batch; otherwise the head computes
        them again, from nearer the inputs.
        """
        starts = {self.nodes[name] for name in at}
        reached = downstream_nodes(starts)
        varying = downstream_nodes(self.nodes[name] for name in self.inputs)
        context: dict[str, None] = {}

        def visit(node: Node) -> None:
            if node in seen or node in starts or node not in varying:
                return
            seen.add(node)
            value: Value | None = node.meta.get("value")
            if node not in reached and value is not None and value.batch_axis is not None:
                context[value.name] = None
                return
            for source in data_inputs(node):
                visit(source)

        seen: set[Node] = set()
        visit(self.nodes[output])
        known = [*at, *context]
        if not any(self.value(name).batch_axis is not None for name in known):
            needed = _required_nodes(self, [self.nodes[output]], {self.nodes[name] for name in known})
            context |= {self.inputs[0]: None} if any(node.meta.get("batch_size") for node in needed) else {}
        return tuple(context)


def data_inputs(node: Node) -> list[Node]:
    """Nodes a node reads, leaving out those that are only the batch size."""
    return [] if node.meta.get("batch_size") else list(node.all_input_nodes)


def downstream_nodes(starts: Iterable[Node]) -> set[Node]:
    """Nodes that depend on the given ones, themselves included, other than through the batch size."""
    reached: set[Node] = set(starts)
    queue = list(reached)
    while queue:
        for user in queue.pop().users:
            if user not in reached and not user.meta.get("batch_size"):
                reached.add(user)
                queue.append(user)
    return reached


def _format_names(nodes: Sequence[Node]) -> str:
    return ", ".join(repr(node.meta["value"].name) for node in nodes)


def _is_inside(module: str, path: str) -> bool:
    return module == path or module.startswith(path + ".")


def extract_program(model_graph: ModelGraph, inputs: Sequence[str], outputs: Sequence[str]) -> GraphModule:
    """See :meth:`ModelGraph.program`."""
    if unknown := [name for name in outputs if name not in model_graph.nodes]:
        raise UnknownName("value", unknown[0], model_graph.nodes)
    graph = Graph()
    copies: dict[Node, Any] = {}
    for position, name in enumerate(inputs):
        source = model_graph.nodes[name] if name in model_graph.nodes else _parameter_node(model_graph, name)
        copies[source] = graph.placeholder(f"input_{position}")
    batch = _batch_source([model_graph.nodes[name] for name in inputs if name in model_graph.nodes])
    for node in _required_nodes(model_graph, [model_graph.nodes[name] for name in outputs], set(copies)):
        if node.op == "placeholder":
            raise InvalidInput(f"{list(outputs)} cannot be computed from {list(inputs)} alone: {node.meta['value'].name!r} is needed too")
        if node.meta.get("batch_size") and batch is not None:
            copies[node] = graph.call_function(torch.ops.aten.sym_size.int, (copies[batch[0]], batch[1]))
        else:
            copies[node] = copy_node(graph, node, copies)
    graph.output(tuple(copies[model_graph.nodes[name]] for name in outputs))
    return finish_program(graph, model_graph.tensors)


def copy_node(graph: Graph, node: Node, copies: Mapping[Node, Any]) -> Node:
    """A node of another graph, with copies (or numbers) in place of what it reads; as ``Graph.node_copy``, in half the time: that looks
    into the arguments for symbols, which these graphs do not hold."""
    args, kwargs = map_arg((node.args, node.kwargs), copies.__getitem__)
    copy = graph.create_node(node.op, node.target, name=node.name, type_expr=node.type)
    copy.args = tuple(args)
    if kwargs:
        copy.kwargs = dict(kwargs)
    copy.meta = dict(node.meta)
    return copy


def finish_program(graph: Graph, tensors: Mapping[str, Tensor]) -> GraphModule:
    """A graph as a callable, over parameters and constants by name."""
    retarget_batch_norms(graph)
    take_any_strides(graph)
    return GraphModule(dict(tensors), graph)


def take_any_strides(graph: Graph) -> None:
    """Let ``view`` be ``reshape``: strides of a value that is given need not be those it had when the whole network was exported."""
    for node in graph.nodes:
        if node.target is torch.ops.aten.view.default:
            node.target = torch.ops.aten.reshape.default
        elif node.target is torch.ops.aten.view_as_complex.default:
            node.target = view_as_complex


def view_as_complex(tensor: Tensor) -> Tensor:
    """As aten's, by whose name it is known, of a tensor in any memory order."""
    found: Tensor = torch.ops.aten.view_as_complex.default(tensor.contiguous())
    return found


def _parameter_node(model_graph: ModelGraph, name: str) -> Node:
    for node in model_graph.graph.nodes:
        if node.op == "get_attr" and node.target == name:
            found: Node = node
            return found
    raise UnknownName("value or parameter", name, [*model_graph.nodes, *model_graph.tensors])


def _batch_source(starts: Sequence[Node]) -> tuple[Node, int] | None:
    """An input of a program whose axis is the batch."""
    return next(((node, axis) for node in starts if (axis := node.meta["value"].batch_axis) is not None), None)


def _required_nodes(model_graph: ModelGraph, targets: Sequence[Node], given: set[Node]) -> list[Node]:
    """Nodes to compute for some targets, in order, without those that are given."""
    wanted: set[Node] = set()
    queue = [node for node in targets if node not in given]
    while queue:
        node = queue.pop()
        if node in wanted:
            continue
        wanted.add(node)
        queue += [source for source in data_inputs(node) if source not in given]
    return [node for node in model_graph.graph.nodes if node in wanted]


def bytes_per_sample(model_graph: ModelGraph) -> int:
    """Memory that the values alive at the worst moment of a forward pass take, per sample."""
    last = {source: position for position, node in enumerate(model_graph.graph.nodes) for source in node.all_input_nodes}
    alive = worst = 0
    ends: dict[int, int] = {}
    for position, node in enumerate(model_graph.graph.nodes):
        value: Value | None = node.meta.get("value")
        if value is not None and value.is_tensor:
            alive += (size := _value_bytes(value))
            ends[last.get(node, position)] = ends.get(last.get(node, position), 0) + size
            worst = max(worst, alive)
        alive -= ends.pop(position, 0)
    return max(worst, 1)


def _value_bytes(value: Value) -> int:
    count = 1
    for side in value.shape:
        count *= side or 1
    return count * torch.empty(0, dtype=getattr(torch, value.dtype)).element_size()
