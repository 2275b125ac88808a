"""What a network's ops say about the gradient along a line, before it is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch.fx import Node

from vesalius.rules.op_kinds import op_kind, op_name
from vesalius.trace.graph import downstream_nodes
from vesalius.trace.opset import KINKED_OPS, SINGULAR_OPS, SMOOTH_OPS, op_family
from vesalius.trace.question import Question

SMOOTH_FAMILIES = frozenset({"linear", "bilinear", "reshape"})
STEPS = frozenset("argmax argmin argsort floor ceil round trunc sign sgn bucketize searchsorted".split())
"""Functions with jumps, beside comparisons."""
SOFT_THRESHOLD = 15
"""Threshold of softplus at which its step is below single precision's rounding."""
CHOICES = frozenset({"where", "masked_fill"})
"""Ops that are linear where no input reaches their first tensor that is a condition."""


@dataclass(frozen=True)
class Smoothness:
    """What stands between the explained tensors and the target.

    Attributes:
        kinked: ops whose slope jumps, in order, by name.
        doubtful: ops that may have kinks or steps, or are not known; they may hardly matter.
        singular: whether there is an op that changes within any distance about some point, however short.
        stepped: whether there is an op whose value jumps, which no gradient sees.
    """

    kinked: tuple[str, ...]
    doubtful: tuple[str, ...]
    singular: bool
    stepped: bool

    @property
    def smooth(self) -> bool:
        """Whether gradients are analytic but at singular points."""
        return not self.kinked and not self.doubtful

    def __str__(self) -> str:
        return ", ".join((*self.kinked, *self.doubtful))


def smoothness(question: Question) -> Smoothness:
    """Sorts the ops of a traced network that the explained tensors reach."""
    assert question.subgraph is not None
    graph = question.subgraph.run.graph
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    reached = downstream_nodes(inputs[: len(question.at)])
    nodes = [node for node in graph.nodes if node.op == "call_function" and node in reached and op_kind(node.target) != "shape"]
    kinked = dict.fromkeys(op_name(node.target) for node in nodes if op_name(node.target) in KINKED_OPS or _is_hard_softplus(node))
    doubtful = dict.fromkeys(op_name(node.target) for node in nodes if _is_doubtful(node, reached))
    singular, stepped = any(_is_singular(node, reached) for node in nodes), any(map(_is_step, nodes))
    return Smoothness(tuple(kinked), tuple(doubtful), singular, stepped)


def _is_doubtful(node: Node, reached: set[Any]) -> bool:
    name = op_name(node.target)
    if name in CHOICES:
        return node.args[0 if name == "where" else 1] in reached
    known = name in SMOOTH_OPS or name in KINKED_OPS or op_family(node.target) in SMOOTH_FAMILIES  # type: ignore[arg-type]
    return not known and op_kind(node.target) not in ("move", "transform", "add", "scale", "map", "multiply", "divide", "affine")


def _is_step(node: Node) -> bool:
    """Whether an op's value jumps: comparisons and roundings, and places of the largest."""
    name = op_name(node.target)
    if name == "getitem" and isinstance(node.args[0], Node):
        return bool(node.args[1] == 1) and op_kind(node.args[0].target) in ("select", "largest", "running")
    return name in STEPS or op_kind(node.target) == "step" or _is_hard_softplus(node)


def _is_hard_softplus(node: Node) -> bool:
    """Whether softplus becomes its argument so early that it jumps there, by log(1 + exp(-threshold)) / beta."""
    threshold = node.args[2] if len(node.args) > 2 else node.kwargs.get("threshold", SOFT_THRESHOLD)
    return op_name(node.target) == "softplus" and isinstance(threshold, (int, float)) and threshold < SOFT_THRESHOLD


def _is_singular(node: Node, reached: set[Any]) -> bool:
    name = op_name(node.target)
    return name in SINGULAR_OPS and (name != "div" or node.args[1] in reached)
