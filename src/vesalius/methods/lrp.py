"""Layer-wise relevance propagation: methods that hand the output itself back, layer by layer.

Axes: B samples, D elements of all explained tensors of one sample, laid end to end.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.names import require_known
from vesalius.games.absence import Absence
from vesalius.games.memory import Batches, batch_size
from vesalius.methods.base import Method, base_and_total, register
from vesalius.methods.straight_path import BACKWARD_COST, feature_allocation
from vesalius.rules.composite import Composite, resolve_composite
from vesalius.rules.layer_rules import AlphaBeta, Box, Epsilon, LayerRule, WSquare
from vesalius.rules.network_relevance import PropagatedRelevance, RelevancePropagation
from vesalius.trace.question import Question, to_float64

LAYER_RULE_COST = 2 * BACKWARD_COST
"""Memory of a run with layer rules, as a multiple of the live values of a forward pass."""
ROUNDING = 5e-5
"""Share of the relevance at the output that single precision may lose; samples that lose more are computed again in double precision."""


@dataclass(frozen=True, kw_only=True)
class LRPMethod(Method):
    """Base of LRP methods.

    The output f(x) itself is shared out: ``values + absorbed = total``. A baseline changes nothing but ``base``, and so the gap.

    Attributes:
        composite: rules that differ per layer: a :class:`vesalius.rules.composite.Composite`, or ``epsilon_plus`` or
            ``epsilon_alpha2_beta1``.
        gated: at a product with a softmax or a sigmoid, all relevance goes to the other factor (Ali2022); advised for recurrent networks.
            By default each factor gets half (Achtibat2024).
    """

    claims: ClassVar[frozenset[str]] = frozenset({"dummy", "symmetric", "sensitive", "accounted", "graph"})
    composite: str | Composite | None = None
    gated: bool = False

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        rules = self.rules() if self.composite is None else resolve_composite(self.composite)
        fills = absence.fill(question)
        found = self._with_double_fallback(question, lambda asked: self._share(asked, rules))
        base, total = base_and_total(question, fills)
        evaluations = torch.full((question.batch,), 2 + fills[0].shape[1])
        allocation = feature_allocation(question, found.values, base, total, evaluations=evaluations)
        return replace(allocation, absorbed=found.absorbed)

    @abstractmethod
    def rules(self) -> Composite:
        """The method's own rules."""

    def _share(self, question: Question, composite: Composite) -> PropagatedRelevance:
        propagation = RelevancePropagation(question, composite, gated=self.gated)
        device = question.present[0].device
        batches = Batches(max(1, batch_size(question.network, device) // LAYER_RULE_COST), "the relevance of one sample")
        parts = list(batches.over(torch.arange(question.batch, device=device), propagation.share))
        accounts = sorted({account for part in parts for account in part.absorbed})
        absorbed = {
            account: torch.cat([part.absorbed.get(account, torch.zeros_like(part.total)) for part in parts]) for account in accounts
        }
        return PropagatedRelevance(torch.cat([part.values for part in parts]), absorbed, torch.cat([part.total for part in parts]))

    def _with_double_fallback(self, question: Question, share: Callable[[Question], PropagatedRelevance]) -> PropagatedRelevance:
        """In double precision where relevance cancels so far that single precision loses it."""
        found = share(question)
        if question.present[0].dtype == torch.float64 or bool(adds_up(found).all()):
            return found
        weak: Int[Tensor, " n"] = (~adds_up(found)).nonzero().flatten()
        exact = share(to_float64(question, weak))
        values = found.values.index_copy(0, weak, exact.values.to(found.values.dtype))
        absorbed = {}
        for account in {**found.absorbed, **exact.absorbed}:
            amount = found.absorbed.get(account, torch.zeros_like(found.total)).clone()
            amount[weak] = exact.absorbed.get(account, torch.zeros_like(exact.total)).to(amount.dtype)
            absorbed[account] = amount
        return PropagatedRelevance(values, absorbed, found.total)


def adds_up(found: PropagatedRelevance) -> Bool[Tensor, " B"]:
    """Whether relevance and what was absorbed add up to the output, but for rounding."""
    kept = sum((amount.double() for amount in found.absorbed.values()), found.values.sum(1, dtype=torch.float64))
    return (kept - found.total.double()).abs() <= ROUNDING * found.total.abs().double()


@register
@final
@dataclass(frozen=True, kw_only=True)
class LRPEpsilon(LRPMethod):
    """The epsilon rule on every layer: contributions in proportion.

    Attributes:
        epsilon: what the denominators are moved away from zero by; with 0 and ReLUs this is Gradient x Input.

    Reference: Bach2015, equation 58; Achtibat2024 for attention, softmax and norms. Differs from the paper: multiplier form, in which
    relevance cannot blow up at residual sums, and an account of all that biases and stabilisers take.
    """

    name: ClassVar[str] = "lrp_epsilon"
    epsilon: float = 1e-6

    def rules(self) -> Composite:
        rule = Epsilon(epsilon=self.epsilon)
        return Composite(dense=rule, convolution=rule)


@register
@final
@dataclass(frozen=True, kw_only=True)
class LRPAlphaBeta(LRPMethod):
    """Positive and negative contributions apart, weighted alpha and -beta; epsilon on the layers after which all is linear.

    Attributes:
        alpha: weight of positive contributions.
        beta: weight of negative ones; alpha - beta = 1.

    Reference: Bach2015, equation 60.
    """

    name: ClassVar[str] = "lrp_alpha_beta"
    alpha: float = 2.0
    beta: float = 1.0

    def rules(self) -> Composite:
        rule = AlphaBeta(alpha=self.alpha, beta=self.beta)
        return Composite(dense=rule, convolution=rule, last=Epsilon(epsilon=0))


@register
@final
@dataclass(frozen=True, kw_only=True)
class DeepTaylor(LRPMethod):
    """Deep Taylor decomposition: the z+ rule on hidden layers, one that knows the domain on the first; epsilon where all is linear.

    Attributes:
        domain: of the explained tensor: ``positive`` (z+), ``box`` (between ``low`` and ``high``) or ``unbounded`` (squared weights).
        low: lower bound for ``box``.
        high: upper bound for ``box``.

    Reference: Montavon2017, equations 8, 10 and 12.
    """

    name: ClassVar[str] = "deep_taylor"
    domain: str = "positive"
    low: float | Tensor = 0.0
    high: float | Tensor = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known("domain", self.domain, ("positive", "box", "unbounded"))
        Box(low=self.low, high=self.high)  # which refuses bounds that are none

    def rules(self) -> Composite:
        rule = AlphaBeta(alpha=1, beta=0)
        first: dict[str, LayerRule | None] = {"positive": None, "box": Box(low=self.low, high=self.high), "unbounded": WSquare()}
        return Composite(dense=rule, convolution=rule, first=first[self.domain], last=Epsilon(epsilon=0))
