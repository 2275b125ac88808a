"""A flow graph as a section of a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from vesalius.information.graph import FlowGraph
from vesalius.information.histograms import Histograms
from vesalius.views import style, svg
from vesalius.views.flow import pictures
from vesalius.views.flow.describe import Net, Reading, Unit, is_flow, leaders_of, net_of, reading_of, shape_of, spare_of
from vesalius.views.flow.table import Table, table_of
from vesalius.views.flow.trails import Path, Trail, fed_by, strongest_of, trails_of
from vesalius.views.flow.words import ATTRIBUTION, HEADING, below, community_of, doubts, facts, legend, mapped, meaning, spared
from vesalius.views.fragments import DEEP, Patch, Section, anchor_of, fill


@dataclass(frozen=True, kw_only=True)
class Line:
    """A unit or a path, ready to be shown."""

    name: str
    layer: str = ""
    cells: tuple[tuple[Markup, str], ...] = ()


def flow_section(graph: FlowGraph, *, shape: Sequence[int] | None = None) -> Section:
    """The layered drawing, what it rests on, the strongest paths, the units that most paths pass through, and inputs by classes.

    Args:
        graph: from ``vesalius.information_flow``.
        shape: (height, width), or with channels first, if the first layer is an image; by default as the graph's provenance says.
    """
    body = flow_body(graph, shape=shape)
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=body, sources=(graph.provenance,))


def flow_body(graph: FlowGraph, *, shape: Sequence[int] | None = None, scripted: bool = True) -> Markup:
    """The section without its heading; takes seconds for a large graph.

    Args:
        graph, shape: see :func:`flow_section`.
        scripted: whether there is a script to show more of units; else what it would read is left out.

    Raises:
        WrongType: not a flow graph.
        InvalidInput: a shape that does not fit.
    """
    is_flow(graph, "a section of information flow")
    whole, reading = shape_of(graph, shape), reading_of(graph)
    net = net_of(graph, reading, shape=whole)
    table = table_of(graph, whole)
    return fill(
        "flow.html.j2",
        {
            "meaning": meaning(graph),
            "notes": doubts(graph, reading),
            "picture": pictures.network(net, _told(graph, reading, net) if scripted else "", _shown(graph, reading)),
            "legend": [(pictures.colour_of(community), words) for community, words in legend(reading)],
            "below": below(net),
            "facts": facts(graph, reading) | {"redundant units": spared(graph, spare_of(graph))},
            "paths": _path_lines(strongest_of(graph, shape=whole)),
            "units": _unit_lines(graph, reading),
            "heading": f"{ATTRIBUTION}, {mapped(table) if table.maps else 'per cent of all flow'}",
            "table": table,
            "cells": _cells(table),
            "maps": _maps(table),
        },
    )


def _shown(graph: FlowGraph, reading: Reading) -> str:
    """What the drawing shows, for those who cannot see it."""
    sizes = ", ".join(f"{layer.name} ({len(layer):,})" for layer in graph.layers)
    return f"information flow through {len(graph)} layers: {sizes}; {style.counted(reading.edges, 'edge')}"


def _told(graph: FlowGraph, reading: Reading, net: Net) -> str:
    """What a page's script tells of each drawn unit, as JSON: facts, paths, histogram, and what feeds it."""
    frame, maps = pictures.frame_of(net), fed_by(graph, net) if net.pictured else []
    told = []
    for unit, trails in zip(net.units, trails_of(graph, net), strict=True):
        found = {
            "name": unit.name,
            "facts": _unit_facts(graph, reading, unit),
            "paths": [[_stops(frame, net, trail), _words(trail.path)] for trail in trails],
        }
        spread = graph.layers[unit.layer].spread
        if spread is not None:
            found |= {"bars": pictures.strip(spread.counts[unit.position].tolist()), "spread": _spread(spread, unit.position)}
        if maps and not unit.dead:
            found["map"] = pictures.pixels(maps[len(told)])
        told.append(found)
    return json.dumps(told, separators=(",", ":"))


