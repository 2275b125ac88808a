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
from vesalius.views.describe import divides_image, painted
from vesalius.views.fragments import DEEP
from vesalius.views.interactions.describe import (
    MOST_EDGES,
    Effect,
    Graph,
    Node,
    effects_of,
    graph_of,
    index_of,
    of_coalitions,
    pairs_of,
    sizes_of,
)
from vesalius.views.interactions.profile import HEADING, grid_of, written
from vesalius.views.interactions.words import INDEX_NAMES, heading_of

MOST_EFFECTS = 12
"""Effects shown before the others are added up."""

MOST_COLUMNS = 16
"""Players that have a column of dots; of more, effects are named."""

DOT = 0.045
"""Width of a column of dots, as a share of the chart's."""


def plot_effects(allocation: Allocation, *, most: int = MOST_EFFECTS, ax: Axes | None = None) -> Figure:
    """The largest effects as bars, their members beside them: dots in columns, or places on the image (an UpSet chart on its side).

    Args:
        allocation: of a single sample, to coalitions.
        most: bars before the others are added up in a last one.
        ax: where to draw; a new figure by default.

    Raises:
        InvalidInput: the allocation is of a batch, or has one value per player.

    Reference: Lex2014.
    """
    of_coalitions(allocation, "plot_effects")
    effects = effects_of(allocation, most=most)
    figure, ax = axes.place(ax, (7.0, 1.6 + 0.3 * len(effects)))
    values = [effect.row.value for effect in effects]
    ax.barh(range(len(effects)), values, height=0.66, color=[axes.sign(value) for value in values])
    known = [(line, effect.row.value, effect.row.stderr) for line, effect in enumerate(effects) if effect.row.stderr is not None]
    if known:
        lines, middles, errors = zip(*known, strict=True)
        ax.errorbar(middles, lines, xerr=errors, fmt="none", ecolor=axes.COLOURS["end"], elinewidth=1.2)
    ax.axvline(0, color=axes.COLOURS["end"], linewidth=0.8)
    ax.set_xlabel(axes.with_unit(INDEX_NAMES.get(index_of(allocation), "value"), allocation))
    columns = sorted({player for effect in effects for player in effect.members})
    if divides_image(allocation.players):
        _thumbnails(ax, allocation, effects)
    elif len(columns) <= MOST_COLUMNS:
        _dots(ax, allocation, effects, columns)
    else:
        axes.list_names(ax, [effect.row.name for effect in effects])
    axes.judged(ax, heading_of(allocation), allocation)
    return figure


def plot_sizes(allocation: Allocation, *, ax: Axes | None = None) -> Figure:
    """How much sits at each size of coalition: what raises, what lowers, and a mark at their sum.

    Args, Raises: as :func:`plot_effects`.
    """
    of_coalitions(allocation, "plot_sizes")
    sizes = sizes_of(allocation)
    figure, ax = axes.place(ax, (5.2, 3.2))
    places = [size.size for size in sizes]
    ax.bar(places, [size.raises for size in sizes], color=axes.COLOURS["raises"], width=0.72)
    ax.bar(places, [size.lowers for size in sizes], color=axes.COLOURS["lowers"], width=0.72)
    ax.hlines([size.net for size in sizes], np.array(places) - 0.36, np.array(places) + 0.36, color=axes.COLOURS["end"], linewidth=2)
    ax.axhline(0, color=axes.COLOURS["end"], linewidth=0.8)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("players in the coalition; the mark is the sum")
    ax.set_ylabel(axes.with_unit("sum of values", allocation))
    ax.spines[["top", "right"]].set_visible(False)
    axes.judged(ax, heading_of(allocation), allocation)
    return figure


def plot_pairs(allocation: Allocation, *, most: int = MOST_EDGES, ax: Axes | None = None) -> Figure:
    """Players as nodes and pairs as lines; larger coalitions are shared out among pairs first, see ``pairs_of``.

    Args:
        allocation: of a single sample, to coalitions.
        most: lines drawn, the strongest first.
        ax: where to draw; a new figure by default.

    Raises: as :func:`plot_effects`.
    """
    of_coalitions(allocation, "plot_pairs")
    graph = graph_of(allocation, most=most)
    figure, ax = axes.place(ax, (5.4, 5.2))
    widest = max((abs(edge.value) for edge in graph.edges), default=1.0)
    for edge in reversed(graph.edges):
        ends = [graph.nodes[edge.first], graph.nodes[edge.second]]
        share = abs(edge.value) / widest
        spots = [end.across for end in ends], [end.down for end in ends]
        ax.plot(*spots, color=axes.sign(edge.value), linewidth=0.4 + 5 * share, alpha=0.25 + 0.6 * share, solid_capstyle="round", zorder=1)
    largest = max((abs(node.value) for node in graph.nodes), default=0) or 1.0
    ax.scatter(
        [node.across for node in graph.nodes],
        [node.down for node in graph.nodes],
        s=[18 + 380 * abs(node.value) / largest for node in graph.nodes],
        c=[axes.sign(node.value) if node.value else axes.COLOURS["gap"] for node in graph.nodes],
        edgecolors="white",
        linewidths=1.2,
        zorder=2,
    )
    axes.bare(ax)
    ax.set_aspect("equal")
    ax.set_xlim(-0.08, 1.08)
    ax.set_ylim(1.08, -0.08)
    if not graph.placed:
        _around(ax, graph.nodes)
    ax.set_xlabel(_below(graph), fontsize=9, color=axes.COLOURS["mut"], labelpad=18 if not graph.placed else 4)
    axes.judged(ax, heading_of(allocation), allocation)
    return figure


