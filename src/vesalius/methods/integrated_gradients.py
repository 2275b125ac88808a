"""Integrated gradients, from one baseline or from many.

Axes: B samples, M baselines of each, D elements of all explained tensors of one sample, laid end to end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.errors import NoRule
from vesalius.core.names import require_known
from vesalius.core.numbers import POSITIVE, POSITIVE_COUNT, Limit
from vesalius.games.absence import Absence
from vesalius.games.memory import Batches, batch_size
from vesalius.methods import quadrature, secants
from vesalius.methods.base import Method, base_and_total, register
from vesalius.methods.double_precision import COMPARISON_COST, with_double_fallback
from vesalius.methods.straight_path import StraightPath, feature_allocation
from vesalius.rules.network_contributions import Contributions, ReferenceComparison
from vesalius.rules.rescale import RESCALE
from vesalius.trace.question import Question

INTEGRATION_RULES = ("auto", "secants", "quadrature")
MIN_CHANGE = 1e-3
"""Gaps below this share of the target itself count as closed, so that f(x) = f(b) can be reached."""
STORE_BYTES = 1 << 28
"""Maps of pieces kept at once; more lines than that allows are taken in turn."""


@dataclass(frozen=True, kw_only=True)
class PathMethod(Method):
    """Base of methods that integrate the gradient along straight lines.

    Attributes:
        tol: for secants, the largest relative L2 error of the map, as estimated from two refinements; for quadrature, the largest gap as a
            share of |f(x) - f(b)|.
        max_steps: gradient evaluations per line at which an adaptive run gives up, reporting ``converged=False``.
        steps: a fixed number of secants (or of Gauss-Legendre nodes) instead.
        rule: ``secants``: chains of exactly complete Rescale maps, for traced networks; ``quadrature``: gradients, for any network;
            ``auto``: secants where every op has a rule, else quadrature. The provenance says which.
    """

    claims: ClassVar[frozenset[str]] = frozenset({"complete", "dummy", "symmetric", "linear", "sensitive"})
    limits: ClassVar[Mapping[str, Limit]] = {"tol": POSITIVE, "max_steps": Limit(least=3), "steps": POSITIVE_COUNT}
    tol: float = 1e-2
    max_steps: int = 512
    steps: int | None = None
    rule: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known("rule", self.rule, INTEGRATION_RULES)

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        question.require_differentiable(self.name)
        fills = absence.fill(question)
        reason = "" if self.rule != "quadrature" else "asked for"
        if self.rule == "auto" and question.network.opaque:
            reason = "the network could not be traced"
        if not reason:
            try:
                return self._by_secants(question, fills)
            except NoRule as error:
                if self.rule == "secants":
                    raise
                reason = str(error).partition(". ")[0]
        found = self._by_quadrature(question, fills)
        return replace(found, provenance={"rule": "quadrature", "why": reason})

    def _by_secants(self, question: Question, fills: tuple[Tensor, ...]) -> Allocation:
        kept: dict[int, secants.SecantMaps] = {}

        def compare(asked: Question, given: tuple[Tensor, ...]) -> Contributions:
            found = self._chains(asked, given)
            kept.setdefault(asked.batch, found)
            base, total = base_and_total(asked, given)
            return Contributions(found.values, base, total)

        found = with_double_fallback(question, fills, compare)
        first = kept[question.batch]
        allocation = feature_allocation(
            question, found.values, found.base, found.total, evaluations=first.evaluations + 1 + fills[0].shape[1]
        )
        allocation = replace(allocation, provenance={"rule": "secants"})
        if self.steps is not None:
            return allocation
        size = torch.maximum(allocation.total.abs(), allocation.base.abs())
        closed = allocation.gap.abs() <= self.tol * (allocation.total - allocation.base).abs() + MIN_CHANGE * size
        return replace(allocation, converged=first.converged & closed.cpu(), map_error=first.error.to(found.base))

    def _chains(self, question: Question, fills: tuple[Tensor, ...]) -> secants.SecantMaps:
        """Maps of all samples, each the mean over its baselines."""
        batch, count = question.batch, fills[0].shape[1]
        device = question.present[0].device
        comparison = ReferenceComparison(question, RESCALE)
        batches = Batches(max(1, batch_size(question.network, device) // COMPARISON_COST), "the comparison of one sample")
        bytes_each = 2 * secants.PILOT_PIECES * comparison.width * question.present[0].element_size()
        kept = count * max(1, STORE_BYTES // (bytes_each * count))
        parts = []
        for pairs in torch.arange(batch * count, device=device).split(kept):
            rows = pairs // count
            start = [fill[rows, pairs % count] for fill in fills]
            lines = secants.SecantLines(comparison, rows, start, [tensor[rows] for tensor in question.present], batches, count)
            parts.append(self._lines(lines))
        return _average_over_baselines(parts, batch, self.tol)

    def _lines(self, lines: secants.SecantLines) -> secants.SecantMaps:
        """Maps of some lines."""
        if self.steps is None:
            return secants.integrate_adaptive(lines, self.tol, self.max_steps)
        number = len(lines.rows)
        spent, done = torch.full((number,), self.steps), torch.ones(number, dtype=torch.bool)
        return secants.SecantMaps(secants.integrate_fixed(lines, self.steps), spent, torch.zeros(number, dtype=torch.float32), done)

    def _by_quadrature(self, question: Question, fills: tuple[Tensor, ...]) -> Allocation:
        base, total = base_and_total(question, fills)
        batch, count = question.batch, fills[0].shape[1]
        width = sum(tensor[0].numel() for tensor in question.present)
        most = self.steps if self.steps is not None else self.max_steps
        lines = count * max(1, STORE_BYTES // (most * width * question.present[0].element_size() * count))
        parts = []
        for pairs in torch.arange(batch * count, device=question.present[0].device).split(lines):
            rows = pairs // count
            start = tuple(fill[rows, pairs % count] for fill in fills)
            path = StraightPath(question, start, rows, open_ended=self.steps is None)
            parts.append(self._nodes(path, count))
        found = _average_over_baselines(parts, batch, self.tol)
        allocation = feature_allocation(question, found.values, base, total, evaluations=found.evaluations + 1 + count)
        if self.steps is not None:
            return allocation
        allocation = replace(allocation, converged=found.converged, map_error=found.error.to(found.values.device, base.dtype))
        return _share_out_gap(allocation, found)

    def _nodes(self, path: StraightPath, together: int) -> quadrature.LineMaps:
        """Maps of some lines, from gradients."""
        if self.steps is None:
            return quadrature.AdaptiveClenshawCurtis(path, tol=self.tol, max_steps=self.max_steps, together=together).run()
        return _unjudged(quadrature.gauss_legendre(path, self.steps), self.steps)


def _average_over_baselines(parts: Sequence[secants.SecantMaps], batch: int, tol: float) -> secants.SecantMaps:
    """The mean over the lines of each sample, which come one after the other."""
    values, spent, errors = (torch.cat([getattr(part, name) for part in parts]) for name in ("values", "evaluations", "error"))
    maps = values.reshape(batch, -1, values.shape[1])
    mean = maps.mean(1)
    absolute = (errors.reshape(batch, -1) * maps.norm(dim=2).cpu()).square().sum(1).sqrt() / maps.shape[1]
    error = absolute / mean.norm(dim=1).cpu().clamp_min(torch.finfo(torch.float32).tiny)
    return secants.SecantMaps(mean, spent.reshape(batch, -1).sum(1), error, error <= tol)


@register
@final
@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(PathMethod):
    """The gradient averaged along the straight line from the baseline to x, times x - baseline.

    Reference: Sundararajan2017, equation 1.
    Differs from the paper: instead of a fixed number of gradients, a chain of secants that adds up to rounding for any number of them,
    refined per sample until the map itself is known to ``tol``. With several baselines, the mean over them.
    """

    name: ClassVar[str] = "integrated_gradients"


@register
@final
@dataclass(frozen=True, kw_only=True)
class ExpectedGradients(PathMethod):
    """Integrated gradients averaged over the baselines of a background: ``baseline=Marginal(background=...)``.

    Reference: Erion2021, equation 2. Differs from the paper: every line from every background row is integrated, nothing is drawn at
    random. With a single baseline it is integrated gradients.
    """

    name: ClassVar[str] = "expected_gradients"
