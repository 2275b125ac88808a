"""Bars of units and maps of links, as the paper draws them."""

import numpy as np
import pytest
from matplotlib import pyplot

from tests.sparsity.test_link_ranks import SCORES, importance
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.views.sparsity.link_charts import plot_links, plot_units


def written(figure):
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def test_bars_are_the_numbers_by_name_the_largest_first():
    shown = importance(features=["age", "sex", "pay"])
    for measure in ("unit_importance", "variance"):
        figure = shown.plot_units(measure=measure)
        expected = getattr(shown["fc"], measure).numpy()
        order = np.argsort(-expected, kind="stable")
        assert [bar.get_width() for bar in figure.axes[0].patches] == pytest.approx(expected[order])
        assert written(figure) == [("age", "sex", "pay")[place] for place in order]
    assert plot_units(shown, most=1, title="mine").axes[0].get_title("left") == "mine"


def test_links_outside_the_set_are_grey():
    figure = importance().plot_links(importance_level=0.7, names=["a", "b", "c"])
    picture = figure.axes[0].images[0].get_array()
    grey = np.isclose(picture, picture[2, 0]).all(2)
    assert grey.T.tolist() == (~importance()["fc"].important_links(0.7)).tolist()
    assert written(figure) == ["a", "b", "c"]
    assert "2 of 6 links carry 70" in figure.axes[0].texts[0].get_text()


def test_a_map_goes_where_it_is_asked_to():
    _, ax = pyplot.subplots()
    assert plot_links(importance(), ax=ax) is ax.figure
    picture = ax.images[0].get_array()
    assert picture[0, 0].sum() < picture[1, 0].sum() < picture[2, 0].sum()
    assert SCORES[0].tolist() == [5.0, 1.0, 0.0]


@pytest.mark.usefixtures("as_a_user")
def test_what_cannot_be_drawn():
    with pytest.raises(InvalidInput, match="3 units, and 2 names"):
        plot_units(importance(), names=["a", "b"])
    with pytest.raises(UnknownName):
        plot_units(importance(), measure="mean")
    with pytest.raises(UnknownName):
        plot_links(importance(), "conv")
