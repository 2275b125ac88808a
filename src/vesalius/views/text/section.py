"""Texts on a page and in a notebook: words on the diverging scale in reading order, a matrix of them, arcs between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from vesalius.core.allocation import Allocation
from vesalius.views import style, svg
from vesalius.views.chart_data import output_unit, symmetric_scale
from vesalius.views.html import ColouredText, MethodPanel, Section, anchor_of, coloured_text, method_panel, render_template
from vesalius.views.text.chart_data import (
    Arc,
    PlacedRun,
    describe_run,
    generated_tokens,
    matrix_values,
    place_runs,
    text_arcs,
    text_runs,
    text_scale,
)

COLUMN, LINE, ROOM = 8.0, 22.0, 46.0
"""Width of a letter, height of a line and room for arcs above it, in pixels."""


@dataclass(frozen=True, kw_only=True)
class TextDecision:
    """One text, what the model makes of it in words, and why, by one or more methods.

    Attributes:
        outcome: such as ``predicted good (0.98), label bad``.
        allocations: one per method, each of this text alone, or a matrix of its continuation.
    """

    outcome: style.Verdict
    allocations: tuple[Allocation, ...]


@dataclass(frozen=True, kw_only=True)
class ShownText:
    """A text ready to be shown: coloured parts, and what to say of each when it is pointed at."""

    panel: MethodPanel | None
    parts: tuple[ColouredText, ...]


def texts_markup(allocations: Sequence[Allocation], *, names: Sequence[str] = ()) -> Markup:
    """Texts one below the other on one scale, each with its verdict.

    Args:
        allocations: of a single text each.
        names: shown instead of the methods'.
    """
    scale = text_scale(allocations)
    given: list[str | None] = list(names) or [None] * len(allocations)
    shown = [_shown(one, scale, name) for one, name in zip(allocations, given, strict=True)]
    words = f"\N{PLUS-MINUS SIGN}{style.number(scale)} {output_unit(allocations[0])}".strip()
    return render_template("text.html.j2", {"texts": shown, "scale": words, "matrix": None, "arcs": None})


def text_decisions(decisions: Sequence[TextDecision], *, heading: str, unit: str = "", generated: bool = False) -> Section:
    """Texts, what the model makes of each, and what several methods say of it, as a section of a page.

    Args:
        decisions: one per text.
        heading: of the section.
        unit: of the values.
        generated: whether each allocation is the matrix of a continuation.
    """
    shown = [
        {
            "said": one.outcome,
            "bodies": [(method_panel(part[0]), matrix_markup(part)) for part in one.allocations] if generated else [],
            "body": None if generated else texts_markup(one.allocations),
        }
        for one in decisions
    ]
    body = render_template("text_decisions.html.j2", {"decisions": shown, "unit": unit})
    parts = tuple(part for one in decisions for part in one.allocations)
    return Section(heading=heading, anchor=anchor_of(heading), body=body, allocations=parts)


def _shown(allocation: Allocation, scale: float, name: str | None) -> ShownText:
    return ShownText(panel=method_panel(allocation, name=name), parts=_parts(allocation, scale))


def _parts(allocation: Allocation, scale: float) -> tuple[ColouredText, ...]:
    found = []
    for run in text_runs(allocation):
        lead = run.text[: len(run.text) - len(run.text.lstrip())]
        rest = run.text[len(lead) :]
        if lead:
            found.append(ColouredText(text=lead))
        if not rest:
            continue
        said = describe_run(run, allocation.players.name(run.player)) if run.value is not None else ""
        plain = run.value is None
        found.append(ColouredText(text=rest) if plain else coloured_text(run.value or 0.0, scale, rest, spread=said))
    return tuple(found)


def matrix_markup(allocation: Allocation) -> Markup:
    """A row for each generated token, a column for each player of the prompt."""
    numbers = matrix_values(allocation)
    scale = symmetric_scale([numbers])
    rows = [
        (token, [coloured_text(float(value), scale, style.signed_number(float(value))) for value in line])
        for token, line in zip(generated_tokens(allocation), numbers, strict=True)
    ]
    words = f"\N{PLUS-MINUS SIGN}{style.number(scale)} {output_unit(allocation)}".strip()
    columns = allocation.players.names
    return render_template("text.html.j2", {"texts": [], "scale": words, "matrix": (columns, rows), "arcs": None})


def arcs_markup(allocation: Allocation) -> Markup:
    """Strongest pairs of words as arcs over the text."""
    placed = place_runs(text_runs(allocation))
    arcs = text_arcs(allocation, placed)
    return render_template("text.html.j2", {"texts": [], "scale": "", "matrix": None, "arcs": draw_arcs(placed, arcs)})


def draw_arcs(placed: Sequence[PlacedRun], arcs: Sequence[Arc]) -> Markup:
    """The same as SVG."""
    width = COLUMN * max(part.start + part.width for part in placed)
    lines = 1 + max(part.line for part in placed)
    scale = symmetric_scale([np.array([arc.value for arc in arcs] or [0.0])])
    found = []
    for arc in arcs:
        (x0, y0), (x1, y1) = (_point(end) for end in (arc.first, arc.second))
        top = min(y0, y1) - min(ROOM - 4, 8 + abs(x1 - x0) / 6)
        said = escape(f"{arc.names[0]} & {arc.names[1]}: {style.signed_number(arc.value)}")
        kind, thick = ("raises" if arc.value > 0 else "lowers"), 1 + 4 * abs(arc.value) / scale
        path = f"M{x0:.1f} {y0:.1f}C{x0:.1f} {top:.1f} {x1:.1f} {top:.1f} {x1:.1f} {y1:.1f}"
        found.append(f'<path class="arc {kind}" stroke-width="{thick:.1f}" d="{path}"><title>{said}</title></path>')
    for part in placed:
        x, y = COLUMN * part.start, _point((0, part.line))[1] + LINE - 6
        length = COLUMN * part.width
        found.append(f'<text x="{x:.1f}" y="{y:.1f}" textLength="{length:.1f}" xml:space="preserve">{escape(part.text)}</text>')
    height = lines * (LINE + ROOM)
    label = escape(f"{len(arcs)} strongest pairs of words as arcs over the text")
    box = f'style="max-width:{width:.0f}px" viewBox="0 0 {width:.0f} {height:.0f}"'
    told = svg.numbers_attribute([("first", "second", "value"), *((*arc.names, arc.value) for arc in arcs)])
    return Markup(f'<svg class="arcs" {box} role="img" aria-label="{label}"{told}>{"".join(found)}</svg>')


def _point(end: tuple[float, int]) -> tuple[float, float]:
    """The top of a word in pixels."""
    return COLUMN * end[0], end[1] * (LINE + ROOM) + ROOM
