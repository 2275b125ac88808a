"""The page: sections one below the other in one file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

from vesalius.audit.result import Audit
from vesalius.complexity.compare import ComplexityComparison, ComponentProfile
from vesalius.complexity.components import Complexity
from vesalius.core import store
from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.samples import PER_SAMPLE
from vesalius.core.version import VERSION
from vesalius.information.ablation import AblationCurves
from vesalius.information.graph import FlowGraph
from vesalius.interactions.taylor import TaylorProfile
from vesalius.sparsity.compact import Compact
from vesalius.sparsity.comparison import PruningComparison
from vesalius.sparsity.importance_result import LinkImportance
from vesalius.sparsity.sparsified import Sparsified
from vesalius.views import style
from vesalius.views.audit.section import audit_section
from vesalius.views.chart_data import is_heatmap, output_unit, sample_names
from vesalius.views.complexity.section import complexity_comparison_section, complexity_section
from vesalius.views.decisions import Decisions, decisions_section
from vesalius.views.flow.ablation import ablation_section
from vesalius.views.flow.section import flow_section
from vesalius.views.gallery import Exhibit, exhibit_section
from vesalius.views.html import (
    Section,
    allocation_facts,
    anchor_of,
    heatmaps,
    method_panel,
    players_text,
    render_template,
    table_rows,
    waterfall_rows,
)
from vesalius.views.interactions.section import interactions_section
from vesalius.views.interactions.taylor_profile import taylor_profile_section
from vesalius.views.sparsity.compact import compact_section
from vesalius.views.sparsity.comparison import pruning_comparison_section
from vesalius.views.sparsity.importance import importance_section
from vesalius.views.sparsity.section import sparsified_section

MOST_SAMPLES = 12
"""Samples of a batch of maps that a page shows."""

MOST_COLUMNS = 4
"""Samples of a batch of tables that a page shows."""

REPRODUCE_SECTION = ("How to reproduce", "reproduce")


@final
@dataclass(frozen=True)
class Report:
    """A page.

    Attributes:
        html: all of it.
    """

    html: str

    def save(self, path: str | Path) -> Path:
        """Write the page to a file, whole or not at all; returns where."""
        return store.write_text(path, self.html)

    def __repr__(self) -> str:
        return f"Report of {len(self.html.encode()) // 1000:,} kB; .save(path) writes it to a file"

    def _repr_html_(self) -> str:
        return render_template("frame.html.j2", {"html": self.html})


def report(
    sections: object,
    *,
    title: str,
    lead: str = "",
    facts: Mapping[str, str] = MappingProxyType({}),
    reproduce: str = "",
) -> Report:
    """One page that holds everything and asks nothing of a network.

    Args:
        sections: what to show, in order, or one thing alone; types as in ``SECTIONS``, or a ``Section`` made elsewhere.
        title: the finding, in one sentence.
        lead: what it rests on.
        facts: a few words each, by name, shown below the lead: the model, its accuracy, the time it took.
        reproduce: the command that makes the page again.

    Returns:
        The page; ``.save(path)`` writes it.

    Raises:
        WrongType: a section of a type that no page can show.
        InvalidInput: no sections.
    """
    several = sections if isinstance(sections, (list, tuple)) else [sections]
    parts = _with_unique_anchors([section_of(section) for section in several])
    if not parts:
        raise InvalidInput(f"a report needs at least one section: {_known_types()}")
    shown = [allocation for part in parts for allocation in part.allocations]
    sources = [allocation.provenance for allocation in shown] + [source for part in parts for source in part.sources]
    html = render_template(
        "report.html.j2",
        {
            "light": style.css_variables(style.LIGHT),
            "dark": style.css_variables(style.DARK),
            "font": style.FONT,
            "gradient": style.css_gradient(),
            "title": title,
            "name": _model_name(sources),
            "lead": lead,
            "facts": facts,
            "sections": parts,
            "last": REPRODUCE_SECTION,
            "command": reproduce,
            "made": _provenance_facts(sources),
            "options": _method_options(shown),
        },
    )
    return Report(str(html))


def section_of(shown: object) -> Section:
    """The section that shows an object.

    Raises:
        WrongType: nothing in ``SECTIONS`` does.
    """
    if isinstance(shown, Section):
        return shown
    for kind, draw in SECTIONS.items():
        if isinstance(shown, kind):
            return draw(shown)
    raise WrongType(f"a report cannot show {type(shown).__name__}; it shows {_known_types()}")


def allocation_section(allocation: Allocation) -> Section:
    """A map or bars, the gap, and where the numbers come from; of a batch, the first few samples; interactions as such."""
    if allocation.coalitions is not None and not allocation.base.ndim:
        return interactions_section(allocation)
    heading, batch = style.method_name(allocation.method), bool(allocation.base.ndim)
    placed = is_heatmap(allocation)
    most = min(len(allocation), MOST_SAMPLES if placed else MOST_COLUMNS)
    samples = [allocation[i] for i in range(most)] if batch else [allocation]
    names = sample_names(allocation, most) if batch else [""]
    body = render_template(
        "allocation.html.j2",
        {
            "maps": heatmaps(samples, output_unit(allocation), names=names) if placed else None,
            "heads": [] if placed else [method_panel(sample, name=name) for sample, name in zip(samples, names, strict=True)],
            "lines": [] if placed else table_rows(samples),
            "steps": [] if placed or batch or not style.ends_are_known(allocation) else waterfall_rows(allocation),
            "facts": {} if batch else allocation_facts(allocation),
            "players": players_text(allocation),
            "who": "player" if allocation.coalitions is None else "coalition",
            "target": str(allocation.provenance.get("target", "")),
            "unit": output_unit(allocation),
            "shown": len(samples),
            "left_out": len(allocation) - len(samples),
            "provenance": {key: _as_text(value) for key, value in allocation.provenance.items() if key != PER_SAMPLE},
        },
    )
    return Section(heading=heading, anchor=anchor_of(heading), body=body, allocations=(allocation,))


SECTIONS: dict[type, Callable[[Any], Section]] = {
    Allocation: allocation_section,
    Decisions: decisions_section,
    Exhibit: exhibit_section,
    Audit: audit_section,
    TaylorProfile: taylor_profile_section,
    FlowGraph: flow_section,
    AblationCurves: ablation_section,
    Complexity: complexity_section,
    ComponentProfile: complexity_section,
    ComplexityComparison: complexity_comparison_section,
    LinkImportance: importance_section,
    Sparsified: sparsified_section,
    Compact: compact_section,
    PruningComparison: pruning_comparison_section,
}
"""How each type is shown; whoever adds a type adds a line."""


def _known_types() -> str:
    return ", ".join(kind.__name__ for kind in SECTIONS)


def _with_unique_anchors(sections: Iterable[Section]) -> list[Section]:
    """Each section with an address of its own; the last section of the page keeps its."""
    taken, placed = {REPRODUCE_SECTION[1]}, []
    for section in sections:
        stem = anchor = anchor_of(section.anchor)
        copy = 2
        while anchor in taken:
            anchor, copy = f"{stem}-{copy}", copy + 1
        taken.add(anchor)
        placed.append(replace(section, anchor=anchor))
    return placed


def _model_name(sources: Iterable[Mapping[str, Any]]) -> str:
    """The model's name, if all sections are about one."""
    names = {str(known.get("model", "")) for known in sources} - {""}
    return names.pop() if len(names) == 1 else ""


