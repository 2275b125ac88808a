"""Results in a notebook: small pieces of HTML that need nothing else."""

from __future__ import annotations

from markupsafe import Markup

from vesalius.audit.result import Audit
from vesalius.circuits.circuit import Circuit
from vesalius.circuits.faithfulness import FaithfulnessCurve
from vesalius.complexity.compare import ComplexityComparison
from vesalius.complexity.components import Complexity
from vesalius.complexity.picture import ComponentPicture
from vesalius.complexity.profile import ComponentProfile
from vesalius.core.allocation import Allocation
from vesalius.information.ablation import AblationCurves
from vesalius.information.graph import FlowGraph
from vesalius.interactions.taylor import TaylorProfile
from vesalius.scale import Survey
from vesalius.sparsity.compact import Compact
from vesalius.sparsity.comparison import PruningComparison
from vesalius.sparsity.importance_result import LinkImportance
from vesalius.sparsity.sparsified import Sparsified
from vesalius.views import style
from vesalius.views.audit.captions import HEADING
from vesalius.views.audit.section import audit_body
from vesalius.views.chart_data import is_heatmap, output_unit, sample_names
from vesalius.views.circuits import section as circuits
from vesalius.views.complexity.captions import COMPARISON_HEADING, PICTURE_HEADING
from vesalius.views.complexity.captions import HEADING as COMPLEXITY
from vesalius.views.complexity.component_maps import picture_body
from vesalius.views.complexity.section import complexity_body, complexity_comparison_body
from vesalius.views.flow import ablation, captions
from vesalius.views.flow.section import flow_body
from vesalius.views.html import allocation_facts, heatmaps, method_panel, render_template, table_rows
from vesalius.views.interactions import taylor_profile
from vesalius.views.interactions.captions import heading_of
from vesalius.views.interactions.section import interactions_body
from vesalius.views.sparsity import compact, comparison, importance
from vesalius.views.sparsity.captions import HEADING as SPARSITY
from vesalius.views.sparsity.section import sparsified_body
from vesalius.views.survey.captions import HEADING as SURVEY
from vesalius.views.survey.section import short_survey_body
from vesalius.views.text.chart_data import is_matrix, is_text
from vesalius.views.text.section import matrix_markup, texts_markup

MOST_SAMPLES = 4
"""Samples of a batch that are shown."""


def allocation_html(allocation: Allocation) -> str:
    """Heading, verdict on the gap, and a map or the largest values; of a batch, the first few samples; interactions as on a page."""
    batch = bool(allocation.base.ndim)
    if allocation.coalitions is not None and not batch:
        return _notebook_page(heading_of(allocation), interactions_body(allocation))
    if is_matrix(allocation):
        return _notebook_page(style.method_name(allocation.method), matrix_markup(allocation))
    samples = [allocation[i] for i in range(min(len(allocation), MOST_SAMPLES))] if batch else [allocation]
    names = sample_names(allocation, MOST_SAMPLES) if batch else [""]
    placed = is_heatmap(allocation)
    written = bool(samples) and all(map(is_text, samples))
    body = render_template(
        "values.html.j2",
        {
            "texts": texts_markup(samples, names=names if batch else ()) if written else None,
            "maps": heatmaps(samples, output_unit(allocation), names=names) if placed else None,
            "heads": [] if placed or written else [method_panel(one, name=name) for one, name in zip(samples, names, strict=True)],
            "lines": [] if placed or written else table_rows(samples),
            "who": "player" if allocation.coalitions is None else "coalition",
            "facts": {} if batch else allocation_facts(allocation),
        },
    )
    note = f"first {len(samples)} of {len(allocation):,} samples" if len(samples) < len(allocation) else ""
    return _notebook_page(style.method_name(allocation.method), body, note)


def audit_html(audit: Audit) -> str:
    """An audit as on a page."""
    return _notebook_page(HEADING, audit_body(audit))


def taylor_profile_html(shown: TaylorProfile) -> str:
    """A Taylor profile as on a page."""
    return _notebook_page(taylor_profile.HEADING, taylor_profile.taylor_profile_body(shown))


def flow_html(graph: FlowGraph) -> str:
    """A flow graph as on a page."""
    return _notebook_page(captions.HEADING, flow_body(graph, scripted=False))


def ablation_html(removal: AblationCurves) -> str:
    """Ablation curves, as on a page."""
    return _notebook_page(ablation.HEADING, ablation.ablation_body(removal))


def circuit_html(shown: Circuit) -> str:
    """A circuit as on a page."""
    return _notebook_page(circuits.CIRCUIT_HEADING, circuits.circuit_body(shown))


def faithfulness_html(shown: FaithfulnessCurve) -> str:
    """A curve of faithfulness as on a page."""
    return _notebook_page(circuits.FAITHFULNESS_HEADING, circuits.faithfulness_body(shown))


def complexity_html(shown: ComponentProfile | Complexity) -> str:
    """A disentangled feature, as on a page."""
    return _notebook_page(COMPLEXITY, complexity_body(shown))


def component_picture_html(shown: ComponentPicture) -> str:
    """A feature and its components for a few rows, for a notebook."""
    return _notebook_page(PICTURE_HEADING, picture_body(shown))


def complexity_comparison_html(shown: ComplexityComparison) -> str:
    """One feature in several networks, as on a page."""
    return _notebook_page(COMPARISON_HEADING, complexity_comparison_body(shown))


def sparsified_html(shown: Sparsified) -> str:
    """A pruned network, as on a page."""
    return _notebook_page(SPARSITY, sparsified_body(shown))


def compact_html(shown: Compact) -> str:
    """A pruned network in all its forms, as on a page."""
    return _notebook_page(compact.HEADING, compact.compact_body(shown))


def importance_html(shown: LinkImportance) -> str:
    """The importance of links, as on a page."""
    return _notebook_page(importance.HEADING, importance.importance_body(shown))


def survey_html(shown: Survey) -> str:
    """A survey's facts and its most important players."""
    return _notebook_page(SURVEY, short_survey_body(shown))


def pruning_comparison_html(shown: PruningComparison) -> str:
    """Ways to prune side by side, as on a page."""
    return _notebook_page(comparison.HEADING, comparison.pruning_comparison_body(shown))


def _notebook_page(heading: str, body: Markup, note: str = "") -> str:
    facts = {"light": style.css_variables(style.LIGHT), "dark": style.css_variables(style.DARK), "gradient": style.css_gradient()}
    return render_template("notebook.html.j2", {**facts, "heading": heading, "note": note, "body": body})
