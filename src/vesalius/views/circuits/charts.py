"""Circuits for papers and notebooks: heads by layer as a heat map, a circuit as a layered graph, curves of faithfulness.

They draw what they are given and return the figure; pyplot is never touched.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from vesalius.circuits.circuit import Circuit
from vesalius.circuits.faithfulness import FaithfulnessCurve
from vesalius.core.allocation import Allocation
from vesalius.core.errors import WrongType
from vesalius.views import axes, style
from vesalius.views.circuits.heads import head_table
from vesalius.views.circuits.layout import NodePlace, circuit_layout, edge_scores
from vesalius.views.line_chart import ChartLabels


def plot_heads(allocation: Allocation, *, title: str = "", ax: Axes | None = None) -> Figure:
    """Values of heads, a row per layer; red raises, blue lowers.

    Args:
        allocation: of a single sample, of heads (or neurons, experts, values of the stream) that are a table of layers.
        title: of the chart.
        ax: where to draw; a new figure by default.

    Raises:
        WrongType: no such allocation.
    """
    table = head_table(allocation)
    figure, ax = axes.figure_and_axes(ax, (1.6 + 0.42 * table.values.shape[1], 1.4 + 0.42 * table.values.shape[0]))
    end = float(np.abs(table.values).max()) or 1.0
    drawn = ax.imshow(table.values, cmap=axes.DIVERGING, vmin=-end, vmax=end, interpolation="nearest", aspect="auto")
    ax.set_xticks(range(len(table.columns)), table.columns)
    ax.set_yticks(range(len(table.rows)), table.rows)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.03, label=axes.label_with_unit("change of the output", allocation))
    bar.outline.set_visible(False)
    axes.set_verdict_title(ax, title or style.method_name(allocation.method), allocation)
    return figure


def plot_circuit(shown: Circuit, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """A circuit as a layered graph, from the embedding at the bottom to the output; an arrow is as wide as its score is large.

    Args:
        shown: from ``vesalius.circuits``.
        title: of the chart; that of the section of a page by default.
        ax: where to draw; a new figure by default.

    Raises:
        WrongType: no circuit.
    """
    if not isinstance(shown, Circuit):
        raise WrongType(f"expected a Circuit, not {type(shown).__name__}; make one with vesalius.circuits.circuit_of(...)")
    places = circuit_layout(shown)
    rows = max((place.level for place in places.values()), default=0) + 1
    wide = max([1, *(sum(1 for one in places.values() if one.level == level) for level in range(rows))])
    figure, ax = axes.figure_and_axes(ax, (max(4.2, 1.3 * wide), 1.4 + 0.85 * rows))
    scores = edge_scores(shown)
    largest = max([abs(score) for score in scores.values()], default=0.0) or 1.0
    for (writer, reader), score in scores.items():
        _draw_edge(ax, places[writer], places[reader], score, largest)
    for name, place in places.items():
        ax.text(
            place.x, place.level, axes.escape_dollars(name), ha="center", va="center", fontsize=9, zorder=3,
            bbox={"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": axes.COLOURS["mut"], "linewidth": 0.8},
        )  # fmt: skip
    ax.set_xlim(-0.12, 1.12)
    ax.set_ylim(-0.6, max(rows - 0.4, 0.6))
    axes.hide_frame(ax)
    words = f"{len(shown)} of {len(shown.names)} edges, faithfulness {shown.faithfulness:.2f}, completeness {shown.completeness:.2f}"
    axes.set_titles(ax, "Circuit" if title is None else title, words, axes.COLOURS["mut"])
    return figure


def _draw_edge(ax: Axes, start: NodePlace, end: NodePlace, score: float, largest: float) -> None:
    bend = 0.0 if end.level - start.level <= 1 else 0.35 * (1 if start.x <= end.x else -1)
    ax.add_patch(
        FancyArrowPatch(
            (start.x, start.level), (end.x, end.level), arrowstyle="-|>", mutation_scale=9, shrinkA=13, shrinkB=13, zorder=2,
            connectionstyle=f"arc3,rad={bend}", color=axes.sign_colour(score), linewidth=0.8 + 3.0 * abs(score) / largest, alpha=0.85,
        )
    )  # fmt: skip


def plot_faithfulness(shown: FaithfulnessCurve, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """Faithfulness of the best edges, and of all others (completeness), by how many are kept.

    Args:
        shown: from ``vesalius.circuits.faithfulness_curve``.
        title: of the chart; what the curves show by default.
        ax: where to draw; a new figure by default.
    """
    if not isinstance(shown, FaithfulnessCurve):
        raise WrongType(
            f"expected a FaithfulnessCurve, not {type(shown).__name__}; make one with vesalius.circuits.faithfulness_curve(...)"
        )
    labels = ChartLabels(x="edges kept", y="share of the change", title="Faithfulness")
    figure, ax = axes.figure_and_axes(ax, (6.4, 3.4))
    for name, values, colour in (
        ("best edges", shown.faithfulness, axes.COLOURS["strong"]),
        ("all others (completeness)", shown.completeness, axes.COLOURS["gap"]),
    ):
        ax.plot(shown.sizes.numpy(), values.numpy(), color=colour, linewidth=2, marker="o", markersize=3, label=name)
    ax.set_xscale("log")
    for height in (0, 1):
        ax.axhline(height, color=axes.COLOURS["line"], linewidth=0.8, zorder=0)
    ax.set_xlabel(labels.x)
    ax.set_ylabel(labels.y)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9)
    axes.set_titles(ax, labels.title if title is None else title, f"of {shown.edges} edges, area {shown.area:.2f}", axes.COLOURS["mut"])
    return figure
