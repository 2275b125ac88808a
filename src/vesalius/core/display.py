"""The one place where a lower layer names a higher one.

A noun can draw itself (``allocation.plot()``), but drawing lives in the views, which import the nouns, and importing vesalius must not
import matplotlib. So the nouns look their views up by name, here, when they are asked to draw.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from vesalius.core.entry import verb

VIEWS = {
    "plot": "vesalius.views.charts:plot_allocation",
    "html": "vesalius.views.notebook:allocation_html",
    "audit_plot": "vesalius.views.audit.charts:plot_audit",
    "audit_html": "vesalius.views.notebook:audit_html",
    "complexity_plot": "vesalius.views.complexity.charts:plot_complexity",
    "complexity_html": "vesalius.views.notebook:complexity_html",
    "comparison_plot": "vesalius.views.complexity.charts:plot_complexity_comparison",
    "comparison_html": "vesalius.views.notebook:complexity_comparison_html",
    "flow_plot": "vesalius.views.flow.charts:plot_flow",
    "flow_html": "vesalius.views.notebook:flow_html",
    "ablation_plot": "vesalius.views.flow.charts:plot_ablation",
    "ablation_html": "vesalius.views.notebook:ablation_html",
    "sparsified_plot": "vesalius.views.sparsity.charts:plot_sparsified",
    "sparsified_html": "vesalius.views.notebook:sparsified_html",
    "compact_html": "vesalius.views.notebook:compact_html",
    "importance_plot": "vesalius.views.sparsity.charts:plot_importance",
    "unit_importance_plot": "vesalius.views.sparsity.link_charts:plot_units",
    "link_map_plot": "vesalius.views.sparsity.link_charts:plot_links",
    "importance_html": "vesalius.views.notebook:importance_html",
    "pruning_comparison_plot": "vesalius.views.sparsity.charts:plot_pruning_comparison",
    "pruning_comparison_html": "vesalius.views.notebook:pruning_comparison_html",
    "survey_plot": "vesalius.views.survey.charts:plot_survey",
    "survey_html": "vesalius.views.notebook:survey_html",
    "beeswarm_plot": "vesalius.views.survey.charts:plot_beeswarm",
    "dependence_plot": "vesalius.views.survey.charts:plot_dependence",
    "circuit_plot": "vesalius.views.circuits.charts:plot_circuit",
    "circuit_html": "vesalius.views.notebook:circuit_html",
    "faithfulness_plot": "vesalius.views.circuits.charts:plot_faithfulness",
    "faithfulness_html": "vesalius.views.notebook:faithfulness_html",
    "profile_plot": "vesalius.views.interactions.charts:plot_taylor_profile",
    "profile_html": "vesalius.views.notebook:taylor_profile_html",
}


def load_view(name: str) -> Callable[..., Any]:
    """The drawing function registered under a name."""
    module, function = VIEWS[name].split(":")
    drawing: Callable[..., Any] = getattr(import_module(module), function)
    return verb(drawing)
