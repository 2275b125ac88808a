"""Results in a notebook: small pieces of HTML that need nothing else."""

from __future__ import annotations

from markupsafe import Markup

from vesalius.audit.record import Audit
from vesalius.complexity.compare import ComplexityComparison, ComponentProfile
from vesalius.complexity.components import Complexity
from vesalius.core.allocation import Allocation
from vesalius.information.ablation import AblationCurves
from vesalius.information.graph import FlowGraph
from vesalius.interactions.taylor import TaylorProfile
from vesalius.sparsity.compact import Compact
from vesalius.sparsity.comparison import PruningComparison
from vesalius.sparsity.importance_result import LinkImportance
from vesalius.sparsity.sparsified import Sparsified
from vesalius.views import style
from vesalius.views.audit.section import audit_body
from vesalius.views.audit.words import HEADING
from vesalius.views.complexity.section import comparison_body, complexity_body
from vesalius.views.complexity.words import COMPARED
from vesalius.views.complexity.words import HEADING as COMPLEXITY
from vesalius.views.describe import is_map, unit_of
from vesalius.views.flow import removed, words
from vesalius.views.flow.section import flow_body
from vesalius.views.fragments import facts_of, fill, gallery, panel, table
from vesalius.views.interactions import profile
from vesalius.views.interactions.section import interactions_body
from vesalius.views.interactions.words import heading_of
from vesalius.views.sparsity import contest, forms, importance
from vesalius.views.sparsity.section import sparsified_body
from vesalius.views.sparsity.words import HEADING as SPARSITY

MOST_SAMPLES = 4
"""Samples of a batch that are shown."""


def allocation_html(allocation: Allocation) -> str:
    """Heading, verdict on the gap, and a map or the largest values; of a batch, the first few samples; interactions as on a page."""
    batch = bool(allocation.base.ndim)
    if allocation.coalitions is not None and not batch:
        return _framed(heading_of(allocation), interactions_body(allocation))
    samples = [allocation[i] for i in range(min(len(allocation), MOST_SAMPLES))] if batch else [allocation]
    names = [f"sample {i}" for i in range(len(samples))] if batch else [""]
    placed = is_map(allocation)
    body = fill(
        "values.html.j2",
        {
            "maps": gallery(samples, unit_of(allocation), names=names) if placed else None,
            "heads": [] if placed else [panel(sample, name=name) for sample, name in zip(samples, names, strict=True)],
            "lines": [] if placed else table(samples),
            "who": "player" if allocation.coalitions is None else "coalition",
            "facts": {} if batch else facts_of(allocation),
        },
    )
    note = f"first {len(samples)} of {len(allocation):,} samples" if len(samples) < len(allocation) else ""
    return _framed(style.method_name(allocation.method), body, note)


def audit_html(audit: Audit) -> str:
    """An audit as on a page."""
    return _framed(HEADING, audit_body(audit))


def profile_html(shown: TaylorProfile) -> str:
    """A Taylor profile as on a page."""
    return _framed(profile.HEADING, profile.profile_body(shown))


def flow_html(graph: FlowGraph) -> str:
    """A flow graph as on a page."""
    return _framed(words.HEADING, flow_body(graph, scripted=False))


def removal_html(removal: AblationCurves) -> str:
    """What removing costs, as on a page."""
    return _framed(removed.HEADING, removed.removal_body(removal))


def complexity_html(shown: ComponentProfile | Complexity) -> str:
    """A feature that was taken apart, as on a page."""
    return _framed(COMPLEXITY, complexity_body(shown))


def comparison_html(shown: ComplexityComparison) -> str:
    """One feature in several networks, as on a page."""
    return _framed(COMPARED, comparison_body(shown))


def sparsified_html(shown: Sparsified) -> str:
    """A pruned network, as on a page."""
    return _framed(SPARSITY, sparsified_body(shown))


def compact_html(shown: Compact) -> str:
    """A pruned network in all its forms, as on a page."""
    return _framed(forms.HEADING, forms.compact_body(shown))


def importance_html(shown: LinkImportance) -> str:
    """The importance of links, as on a page."""
    return _framed(importance.HEADING, importance.importance_body(shown))


def contest_html(shown: PruningComparison) -> str:
    """Ways to prune side by side, as on a page."""
    return _framed(contest.HEADING, contest.contest_body(shown))


def _framed(heading: str, body: Markup, note: str = "") -> str:
    facts = {"light": style.variables(style.LIGHT), "dark": style.variables(style.DARK), "gradient": style.gradient()}
    return fill("notebook.html.j2", {**facts, "heading": heading, "note": note, "body": body})
