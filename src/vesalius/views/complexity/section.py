"""A feature that was taken apart, and one feature in several networks, as sections of a page."""

from __future__ import annotations

from markupsafe import Markup
from torch import Tensor

from vesalius.complexity.compare import MEASURES, ComplexityComparison, ComponentProfile
from vesalius.complexity.components import Complexity
from vesalius.views import style, svg
from vesalius.views.complexity.describe import (
    CHARTS,
    Picture,
    bands,
    columns_of,
    compared,
    lines_of,
    pictures_of,
    profile_of,
    series_of,
    strengths_of,
)
from vesalius.views.complexity.words import COMPARED, HEADING, facts, meaning, notes
from vesalius.views.fragments import Section, anchor_of, fill
from vesalius.views.groups import svg_groups


def complexity_section(shown: ComponentProfile | Complexity, *, x: Tensor | None = None) -> Section:
    """Strength, and what else was measured, of each order; pictures of components for a few samples.

    Args:
        shown: components, or components with what they do for the task.
        x: samples of which components are drawn, where the feature is a map.
    """
    source = dict(profile_of(shown).complexity.provenance)
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=complexity_body(shown, x=x), sources=(source,))


def complexity_body(shown: ComponentProfile | Complexity, *, x: Tensor | None = None) -> Markup:
    """The section without its heading.

    Raises:
        WrongType: nothing that was taken apart.
    """
    profile = profile_of(shown)
    found = profile.complexity
    groups = bands(found.orders)
    charts = [(CHARTS["strength"].title, svg_groups(groups, strengths_of(profile), CHARTS["strength"]))]
    for measure in MEASURES[1:]:
        series = series_of(profile, measure)
        charts += [] if series is None else [(CHARTS[measure].title, svg_groups(groups, series, CHARTS[measure]))]
    return fill(
        "complexity.html.j2",
        {
            "meaning": meaning(found),
            "key": [(style.KINDS[at], name) for at, name in enumerate(strengths_of(profile))],
            "charts": charts,
            "columns": columns_of(profile),
            "lines": lines_of(profile),
            "pictures": [_drawn(picture) for picture in ([] if x is None else pictures_of(found, x))],
            "facts": facts(found),
            "notes": notes(profile),
        },
    )


def comparison_section(comparison: ComplexityComparison) -> Section:
    """Every measure of all networks, order by order."""
    sources = tuple(dict(profile.complexity.provenance) for profile in comparison.profiles.values())
    return Section(heading=COMPARED, anchor=anchor_of(COMPARED), body=comparison_body(comparison), sources=sources)


def comparison_body(comparison: ComplexityComparison) -> Markup:
    """The section without its heading."""
    groups = bands(comparison.orders)
    found = [(measure, compared(comparison, measure)) for measure in MEASURES]
    charts = [(CHARTS[name].title, svg_groups(groups, series, CHARTS[name])) for name, series in found if series is not None]
    key = [(style.KINDS[at], name) for at, name in enumerate(comparison.profiles)]
    return fill("comparison.html.j2", {"first": next(iter(comparison.profiles)), "key": key, "charts": charts})


def _drawn(picture: Picture) -> dict[str, object]:
    """Maps on one scale: the input, the feature, its parts and the rest; below each part, the sum up to it."""
    line = [] if picture.image is None else [("input", svg.photo(picture.image, "input"))]
    line += [(_title(name), svg.heat(values, picture.scale, _title(name))) for name, values in picture.parts.items()]
    sums = [(f"up to {name}", svg.heat(values, picture.scale, f"sum up to order {name}")) for name, values in picture.sums.items()]
    aside = [("", Markup(""))] * (len(line) - len(picture.parts) + 1)
    return {"line": line, "sums": aside + sums, "low": style.number(-picture.scale), "high": style.number(picture.scale)}


def _title(name: str) -> str:
    return name if name in ("feature", "rest") else f"order {name}"
