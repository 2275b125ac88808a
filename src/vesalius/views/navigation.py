"""The order of a page: names and addresses that no two sections share, parts within sections, what comes first, and what need not be said
twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup, escape

from vesalius.views.html import Section, anchor_of

MOST_FINDINGS = 3
"""Sentences of the summary."""

FEWEST_SECTIONS = 2
"""Sections from which a page has a summary; of a single one the title is the finding."""

DISTINCTIONS = ("id", "target", "model", "at", "baseline", "seed")
"""Facts of a provenance that tell sections of the same heading apart, the best first."""

PART_HEADING = re.compile(r'<p class="lead apart">(.*?)</p>', re.DOTALL)
GUIDE = re.compile(r'<p class="guide">(.*?)</p>\n?', re.DOTALL)
FINDING = re.compile(r'<p class="finding">(.*?)</p>', re.DOTALL)
LABEL_END = re.compile(r"[;:,(]|, ")

MAX_FINDING_LENGTH = 280
"""Letters of a finding that is not shortened to its first sentence."""

MAX_LABEL_LENGTH = 44
"""Letters of an entry of the navigation."""


@dataclass(frozen=True, kw_only=True)
class PagePart:
    """A part of a section, by its heading.

    Attributes:
        anchor: its address on the page.
        label: its entry in the navigation.
    """

    anchor: str
    label: Markup


@dataclass(frozen=True, kw_only=True)
class PageSection:
    """A section in its place on a page.

    Attributes:
        section: with a heading and an address that no other has.
        label: its entry in the navigation, below that of its group.
        parts: of its body, in order.
    """

    section: Section
    label: str
    parts: tuple[PagePart, ...]


@dataclass(frozen=True, kw_only=True)
class PageGroup:
    """Neighbouring sections of the same kind: one entry of the navigation, or several below a common name."""

    name: str
    sections: tuple[PageSection, ...]


def arrange(sections: Iterable[Section], taken: Iterable[str]) -> list[PageGroup]:
    """Sections as they stand on a page.

    Args:
        sections: in order.
        taken: addresses that the page needs for itself.
    """
    given = list(sections)
    labels = _distinct_labels(given)
    known: set[str] = set()
    used, groups = set(taken), list[PageGroup]()
    for section, label in zip(given, labels, strict=True):
        anchor = _free_anchor(anchor_of(section.anchor), used)
        whole = section.heading if not label else f"{section.heading}: {label}"
        body, parts = _with_part_addresses(_without_known_guides(section.body, known), anchor, used)
        placed = PageSection(
            section=replace(section, heading=whole, anchor=anchor, body=body), label=label or section.heading, parts=tuple(parts)
        )
        if groups and groups[-1].name == section.heading:
            groups[-1] = replace(groups[-1], sections=(*groups[-1].sections, placed))
        else:
            groups.append(PageGroup(name=section.heading, sections=(placed,)))
    return groups


def summary_findings(groups: Sequence[PageGroup]) -> list[tuple[str, str, str]]:
    """(heading, address, sentence) of the first sections of different kinds that found something."""
    sections = [placed.section for group in groups for placed in group.sections]
    if len(sections) < FEWEST_SECTIONS:
        return []
    firsts = [next((placed.section for placed in group.sections if _finding_of(placed.section)), None) for group in groups]
    kinds = {found.heading.partition(":")[0]: found for found in reversed(firsts) if found is not None}
    chosen = [found for found in sections if any(found is one for one in kinds.values())]
    return [(found.heading, found.anchor, _finding_of(found)) for found in chosen[:MOST_FINDINGS]]


def _finding_of(section: Section) -> str:
    """What a section found: as it was given, or as its body says it."""
    if section.finding:
        return section.finding
    said = FINDING.search(str(section.body))
    words = Markup(said.group(1)).striptags() if said else ""
    if len(words) > MAX_FINDING_LENGTH:
        words = words.partition(". ")[0]
    return words if not words or words.endswith((".", "!", "?", ";")) else f"{words}."


def _distinct_labels(sections: Sequence[Section]) -> list[str]:
    """What tells each section from others of its heading; nothing where there are no others."""
    labels = [""] * len(sections)
    for heading in {section.heading for section in sections}:
        alike = [place for place, section in enumerate(sections) if section.heading == heading]
        if len(alike) > 1:
            for place, label in zip(alike, _tell_apart([_facts_of(sections[place]) for place in alike]), strict=True):
                labels[place] = label
    return labels


def _facts_of(section: Section) -> Mapping[str, Any]:
    known = [allocation.provenance for allocation in section.allocations] + list(section.sources)
    return known[0] if known else {}


def _tell_apart(facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fewest facts that differ everywhere, else a number as well."""
    chosen: list[str] = []
    for name in DISTINCTIONS:
        words = [_words_of(known, [*chosen, name]) for known in facts]
        if len(set(words)) > len({_words_of(known, chosen) for known in facts}):
            chosen.append(name)
    words = [_words_of(known, chosen) for known in facts]
    count = {word: words.count(word) for word in words}
    numbered, seen = [], dict.fromkeys(words, 0)
    for word in words:
        seen[word] += 1
        numbered.append(word if count[word] == 1 and word else f"{word} {seen[word]}".strip())
    return numbered


def _words_of(known: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(str(known[name]) for name in names if known.get(name) is not None and str(known[name]))


def _free_anchor(stem: str, taken: set[str]) -> str:
    """An address that starts with ``stem``, and is taken from now on."""
    anchor, copy = stem, 2
    while anchor in taken:
        anchor, copy = f"{stem}-{copy}", copy + 1
    taken.add(anchor)
    return anchor


def _with_part_addresses(body: Markup, anchor: str, taken: set[str]) -> tuple[Markup, list[PagePart]]:
    """A body whose parts have headings with addresses."""
    parts: list[PagePart] = []

    def head(found: re.Match[str]) -> str:
        place = _free_anchor(f"{anchor}-part-{len(parts) + 1}", taken)
        parts.append(PagePart(anchor=place, label=_short_label(found.group(1))))
        return f'<h3 class="apart" id="{place}">{found.group(1)}</h3>'

    return Markup(PART_HEADING.sub(head, str(body))), parts


def _short_label(markup: str) -> Markup:
    """The first words of a heading that is a sentence."""
    words = Markup(markup).striptags()
    first = LABEL_END.split(words, maxsplit=1)[0].strip() or words
    return escape(first if len(first) <= MAX_LABEL_LENGTH else f"{first[: MAX_LABEL_LENGTH - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}")


def _without_known_guides(body: Markup, known: set[str]) -> Markup:
    """A body without the instructions for reading that an earlier one gave word for word."""

    def keep(found: re.Match[str]) -> str:
        if found.group(1) in known:
            return ""
        known.add(found.group(1))
        return found.group(0)

    return Markup(GUIDE.sub(keep, str(body)))
