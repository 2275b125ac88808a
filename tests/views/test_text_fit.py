"""All that charts write lies within the figure, however small that is, and within what a subplot has of it."""

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.nouns import NOUNS
from vesalius.core.players import Players
from vesalius.views import charts
from vesalius.views.complexity.charts import plot_complexity
from vesalius.views.flow.charts import plot_attribution, plot_flow
from vesalius.views.interactions.charts import plot_coalition_sizes, plot_pairs
from vesalius.views.sparsity.charts import plot_importance, plot_sparsified
from vesalius.views.text_fit import _split

LONG = "Integrated gradients of a network with a long name, class number three, patient 7"


@pytest.fixture(scope="module")
def nouns():
    return {
        name: NOUNS[name]() for name in ("Allocation of coalitions", "Audit", "FlowGraph", "Complexity", "LinkImportance", "Sparsified")
    }


@pytest.fixture
def draw(pixels, give, nouns):
    """Draws a chart of a kind by name, on given axes."""
    names = tuple(f"a column with a long name, number {i}" for i in range(6))
    long = give(Players.features(torch.zeros(6), names=names), torch.arange(6.0) - 2)
    kinds = {
        "map": lambda **rest: charts.plot_allocation(pixels, **rest),
        "bars": lambda **rest: charts.plot_allocation(long, **rest),
        "waterfall": lambda **rest: charts.plot_waterfall(long, **rest),
        "effects": lambda **rest: nouns["Allocation of coalitions"].plot(**rest),
        "sizes": lambda **rest: plot_coalition_sizes(nouns["Allocation of coalitions"], **rest),
        "pairs": lambda **rest: plot_pairs(nouns["Allocation of coalitions"], **rest),
        "audit": lambda **rest: nouns["Audit"].plot(**rest),
        "flow": lambda **rest: plot_flow(nouns["FlowGraph"], **rest),
        "attribution": lambda **rest: plot_attribution(nouns["FlowGraph"], **rest),
        "complexity": lambda **rest: plot_complexity(nouns["Complexity"], **rest),
        "importance": lambda **rest: plot_importance(nouns["LinkImportance"], **rest),
        "sparsified": lambda **rest: plot_sparsified(nouns["Sparsified"], **rest),
    }
    return lambda kind, **rest: kinds[kind](**rest)


KINDS = [
    "map", "bars", "waterfall", "effects", "sizes", "pairs", "audit", "flow", "attribution", "complexity", "importance", "sparsified",
]  # fmt: skip


def empty(size, layout=None):
    figure = Figure(figsize=size, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def overhang(figure):
    """By how many pixels anything stands out of a figure as it is saved."""
    figure.canvas.draw()
    box = figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    return max(-box.x0, -box.y0, box.x1 - figure.bbox.x1, box.y1 - figure.bbox.y1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("title", [None, LONG])
def test_nothing_is_cut_beside_another_chart_in_a_small_figure(kind, title, draw):
    figure = empty((6, 2.5))
    for ax in figure.subplots(1, 2):
        draw(kind, title=title, ax=ax)
    assert overhang(figure) <= 0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["constrained", None])
def test_nothing_is_cut_in_a_small_figure_of_one_chart(kind, layout, draw):
    figure = empty((3.0, 2.4), layout)
    draw(kind, ax=figure.subplots())
    assert overhang(figure) <= 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_cut_in_a_figure_of_its_own(kind, draw):
    assert overhang(draw(kind)) <= 0.5
    assert overhang(draw(kind, title=LONG)) <= 0.5


@pytest.mark.parametrize("kind", ["map", "bars"])
def test_a_part_of_a_figure_and_axes_without_a_grid_have_room_too(kind, draw):
    figure = empty((6, 3))
    left, right = figure.subfigures(1, 2)
    draw(kind, ax=left.subplots())
    draw(kind, ax=right.add_axes((0.1, 0.1, 0.85, 0.85)))
    assert overhang(figure) <= 0.5


def test_names_of_one_chart_do_not_reach_into_the_next(draw):
    figure = empty((6, 2.5))
    left, right = figure.subplots(1, 2)
    for ax in (left, right):
        draw("bars", ax=ax)
    figure.canvas.draw()
    assert left.get_tightbbox().x1 <= right.get_tightbbox().x0


def test_in_a_large_figure_letters_are_as_large_as_they_were_meant(draw):
    figure = empty((8, 5))
    ax = figure.subplots()
    place = ax.get_position().bounds
    draw("map", ax=ax)
    assert {text.get_fontsize() for text in ax.texts} == {9} and ax.get_title(loc="left") == "Integrated gradients"
    assert ax.get_position(original=True).y0 == pytest.approx(place[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_title_may_be_given_or_left_empty(kind, draw):
    assert draw(kind, title="Of my own: $5").axes[0 if kind != "map" else -2].get_title(loc="left") == r"Of my own: \$5"
    assert draw(kind, title="").axes[0 if kind != "map" else -2].get_title(loc="left") == ""


def test_words_are_split_into_lines_of_about_the_same_length():
    assert _split("Integrated gradients, class 2", 2) == "Integrated\ngradients, class 2"
    assert _split("word", 3) == "word"
