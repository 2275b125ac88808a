"""Circuits and their faithfulness, as sections of a page."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup, escape

from vesalius.circuits.circuit import Circuit
from vesalius.circuits.faithfulness import FaithfulnessCurve
from vesalius.core.errors import WrongType
from vesalius.views import style, svg
from vesalius.views.circuits.layout import NodePlace, circuit_layout, edge_scores
from vesalius.views.html import Section, anchor_of, render_template
from vesalius.views.line_chart import ChartLabels, svg_curves

CIRCUIT_HEADING = "Circuit"
FAITHFULNESS_HEADING = "Faithfulness of the best edges"
MOST_EDGES = 40
"""Edges of a circuit that a page lists."""
LABELS = ChartLabels(x="edges kept", y="share of the change", title="Faithfulness")
STEP, MARGIN, WIDE, LETTER = 62, 26, 640, 7.4
"""Height of a level, room at the border, width of the picture and of a letter, in units of the picture."""


def circuit_section(shown: Circuit) -> Section:
    """A circuit as a layered graph, with its edges and how faithful it is.

    Raises:
        WrongType: no circuit.
    """
    finding = (
        f"{len(shown):,} of {len(shown.names):,} edges make {style.percent(shown.faithfulness)} of the change of the target;"
        f" all others together make {style.percent(shown.completeness)}."
    )
    anchor, source = anchor_of(CIRCUIT_HEADING), dict(shown.provenance)
    return Section(heading=CIRCUIT_HEADING, anchor=anchor, body=circuit_body(shown), sources=(source,), finding=finding)


def circuit_body(shown: Circuit) -> Markup:
    """The section without its heading."""
    if not isinstance(shown, Circuit):
        raise WrongType(f"expected a Circuit, not {type(shown).__name__}; make one with vesalius.circuits.circuit_of(...)")
    places = {name: place for place, name in enumerate(shown.names)}
    ranked = sorted(shown.edges, key=lambda edge: -abs(float(np.nan_to_num(float(shown.scores[places["->".join(edge)]])))))
    lines = [(writer, reader, style.number(float(shown.scores[places[f"{writer}->{reader}"]]))) for writer, reader in ranked[:MOST_EDGES]]
    return render_template(
        "circuit.html.j2",
        {
            "picture": svg_circuit(shown),
            "lines": lines,
            "left_out": len(ranked) - len(lines),
            "facts": {
                "edges": f"{len(shown):,} of {len(shown.names):,}",
                "faithfulness": f"{shown.faithfulness:.3f}",
                "completeness (of the rest)": f"{shown.completeness:.3f}",
                "target with all edges": style.number(shown.whole),
                "with none": style.number(shown.empty),
                "with the circuit": style.number(shown.value),
                "with all others": style.number(shown.rest),
            },
            "target": str(shown.provenance.get("target", "")),
            "baseline": str(shown.provenance.get("baseline", "")),
        },
    )


def svg_circuit(shown: Circuit) -> Markup:
    """The layered graph as inline SVG, the output on top."""
    places, scores = circuit_layout(shown), edge_scores(shown)
    levels = max((place.level for place in places.values()), default=0)
    largest = max([abs(score) for score in scores.values()], default=0.0) or 1.0
    tall = 2 * MARGIN + STEP * levels
    lines = [_line((writer, reader), places, score, largest, tall) for (writer, reader), score in scores.items()]
    boxes = [_box(name, place, tall) for name, place in places.items()]
    text = escape(f"circuit of {len(shown)} edges between {len(places)} parts")
    told = svg.numbers_attribute([("writer", "reader", "score"), *((*ends, score) for ends, score in scores.items())])
    return Markup(f'<svg viewBox="0 0 {WIDE} {tall}" role="img" aria-label="{text}"{told}>{"".join(lines + boxes)}</svg>')


def _at(place: NodePlace, tall: float) -> tuple[float, float]:
    return MARGIN + place.x * (WIDE - 2 * MARGIN), tall - MARGIN - STEP * place.level


def _line(ends: tuple[str, str], places: Mapping[str, NodePlace], score: float, largest: float, tall: float) -> str:
    start, end = (places[name] for name in ends)
    title = escape(f"{ends[0]} \N{RIGHTWARDS ARROW} {ends[1]}: {style.signed_number(score)}")
    (x, y), (to_x, to_y) = _at(start, tall), _at(end, tall)
    bend = 0.0 if end.level - start.level <= 1 else 34.0 * (1 if start.x <= end.x else -1)
    colour = style.to_hex(style.RED if score > 0 else style.BLUE)
    wide = 1 + 3.5 * abs(score) / largest
    path = f"M{x:.1f} {y - 11:.1f}Q{(x + to_x) / 2 + bend:.1f} {(y + to_y) / 2:.1f} {to_x:.1f} {to_y + 11:.1f}"
    look = f'fill="none" stroke="{colour}" stroke-width="{wide:.2f}" stroke-opacity="0.8"'
    return f'<path d="{path}" {look}><title>{title}</title></path>'


def _box(name: str, place: NodePlace, tall: float) -> str:
    x, y = _at(place, tall)
    wide = 14 + LETTER * len(name)
    frame = (
        f'<rect x="{x - wide / 2:.1f}" y="{y - 11:.1f}" width="{wide:.1f}" height="22" rx="5" style="fill:var(--card);stroke:var(--mut)"/>'
    )
    return f'{frame}<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" font-size="12" style="fill:var(--ink)">{escape(name)}</text>'


def faithfulness_section(shown: FaithfulnessCurve) -> Section:
    """The curves of faithfulness and completeness."""
    body, anchor, source = faithfulness_body(shown), anchor_of(FAITHFULNESS_HEADING), dict(shown.provenance)
    finding = f"The area under the curve of faithfulness over {shown.edges:,} edges is {shown.area:.3f}."
    return Section(heading=FAITHFULNESS_HEADING, anchor=anchor, body=body, sources=(source,), finding=finding)


def faithfulness_body(shown: FaithfulnessCurve) -> Markup:
    """The section without its heading."""
    if not isinstance(shown, FaithfulnessCurve):
        raise WrongType(
            f"expected a FaithfulnessCurve, not {type(shown).__name__}; make one with vesalius.circuits.faithfulness_curve(...)"
        )
    sizes = shown.sizes.double().numpy()
    curves: dict[str, tuple[object, object]] = {
        "best edges": (sizes, shown.faithfulness.double().numpy()),
        "all others": (sizes, shown.completeness.double().numpy()),
    }
    rows = zip(shown.sizes.tolist(), shown.faithfulness.tolist(), shown.completeness.tolist(), strict=True)
    return render_template(
        "faithfulness.html.j2",
        {
            "curve": svg_curves(curves, LABELS) if len(sizes) > 1 else "",
            "lines": [(f"{size:,}", f"{faithful:.3f}", f"{complete:.3f}") for size, faithful, complete in rows],
            "edges": f"{shown.edges:,}",
            "area": f"{shown.area:.3f}",
        },
    )
