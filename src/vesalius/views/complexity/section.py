"""A disentangled feature, and one feature in several networks, as sections of a page."""

from __future__ import annotations

from markupsafe import Markup
from torch import Tensor

from vesalius.complexity.compare import ComplexityComparison
from vesalius.complexity.components import Complexity
from vesalius.complexity.orders import order_bands
from vesalius.complexity.profile import MEASURES, ComponentProfile
from vesalius.views import style
from vesalius.views.bar_chart import svg_grouped_bars
from vesalius.views.complexity.captions import COMPARISON_HEADING, HEADING, facts, notes, summary
from vesalius.views.complexity.chart_data import (
    MEASURE_LABELS,
    as_profile,
    comparison_series,
    measure_series,
    order_columns,
    order_rows,
    strength_series,
)
from vesalius.views.complexity.component_maps import picture_body
from vesalius.views.html import Section, anchor_of, render_template


def complexity_section(shown: ComponentProfile | Complexity, *, x: Tensor | None = None) -> Section:
    """Strength, and what else was measured, of each order; pictures of components for a few samples.

    Args:
        shown: components, or components with what they do for the task.
        x: rows of which components are drawn.
    """
    source = dict(as_profile(shown).complexity.provenance)
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=complexity_body(shown, x=x), sources=(source,))


def complexity_body(shown: ComponentProfile | Complexity, *, x: Tensor | None = None) -> Markup:
    """The section without its heading.

    Raises:
        WrongType: no disentangled feature.
    """
    profile = as_profile(shown)
    found = profile.complexity
    groups = order_bands(found.orders)
    charts = [(MEASURE_LABELS["strength"].title, svg_grouped_bars(groups, strength_series(profile), MEASURE_LABELS["strength"]))]
    for measure in list(MEASURES)[1:]:
        series = measure_series(profile, measure)
        charts += [] if series is None else [(MEASURE_LABELS[measure].title, svg_grouped_bars(groups, series, MEASURE_LABELS[measure]))]
    return render_template(
        "complexity.html.j2",
        {
            "meaning": summary(found),
            "key": [(style.PALETTE[at], name) for at, name in enumerate(strength_series(profile))],
            "charts": charts,
            "columns": order_columns(profile),
            "lines": order_rows(profile),
            "picture": None if x is None or found.source is None else picture_body(found.picture(x)),
            "facts": facts(found),
            "notes": notes(profile),
        },
    )


def complexity_comparison_section(comparison: ComplexityComparison) -> Section:
    """Every measure of all networks, order by order."""
    sources = tuple(dict(profile.complexity.provenance) for profile in comparison.profiles.values())
    return Section(
        heading=COMPARISON_HEADING, anchor=anchor_of(COMPARISON_HEADING), body=complexity_comparison_body(comparison), sources=sources
    )


def complexity_comparison_body(comparison: ComplexityComparison) -> Markup:
    """The section without its heading."""
    groups = order_bands(comparison.orders)
    found = [(measure, comparison_series(comparison, measure)) for measure in MEASURES]
    charts = [
        (MEASURE_LABELS[name].title, svg_grouped_bars(groups, series, MEASURE_LABELS[name])) for name, series in found if series is not None
    ]
    key = [(style.PALETTE[at], name) for at, name in enumerate(comparison.profiles)]
    return render_template("comparison.html.j2", {"first": next(iter(comparison.profiles)), "key": key, "charts": charts})
