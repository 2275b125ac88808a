"""How many of a network's weights were looked at, and why the others were left alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx import Node

from vesalius.core import store
from vesalius.trace.layers import parameters_behind
from vesalius.trace.network import Network
from vesalius.trace.opset import readable_op_name

REASONS: Mapping[str, str] = {
    "embedding": "a table whose rows are looked up",
    "embedding_bag": "a table whose rows are looked up",
    "lstm": "gates of an LSTM",
    "gru": "gates of a GRU",
    "rnn_tanh": "a recurrent layer",
    "rnn_relu": "a recurrent layer",
    "bilinear": "weights of a product of two inputs",
    "attention": "read inside of attention",
}
"""Why a weight is left alone that is read by some op."""
TURNING_OPS = frozenset("t transpose permute numpy_T mT detach alias".split())
MAX_SHOWN = 6
"""Weights left alone that are named in a table, the largest first."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Coverage:
    """Weights that were looked at; biases and other rows of numbers count for none.

    Attributes:
        looked_at: how many numbers.
        total: in all.
        left: number and reason of each weight that was left alone, the largest first.
    """

    looked_at: int
    total: int
    left: Mapping[str, tuple[int, str]]

    @property
    def share(self) -> float:
        """Of all weights, looked at."""
        return self.looked_at / self.total if self.total else 1.0

    def sentence(self) -> str:
        """That share, in words; empty if it is all of them."""
        return f"the links looked at are {100 * self.share:.3g} % of the {self.total:,} weights" if self.left else ""

    def lines(self) -> list[str]:
        """What was left alone, a line each."""
        shown = list(self.left.items())[:MAX_SHOWN]
        lines = [f"left alone: {name} ({size:,} weights): {reason}" for name, (size, reason) in shown]
        rest = list(self.left.values())[MAX_SHOWN:]
        return [*lines, f"left alone: {len(rest)} more ({sum(size for size, _ in rest):,} weights)"] if rest else lines

    def to_facts(self) -> dict[str, Any]:
        """For a file."""
        return {"looked_at": self.looked_at, "total": self.total, "left": {name: list(found) for name, found in self.left.items()}}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Coverage:
        """From a file; of nothing where a file says nothing."""
        left = {str(name): (int(size), str(reason)) for name, (size, reason) in store.mapping(facts.get("left", {})).items()}
        return cls(looked_at=int(facts.get("looked_at", 0)), total=int(facts.get("total", 0)), left=left)


def weight_coverage(network: Network, looked_at: Collection[str]) -> Coverage:
    """What share of a network's weights some of them are.

    Args:
        network: traced.
        looked_at: names of weights.
    """
    weights, names = _distinct_weights(network), _parameters_of(network, looked_at)
    seen = [one for name, one in weights.items() if name in names]
    places = {one.data_ptr() for one in seen}
    left = {name: one for name, one in weights.items() if name not in names and one.data_ptr() not in places}
    by_size = sorted(left.items(), key=lambda pair: -pair[1].numel())
    total = sum(one.numel() for one in (*seen, *left.values()))
    reasons = {name: (one.numel(), _reason(network, name)) for name, one in by_size}
    return Coverage(looked_at=sum(one.numel() for one in seen), total=total, left=reasons)


def _parameters_of(network: Network, weights: Collection[str]) -> set[str]:
    """Names of the parameters that weights are, or are computed from."""
    model_graph = network.graph("naming weights")
    values = [layer.computed for layer in network.layers.values() if layer.computed and layer.weight in weights]
    return {*weights, *(name for value in values for name in parameters_behind(model_graph.nodes[value]))}


def _distinct_weights(network: Network) -> dict[str, Tensor]:
    """Parameters of more than one axis, those that are tied once."""
    model = network.call.model if network.call is not None else None
    known = None if model is None else {name for name, _ in model.named_parameters(remove_duplicate=False)}
    found: dict[str, Tensor] = {}
    for name, tensor in network.parameters.items():
        if tensor.is_floating_point() and tensor.ndim > 1 and tensor.numel() and (known is None or name in known):
            found[name] = tensor
    return found


def _reason(network: Network, name: str) -> str:
    """Why a weight was left alone, from what reads it."""
    nodes = [node for node in network.graph("naming weights").graph.nodes if node.op == "get_attr" and node.target == name]
    computed = any(_is_computation(user) for node in nodes for user in node.users)
    if computed:
        return "part of a weight that is computed whenever the model is called, so that no mask would last"
    readers = {_reader(user) for node in nodes for user in node.users}
    known = [REASONS.get(op, f"read by {op}") for op in sorted(readers) if op]
    if any(layer.weight == name for layer in network.layers.values()) and not readers & REASONS.keys():
        return "of a layer that was not asked for"
    return " and ".join(dict.fromkeys(known)) or "read by nothing that was traced"


def _is_computation(node: Node) -> bool:
    """Whether another weight is computed, and not the same one turned or passed on."""
    value = node.meta.get("value")
    return node.op == "call_function" and value is not None and value.family == "zero" and value.op not in TURNING_OPS


def _reader(node: Node) -> str:
    """The op that applies a parameter to data."""
    while node.op == "call_function" and "value" in node.meta and node.meta["value"].family == "zero" and node.users:
        node = next(iter(node.users))
    return readable_op_name(node.target) if node.op == "call_function" else ""  # type: ignore[arg-type]
