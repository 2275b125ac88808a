"""The charts draw what is there, where they are told to, and refuse the rest."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from tests.information.graphs import graph
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.views import style
from vesalius.views.flow import charts


@pytest.mark.parametrize("draw", [charts.plot_flow, charts.plot_attribution])
def test_a_chart_goes_where_it_is_told(draw, small):
    figure, ax = plt.subplots()
    assert draw(small, ax=ax) is figure
    plt.close(figure)
    figure = draw(small)
    figure.canvas.draw()
    assert len(figure.axes[0].get_title("left")) > 10 and not plt.get_fignums()


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize("draw", [charts.plot_flow, charts.plot_attribution])
def test_what_is_no_flow_graph_or_no_image_is_refused(draw, small):
    with pytest.raises(WrongType, match="not int"):
        draw(3)
    with pytest.raises(InvalidInput, match="3 units"):
        draw(small, shape=(2, 2))


def test_width_is_flow_and_colour_is_community(small):
    ax = charts.plot_flow(small).axes[0]
    edges, live, alone, dead = ax.collections[-1], *ax.collections[:2], ax.collections[1]
    assert len(edges.get_paths()) == 7 and len(live.get_offsets()) == 8 and len(alone.get_offsets()) == 1
    assert list(edges.get_linewidths()) == sorted(edges.get_linewidths()) and edges.get_linewidths()[-1] == pytest.approx(5)
    assert {to_hex(colour) for colour in live.get_facecolors()} <= {style.LIGHT[kind] for kind in style.PALETTE}
    assert dead.get_linestyle()[0][1] is not None and not len(dead.get_facecolors()), "dashed and empty"


def test_size_is_betweenness(small):
    live = charts.plot_flow(small).axes[0].collections[0]
    largest = live.get_offsets()[int(np.argmax(live.get_sizes()))]
    assert largest[0] == 1 and live.get_sizes().max() == pytest.approx(144)
    assert (live.get_sizes()[live.get_offsets()[:, 0] != 1] == 25).all(), "paths end at the first and last layer"


def test_outer_units_and_layers_are_named_and_others_counted(pixels):
    words = {text.get_text() for text in charts.plot_flow(pixels, most_units=5, most_edges=20).axes[0].texts}
    assert words >= {"pixels\n11 others", "h\n15 others", "y", "0", "1"}


def test_an_image_is_a_picture_of_square_pixels(pixels):
    figure = charts.plot_flow(pixels, shape=(4, 4))
    figure.canvas.draw()
    ax = figure.axes[0]
    np.testing.assert_allclose(ax.images[0].get_array(), pixels.flows[0].sum(1).reshape(4, 4))
    left, right, low, high = ax.images[0].get_extent()
    (x0, y0), (x1, y1) = ax.transData.transform([(left, low), (right, high)])
    assert x1 - x0 == pytest.approx(y1 - y0, rel=0.02)


def test_attribution_is_a_table_of_shares(small):
    ax = charts.plot_attribution(small).axes[0]
    total = small.attribution()
    expected = [f"{100 * share:.1f}" for share in (total / total.sum()).flatten().tolist()]
    assert [text.get_text() for text in ax.texts[: len(expected)]] == expected
    assert [label.get_text() for label in ax.get_yticklabels()] == ["length", "width", "colour"]
    np.testing.assert_allclose(ax.images[0].get_array(), total / total.max())


def test_many_inputs_are_added_up_off_the_scale():
    table = charts.attribution_table(graph(torch.arange(1.0, 31.0)[:, None]))
    assert table.rows[:2] == ("29", "28") and table.rows[-1] == "19 others" and len(table.rows) == 12
    assert table.shares.sum() == pytest.approx(1) and table.depths[0, 0] == 1 and table.depths[-1, 0] == 0


def test_attribution_of_an_image_is_a_map_per_class(pixels):
    ax = charts.plot_attribution(pixels, shape=(4, 4)).axes[0]
    total = pixels.attribution()
    np.testing.assert_allclose(ax.images[0].get_array(), (total / total.sum())[:, 0].reshape(4, 4))
    assert len(ax.images) == 2 and (ax.images[1].get_array() == 0).all() and {text.get_text() for text in ax.texts} >= {"0", "1"}


def test_of_many_classes_those_with_the_most_flow_have_a_map():
    table = charts.attribution_table(graph(torch.ones(4, 1), torch.arange(1.0, 13.0)[None]), (2, 2))
    assert table.columns == tuple(str(label) for label in range(2, 12)) and table.left_out == 2
    assert table.scale == pytest.approx(12 / 78 / 4)


def test_rays_start_within_a_small_picture(pixels):
    figure, ax = plt.subplots(figsize=(3, 6))
    charts.plot_flow(pixels, shape=(4, 4), ax=ax)
    _, right, low, high = ax.images[0].get_extent()
    rays = [path.vertices for path in ax.collections[-1].get_paths() if path.vertices[0, 0] == pytest.approx(right)]
    assert len(rays) == 16 and all(high < ray[0, 1] < low for ray in rays)
    plt.close(figure)


def test_a_graph_plots_itself(small):
    assert small.plot(most_units=2).axes[0].get_title("left") == "Information flow"
