"""Charts of interactions for papers and notebooks, with matplotlib. They draw what they are given and return the figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.ticker import MaxNLocator

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.interactions.taylor import TaylorProfile
from vesalius.views import axes, style
from vesalius.views.chart_data import divides_image, paint_players
from vesalius.views.html import WHITE_TEXT_THRESHOLD
from vesalius.views.interactions.captions import INDEX_NAMES, heading_of
from vesalius.views.interactions.chart_data import (
    MOST_EDGES,
    CoalitionEffect,
    PairGraph,
    PlayerNode,
    interaction_index,
    largest_effects,
    pair_graph,
    pair_values,
    require_coalitions,
    sums_by_size,
)
from vesalius.views.interactions.taylor_profile import HEADING, format_share, profile_grid

MOST_EFFECTS = 12
"""Effects shown before the others are added up."""

MOST_COLUMNS = 16
"""Players that have a column of dots; of more, effects are named."""

DOT_SPACING = 0.045
"""Width of a column of dots, as a share of the chart's."""


def plot_effects(allocation: Allocation, *, most: int = MOST_EFFECTS, title: str | None = None, ax: Axes | None = None) -> Figure:
    """The largest effects as bars, their members beside them: dots in columns, or places on the image (an UpSet chart on its side).

    Args:
        allocation: of a single sample, to coalitions.
        most: bars before the others are added up in a last one.
        title: of the chart; what they are called on a page by default.
        ax: where to draw; a new figure by default.

    Raises:
        InvalidInput: the allocation is of a batch, or has one value per player.

    Reference: Lex2014.
    """
    require_coalitions(allocation, "plot_effects")
    effects = largest_effects(allocation, most=most)
    figure, ax = axes.figure_and_axes(ax, (7.0, 1.6 + 0.3 * len(effects)))
    values = [effect.row.value for effect in effects]
    ax.barh(range(len(effects)), values, height=0.66, color=[axes.sign_colour(value) for value in values])
    known = [(line, effect.row.value, effect.row.stderr) for line, effect in enumerate(effects) if effect.row.stderr is not None]
    if known:
        lines, middles, errors = zip(*known, strict=True)
        ax.errorbar(middles, lines, xerr=errors, fmt="none", ecolor=axes.COLOURS["end"], elinewidth=1.2)
    ax.axvline(0, color=axes.COLOURS["end"], linewidth=0.8)
    ax.set_xlabel(axes.label_with_unit(INDEX_NAMES.get(interaction_index(allocation), "value"), allocation))
    columns = sorted({player for effect in effects for player in effect.members})
    if divides_image(allocation.players):
        _draw_thumbnails(ax, allocation, effects)
    elif len(columns) <= MOST_COLUMNS:
        _draw_dots(ax, allocation, effects, columns)
    else:
        axes.label_rows(ax, [effect.row.name for effect in effects])
    axes.set_verdict_title(ax, heading_of(allocation) if title is None else title, allocation)
    return figure


