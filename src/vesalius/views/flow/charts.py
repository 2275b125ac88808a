"""Charts of a flow graph for papers and notebooks, with matplotlib. They draw what they are given and return the figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from vesalius.information.ablation import AblationCurves
from vesalius.information.graph import FlowGraph
from vesalius.views import axes, style
from vesalius.views.charts import plot_curves
from vesalius.views.flow.ablation import chart_labels, curves_by_order
from vesalius.views.flow.attribution import AttributionTable, attribution_table
from vesalius.views.flow.captions import ATTRIBUTION_HEADING, HEADING, WEIGHT_UNITS, community_stability, maps_note, omitted_units_note
from vesalius.views.flow.chart_data import (
    MOST_UNITS,
    DrawnEdge,
    FlowDrawing,
    flow_drawing,
    flow_statistics,
    image_shape,
    require_flow_graph,
)
from vesalius.views.flow.layout import skip_rise
from vesalius.views.flow.svg_charts import community_colour, unit_label
from vesalius.views.html import WHITE_TEXT_THRESHOLD

IMAGE_HEIGHT = 6.5
"""Height of the picture of the inputs, in units."""

MAX_IMAGE_HALF_WIDTH = 0.4
"""Most of half the width of the picture, as a share of the room between two columns."""

DASHES = (0, (1.6, 1.6))


def plot_flow(
    graph: FlowGraph,
    *,
    most_units: int = MOST_UNITS,
    most_edges: int | None = None,
    shape: Sequence[int] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Layers as columns: size is betweenness, colour is community, width is flow; dead units are dashed and empty.

    Args:
        graph: from ``vesalius.information_flow``.
        most_units: drawn per layer, those with the most flow through them; the others are counted below.
        most_edges: drawn in all, the strongest between each two layers; by default 150, and more of deep networks.
        shape: (height, width), or with channels first, if the first layer is an image: it is drawn as one, and its edges are summed up.
        ax: where to draw; a new figure by default.

    Raises:
        WrongType: not a flow graph.
        InvalidInput: no units or edges asked for, or a shape of another number of units.

    Reference: Davis2020, figure 2.
    """
    require_flow_graph(graph, "plot_flow")
    reading = flow_statistics(graph)
    net = flow_drawing(graph, reading, most_units=most_units, most_edges=most_edges, shape=image_shape(graph, shape))
    figure, ax = axes.figure_and_axes(ax, (min(2.0 + 1.9 * len(net.columns), 16.0), 1.3 + 0.27 * net.slots))
    _draw_units(ax, net)
    _draw_labels(ax, net)
    axes.hide_frame(ax)
    ax.set_xlim(-0.45, len(net.columns) - 0.55)
    ax.set_ylim(net.slots + 0.2, -0.2)
    words = f"width: {WEIGHT_UNITS[graph.transform]}; size: betweenness; colour: {community_stability(reading)}"
    axes.set_titles(ax, HEADING, words, axes.COLOURS["mut"])
    _draw_edges(ax, net, _draw_input_image(ax, net) if net.pictured else (0.0, 0.0))
    return figure


