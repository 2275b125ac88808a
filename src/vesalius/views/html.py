"""Pieces of HTML that pages and notebooks are put together from. Templates escape all they are given but our own SVG."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vesalius.core.allocation import Allocation
from vesalius.views import style, svg
from vesalius.views.chart_data import AlignedRow, NamedValue, aligned_rows, heatmap_values, symmetric_scale, waterfall_steps

TEMPLATES = Environment(
    autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=PackageLoader("vesalius.views")
)
WHITE_TEXT_THRESHOLD = 0.55
"""Share of the scale above which letters are white."""

MOST_ROWS = 10
"""Rows of a table before the smallest values are added up."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of a page.

    Attributes:
        heading: also its entry in the navigation.
        anchor: its address on the page; made of what an address allows, and made unique by the page.
        body: HTML below the heading.
        allocations: what it shows, for the last section, which says how to make it again.
        sources: provenance of all else that it shows, for the same.
        finding: what it found, in one sentence, for the summary of a page; empty where there is none.
    """

    heading: str
    anchor: str
    body: Markup
    allocations: tuple[Allocation, ...] = ()
    sources: tuple[Mapping[str, Any], ...] = ()
    finding: str = ""


@dataclass(frozen=True, kw_only=True)
class MethodPanel:
    """One method on one sample.

    Attributes:
        name: readable name of the method, or of the sample where the method is said elsewhere.
        verdict: on its gap.
        effort: evaluations, in words; empty if nobody counted.
        players: who was paid, in words, where that differs from the methods beside it.
        note: what else must be known, such as why a standard error is not to be trusted.
        picture: a map, or ``None`` if there is no image.
    """

    name: str
    verdict: style.Verdict
    effort: str
    players: str = ""
    note: str = ""
    picture: Markup | None = None


@dataclass(frozen=True, kw_only=True)
class Heatmaps:
    """Maps that share one scale.

    Attributes:
        scale: its end, in words.
        unit: of its values; may be empty.
    """

    panels: tuple[MethodPanel, ...]
    scale: str
    unit: str


@dataclass(frozen=True, kw_only=True)
class BarCell:
    """A bar and its number."""

    bar: Markup
    text: str
    spread: str = ""


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One line of a table or waterfall, ready to be shown."""

    name: str
    detail: str = ""
    cells: tuple[BarCell | None, ...]


@dataclass(frozen=True, kw_only=True)
class ColouredText:
    """A coloured word or number: CSS colours and what to write; ``spread`` is its number where the text is a word."""

    text: str
    back: str = ""
    front: str = ""
    spread: str = ""


def coloured_text(value: float, scale: float, text: str, *, spread: str = "") -> ColouredText:
    """A word or number on the diverging scale, in letters that can be read on it."""
    red, green, blue = style.diverging_colours(np.array(value), scale).tolist()
    ground = (red, green, blue)
    return ColouredText(text=text, back=style.to_hex(ground), front=style.readable_on(ground), spread=spread)


def render_template(template: str, facts: Mapping[str, Any]) -> Markup:
    """A template with its blanks filled in, everything escaped that is not Markup."""
    return Markup(TEMPLATES.get_template(template).render(facts))


def anchor_of(words: str) -> str:
    """An address on a page, from any words."""
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") or "section"


def method_panel(allocation: Allocation, *, name: str | None = None) -> MethodPanel:
    """One method on one sample, in words.

    Args:
        allocation: of a single sample.
        name: shown instead of the method's; nothing is if it is empty.
    """
    evaluations = int(allocation.evaluations)
    return MethodPanel(
        name=style.method_name(allocation.method) if name is None else name,
        verdict=style.gap_verdict(allocation),
        effort=style.pluralize(evaluations, "evaluation") if evaluations else "",
        note=f"standard error: {allocation.stderr_note}" if allocation.stderr_note else "",
    )


def player_counts_differ(allocations: Sequence[Allocation]) -> bool:
    """Whether these divide an image into different numbers of players, so that the values of large ones would drown those of small ones."""
    return len({allocation.players.n for allocation in allocations}) > 1


