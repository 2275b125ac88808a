"""Integrated gradients, from one baseline or from many.

Axes: B samples, M baselines of each, L lines (from every baseline of every sample), D elements of all explained tensors of one sample, laid
end to end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, final

import torch
from jaxtyping import Int
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput, NoRule
from vesalius.core.names import require_known
from vesalius.core.numbers import POSITIVE, POSITIVE_COUNT, Limit
from vesalius.games.absence import Absence
from vesalius.games.memory import Batches, batch_size
from vesalius.methods import quadrature, secants
from vesalius.methods.base import Method, base_and_total, register
from vesalius.methods.double_precision import COMPARISON_COST, HOLDS, adds_up, take_up_rounding, with_double_fallback
from vesalius.methods.line_maps import LineMaps, average_over_baselines, concatenate
from vesalius.methods.smoothness import Smoothness, smoothness
from vesalius.methods.straight_path import NoFiniteGradient, StraightPath, feature_allocation
from vesalius.rules.network_contributions import Contributions, ReferenceComparison
from vesalius.rules.rescale import RESCALE
from vesalius.trace.question import Question

INTEGRATION_RULES = ("auto", "secants", "quadrature")
STORE_BYTES = 1 << 28
"""Gradients, or maps of pieces, kept at once; more lines than that allows are taken in turn."""
PILOT_NODES = {True: 17, False: 33}
"""Gradients by which it is judged whether kinks matter, where there are some (True) and where there may be some (False)."""


@dataclass(frozen=True, kw_only=True)
class PathMethod(Method):
    """Base of methods that integrate the gradient along straight lines.

    Attributes:
        tol: largest relative L2 error of the map, as estimated.
        max_steps: gradients or secants per line at which an adaptive run gives up, reporting ``converged=False``.
        steps: a fixed number of secants (or of Gauss-Legendre nodes) instead.
        rule: ``quadrature``: gradients by nested rules, for any network and best where it is smooth; ``secants``: chains of exactly
            complete Rescale maps, for traced networks with kinks; ``auto``: by the ops of the graph, and where they do not tell, by a few
            gradients. With ``steps``, secants where every op has a rule. The provenance says which rule it was, and why.
    """

    claims: ClassVar[frozenset[str]] = frozenset({"complete", "dummy", "symmetric", "linear", "sensitive"})
    limits: ClassVar[Mapping[str, Limit]] = {"tol": POSITIVE, "max_steps": Limit(least=3), "steps": POSITIVE_COUNT}
    tol: float = 1e-2
    max_steps: int = 520
    steps: int | None = None
    rule: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known("rule", self.rule, INTEGRATION_RULES)

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        question.require_differentiable(self.name)
        run = _Integration(self, question, absence.fill(question))
        found, facts = run.integrate()
        spent = found.evaluations + 1  # the samples as they are
        allocation = feature_allocation(question, found.values, run.base, run.total, evaluations=spent)
        allocation = replace(allocation, provenance=facts)
        if self.steps is not None:
            return allocation
        error = found.relative_error().to(found.values.device, found.values.dtype)
        return _share_out_gap(replace(allocation, converged=found.converged, map_error=error), found)


def _share_out_gap(allocation: Allocation, found: LineMaps) -> Allocation:
    """What converged values fail to add up to, shared out in proportion to their squared errors, which is the least change for these."""
    weight = found.doubt.double()
    whole = weight.sum(1, keepdim=True)
    known = found.converged.to(whole.device)[:, None] & (whole > 0)
    share = torch.where(known, weight / torch.where(known, whole, torch.ones_like(whole)), torch.zeros_like(weight))
    values = allocation.flat.double() + allocation.gap.double()[:, None] * share
    rounded = Contributions(values.to(allocation.values.dtype), allocation.base, allocation.total)
    rounded = take_up_rounding(rounded, found.converged.nonzero().flatten().to(values.device))
    holds = bool(adds_up(rounded, of_size=HOLDS)[found.converged].all())
    kept = rounded.values if holds else values
    return replace(allocation, values=kept.reshape(allocation.values.shape))


class _Integration:
    """All lines of a question.

    Attributes:
        count: baselines of each sample.
        base, total: the target at the baselines (their mean) and at the samples.
    """

    def __init__(self, method: PathMethod, question: Question, fills: tuple[Tensor, ...]) -> None:
        self.method, self.question, self.fills = method, question, fills
        self.count = fills[0].shape[1]
        self.total = question.total
        self.everything = torch.arange(question.batch, device=question.present[0].device)

    @cached_property
    def base(self) -> Tensor:
        """[B] as known from gradients, or evaluated now."""
        return base_and_total(self.question, self.fills)[0]

    def integrate(self) -> tuple[LineMaps, dict[str, str]]:
        """Maps of all samples, and by which rule."""
        rule, fixed = self.method.rule, self.method.steps is not None
        if rule == "quadrature" or self.question.subgraph is None:
            if rule == "secants":
                self.question.network.graph("a chain of secants")
                raise InvalidInput("gates have gradients alone; leave rule='secants' out")
            reason = "the network could not be traced" if self.question.network.opaque else "gates are explained"
            why = "asked for" if rule == "quadrature" else reason
            return self._gradients(smooth=False), {"rule": "quadrature", "why": why}
        known = smoothness(self.question)
        kinks = "the gradient is not finite on the way" if known.smooth else f"kinks of {known}"
        why = "asked for" if rule == "secants" else "a fixed number" if fixed else kinks
        try:
            first = self._gradients_first(known) if rule == "auto" and not fixed else None
            return first or (self._chains(self.everything), {"rule": "secants", "why": why})
        except NoRule as error:
            if rule == "secants":
                raise
            return self._gradients(smooth=False), {"rule": "quadrature", "why": str(error).partition(". ")[0]}

    def _gradients_first(self, known: Smoothness) -> tuple[LineMaps, dict[str, str]] | None:
        """By gradients, or what a few of them say; nothing where secants are better from the start, or gradients are not finite."""
        try:
            if known.smooth:
                return self._gradients(smooth=True), {"rule": "quadrature", "why": "no op has kinks"}
            pilot = (not known.kinked or known.singular) and "detach" not in known.kinked
            return self._either(known) if pilot else None
        except NoFiniteGradient:
            return None

    def _either(self, known: Smoothness) -> tuple[LineMaps, dict[str, str]]:
        """Gradients where a few of them show that the map is smooth, or has a spike; secants for the other samples."""
        found = self._gradients(smooth=False, pilot=PILOT_NODES[bool(known.kinked)], zoom=known.singular and not known.stepped)
        resolved = found.spiked & (known.singular and not known.stepped)
        rest = (~found.converged & ~resolved).nonzero().flatten().to(self.everything.device)
        if not len(rest):
            return found, {"rule": "quadrature", "why": f"kinks of {known} matter less than spikes, or not at all"}
        rule = "secants" if len(rest) == self.question.batch else "quadrature and secants"
        return found.put(rest, self._chains(rest)), {"rule": rule, "why": f"kinks of {known}"}

    # ---- gradients ----------------------------------------------------------------------------------------------------------------

    def _groups(self, samples: Int[Tensor, " n"], bytes_each: int) -> Iterator[tuple[Int[Tensor, " L"], list[Tensor]]]:
        """Lines of some samples, as many at a time as may be kept: the sample of each, and where it begins."""
        for group in samples.split(max(1, STORE_BYTES // (bytes_each * self.count))):
            rows = group.repeat_interleave(self.count)
            places = torch.arange(self.count, device=rows.device).repeat(len(group))
            yield rows, [fill[rows, places] for fill in self.fills]

    def _gradients(self, *, smooth: bool, pilot: int | None = None, zoom: bool = False) -> LineMaps:
        """Maps from gradients; with a pilot, what is found with so few of them, but where there are spikes to zoom in on."""
        method, width = self.method, sum(tensor[0].numel() for tensor in self.question.present)
        most = method.max_steps if method.steps is None else 1
        parts, bases = [], []
        for rows, start in self._groups(self.everything, most * width * self.question.present[0].element_size()):
            path = StraightPath(self.question, tuple(start), rows, open_ended=method.steps is None)
            if method.steps is not None:
                found = LineMaps.unjudged(quadrature.gauss_legendre(path, method.steps), method.steps)
                parts.append(self._average(found))
                continue
            run = quadrature.AdaptiveClenshawCurtis(path, tol=method.tol, smooth=smooth, together=self.count)
            found = self._average(run.run(method.max_steps if pilot is None else min(pilot, method.max_steps)))
            spiked = (~found.converged & found.spiked).repeat_interleave(self.count).nonzero().flatten()
            if zoom and len(spiked):
                found = self._average(run.run(method.max_steps, spiked.tolist()))
            parts.append(found)
            bases.append(run.first.reshape(-1, self.count).mean(1))
        if bases:
            self.base = torch.cat(bases).to(self.total)
        return concatenate(parts)

    def _average(self, found: LineMaps, *, independent: bool = False) -> LineMaps:
        return average_over_baselines(found, self.count, self.method.tol, independent=independent)

    # ---- secants ------------------------------------------------------------------------------------------------------------------

    def _chains(self, samples: Int[Tensor, " n"]) -> LineMaps:
        """Maps of some samples from secants; of those that would not add up otherwise, in double precision."""
        kept: list[LineMaps] = []

        def compare(asked: Question, given: tuple[Tensor, ...]) -> Contributions:
            same = asked is self.question
            again = self if same else _Integration(self.method, asked, given)
            rows = samples if same else again.everything
            found = again._by_secants(rows)
            kept.append(found)
            return Contributions(found.values, again.base[rows], again.total[rows])

        found = with_double_fallback(self.question, self.fills, compare, samples)
        # the ends as they were found in that precision, or the values would not add up to their difference
        self.base, self.total = (
            old.to(new.dtype).index_copy(0, samples, new) for old, new in ((self.base, found.base), (self.total, found.total))
        )
        return replace(kept[0], values=found.values)

    def _by_secants(self, samples: Int[Tensor, " n"]) -> LineMaps:
        comparison = ReferenceComparison(self.question, RESCALE)
        size = max(1, batch_size(self.question.network, samples.device) // COMPARISON_COST)
        batches = Batches(size, "the comparison of one sample")
        bytes_each = 2 * secants.PILOT_PIECES * comparison.width * self.question.present[0].element_size()
        parts = []
        for rows, start in self._groups(samples, bytes_each):
            lines = secants.SecantLines(comparison, rows, start, [tensor[rows] for tensor in self.question.present], batches, self.count)
            if self.method.steps is None:
                found = secants.integrate_adaptive(lines, self.method.tol, self.method.max_steps)
            else:
                found = LineMaps.unjudged(secants.integrate_fixed(lines, self.method.steps), self.method.steps)
            parts.append(self._average(found, independent=True))
        return concatenate(parts)


@register
@final
@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(PathMethod):
    """The gradient averaged along the straight line from the baseline to x, times x - baseline.

    Reference: Sundararajan2017, equation 1.
    Differs from the paper: instead of a fixed number of gradients, nested rules of gradients where the network is smooth and chains of
    secants where it has kinks, refined per sample until the map itself is known to ``tol``; what converged values fail to add up to is
    shared out by their errors. With several baselines, the mean over them. A value that jumps on the line (``floor``, a comparison) is
    counted where it jumps, as the limit of ever steeper ramps: gradients do not see it, and maps of them alone do not add up there
    (``rule="quadrature"``, which says so in the gap).
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
