"""Integrated gradients, from one baseline or from many.

Axes: B samples, M baselines of each, D elements of all explained tensors of one sample, laid end to end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput, NoRule, UnknownName
from vesalius.games.absence import Absence
from vesalius.games.memory import Batches, batch_size
from vesalius.methods import quadrature, secants
from vesalius.methods.base import Method, ends, register
from vesalius.methods.path import Path, spread
from vesalius.methods.precisely import COMPARISON_COST, precisely
from vesalius.rules.compare import Compared, Comparison
from vesalius.rules.rescale import RESCALE
from vesalius.trace.question import Question

RULES = ("auto", "secants", "quadrature")


@dataclass(frozen=True, kw_only=True)
class AlongLines(Method):
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
    tol: float = 1e-2
    max_steps: int = 512
    steps: int | None = None
    rule: str = "auto"

    def __post_init__(self) -> None:
        if not self.tol > 0:
            raise InvalidInput(f"tol must be positive, not {self.tol}")
        if self.max_steps < 3 or (self.steps is not None and self.steps < 1):
            raise InvalidInput(f"max_steps must be at least 3 and steps at least 1, not {self.max_steps} and {self.steps}")
        if self.rule not in RULES:
            raise UnknownName("rule", self.rule, RULES)

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        question.differentiable(self.name)
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
        kept: dict[int, secants.Found] = {}

        def compare(asked: Question, given: tuple[Tensor, ...]) -> Compared:
            found = self._chains(asked, given)
            kept.setdefault(asked.batch, found)
            base, total = ends(asked, given)
            return Compared(found.values, base, total)

        found = precisely(question, fills, compare)
        first = kept[question.batch]
        allocation = spread(question, found.values, found.base, found.total, evaluations=first.evaluations + 1 + fills[0].shape[1])
        converged = None if self.steps is not None else first.converged
        error = [] if self.steps is not None else [round(float(part), 6) for part in first.error]
        return replace(allocation, converged=converged, provenance={"rule": "secants", "map error": error})

    def _chains(self, question: Question, fills: tuple[Tensor, ...]) -> secants.Found:
        """Maps of all samples, each the mean over its baselines."""
        batch, count = question.batch, fills[0].shape[1]
        device = question.present[0].device
        rows = torch.arange(batch, device=device).repeat_interleave(count)
        start = [fill.reshape(batch * count, *fill.shape[2:]) for fill in fills]
        end = [tensor[rows] for tensor in question.present]
        batches = Batches(max(1, batch_size(question.network, device) // COMPARISON_COST), "the comparison of one sample")
        lines = secants.Lines(Comparison(question, RESCALE), rows, start, end, batches)
        if self.steps is not None:
            values = secants.fixed(lines, self.steps).reshape(batch, count, -1).mean(1)
            spent = torch.full((batch,), self.steps * count)
            return secants.Found(values, spent, torch.zeros(batch), torch.ones(batch, dtype=torch.bool))
        # errors of a sample's lines are independent, so that each may be larger than that of their mean
        each = secants.adaptive(lines, self.tol * count**0.5, self.max_steps)
        values, maps = each.values.reshape(batch, count, -1).mean(1), each.values.reshape(batch, count, -1)
        size = (each.error.reshape(batch, count) * maps.norm(dim=2).cpu()).square().sum(1).sqrt() / count
        error = size / values.norm(dim=1).cpu().clamp_min(torch.finfo(torch.float32).tiny)
        return secants.Found(values, each.evaluations.reshape(batch, count).sum(1), error, error <= self.tol)

    def _by_quadrature(self, question: Question, fills: tuple[Tensor, ...]) -> Allocation:
        base, total = ends(question, fills)
        count = fills[0].shape[1]
        values = torch.zeros(())
        spent, converged = torch.full((question.batch,), 1 + count), torch.ones(question.batch, dtype=torch.bool)
        for m in range(count):
            path = Path(question, tuple(fill[:, m] for fill in fills))
            if self.steps is not None:
                found = quadrature.fixed(path, self.steps)
                spent = spent + self.steps
            else:
                own = base if count == 1 else ends(question, tuple(fill[:, m : m + 1] for fill in fills))[0]
                run = quadrature.Adaptive(path, own, total, tol=self.tol, max_steps=self.max_steps).run()
                found, spent, converged = run.values, spent + run.evaluations, converged & run.converged
            values = values.to(found) + found / count
        allocation = spread(question, values, base, total, evaluations=spent)
        return allocation if self.steps is not None else replace(allocation, converged=converged)


@register
@final
@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(AlongLines):
    """The gradient averaged along the straight line from the baseline to x, times x - baseline.

    Reference: Sundararajan2017, equation 1.
    Differs from the paper: instead of a fixed number of gradients, a chain of secants that adds up to rounding for any number of them,
    refined per sample until the map itself is known to ``tol``. With several baselines, the mean over them.
    """

    name: ClassVar[str] = "integrated_gradients"


@register
@final
@dataclass(frozen=True, kw_only=True)
class ExpectedGradients(AlongLines):
    """Integrated gradients averaged over the baselines of a background: ``baseline=Marginal(background=...)``.

    Reference: Erion2021, equation 2. Differs from the paper: every line from every background row is integrated, nothing is drawn at
    random. With a single baseline it is integrated gradients.
    """

    name: ClassVar[str] = "expected_gradients"