def heatmaps(allocations: Sequence[Allocation], unit: str, *, names: Sequence[str | None] = (), per_pixel: bool = False) -> Heatmaps:
    """Maps side by side, on one symmetric scale.

    Args:
        allocations: of a single sample each, with players that divide an image.
        unit: of the values; may be empty.
        names: shown instead of the methods', as in :func:`method_panel`.
        per_pixel: show values per pixel, which can be compared between players of different sizes: of the finest map, since one of a
            layer has fewer places for the same picture.
    """
    images = [image for allocation in allocations if (image := heatmap_values(allocation, per_pixel=per_pixel)) is not None]
    assert len(images) == len(allocations)
    if per_pixel:
        finest = max(image.size for image in images)
        images = [image * (image.size / finest) for image in images]
    scale, panels = symmetric_scale(images), []
    unit = f"{unit} per pixel".strip() if per_pixel else unit
    for allocation, image, name in zip(allocations, images, names or [None] * len(images), strict=True):
        words = method_panel(allocation, name=name)
        if per_pixel:
            words = replace(words, players=players_text(allocation))
        low, high = (style.number(float(value)) for value in (image.min(), image.max()))
        text = f"{style.method_name(allocation.method)}: values from {low} to {high} {unit}".strip()
        panels.append(replace(words, picture=svg.heatmap(image, scale, text)))
    return Heatmaps(panels=tuple(panels), scale=f"\N{PLUS-MINUS SIGN}{style.number(scale)}", unit=unit)


def table_rows(
    allocations: Sequence[Allocation], *, most: int = MOST_ROWS, names: Sequence[str] = (), details: Sequence[str] = ()
) -> list[TableRow]:
    """Bars of several allocations side by side, on one scale.

    Args:
        allocations: of a single sample each.
        most: lines before the smallest are added up.
        names: of the values, instead of the players' own.
        details: a word to every value of the first allocation, such as the feature's value.
    """
    lines = aligned_rows(allocations, most=most, names=names)
    reach = [abs(row.value) + (row.stderr or 0.0) for line in lines for row in line.cells if row]
    scale = symmetric_scale([np.array(reach)])
    return [
        TableRow(
            name=line.name,
            detail=_detail(line, details),
            cells=tuple(None if row is None else _cell(row, scale) for row in line.cells),
        )
        for line in lines
    ]


def _detail(line: AlignedRow, details: Sequence[str]) -> str:
    first = line.cells[0]
    return details[first.position] if details and first and first.position is not None else ""


def _cell(row: NamedValue, scale: float) -> BarCell:
    spread = "" if row.stderr is None else f"\N{PLUS-MINUS SIGN}{style.number(row.stderr, digits=2)}"
    text = style.signed_number(row.value)
    return BarCell(bar=svg.bar(row.value, scale, f"{row.name}: {text}", stderr=row.stderr), text=text, spread=spread)


def waterfall_rows(allocation: Allocation, *, most: int = MOST_ROWS, names: Sequence[str] = ()) -> list[TableRow]:
    """The steps from base to total, each as a line with its bar."""
    steps = waterfall_steps(allocation, most=most, names=names)
    ends = [place for step in steps for place in (step.start, step.end)]
    low, high = min(ends), max(ends)
    if not high > low:
        low, high = low - 1, high + 1
    lines = []
    for step in steps:
        text = style.number(step.end) if step.part in ("base", "total") else style.signed_number(step.end - step.start)
        lines.append(TableRow(name=step.name, cells=(BarCell(bar=svg.waterfall_step(step, low, high, f"{step.name}: {text}"), text=text),)))
    return lines


def players_text(allocation: Allocation) -> str:
    """Who was paid, in words: ``16 patches``, ``7 coalitions of 3 features``."""
    players = f"{allocation.players.n:,} {allocation.players.kind}"
    return players if allocation.coalitions is None else f"{len(allocation.coalitions):,} coalitions of {players}"


def allocation_facts(allocation: Allocation) -> dict[str, str]:
    """What is to be known of one sample's allocation beside its panel: where it starts, where it ends, what was shared out."""
    ends = {"base value": float(allocation.base), "output": float(allocation.total)}
    facts = {name: style.number(end) for name, end in ends.items() if end == end}  # not a number where it is not known
    facts["sum of the values"] = style.number(float(allocation.flat.sum()))
    if style.ends_are_known(allocation):
        facts["completeness error (gap)"] = style.number(abs(float(allocation.gap)))
    known = {key: str(allocation.provenance[key]) for key in ("target", "unit", "baseline") if allocation.provenance.get(key)}
    return facts | known