def _provenance_facts(sources: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Versions, models and seeds that went into the page."""
    versions: dict[str, set[str]] = {"vesalius": {VERSION}}
    models, seeds = set(), set()
    for known in sources:
        for package, version in _as_mapping(known.get("versions")).items():
            versions.setdefault(str(package), set()).add(str(version))
        if known.get("digest"):
            models.add(f"{known.get('model', '')} {known['digest']}".strip())
        seed = known.get("seed", _as_mapping(known.get("options")).get("seed"))
        seeds |= set() if seed is None else {str(seed)}
    joined = ", ".join(f"{package} {' and '.join(sorted(found))}" for package, found in versions.items())
    facts = {"versions": joined, "model and digest": ", ".join(sorted(models)), "seed": ", ".join(sorted(seeds))}
    return {name: words for name, words in facts.items() if words}


def _method_options(allocations: Iterable[Allocation]) -> dict[str, list[str]]:
    """The options of each method, every different set of them once."""
    table: dict[str, list[str]] = {}
    for allocation in allocations:
        words = _as_text(allocation.provenance.get("options") or {}) or "none"
        known = table.setdefault(style.method_name(allocation.method), [])
        if words not in known:
            known.append(words)
    return table


def _as_mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _as_text(value: object) -> str:
    """Anything of a provenance as text: mappings as ``steps 64, seed 0``, an option that is ``None`` as ``default``."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_as_text(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_as_text(item) for item in value)
    if value is None:
        return "default"
    return value if isinstance(value, str) else json.dumps(value, default=str)