def plot_involvement(allocation: Allocation, *, ax: Axes | None = None) -> Figure:
    """How much each part of an image does together with others: the sum of the absolute values of its pairs, see ``pairs_of``.

    Args:
        allocation: of a single sample, to coalitions of players that divide an image.
        ax: where to draw; a new figure by default.

    Raises:
        InvalidInput: the allocation is of a batch, has one value per player, or its players do not divide an image.
    """
    of_coalitions(allocation, "plot_involvement")
    players = allocation.players
    if not divides_image(players):
        raise InvalidInput(f"{players.kind} do not divide an image, so there is no map; use plot_pairs")
    image = painted(players, pairs_of(allocation).involvement)
    figure, ax = axes.place(ax, (4.6, 4.0))
    drawn = ax.imshow(image, cmap=axes.SEQUENTIAL, vmin=0, vmax=float(image.max()) or 1.0, interpolation="nearest")
    axes.bare(ax)
    bar = figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.03, label=axes.with_unit("interaction with others", allocation))
    bar.outline.set_visible(False)
    axes.judged(ax, heading_of(allocation), allocation)
    return figure


def plot_profile(profile: TaylorProfile, *, ax: Axes | None = None) -> Figure:
    """Shares of the change of the output by size of coalition and order of the expansion, and what no order accounts for.

    Args:
        profile: from ``vesalius.interactions.taylor_profile``.
        ax: where to draw; a new figure by default.

    Raises:
        WrongType: not a profile.
    """
    grid = grid_of(profile)
    high, wide = grid.shares.shape
    figure, ax = axes.place(ax, (1.8 + 0.72 * wide, 1.3 + 0.36 * high))
    ax.imshow(grid.shares, cmap=axes.DIVERGING, vmin=-grid.scale, vmax=grid.scale, aspect="auto")
    for (row, column), share in np.ndenumerate(grid.shares):
        colour = "white" if abs(share) > DEEP * grid.scale else axes.COLOURS["end"]
        ax.text(column, row, written(float(share)), ha="center", va="center", fontsize=8, color=colour)
    axes.list_names(ax, grid.rows)
    ax.set_ylim(high - 0.5, -0.5)
    ax.set_xticks(range(wide), grid.columns)
    ax.tick_params(axis="x", length=0)
    ax.spines[:].set_visible(False)
    ax.axhline(high - 1.5, color="white", linewidth=3)
    ax.axvline(wide - 1.5, color="white", linewidth=3)
    judged = _briefly(profile)
    axes.head(ax, HEADING, judged.text, style.LIGHT[judged.level])
    return figure


def _dots(ax: Axes, allocation: Allocation, effects: Sequence[Effect], columns: Sequence[int]) -> None:
    """A dot for every member, columns to the left of the bars, with the players' names below them."""
    axes.list_names(ax, [effect.row.name if not effect.members else "" for effect in effects])
    blend, start = ax.get_yaxis_transform(), -DOT * (len(columns) + 0.2)
    for line, effect in enumerate(effects):
        if not effect.members:
            continue
        inside = [start + DOT * place for place, player in enumerate(columns) if player in effect.members]
        outside = [start + DOT * place for place, player in enumerate(columns) if player not in effect.members]
        colour = axes.COLOURS["end"]
        ax.plot(inside, [line] * len(inside), "o-", markersize=5, linewidth=1.4, color=colour, transform=blend, clip_on=False)
        ax.plot(outside, [line] * len(outside), "o", markersize=4, color=axes.COLOURS["line"], transform=blend, clip_on=False)
    for place, player in enumerate(columns):
        name = axes.plain(allocation.players.name(player))
        spot = (start + DOT * (place + 0.3), len(effects) - 0.4)
        ax.text(*spot, name, rotation=45, ha="right", va="top", rotation_mode="anchor", fontsize=8, transform=blend)


def _thumbnails(ax: Axes, allocation: Allocation, effects: Sequence[Effect]) -> None:
    """The members in their places on the image, to the left of each bar."""
    axes.list_names(ax, [effect.row.name if not effect.members else "" for effect in effects])
    for line, effect in enumerate(effects):
        if not effect.members:
            continue
        present = np.zeros(allocation.players.n)
        present[list(effect.members)] = 1.0
        image = painted(allocation.players, present) > 0
        colours = np.where(image[..., None], np.array(style.INK) / 255, np.array(style.FIELD) / 255)
        picture = OffsetImage(colours, zoom=15 / max(image.shape), interpolation="nearest")
        spot = (-0.035, line)
        ax.add_artist(AnnotationBbox(picture, spot, xycoords=ax.get_yaxis_transform(), frameon=False, annotation_clip=False))


def _around(ax: Axes, nodes: Sequence[Node]) -> None:
    """Names outside the circle."""
    for node in nodes:
        across, down = node.across - 0.5, node.down - 0.5
        side = "center" if abs(across) < 0.15 else "left" if across > 0 else "right"
        ax.text(0.5 + 1.13 * across, 0.5 + 1.13 * down, axes.plain(node.name), ha=side, va="center", fontsize=9, color=axes.COLOURS["end"])


def _below(graph: Graph) -> str:
    rest = f"; {graph.left_out:,} weaker pairs are left out" if graph.left_out else ""
    return f"pairs: {INDEX_NAMES.get(graph.index, graph.index)}{rest}"


def _briefly(profile: TaylorProfile) -> style.Verdict:
    if bool(profile.convergence.represents):
        return style.Verdict("ok", "the series represents f at x")
    return style.Verdict("bad", "the series does not represent f at x: orders are derivatives at the baseline")
