"""DeepLIFT and Deep SHAP: methods that compare a sample with references, op by op.

Axes: B samples, M references, D elements of all explained tensors of one sample, laid end to end.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.names import require_known
from vesalius.games.absence import Absence
from vesalius.methods.base import Method, register
from vesalius.methods.double_precision import compare_in_batches, with_double_fallback
from vesalius.methods.straight_path import feature_allocation
from vesalius.rules.deep_shap import DEEP_SHAP, UnitShapley
from vesalius.rules.network_contributions import Contributions, ReferenceComparison
from vesalius.rules.rescale import RESCALE
from vesalius.rules.reveal_cancel import REVEAL_CANCEL, RevealCancel
from vesalius.trace.question import Question


@dataclass(frozen=True, kw_only=True)
class ReferenceMethod(Method):
    """Base of methods that are complete to rounding on every op."""

    claims: ClassVar[frozenset[str]] = frozenset({"complete", "dummy", "symmetric", "sensitive", "graph"})

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        fills = absence.fill(question)
        found = with_double_fallback(question, fills, self.compare)
        count = torch.full((question.batch,), 1 + 2 * fills[0].shape[1])
        return feature_allocation(question, found.values, found.base, found.total, evaluations=count)

    @abstractmethod
    def compare(self, question: Question, fills: tuple[Tensor, ...]) -> Contributions:
        """Share out each sample's change from its references."""


@register
@final
@dataclass(frozen=True, kw_only=True)
class DeepLIFTRescale(ReferenceMethod):
    """The secant slope of every non-linear op between baseline and input, chained; exactly complete.

    Reference: Shrikumar2017, section 3.5.1. Differs from the paper: every op has a rule of its own (products, quotients, softmax,
    normalisations, maxima, comparisons), so that it adds up on any architecture. With several baselines it is their mean.
    """

    name: ClassVar[str] = "deeplift_rescale"

    def compare(self, question: Question, fills: tuple[Tensor, ...]) -> Contributions:
        comparison = ReferenceComparison(question, RESCALE)
        return compare_in_batches(question, lambda rows: comparison.rescale(rows, fills))


@register
@final
@dataclass(frozen=True, kw_only=True)
class DeepLIFTRevealCancel(ReferenceMethod):
    """As Rescale, but at a function of several contributions the positive and the negative ones are two players with their Shapley values.

    Attributes:
        convolutions: whether units behind convolutions are split; else they follow the Rescale rule.
        dense: the same for units behind all other maps.

    Reference: Shrikumar2017, section 3.5.2. The authors' package splits dense layers only (``convolutions=False``): with many players the
    rule is farther from their Shapley values than Rescale is. Functions that cannot be evaluated away from their inputs (exp, log, roots)
    follow Rescale.
    """

    name: ClassVar[str] = "deeplift_revealcancel"
    convolutions: bool = True
    dense: bool = True

    def compare(self, question: Question, fills: tuple[Tensor, ...]) -> Contributions:
        comparison, algebra = ReferenceComparison(question, REVEAL_CANCEL), RevealCancel(self.convolutions, self.dense)
        return compare_in_batches(question, lambda rows: comparison.with_unit_rules(rows, fills, algebra))


@register
@final
@dataclass(frozen=True, kw_only=True)
class DeepSHAP(ReferenceMethod):
    """DeepLIFT averaged over references, or chained Shapley values of the network's components.

    Attributes:
        variant: ``rescale``, what the shap package computes: Rescale multipliers, their mean over the baselines; or ``exact``, what its
            paper
            describes: the Shapley value of the players of every unit, chained.

    Reference: Lundberg2017, section 4.2. Differs from the paper in ``exact``: units of more than 10 players (and those of convolutions)
    have the mean slope of their coalitions by the central limit, made complete; softmax and normalised rows are chains of small components.
    """

    name: ClassVar[str] = "deep_shap"
    variant: str = "rescale"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known("variant of deep_shap", self.variant, ("rescale", "exact"))

    def compare(self, question: Question, fills: tuple[Tensor, ...]) -> Contributions:
        if self.variant == "rescale":
            return DeepLIFTRescale().compare(question, fills)
        comparison = ReferenceComparison(question, DEEP_SHAP)
        return compare_in_batches(question, lambda rows: comparison.with_unit_rules(rows, fills, UnitShapley()))
