"""Products by ``torch.einsum`` with a matrix of parameters, as links: one index is summed over, another one is new.

Axes: F links into a unit, N rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.fx import Node

from vesalius.trace.graph import ModelGraph
from vesalius.trace.layers import Layer
from vesalius.trace.opset import base_op_name

EINSUM_OP = "einsum"


@dataclass(frozen=True)
class _EinsumProduct:
    """One einsum.

    Attributes:
        weight: name of the matrix.
        data: what is multiplied with it.
        axes: the matrix's axis of units, and of what they read.
        read_axis: the data's axis that is summed over.
        unit_axis: the result's axis of units.
    """

    weight: str
    data: Node
    axes: tuple[int, int]
    read_axis: int
    unit_axis: int

    @classmethod
    def of(cls, model_graph: ModelGraph, node: Node) -> _EinsumProduct | None:
        """Read off a graph; ``None`` for other ops, and for products that are no layer of units by links."""
        if node.op != "call_function" or base_op_name(node.target) != EINSUM_OP or "value" not in node.meta:  # type: ignore[arg-type]
            return None
        equation, operands = str(node.args[0]).replace(" ", ""), list(node.args[1])  # type: ignore[arg-type]
        if "->" not in equation or len(operands) != 2:
            return None
        terms, result = equation.split("->")
        pairs = list(zip(terms.split(","), operands, strict=True))
        matrices = [place for place, (term, one) in enumerate(pairs) if one.op == "get_attr" and len(term) == 2 and "." not in term]
        if len(matrices) != 1 or "value" not in pairs[1 - matrices[0]][1].meta:
            return None
        (term, weight), (seen, data) = pairs[matrices[0]], pairs[1 - matrices[0]]
        summed = [one for one in term if one in seen and one not in result]
        new = [one for one in term if one not in seen and one in result]
        letters, left = seen.replace(".", ""), result.replace(".", "")
        if len(summed) != 1 or len(new) != 1 or len({*letters}) != len(letters) or {*letters, *new} - {*summed} != {*left}:
            return None
        read_axis = _axis(seen, summed[0], len(data.meta["value"].shape))
        unit_axis = _axis(result, new[0], len(node.meta["value"].shape))
        return cls(str(weight.target), data, (term.index(new[0]), term.index(summed[0])), read_axis, unit_axis)


def _axis(term: str, index: str, rank: int) -> int:
    """The axis of an index in a value of some rank, behind or before the dots."""
    before, dots, after = term.partition("...")
    return before.index(index) if index in before or not dots else rank - len(after) + after.index(index)


def einsum_layers(model_graph: ModelGraph) -> Iterator[Layer]:
    """The matrices of einsums, each as a layer that is called by the matrix's name, in order of computation."""
    for node in model_graph.graph.nodes:
        found = _EinsumProduct.of(model_graph, node)
        if found is None:
            continue
        shape = tuple(model_graph.tensors[found.weight].shape)
        yield Layer(
            name=found.weight,
            op=EINSUM_OP,
            value=node.meta["value"].name,
            source=found.data.meta["value"].name,
            weight=found.weight,
            out_axis=found.axes[0],
            in_axis=found.axes[1],
            shape=shape,
            unit_axis=found.unit_axis,
            units=shape[found.axes[0]],
        )


def einsum_inputs(model_graph: ModelGraph, layer: Layer, value: Float[Tensor, "..."]) -> Float[Tensor, "N F"]:
    """What the matrix is applied to.

    Args:
        model_graph: of the network.
        layer: one of :func:`einsum_layers`.
        value: what is multiplied with the matrix.
    """
    found: Any = _EinsumProduct.of(model_graph, model_graph.nodes[layer.value])
    return value.movedim(found.read_axis, -1).flatten(0, -2)
