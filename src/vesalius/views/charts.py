"""Charts for papers and notebooks, with matplotlib. They draw what they are given and return the figure; pyplot is never touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.views import axes, style
from vesalius.views.bar_chart import Series, series_arrays
from vesalius.views.chart_data import (
    explained_picture,
    heatmap_values,
    is_heatmap,
    is_layer_table,
    names_with_values,
    ranked_values,
    require_single_sample,
    sample_name,
    symmetric_scale,
    waterfall_steps,
)
from vesalius.views.circuits.charts import plot_heads
from vesalius.views.interactions.charts import plot_effects
from vesalius.views.line_chart import ChartLabels
from vesalius.views.median_curves import MedianCurve, describe_runs, median_curves, separate_labels
from vesalius.views.text.chart_data import is_matrix, is_text
from vesalius.views.text.charts import plot_matrix, plot_text

MOST_BARS = 20
"""Bars before the smallest are added up."""

CHANGE_LABEL = "change of the output"


def plot_allocation(allocation: Allocation, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """Draw one sample: the largest effects of coalitions, a heat map where players divide an image, a text in reading order with coloured
    words, bars for the rest; or the matrix of a continuation.

    Where the sample was kept, the image is beside the map (in a new figure), and the features' values are beside their names.

    Args:
        allocation: of a single sample.
        title: of the chart; the method and what is explained by default.
        ax: where to draw; a new figure by default, which pyplot does not know.

    Returns:
        The figure.

    Raises:
        InvalidInput: the allocation is of a batch.
    """
    if is_matrix(allocation):
        return plot_matrix(allocation, title=title, ax=ax)
    require_single_sample(allocation, "plot_allocation")
    if is_text(allocation):
        return plot_text(allocation, title=title, ax=ax)
    if allocation.coalitions is not None:
        return plot_effects(allocation, title=title, ax=ax)
    if not is_heatmap(allocation):
        return plot_bars(allocation, title=title, ax=ax)
    if is_layer_table(allocation.players):
        return plot_heads(allocation, title=title or "", ax=ax)
    picture = explained_picture(allocation) if ax is None else None
    if picture is None:
        return plot_heatmap(allocation, title=title, ax=ax)
    left, right = axes.panels(2, (8.2, 4.0))
    left.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.hide_frame(left)
    return plot_heatmap(allocation, title=title, ax=right)


def _title(allocation: Allocation) -> str:
    """The method, and what is explained, of which sample if it has a name."""
    facts = allocation.provenance
    words = [str(facts.get("target") or ""), sample_name(facts["id"]) if "id" in facts else ""]
    return ", ".join([style.method_name(allocation.method), *filter(None, words)])


def plot_heatmap(allocation: Allocation, *, scale: float | None = None, title: str | None = None, ax: Axes | None = None) -> Figure:
    """Values in their places on the image; red raises, blue lowers.

    Args:
        allocation: of a single sample, with players that divide an image.
        scale: value of the strongest colour; by default the largest here. Give the same to maps that are to be compared.
        title: of the chart; the method and what is explained by default.
        ax: where to draw; a new figure by default.

    Raises:
        InvalidInput: the allocation is of a batch, its players do not divide an image, or the scale is not positive.
    """
    require_single_sample(allocation, "plot_map")
    image = heatmap_values(allocation)
    if image is None:
        raise InvalidInput(f"{allocation.players.kind} do not divide an image, so there is no map; use plot_bars")
    if scale is not None and not scale > 0:
        raise InvalidInput(f"a scale is a positive number, not {scale}")
    end = symmetric_scale([image]) if scale is None else scale
    figure, ax = axes.figure_and_axes(ax, (4.6, 4.0))
    drawn = ax.imshow(image, cmap=axes.DIVERGING, vmin=-end, vmax=end, interpolation="nearest")
    axes.hide_frame(ax)
    bar = figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.03, label=axes.label_with_unit(CHANGE_LABEL, allocation))
    bar.outline.set_visible(False)
    axes.set_verdict_title(ax, _title(allocation) if title is None else title, allocation)
    return figure


def plot_bars(allocation: Allocation, *, most: int = MOST_BARS, title: str | None = None, ax: Axes | None = None) -> Figure:
    """The largest values by name, with their standard errors.

    Args:
        allocation: of a single sample; coalitions are named by their members.
        most: bars before the smallest are added up in a last one.
        title: of the chart; the method and what is explained by default.
        ax: where to draw; a new figure by default.

    Raises:
        InvalidInput: the allocation is of a batch.
    """
    require_single_sample(allocation, "plot_bars")
    rows = ranked_values(allocation, most=most, names=names_with_values(allocation))
    figure, ax = axes.figure_and_axes(ax, (6.4, 1.3 + 0.28 * len(rows)))
    values = [row.value for row in rows]
    ax.barh(range(len(rows)), values, height=0.7, color=[axes.sign_colour(value) for value in values])
    known = [(place, row.value, row.stderr) for place, row in enumerate(rows) if row.stderr is not None]
    if known:
        places, middles, errors = zip(*known, strict=True)
        ax.errorbar(middles, places, xerr=errors, fmt="none", ecolor=axes.COLOURS["end"], elinewidth=1.2)
    axes.label_rows(ax, [row.name for row in rows])
    ax.axvline(0, color=axes.COLOURS["end"], linewidth=0.8)
    ax.set_xlabel(axes.label_with_unit(CHANGE_LABEL, allocation))
    axes.set_verdict_title(ax, _title(allocation) if title is None else title, allocation)
    return figure


def plot_waterfall(allocation: Allocation, *, most: int = MOST_BARS, title: str | None = None, ax: Axes | None = None) -> Figure:
    """From the base value to the output, one value after the other (a waterfall); the completeness error is a grey step of its own.

    Args: as :func:`plot_bars`.

    Raises:
        InvalidInput: the allocation is of a batch, or does not know base and total.
    """
    require_single_sample(allocation, "plot_waterfall")
    steps = waterfall_steps(allocation, most=most, names=names_with_values(allocation))
    figure, ax = axes.figure_and_axes(ax, (6.4, 1.3 + 0.28 * len(steps)))
    for place, step in enumerate(steps):
        if step.part in ("base", "total"):
            ax.plot([step.end, step.end], [place - 0.4, place + 0.4], color=axes.COLOURS["end"], linewidth=2)
            continue
        colour = axes.COLOURS["gap" if step.part == "gap" else "raises" if step.end > step.start else "lowers"]
        ax.barh(place, step.end - step.start, left=step.start, height=0.7, color=colour)
    for place, step in enumerate(steps[:-1]):
        ax.plot([step.end, step.end], [place, place + 1], color=axes.COLOURS["gap"], linewidth=0.8, zorder=0)
    ax.use_sticky_edges = False
    axes.label_rows(ax, [step.name for step in steps])
    ax.set_xlabel(axes.label_with_unit("output", allocation))
    axes.set_verdict_title(ax, _title(allocation) if title is None else title, allocation)
    return figure


def plot_curves(curves: Mapping[str, tuple[object, object]], labels: ChartLabels, *, ax: Axes | None = None) -> Figure:
    """As :func:`vesalius.views.line_chart.svg_curves`, for papers."""
    lines = median_curves(curves)
    figure, ax = axes.figure_and_axes(ax, (6.4, 3.4))
    for line in lines:
        colour = style.LIGHT[line.colour]
        if line.runs > 1:
            ax.fill_between(line.x, line.low, line.high, color=colour, alpha=0.18, linewidth=0)
        ax.plot(line.x, line.middle, color=colour, linewidth=2)
    _label_line_ends(ax, lines)
    ax.set_xlabel(labels.x)
    ax.set_ylabel(labels.y)
    for axis, share in zip((ax.xaxis, ax.yaxis), labels.percent, strict=True):
        if share:
            axis.set_major_formatter(PercentFormatter(1))
    ax.spines[["top", "right"]].set_visible(False)
    axes.set_titles(ax, labels.title, describe_runs(lines), axes.COLOURS["mut"])
    return figure


def _label_line_ends(ax: Axes, lines: Sequence[MedianCurve]) -> None:
    """Names at the ends of the lines, moved apart."""
    low, high = ax.get_ylim()
    for line, down in zip(lines, separate_labels([line.middle[-1] for line in lines], 0.075 * (high - low)), strict=True):
        ax.annotate(
            axes.escape_dollars(line.name), (1, down), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
            fontsize=9, color=style.LIGHT[line.colour], annotation_clip=False,
        )  # fmt: skip
    ax.set_xlim(min(line.x[0] for line in lines), max(line.x[-1] for line in lines))
    ax.set_ylim(low, high)


def plot_grouped_bars(groups: Sequence[str], series: Series, labels: ChartLabels, *, ax: Axes | None = None) -> Figure:
    """As :func:`vesalius.views.bar_chart.svg_grouped_bars`, for papers."""
    rows = series_arrays(groups, series)
    figure, ax = axes.figure_and_axes(ax, (6.4, 3.4))
    wide = 0.8 / len(rows)
    for place, (name, values, errors) in enumerate(rows):
        spots = np.arange(len(groups)) + (place - (len(rows) - 1) / 2) * wide
        spread = 2 * errors if np.isfinite(errors).any() else None
        ax.bar(
            spots,
            values,
            wide * 0.94,
            yerr=spread,
            color=style.LIGHT[style.PALETTE[place]],
            label=axes.escape_dollars(name),
            error_kw={"lw": 1.2},
        )
    ax.set_xticks(range(len(groups)), [axes.escape_dollars(str(group)) for group in groups])
    ax.axhline(0, color=axes.COLOURS["mut"], linewidth=0.8)
    ax.set_xlabel(labels.x)
    ax.set_ylabel(labels.y)
    ax.spines[["top", "right"]].set_visible(False)
    if len(rows) > 1:
        ax.legend(frameon=False, fontsize=9)
    known = any(np.isfinite(errors).any() for _, _, errors in rows)
    axes.set_titles(ax, labels.title, "bars of two standard errors" if known else "", axes.COLOURS["mut"])
    return figure
