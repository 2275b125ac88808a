"""A flow graph as a section of a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from vesalius.information.graph import FlowGraph
from vesalius.information.histograms import Histograms
from vesalius.views import style, svg
from vesalius.views.flow import svg_charts
from vesalius.views.flow.attribution import AttributionTable, attribution_table
from vesalius.views.flow.captions import (
    ATTRIBUTION_HEADING,
    HEADING,
    caveats,
    community_name,
    describe_redundant,
    facts,
    legend,
    maps_note,
    omitted_edges_note,
    reading_guide,
)
from vesalius.views.flow.chart_data import (
    DrawnUnit,
    FlowDrawing,
    FlowStatistics,
    flow_drawing,
    flow_statistics,
    image_shape,
    redundant_units,
    require_flow_graph,
    top_betweenness,
)
from vesalius.views.flow.paths import DrawnPath, NamedPath, input_maps, paths_through_units, strongest_named_paths
from vesalius.views.html import ColouredText, Section, anchor_of, render_template


@dataclass(frozen=True, kw_only=True)
class FlowRow:
    """A unit or a path, ready to be shown."""

    name: str
    layer: str = ""
    first: bool = False
    cells: tuple[tuple[Markup, str], ...] = ()


def flow_section(graph: FlowGraph, *, shape: Sequence[int] | None = None) -> Section:
    """The layered drawing, what it rests on, the strongest paths, the units that most paths pass through, and inputs by classes.

    Args:
        graph: from ``vesalius.information_flow``.
        shape: (height, width), or with channels first, if the first layer is an image; by default as the graph's provenance says.
    """
    body = flow_body(graph, shape=shape)
    best = strongest_named_paths(graph, shape=image_shape(graph, shape))[:1]
    finding = "".join(f"The strongest path, {path.words}, carries {style.percent(path.share)} of all flow." for path in best)
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=body, sources=(graph.provenance,), finding=finding)


def flow_body(graph: FlowGraph, *, shape: Sequence[int] | None = None, scripted: bool = True) -> Markup:
    """The section without its heading; takes seconds for a large graph.

    Args:
        graph, shape: see :func:`flow_section`.
        scripted: whether there is a script to show more of units; else what it would read is left out.

    Raises:
        WrongType: not a flow graph.
        InvalidInput: a shape that does not fit.
    """
    require_flow_graph(graph, "a section of information flow")
    whole, reading = image_shape(graph, shape), flow_statistics(graph)
    net = flow_drawing(graph, reading, shape=whole)
    table = attribution_table(graph, whole)
    return render_template(
        "flow.html.j2",
        {
            "meaning": reading_guide(graph),
            "notes": caveats(graph, reading),
            "picture": svg_charts.draw_flow(net, _units_json(graph, reading, net) if scripted else "", _alt_text(graph, reading)),
            "legend": [(svg_charts.community_colour(community), words) for community, words in legend(reading)],
            "below": omitted_edges_note(net),
            "scripted": scripted,
            "facts": facts(graph, reading) | {"redundant units": describe_redundant(graph, redundant_units(graph))},
            "paths": _path_rows(strongest_named_paths(graph, shape=whole)),
            "units": _unit_rows(graph, reading),
            "heading": f"{ATTRIBUTION_HEADING}, {maps_note(table) if table.maps else 'per cent of all flow'}",
            "table": table,
            "cells": _share_cells(table),
            "maps": _class_maps(table),
        },
    )


def _alt_text(graph: FlowGraph, reading: FlowStatistics) -> str:
    """What the drawing shows, for those who cannot see it."""
    sizes = ", ".join(f"{layer.name} ({len(layer):,})" for layer in graph.layers)
    return f"information flow through {len(graph)} layers: {sizes}; {style.pluralize(reading.edges, 'edge')}"


def _units_json(graph: FlowGraph, reading: FlowStatistics, net: FlowDrawing) -> str:
    """What a page's script tells of each drawn unit, as JSON: facts, paths, histogram, and what feeds it."""
    frame, maps = svg_charts.drawing_frame(net), input_maps(graph, net) if net.pictured else []
    told: list[dict[str, Any]] = []
    for unit, trails in zip(net.units, paths_through_units(graph, net), strict=True):
        found = {
            "name": unit.name,
            "facts": _unit_facts(graph, reading, unit),
            "paths": [[_path_stops(frame, net, trail), _path_text(trail.path)] for trail in trails],
        }
        spread = graph.layers[unit.layer].spread
        if spread is not None:
            found |= {
                "bars": svg_charts.histogram_path(spread.counts[unit.position].tolist()),
                "spread": _activation_range(spread, unit.position),
            }
        if maps and not unit.dead:
            found["map"] = svg_charts.png_data_url(maps[len(told)])
        told.append(found)
    return json.dumps(told, separators=(",", ":"))