def plot_attribution(graph: FlowGraph, *, shape: Sequence[int] | None = None, ax: Axes | None = None) -> Figure:
    """What flows from each unit of the first layer to each of the last, as shares of all flow; maps, one per class, of an image.

    Args:
        graph: from ``vesalius.information_flow``.
        shape: as in :func:`plot_flow`.
        ax: where to draw; a new figure by default.

    Raises:
        WrongType: not a flow graph.
        InvalidInput: a shape of another number of units.
    """
    require_flow_graph(graph, "plot_attribution")
    table = attribution_table(graph, image_shape(graph, shape))
    if table.maps:
        figure, ax = axes.figure_and_axes(ax, (7.4, 0.9 + 1.6 * -(-len(table.maps) // 5)))
        _draw_maps(ax, table)
        axes.set_titles(ax, ATTRIBUTION_HEADING, maps_note(table), axes.COLOURS["mut"])
        return figure
    high, wide = table.shares.shape
    figure, ax = axes.figure_and_axes(ax, (2.2 + 0.75 * wide, 1.3 + 0.34 * high))
    ax.imshow(table.depths, cmap=axes.SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(table.shares):
        colour = "white" if table.depths[row, column] > WHITE_TEXT_THRESHOLD else axes.COLOURS["end"]
        ax.text(column, row, f"{100 * share:.1f}", ha="center", va="center", fontsize=8, color=colour)
    axes.label_rows(ax, table.rows)
    ax.set_ylim(high - 0.5, -0.5)
    ax.set_xticks(
        range(wide), [axes.escape_dollars(name) for name in table.columns], rotation=30 if max(map(len, table.columns)) > 9 else 0
    )
    ax.tick_params(axis="x", length=0)
    ax.spines[:].set_visible(False)
    axes.set_titles(ax, ATTRIBUTION_HEADING, "per cent of all flow", axes.COLOURS["mut"])
    return figure


def plot_ablation(removal: AblationCurves, *, ax: Axes | None = None) -> Figure:
    """Accuracy against the share that is removed, for each order.

    Args:
        removal: from :func:`vesalius.information.ablation_curves`.
        ax: where to draw; a new figure by default.
    """
    return plot_curves(curves_by_order(removal), chart_labels(removal), ax=ax)


def _draw_edges(ax: Axes, net: FlowDrawing, beside: tuple[float, float]) -> None:
    links = sorted(net.links, key=lambda link: link.width)
    shown = [PathPatch(_edge_path(net, link, beside)) for link in links]
    communities = [net.units[link.second if link.first is None else link.first].community for link in links]
    ax.add_collection(
        PatchCollection(
            shown,
            facecolors="none",
            edgecolors=[_colour(community_colour(community)) for community in communities],
            linewidths=[0.4 + 4.6 * link.width for link in links],
            alpha=0.4,
            zorder=1,
        )
    )


def _edge_path(net: FlowDrawing, link: DrawnEdge, beside: tuple[float, float]) -> Path:
    """A curve between two units, or from the right edge of the picture, whose half width and height are given."""
    end = net.units[link.second]
    if link.first is None:
        start = beside[0], net.slots / 2 + 2 * beside[1] * (link.start - 0.5)
    else:
        start = float(net.units[link.first].layer), net.units[link.first].down
    bend = 0.46 * (end.layer - start[0])
    rise = skip_rise(0 if link.first is None else net.units[link.first].layer, end.layer)
    bent = (start[0] + bend, max(start[1] - rise, 0.0)), (end.layer - bend, max(end.down - rise, 0.0))
    points = [start, *bent, (end.layer, end.down)]
    return Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])


def _draw_units(ax: Axes, net: FlowDrawing) -> None:
    """Filled circles with edges, empty ones without; dashed are dead."""
    for kind in ("live", "alone", "dead"):
        here = [unit for unit in net.units if kind == ("dead" if unit.dead else "live" if unit.into + unit.out else "alone")]
        if not here:
            continue
        fills = [_colour(community_colour(unit.community)) for unit in here] if kind == "live" else "none"
        ax.scatter(
            [unit.layer for unit in here],
            [unit.down for unit in here],
            s=[(5 + 7 * unit.size**0.5) ** 2 if kind == "live" else 64 for unit in here],
            facecolors=fills,
            edgecolors="white" if kind == "live" else axes.COLOURS["gap"],
            linestyles=DASHES if kind == "dead" else "-",
            linewidths=1.0,
            zorder=2,
        )


def _draw_labels(ax: Axes, net: FlowDrawing) -> None:
    """Names of layers below, labels beside the first and the last."""
    last, crowded = len(net.columns) - 1, len(net.columns) > 8
    for at, column in enumerate(net.columns):
        rest = omitted_units_note(column)
        turn = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if crowded else {"ha": "center"}
        more = "" if not rest else f", +{column.others}" if crowded else "\n" + rest
        text = axes.escape_dollars(column.name + more)
        ax.annotate(
            text, (at, 0), (0, -4), xycoords=("data", "axes fraction"), textcoords="offset points", va="top", fontsize=9,
            color=axes.COLOURS["mut"], **turn,
        )  # fmt: skip
    for unit in net.units:
        if unit.layer in (0, last):
            side, aside = ("right", -10) if unit.layer == 0 else ("left", 10)
            spot, words = (unit.layer, unit.down), axes.escape_dollars(unit_label(unit))
            ax.annotate(words, spot, (aside, 0), textcoords="offset points", ha=side, va="center", fontsize=8)


def _draw_input_image(ax: Axes, net: FlowDrawing) -> tuple[float, float]:
    """The picture in the first column, its pixels square; returns half its width and half its height."""
    image = net.columns[0].image
    assert image is not None
    assert isinstance(ax.figure, Figure)  # never part of a larger one
    ax.figure.draw_without_rendering()
    across = ax.bbox.width / abs(np.diff(ax.get_xlim())[0])
    down = ax.bbox.height / abs(np.diff(ax.get_ylim())[0])
    pixel = min(IMAGE_HEIGHT * down / image.shape[0], 2 * MAX_IMAGE_HALF_WIDTH * across / image.shape[1])
    half, tall, middle = pixel * image.shape[1] / across / 2, pixel * image.shape[0] / down / 2, net.slots / 2
    ends, place = (ax.get_xlim(), ax.get_ylim()), (-half, half, middle + tall, middle - tall)
    scale = float(image.max()) or 1.0
    ax.imshow(image, cmap=axes.SEQUENTIAL, vmin=0, vmax=scale, interpolation="nearest", aspect="auto", extent=place, zorder=0)
    ax.set(xlim=ends[0], ylim=ends[1])
    return float(half), float(tall)


def _draw_maps(ax: Axes, table: AttributionTable) -> None:
    """Maps in rows of five, in data coordinates of one pixel."""
    maps, (high, wide) = table.maps, table.maps[0].shape
    across, down = 1.12 * wide, 1.32 * high
    for place, (name, image) in enumerate(zip(table.columns, maps, strict=True)):
        left, top = place % 5 * across, place // 5 * down
        spot = (left, left + wide, top + high, top)
        ax.imshow(image, cmap=axes.SEQUENTIAL, vmin=0, vmax=table.scale, interpolation="nearest", extent=spot)
        ax.text(left, top - 0.03 * high, axes.escape_dollars(name), fontsize=9, va="bottom", color=axes.COLOURS["end"])
    axes.hide_frame(ax)
    ax.set_xlim(-0.02 * wide, min(len(maps), 5) * across)
    ax.set_ylim(-(-len(maps) // 5) * down - 0.3 * high, -0.24 * high)
    ax.set_aspect("equal")


def _colour(name: str) -> str:
    return style.LIGHT.get(name, axes.COLOURS["gap"])