def _unit_facts(graph: FlowGraph, reading: Reading, unit: Unit) -> str:
    if unit.dead:
        return f"{graph.names[unit.layer]}, dead: constant on this data"
    parts = [graph.names[unit.layer], f"betweenness {style.number(unit.betweenness)}"]
    parts += [f"flow in {style.number(unit.into)}"] if unit.layer else []
    parts += [f"flow out {style.number(unit.out)}"] if unit.layer < len(graph) - 1 else []
    return ", ".join([*parts, f"{style.percent(unit.through)} of all flow", community_of(reading, unit.community)])


def _stops(frame: pictures.Frame, net: Net, trail: Trail) -> list[object]:
    """Numbers of units; of a pixel, its place on the drawing."""
    if trail.pixel is None or net.shape is None:
        return list(trail.stops)
    (row, column), (left, top), (rows, columns) = trail.pixel, frame.corner, net.shape[-2:]
    spot = left + frame.wide * (column + 0.5) / columns, top + frame.high * (row + 0.5) / rows
    return [[round(side, 1) for side in spot], *trail.stops]


def _words(path: Path) -> str:
    return f"{path.words}, {style.percent(path.share)} of all flow"


def _spread(spread: Histograms, unit: int) -> str:
    zero = f", {style.percent(float(spread.zero[unit]))} of rows 0" if spread.zero[unit] else ""
    return f"activation from {style.number(float(spread.low[unit]))} to {style.number(float(spread.high[unit]))}{zero}"


def _path_lines(paths: Sequence[Path]) -> list[Line]:
    largest = max((path.share for path in paths), default=1.0)
    lines = []
    for path in paths:
        name, share = path.words, style.percent(path.share)
        lines.append(Line(name=name, cells=((_bar(path.share / largest, "plainly", f"{name}: {share}"), share),)))
    return lines


def _unit_lines(graph: FlowGraph, reading: Reading) -> list[Line]:
    """The units with the largest betweenness of each layer, in the colours of their communities."""
    leaders = leaders_of(graph, reading)
    most = max((float(reading.betweenness[layer][unit]) for layer, unit in leaders), default=1.0)
    through = max((float(reading.through[layer][unit]) for layer, unit in leaders), default=0.0) or 1.0
    lines: list[Line] = []
    for layer, unit in leaders:
        name, kind = graph.title((layer, unit)), pictures.colour_of(reading.community(layer, unit))
        between, share = float(reading.betweenness[layer][unit]), float(reading.through[layer][unit])
        cells = (
            (_bar(between / most, kind, f"{name}, betweenness {style.number(between)}"), style.number(between)),
            (_bar(share / through, kind, f"{name}, {style.percent(share)} of all flow"), style.percent(share)),
        )
        seen = any(line.layer == layer for line in lines)
        lines.append(Line(name=name, layer="" if seen else layer, cells=cells))
    return lines


def _bar(share: float, kind: str, text: str) -> Markup:
    place = 'height="8" y="3" rx="3"'
    shapes = f'<rect class="track" width="100%" {place}/><rect class="kind {kind}" width="{100 * share:.1f}%" {place}/>'
    return Markup(f'<svg class="share long" role="img" aria-label="{escape(text)}">{shapes}</svg>')


def _cells(table: Table) -> list[tuple[str, list[Patch]]]:
    """Shares in per cent, on the scale of sizes."""
    lines = []
    for name, shares, depths in zip(table.rows, table.shares, table.depths, strict=True):
        patches = []
        for share, depth in zip(shares.tolist(), depths.tolist(), strict=True):
            red, green, blue = style.sequential(np.array(depth), 1.0).tolist()
            front = "#fff" if depth > DEEP else style.hexadecimal(style.INK)
            patches.append(Patch(text=f"{100 * share:.1f}", back=style.hexadecimal((red, green, blue)), front=front))
        lines.append((name, patches))
    return lines


def _maps(table: Table) -> list[tuple[str, Markup]]:
    """A map per class, on one scale, where inputs are an image."""
    return [
        (name, svg.pixels(style.sequential(image, table.scale), f"what flows from each pixel to {name}"))
        for name, image in zip(table.columns if table.maps else (), table.maps, strict=True)
    ]