def _unit_facts(graph: FlowGraph, reading: FlowStatistics, unit: DrawnUnit) -> str:
    if unit.dead:
        return f"{graph.names[unit.layer]}, constant on this data (dead)"
    parts = [graph.names[unit.layer], f"betweenness {style.number(unit.betweenness)}"]
    parts += [f"flow in {style.number(unit.into)}"] if unit.layer else []
    parts += [f"flow out {style.number(unit.out)}"] if unit.layer < len(graph) - 1 else []
    return ", ".join([*parts, f"{style.percent(unit.through)} of all flow", community_name(reading, unit.community)])


def _path_stops(frame: svg_charts.DrawingFrame, net: FlowDrawing, trail: DrawnPath) -> list[object]:
    """Numbers of units; of a pixel, its place on the drawing."""
    if trail.pixel is None or net.shape is None:
        return list(trail.stops)
    (row, column), (left, top), (rows, columns) = trail.pixel, frame.corner, net.shape[-2:]
    spot = left + frame.wide * (column + 0.5) / columns, top + frame.high * (row + 0.5) / rows
    return [[round(side, 1) for side in spot], *trail.stops]


def _path_text(path: NamedPath) -> str:
    return f"{path.words}, {style.percent(path.share)} of all flow"


def _activation_range(spread: Histograms, unit: int) -> str:
    zero = f", {style.percent(float(spread.zero[unit]))} of rows 0" if spread.zero[unit] else ""
    return f"activation from {style.number(float(spread.low[unit]))} to {style.number(float(spread.high[unit]))}{zero}"


def _path_rows(paths: Sequence[NamedPath]) -> list[FlowRow]:
    largest = max((path.share for path in paths), default=1.0)
    lines = []
    for path in paths:
        name, share = path.words, style.percent(path.share)
        lines.append(FlowRow(name=name, cells=((_bar(path.share / largest, "plainly", f"{name}: {share}"), share),)))
    return lines


def _unit_rows(graph: FlowGraph, reading: FlowStatistics) -> list[FlowRow]:
    """The units with the largest betweenness of each layer, in the colours of their communities."""
    leaders = top_betweenness(graph, reading)
    most = max((float(reading.betweenness[layer][unit]) for layer, unit in leaders), default=1.0)
    through = max((float(reading.through[layer][unit]) for layer, unit in leaders), default=0.0) or 1.0
    lines: list[FlowRow] = []
    for layer, unit in leaders:
        name, kind = graph.title((layer, unit)), svg_charts.community_colour(reading.community(layer, unit))
        between, share = float(reading.betweenness[layer][unit]), float(reading.through[layer][unit])
        cells = (
            (_bar(between / most, kind, f"{name}, betweenness {style.number(between)}"), style.number(between)),
            (_bar(share / through, kind, f"{name}, {style.percent(share)} of all flow"), style.percent(share)),
        )
        first = not lines or lines[-1].layer != layer
        lines.append(FlowRow(name=name, layer=layer, first=first, cells=cells))
    return lines


def _bar(share: float, kind: str, text: str) -> Markup:
    place = 'height="8" y="3" rx="3"'
    shapes = f'<rect class="track" width="100%" {place}/><rect class="kind {kind}" width="{100 * share:.1f}%" {place}/>'
    return Markup(f'<svg class="share long" role="img" aria-label="{escape(text)}">{shapes}</svg>')


def _share_cells(table: AttributionTable) -> list[tuple[str, list[ColouredText]]]:
    """Shares in per cent, on the scale of sizes."""
    lines = []
    for name, shares, depths in zip(table.rows, table.shares, table.depths, strict=True):
        patches = []
        for share, depth in zip(shares.tolist(), depths.tolist(), strict=True):
            red, green, blue = style.sequential_colours(np.array(depth), 1.0).tolist()
            ground = (red, green, blue)
            patches.append(ColouredText(text=f"{100 * share:.1f}", back=style.to_hex(ground), front=style.readable_on(ground)))
        lines.append((name, patches))
    return lines


def _class_maps(table: AttributionTable) -> list[tuple[str, Markup]]:
    """A map per class, on one scale, where inputs are an image."""
    return [
        (name, svg.sequential_map(image, table.scale, f"what flows from each pixel to {name}"))
        for name, image in zip(table.columns if table.maps else (), table.maps, strict=True)
    ]
