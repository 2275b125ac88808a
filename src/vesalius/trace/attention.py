"""Attention heads read off the graph: where the weighted sums of values are, head by head, and what they are made of.

Two ways to write attention are recognised: one op that is kept whole (``scaled_dot_product_attention``), and a softmax of scores, which
are a product of two values that depend on the input, that is multiplied with a third (``matmul``, ``bmm``, ``einsum``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch.fx import Node

from vesalius.trace.axes import ValueAxes
from vesalius.trace.graph import ModelGraph, downstream_nodes
from vesalius.trace.opset import readable_op_name

PRODUCTS = frozenset({"matmul", "bmm", "baddbmm", "einsum"})
SOFTMAX = frozenset({"softmax", "_safe_softmax"})
WEIGHT_OPS = frozenset(
    "dropout to contiguous clone alias view reshape expand unsqueeze squeeze type_as mul masked_fill where nan_to_num slice".split()
)
"""Ops between a softmax and the product with values."""
SCORE_OPS = WEIGHT_OPS | frozenset("div add sub tanh clamp maximum transpose permute cat neg baddbmm".split())
"""Ops between the product of queries and keys, and the softmax."""


@dataclass(frozen=True)
class Attention:
    """The heads of one attention.

    Attributes:
        layer: its place among the attentions, in order of computation.
        module: path of the module that computes it, empty at the top.
        value: name of the weighted sums of values, before they are projected out.
        axis: the axis of that value, batch first, that runs over heads; 0 where there is a single head and no axis.
        heads: how many.
        operands: names of queries, keys and values, as they enter the attention.
        operand_axes: the axis of each, batch first, that runs over heads; 0 where there is none.
        operand_heads: how many heads each has: fewer keys and values than queries where these are shared by groups.
    """

    layer: int
    module: str
    value: str
    axis: int
    heads: int
    operands: tuple[str, str, str]
    operand_axes: tuple[int, int, int]
    operand_heads: tuple[int, int, int]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the heads: ``L0H1``."""
        return tuple(f"L{self.layer}H{head}" for head in range(self.heads))


def op_of(node: Node) -> str:
    """Readable name of a node's op; empty for an input or a parameter."""
    return readable_op_name(node.target) if node.op == "call_function" else ""  # type: ignore[arg-type]


def name_of(node: Node) -> str:
    """Name of a node's value, empty where it has none."""
    return str(node.meta["value"].name) if "value" in node.meta else ""


def find_attentions(model_graph: ModelGraph, axes: Mapping[str, ValueAxes]) -> tuple[Attention, ...]:
    """All attentions whose heads can be told apart, in order of computation."""
    varying = downstream_nodes(model_graph.nodes[name] for name in model_graph.inputs)
    found: list[Attention] = []
    for node in model_graph.nodes.values():
        parts = _fused(node) if op_of(node) in ("attention", "scaled_dot_product_attention") else _written_out(node, varying)
        if parts is None:
            continue
        operands, places = parts
        axis = _batch_first(axes, node, places[3])
        if axis is None:
            continue
        along = [_batch_first(axes, operand, place) or 0 for operand, place in zip(operands, places, strict=False)]
        counts = [_side(axes, operand, place) for operand, place in zip(operands, along, strict=True)]
        found.append(
            Attention(
                layer=len(found),
                module=model_graph.value(name_of(node)).module,
                value=name_of(node),
                axis=axis,
                heads=_side(axes, node, axis),
                operands=(name_of(operands[0]), name_of(operands[1]), name_of(operands[2])),
                operand_axes=(along[0], along[1], along[2]),
                operand_heads=(counts[0], counts[1], counts[2]),
            )
        )
    return tuple(found)


Parts = tuple[tuple[Node, Node, Node], tuple[int, int, int, int]]
"""Queries, keys and values; and the axis over heads of each and of the output, as the network computes them; -1 for none."""


def _fused(node: Node) -> Parts | None:
    named = [node.kwargs.get(name) for name in ("query", "key", "value")]
    operands = [arg for arg in (*node.args[:3], *named) if isinstance(arg, Node)]
    if len(operands) != 3:
        return None
    places = [_rank(one) - 3 for one in (*operands, node)]
    return (operands[0], operands[1], operands[2]), (places[0], places[1], places[2], places[3])