def plot_coalition_sizes(allocation: Allocation, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """How much sits at each size of coalition: what raises, what lowers, and a mark at their sum.

    Args, Raises: as :func:`plot_effects`.
    """
    require_coalitions(allocation, "plot_sizes")
    sizes = sums_by_size(allocation)
    figure, ax = axes.figure_and_axes(ax, (5.2, 3.2))
    places = [size.size for size in sizes]
    ax.bar(places, [size.raises for size in sizes], color=axes.COLOURS["raises"], width=0.72)
    ax.bar(places, [size.lowers for size in sizes], color=axes.COLOURS["lowers"], width=0.72)
    ax.hlines([size.net for size in sizes], np.array(places) - 0.36, np.array(places) + 0.36, color=axes.COLOURS["end"], linewidth=2)
    ax.axhline(0, color=axes.COLOURS["end"], linewidth=0.8)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("players in the coalition; the mark is the sum")
    ax.set_ylabel(axes.label_with_unit("sum of values", allocation))
    ax.spines[["top", "right"]].set_visible(False)
    axes.set_verdict_title(ax, heading_of(allocation) if title is None else title, allocation)
    return figure


def plot_pairs(allocation: Allocation, *, most: int = MOST_EDGES, title: str | None = None, ax: Axes | None = None) -> Figure:
    """Players as nodes and pairs as lines; larger coalitions are shared out among pairs first, see ``pair_values``.

    Args:
        allocation: of a single sample, to coalitions.
        most: lines drawn, the strongest first.
        title: of the chart; what they are called on a page by default.
        ax: where to draw; a new figure by default.

    Raises: as :func:`plot_effects`.
    """
    require_coalitions(allocation, "plot_pairs")
    graph = pair_graph(allocation, most=most)
    figure, ax = axes.figure_and_axes(ax, (5.4, 5.2))
    widest = max((abs(edge.value) for edge in graph.edges), default=1.0)
    for edge in reversed(graph.edges):
        ends = [graph.nodes[edge.first], graph.nodes[edge.second]]
        share = abs(edge.value) / widest
        spots = [end.across for end in ends], [end.down for end in ends]
        ax.plot(
            *spots,
            color=axes.sign_colour(edge.value),
            linewidth=0.4 + 5 * share,
            alpha=0.25 + 0.6 * share,
            solid_capstyle="round",
            zorder=1,
        )
    largest = max((abs(node.value) for node in graph.nodes), default=0) or 1.0
    ax.scatter(
        [node.across for node in graph.nodes],
        [node.down for node in graph.nodes],
        s=[18 + 380 * abs(node.value) / largest for node in graph.nodes],
        c=[axes.sign_colour(node.value) if node.value else axes.COLOURS["gap"] for node in graph.nodes],
        edgecolors="white",
        linewidths=1.2,
        zorder=2,
    )
    axes.hide_frame(ax)
    ax.set_aspect("equal")
    ax.set_xlim(-0.08, 1.08)
    ax.set_ylim(1.08, -0.08)
    if not graph.placed:
        _label_circle(ax, graph.nodes)
    ax.set_xlabel(_graph_caption(graph), fontsize=9, color=axes.COLOURS["mut"], labelpad=18 if not graph.placed else 4)
    axes.set_verdict_title(ax, heading_of(allocation) if title is None else title, allocation)
    return figure


def plot_involvement(allocation: Allocation, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """How much each part of an image does together with others: the sum of the absolute values of its pairs, see ``pair_values``.

    Args:
        allocation: of a single sample, to coalitions of players that divide an image.
        title: of the chart; what they are called on a page by default.
        ax: where to draw; a new figure by default.

    Raises:
        InvalidInput: the allocation is of a batch, has one value per player, or its players do not divide an image.
    """
    require_coalitions(allocation, "plot_involvement")
    players = allocation.players
    if not divides_image(players):
        raise InvalidInput(f"{players.kind} do not divide an image, so there is no map; use plot_pairs")
    image = paint_players(players, pair_values(allocation).involvement)
    figure, ax = axes.figure_and_axes(ax, (4.6, 4.0))
    drawn = ax.imshow(image, cmap=axes.SEQUENTIAL, vmin=0, vmax=float(image.max()) or 1.0, interpolation="nearest")
    axes.hide_frame(ax)
    bar = figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.03, label=axes.label_with_unit("interaction with others", allocation))
    bar.outline.set_visible(False)
    axes.set_verdict_title(ax, heading_of(allocation) if title is None else title, allocation)
    return figure


def plot_taylor_profile(profile: TaylorProfile, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """Shares of the change of the output by size of coalition and order of the expansion, and what no order accounts for.

    Args:
        profile: from ``vesalius.interactions.taylor_profile``.
        title: of the chart; what they are called on a page by default.
        ax: where to draw; a new figure by default.

    Raises:
        WrongType: not a profile.
    """
    grid = profile_grid(profile)
    high, wide = grid.shares.shape
    figure, ax = axes.figure_and_axes(ax, (1.8 + 0.72 * wide, 1.3 + 0.36 * high))
    ax.imshow(grid.shares, cmap=axes.DIVERGING, vmin=-grid.scale, vmax=grid.scale, aspect="auto")
    for (row, column), share in np.ndenumerate(grid.shares):
        colour = "white" if abs(share) > WHITE_TEXT_THRESHOLD * grid.scale else axes.COLOURS["end"]
        ax.text(column, row, format_share(float(share)), ha="center", va="center", fontsize=8, color=colour)
    axes.label_rows(ax, grid.rows)
    ax.set_ylim(high - 0.5, -0.5)
    ax.set_xticks(range(wide), grid.columns)
    ax.tick_params(axis="x", length=0)
    ax.spines[:].set_visible(False)
    ax.axhline(high - 1.5, color="white", linewidth=3)
    ax.axvline(wide - 1.5, color="white", linewidth=3)
    judged = _short_verdict(profile)
    axes.set_titles(ax, HEADING if title is None else title, judged.text, style.LIGHT[judged.level])
    return figure


def _draw_dots(ax: Axes, allocation: Allocation, effects: Sequence[CoalitionEffect], columns: Sequence[int]) -> None:
    """A dot for every member, columns to the left of the bars, with the players' names below them."""
    axes.label_rows(ax, [effect.row.name if not effect.members else "" for effect in effects])
    blend, start = ax.get_yaxis_transform(), -DOT_SPACING * (len(columns) + 0.2)
    for line, effect in enumerate(effects):
        if not effect.members:
            continue
        inside = [start + DOT_SPACING * place for place, player in enumerate(columns) if player in effect.members]
        outside = [start + DOT_SPACING * place for place, player in enumerate(columns) if player not in effect.members]
        colour = axes.COLOURS["end"]
        ax.plot(inside, [line] * len(inside), "o-", markersize=5, linewidth=1.4, color=colour, transform=blend, clip_on=False)
        ax.plot(outside, [line] * len(outside), "o", markersize=4, color=axes.COLOURS["line"], transform=blend, clip_on=False)
    for place, player in enumerate(columns):
        name = axes.escape_dollars(allocation.players.name(player))
        spot = (start + DOT_SPACING * (place + 0.3), len(effects) - 0.4)
        ax.text(*spot, name, rotation=45, ha="right", va="top", rotation_mode="anchor", fontsize=8, transform=blend)


def _draw_thumbnails(ax: Axes, allocation: Allocation, effects: Sequence[CoalitionEffect]) -> None:
    """The members in their places on the image, to the left of each bar."""
    axes.label_rows(ax, [effect.row.name if not effect.members else "" for effect in effects])
    for line, effect in enumerate(effects):
        if not effect.members:
            continue
        present = np.zeros(allocation.players.n)
        present[list(effect.members)] = 1.0
        image = paint_players(allocation.players, present) > 0
        colours = np.where(image[..., None], np.array(style.INK) / 255, np.array(style.NON_MEMBER) / 255)
        picture = OffsetImage(colours, zoom=15 / max(image.shape), interpolation="nearest")
        spot = (-0.035, line)
        ax.add_artist(AnnotationBbox(picture, spot, xycoords=ax.get_yaxis_transform(), frameon=False, annotation_clip=False))


def _label_circle(ax: Axes, nodes: Sequence[PlayerNode]) -> None:
    """Names outside the circle."""
    for node in nodes:
        across, down = node.across - 0.5, node.down - 0.5
        side = "center" if abs(across) < 0.15 else "left" if across > 0 else "right"
        ax.text(
            0.5 + 1.13 * across,
            0.5 + 1.13 * down,
            axes.escape_dollars(node.name),
            ha=side,
            va="center",
            fontsize=9,
            color=axes.COLOURS["end"],
        )


def _graph_caption(graph: PairGraph) -> str:
    rest = f"; {graph.left_out:,} weaker pairs are left out" if graph.left_out else ""
    return f"pairs: {INDEX_NAMES.get(graph.index, graph.index)}{rest}"


def _short_verdict(profile: TaylorProfile) -> style.Verdict:
    if bool(profile.convergence.represents):
        return style.Verdict("ok", "the series represents f at x")
    return style.Verdict("bad", "the series does not represent f at x: orders are derivatives at the baseline")
