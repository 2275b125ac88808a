"""Gates of recurrent layers as links: what enters them from below, and from the step before.

Axes: B batch, T steps, I inputs, H hidden units, N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx import Node

from vesalius.trace.graph import ModelGraph
from vesalius.trace.layers import Layer
from vesalius.trace.opset import base_op_name

RECURRENT_OPS = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})


@dataclass(frozen=True)
class _RecurrentStack:
    """The parameters of a recurrent op, and how it runs.

    Attributes:
        op: ``lstm``, ``gru``, ``rnn_tanh`` or ``rnn_relu``.
        cells: names of the parameters of each layer and direction: two weights, and two biases if it has any.
        directions: 1, or 2 where it runs both ways.
        batch_first: whether samples come before steps.
    """

    op: str
    cells: tuple[tuple[str, ...], ...]
    directions: int
    batch_first: bool

    @classmethod
    def of(cls, node: Node) -> _RecurrentStack | None:
        """Read off a graph; ``None`` for other ops, states that are given, projections and packed sequences."""
        op = base_op_name(node.target) if node.op == "call_function" else ""  # type: ignore[arg-type]
        args: tuple[Any, ...] = node.args
        if op not in RECURRENT_OPS or len(args) != 9 or not isinstance(args[2], (list, tuple)):
            return None
        _, states, parameters, has_biases, layers, _, _, both_ways, batch_first = args
        each = 4 if has_biases else 2
        given = states if isinstance(states, (list, tuple)) else (states,)
        if len(parameters) != each * layers * (1 + both_ways) or not all(_is_zeros(one) for one in given):
            return None
        if not all(isinstance(one, Node) and one.op == "get_attr" for one in parameters):
            return None
        names = [str(one.target) for one in parameters]
        cells = tuple(tuple(names[at : at + each]) for at in range(0, len(names), each))
        return cls(op, cells, 2 if both_ways else 1, bool(batch_first))


def _is_zeros(node: object) -> bool:
    return isinstance(node, Node) and node.op == "call_function" and base_op_name(node.target) in ("zeros", "new_zeros", "zeros_like")  # type: ignore[arg-type]


def recurrent_layers(model_graph: ModelGraph) -> Iterator[Layer]:
    """The weights of recurrent ops, each as a layer that is called by the weight's name, in order of computation."""
    for node in model_graph.graph.nodes:
        stack = _RecurrentStack.of(node)
        if stack is None:
            continue
        source: Any = node.args[0]
        for cell in stack.cells:
            for place, weight in enumerate(cell[:2]):
                shape = tuple(model_graph.tensors[weight].shape)
                yield Layer(
                    name=weight,
                    op=stack.op,
                    value=node.name,
                    source=source.meta["value"].name,
                    weight=weight,
                    out_axis=0,
                    in_axis=1,
                    shape=shape,
                    unit_axis=2,
                    units=shape[0],
                    bias=cell[2 + place] if len(cell) > 2 else "",
                )


def gate_inputs(
    model_graph: ModelGraph, layer: Layer, value: Float[Tensor, "..."], parameters: Mapping[str, Tensor]
) -> Float[Tensor, "N F"]:
    """What one weight of a recurrent op is applied to, at every step of every sample.

    Args:
        model_graph: of the network.
        layer: one of :func:`recurrent_layers`.
        value: what the op reads.
        parameters: by name, in the value's precision.
    """
    node = next(node for node in model_graph.graph.nodes if node.name == layer.value)
    stack = _RecurrentStack.of(node)
    assert stack is not None
    x = value if stack.batch_first else value.transpose(0, 1)
    for start in range(0, len(stack.cells), stack.directions):
        outputs = []
        for direction, cell in enumerate(stack.cells[start : start + stack.directions]):
            seen = x.flip(1) if direction else x
            if layer.weight == cell[0]:
                return x.flatten(0, 1)
            found = _run_cell(stack.op, seen, [parameters[name] for name in cell])
            if layer.weight == cell[1]:
                return torch.nn.functional.pad(found[:, :-1], (0, 0, 1, 0)).flatten(0, 1)
            outputs.append(found.flip(1) if direction else found)
        x = torch.cat(outputs, 2)
    raise AssertionError(layer.weight)


def _run_cell(op: str, x: Float[Tensor, "B T I"], parameters: list[Tensor]) -> Float[Tensor, "B T H"]:
    """One layer, one way, from a state of zeros."""
    state = x.new_zeros(1, len(x), parameters[1].shape[1])
    options = (len(parameters) > 2, 1, 0.0, False, False, True)
    run = {"lstm": torch.lstm, "gru": torch.gru, "rnn_tanh": torch.rnn_tanh, "rnn_relu": torch.rnn_relu}[op]
    found: Tensor = run(x, [state, state] if op == "lstm" else state, parameters, *options)[0]  # type: ignore[operator]
    return found