def _written_out(node: Node, varying: set[Node]) -> Parts | None:
    """A product of weights, which come from a softmax of scores, and values."""
    operands = _factors(node, varying)
    for place, weights in enumerate(operands):
        scores = _scores_behind(weights, varying)
        if scores is not None:
            query, key = _factors(scores, varying)
            of_scores, of_sum = _head_axes(scores), _head_axes(node)
            return (query, key, operands[1 - place]), (of_scores[0], of_scores[1], of_sum[1 - place], of_sum[2])
    return None


def _factors(node: Node, varying: set[Node]) -> tuple[Node, ...]:
    """The two operands of a product that both depend on the input; none where it is no such product."""
    if op_of(node) not in PRODUCTS:
        return ()
    given = node.args[1] if op_of(node) == "einsum" else node.args[-2:]
    factors = tuple(arg for arg in given if isinstance(arg, Node) and arg in varying) if isinstance(given, (tuple, list)) else ()
    return factors if len(factors) == 2 and len(given) == 2 and min(map(_rank, factors)) >= 3 else ()  # type: ignore[arg-type]


def _scores_behind(weights: Node, varying: set[Node]) -> Node | None:
    """The product of queries and keys behind weights that are a softmax of it."""
    softmax = _walk_back(weights, WEIGHT_OPS, lambda node: op_of(node) in SOFTMAX, varying)
    return None if softmax is None else _walk_back(softmax, SCORE_OPS | SOFTMAX, lambda node: bool(_factors(node, varying)), varying)


def _walk_back(start: Node, passed: frozenset[str], found: Callable[[Node], bool], varying: set[Node]) -> Node | None:
    """The nearest node behind another that is what is looked for, through some ops alone."""
    queue, seen = [start], {start}
    for node in queue:
        if found(node):
            return node
        if op_of(node) in passed:
            further = [arg for arg in node.all_input_nodes if arg in varying and arg not in seen and _rank(arg) >= 3]
            seen |= set(further)
            queue += further
    return None


def _head_axes(product: Node) -> tuple[int, int, int]:
    """The axis over heads of both operands of a product, and of the product; -1 for none."""
    given = product.args[1] if op_of(product) == "einsum" else product.args[-2:]
    if op_of(product) == "einsum" and "->" in (equation := str(product.args[0])) and "." not in equation:
        return _einsum_heads(equation)
    places = [_rank(one) - 3 for one in (*given, product) if isinstance(one, Node)]  # type: ignore[misc]
    return places[0], places[1], places[2]


def _einsum_heads(equation: str) -> tuple[int, int, int]:
    """The axis over heads: the last label but the samples' that both operands and the product share."""
    before, _, output = equation.replace(" ", "").partition("->")
    left, _, right = before.partition(",")
    shared = [label for label in output if label in left and label in right]
    if len(shared) < 2:
        return -1, -1, -1
    return left.index(shared[-1]), right.index(shared[-1]), output.index(shared[-1])


def _rank(node: Node) -> int:
    return len(node.meta["value"].shape) if "value" in node.meta else 0


def _side(axes: Mapping[str, ValueAxes], node: Node, axis: int) -> int:
    """Elements along an axis of a value's batch-first form; 1 for none."""
    return int(axes[name_of(node)].shape[axis] or 1) if axis else 1


def _batch_first(axes: Mapping[str, ValueAxes], node: Node, raw: int) -> int | None:
    """An axis of the value's batch-first form; 0 where there is none, ``None`` where the samples cannot be told apart."""
    found = axes.get(name_of(node))
    layout = found.batch if found is not None else None
    if layout is None:
        return None
    shared = int(layout.before > 1) + int(layout.after > 1)
    if raw < 0 or (raw == layout.axis and not shared):
        return 0  # where heads would be there are the samples: a single head
    if raw == layout.axis:
        return layout.axis + shared
    return raw + 1 if raw < layout.axis else raw + shared
