"""Charts of a survey, for papers and notebooks, with matplotlib."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vesalius.core.errors import InvalidInput
from vesalius.scale import BeeswarmCells, Dependence, Survey
from vesalius.views import axes, style
from vesalius.views.chart_data import divides_image, paint_players
from vesalius.views.survey.captions import dependence_caption
from vesalius.views.survey.chart_data import MOST_PLAYERS, beeswarm_picture, class_maps, dependence_picture, importance_bars


def plot_survey(survey: Survey, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """Bars of the mean sizes of the most important players with 95 % intervals; for images the mean map of sizes.

    Args:
        survey: any.
        title: of the chart; the method by default.
        ax: where to draw; a new figure by default.
    """
    summary, first = survey.summary(), survey[0]
    named = f"{style.method_name(survey.method)}, {len(survey):,} rows" if title is None else title
    if first.coalitions is None and divides_image(first.players):
        figure, ax = axes.figure_and_axes(ax, (4.6, 4.0))
        drawn = ax.imshow(paint_players(first.players, summary.importance.mean), cmap=axes.SEQUENTIAL, vmin=0, interpolation="nearest")
        axes.hide_frame(ax)
        figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.03, label="mean |value|").outline.set_visible(False)
        axes.set_titles(ax, named, "", axes.COLOURS["mut"])
        return figure
    bars = importance_bars(summary, MOST_PLAYERS)
    figure, ax = axes.figure_and_axes(ax, (6.4, 1.3 + 0.28 * len(bars)))
    ax.barh(range(len(bars)), [bar.size for bar in bars], height=0.7, color=axes.COLOURS["gap"])
    errors = [bar.error for bar in bars]
    ax.errorbar([bar.size for bar in bars], range(len(bars)), xerr=errors, fmt="none", ecolor=axes.COLOURS["end"], elinewidth=1.2)
    axes.label_rows(ax, [bar.name for bar in bars])
    ax.set_xlabel("mean |value|")
    axes.set_titles(ax, named, "95 % intervals", axes.COLOURS["mut"])
    return figure


def plot_beeswarm(cells: BeeswarmCells, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """A strip per player, thick where many rows have that value, coloured by what the rows hold: blue low, red high.

    Args:
        cells: counted with :func:`vesalius.scale.beeswarm_cells`.
        title: of the chart.
        ax: where to draw; a new figure by default.
    """
    count = len(cells.names)
    figure, ax = axes.figure_and_axes(ax, (6.4, 1.3 + 0.32 * count))
    ends = (float(cells.edges[0]), float(cells.edges[-1]))
    ax.imshow(beeswarm_picture(cells), extent=(*ends, count - 0.5, -0.5), aspect="auto", interpolation="nearest")
    ax.axvline(0, color=axes.COLOURS["end"], linewidth=0.8)
    axes.label_rows(ax, cells.names)
    ax.set_ylim(count - 0.5, -0.5)
    ax.set_xlabel("value")
    note = "blue: the row holds little there, red: much" if cells.counts.shape[2] > 1 else ""
    axes.set_titles(ax, f"{cells.rows:,} rows" if title is None else title, note, axes.COLOURS["mut"])
    return figure


def plot_dependence(shown: Dependence, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """Cells of a player's values against what the rows hold for it, coloured by the player that moves them most besides.

    Args:
        shown: made with :func:`vesalius.scale.dependence`.
        title: of the chart.
        ax: where to draw; a new figure by default.
    """
    picture, x, y = dependence_picture(shown)
    figure, ax = axes.figure_and_axes(ax, (6.0, 4.0))
    room = [end if end[1] > end[0] else (end[0] - 0.5, end[1] + 0.5) for end in (x, y)]
    ax.imshow(picture, extent=(*room[0], *room[1]), aspect="auto", interpolation="nearest")
    ax.set_xlabel(axes.escape_dollars(shown.name))
    ax.set_ylabel("value")
    ax.spines[["top", "right"]].set_visible(False)
    note = f"blue: low {shown.by}, red: high" if shown.by else ""
    axes.set_titles(ax, dependence_caption(shown) if title is None else title, note, axes.COLOURS["mut"])
    return figure


def plot_class_maps(survey: Survey, *, by: str | None = None) -> Figure:
    """The mean map of each class on one scale.

    Args:
        survey: of players that divide an image.
        by: the column whose values are the classes; the label or the prediction by default.

    Raises:
        InvalidInput: the players do not divide an image, or there is nothing to tell classes by.
    """
    summary, first = survey.summary(by), survey[0]
    maps = class_maps(survey, summary, first) if first.coalitions is None and divides_image(first.players) else {}
    if not maps:
        raise InvalidInput("maps of classes need players that divide an image, and labels or predictions; use survey.plot()")
    scale = max(float(abs(values).max()) for values in maps.values()) or 1.0
    shown = axes.panels(len(maps), (1.7 * len(maps), 2.2))
    for ax, (name, values) in zip(shown, maps.items(), strict=True):
        ax.imshow(values, cmap=axes.DIVERGING, vmin=-scale, vmax=scale, interpolation="nearest")
        axes.hide_frame(ax)
        ax.set_title(axes.escape_dollars(name), fontsize=9)
    figure: Figure = shown[0].figure.figure
    return figure
