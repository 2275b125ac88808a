"""LRP runs of a whole network.

Axes: N rows, D elements of all explained tensors of one row, laid end to end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.rules.absorbed import AbsorbedRelevance, read_batch_layout
from vesalius.rules.composite import Composite, fold_batch_norms
from vesalius.rules.interpreter import Interpreter
from vesalius.rules.lrp import LRP, LRPState
from vesalius.rules.plan import plan_of
from vesalius.rules.sample_owners import start_signal
from vesalius.rules.signal import Signal
from vesalius.trace.question import Question


@dataclass(frozen=True)
class PropagatedRelevance:
    """Relevance of each element [N D], what went elsewhere [N] by account, and the target [N] that was shared out."""

    values: Float[Tensor, "N D"]
    absorbed: Mapping[str, Float[Tensor, " N"]]
    total: Float[Tensor, " N"]


class RelevancePropagation:
    """The part of a network that a question is about, with a rule for every layer.

    Args:
        question: what is asked.
        composite: which rule each layer follows.
        gated: see :class:`vesalius.rules.lrp.LRPState`.

    Raises:
        NotTraceable: the network is opaque.
        NoRule: an op has no rule.
        WrongType: an explained tensor is of integers.
    """

    def __init__(self, question: Question, composite: Composite, *, gated: bool = False) -> None:
        question.network.graph(LRP.name)
        question.require_differentiable(LRP.name)
        assert question.subgraph is not None
        self.question, self.subgraph, self.gated = question, question.subgraph, gated
        self.plan = plan_of(fold_batch_norms(self.subgraph.program), len(question.at))
        LRP.require_rules(self.plan)
        self.rules = composite.assign(self.plan)
        self.dense = composite.dense

    def share(self, rows: Int[Tensor, " N"]) -> PropagatedRelevance:
        """Relevance of some samples."""
        leaves = [tensor[rows].detach().requires_grad_() for tensor in self.question.present]
        count = len(leaves)
        inputs = self.subgraph.arguments(leaves, rows)
        started = [
            start_signal(value, read_batch_layout(layout, len(rows)))
            for value, layout in zip(inputs[:count], self.subgraph.layouts, strict=False)
        ]
        ledger = AbsorbedRelevance(len(rows))
        state = LRPState(ledger, self.rules, self.dense, self.gated)
        with torch.enable_grad():
            found = Interpreter(LRP, state).through(self.plan, [signal for signal, _ in started], inputs[count:])
            total = self.question.pick(found.value if isinstance(found, Signal) else found, rows)
        values = self._values(total, leaves, [raw for _, raw in started])
        if not total.requires_grad:
            ledger.accounts["bias"] = [total.detach().double()]
        absorbed = {account: amount.to(total.dtype) for account, amount in ledger.totals().items()}
        return PropagatedRelevance(values, absorbed, total.detach())

    def _values(self, total: Float[Tensor, " N"], leaves: list[Tensor], raws: list[Tensor]) -> Float[Tensor, "N D"]:
        if not total.requires_grad:
            return torch.cat([torch.zeros_like(leaf).reshape(len(leaf), -1) for leaf in leaves], 1)
        slopes = torch.autograd.grad(total.sum(), [*leaves, *raws], allow_unused=True)
        values = []
        for place, (leaf, layout) in enumerate(zip(leaves, self.subgraph.layouts, strict=False)):
            c, raw = slopes[place], slopes[len(leaves) + place]
            value = torch.zeros_like(leaf) if c is None else c * leaf.detach()
            values.append(value if raw is None else value + layout.batch_first(raw))
        return torch.cat([value.reshape(len(value), -1) for value in values], 1)
