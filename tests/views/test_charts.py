"""Charts draw the right numbers, return their figure, and leave pyplot alone."""

import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from vesalius.core.errors import InvalidInput
from vesalius.core.players import Players
from vesalius.views import charts, style

CHARTS = [charts.plot_allocation, charts.plot_bars, charts.plot_waterfall]


def widths(figure):
    return [patch.get_width() for patch in figure.axes[0].patches]


def ticks(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_a_map_shows_each_value_in_its_place_on_a_symmetric_scale(pixels):
    figure = charts.plot_allocation(pixels)
    drawn = figure.axes[0].images[0]
    np.testing.assert_array_equal(drawn.get_array(), [[-2, -1, 0], [1, 2, 3]])
    assert drawn.get_clim() == (-3, 3)
    assert drawn.get_interpolation() == "nearest"


def test_colours_of_a_map_are_those_of_the_pages(pixels):
    drawn = charts.plot_heatmap(pixels).axes[0].images[0]
    shown = np.rint(drawn.to_rgba(np.array([-3.0, 0.0, 3.0]))[:, :3] * 255).astype(int)
    assert [tuple(colour) for colour in shown.tolist()] == [style.BLUE, style.PAPER, style.RED]


def test_maps_can_share_a_scale(pixels):
    assert charts.plot_heatmap(pixels, scale=10.0).axes[0].images[0].get_clim() == (-10, 10)
    with pytest.raises(InvalidInput, match="positive number, not 0"):
        charts.plot_heatmap(pixels, scale=0.0)


def test_the_colour_bar_names_the_unit_if_it_is_known(pixels):
    known = replace(pixels, provenance={**pixels.provenance, "unit": "logits"})
    assert charts.plot_heatmap(known).axes[1].get_ylabel() == "change of the output (logits)"
    assert charts.plot_heatmap(pixels).axes[1].get_ylabel() == "change of the output"


def test_bars_are_sorted_named_coloured_and_have_whiskers(table):
    figure = charts.plot_allocation(table)
    assert widths(figure) == [3.0, -2.0, 0.5]
    assert ticks(figure) == ["petal length", "sepal length", "petal width"]
    assert [patch.get_facecolor()[:3] for patch in figure.axes[0].patches] == [
        to_rgb(style.to_hex(colour)) for colour in (style.RED, style.BLUE, style.RED)
    ]
    whiskers = [line for line in figure.axes[0].collections if len(line.get_segments()) == 3]
    assert np.ptp(np.array(whiskers[0].get_segments())[:, :, 0], axis=1) == pytest.approx([0.6, 0.4, 0.2])


def test_bars_without_errors_have_no_whiskers_and_the_rest_is_added_up(table):
    figure = charts.plot_bars(replace(table, stderr=None), most=2)
    assert not figure.axes[0].collections
    assert widths(figure) == [3.0, -1.5]
    assert ticks(figure) == ["petal length", "2 others"]


def test_a_waterfall_goes_from_base_to_total_and_shows_the_gap(give):
    players = Players.features(torch.zeros(2), names=("a", "b"))
    figure = charts.plot_waterfall(give(players, [4.0, -1.0], gap=2.0))
    assert [(bar.get_x(), bar.get_width()) for bar in figure.axes[0].patches] == [(1.0, 4.0), (5.0, -1.0), (4.0, 2.0)]
    assert ticks(figure) == ["base value", "a", "b", "completeness error (gap)", "output"]
    marks = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_linewidth() == 2]
    assert marks == [1.0, 6.0]


def test_the_verdict_is_written_above(give):
    figure = charts.plot_bars(give(Players.features(torch.zeros(2)), [4.0, 6.0], gap=5.0, method="occlusion"))
    found = {text.get_text(): text.get_color() for text in figure.findobj(Text)}
    assert found["incomplete: gap 5"] == style.LIGHT["bad"]
    assert figure.axes[0].get_title(loc="left") == "Occlusion"


@pytest.mark.parametrize("draw", CHARTS)
def test_new_figures_are_unknown_to_pyplot_and_show_themselves(draw, table):
    before = pyplot.get_fignums()
    figure = draw(table)
    assert isinstance(figure, Figure)
    assert pyplot.get_fignums() == before
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("draw", [*CHARTS, charts.plot_heatmap])
def test_given_axes_are_drawn_on(draw, table, pixels):
    figure = Figure()
    ax = figure.add_subplot()
    assert draw(pixels if draw is charts.plot_heatmap else table, ax=ax) is figure
    assert ax.images or ax.patches


def test_axes_of_a_subfigure_return_the_whole_figure(table):
    whole = Figure()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert charts.plot_bars(table, ax=whole.subfigures(1, 2)[0].add_subplot()) is whole


@pytest.mark.parametrize("draw", [*CHARTS, charts.plot_heatmap])
def test_a_batch_is_refused_with_a_hint(draw, batch):
    with pytest.raises(InvalidInput, match=r"batch of 6; take allocation\[i\]"):
        draw(batch)


def test_what_is_no_image_has_no_map(table):
    with pytest.raises(InvalidInput, match="do not divide an image"):
        charts.plot_heatmap(table)


def test_names_are_no_formulas_and_long_ones_are_broken(give):
    names = (r"costs $\frac$ and $5", "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen")
    figure = charts.plot_bars(give(Players.features(torch.zeros(2), names=names), [2.0, 1.0]))
    figure.draw_without_rendering()
    assert ticks(figure)[0] == r"costs \$\frac\$ and \$5"
    assert ticks(figure)[1].count("\n") == 1 and ticks(figure)[1].endswith("\N{HORIZONTAL ELLIPSIS}")


def test_the_allocation_draws_itself(table, pixels):
    assert widths(table.plot()) == [3.0, -2.0, 0.5]
    assert pixels.plot().axes[0].images


def test_an_image_that_was_kept_is_beside_its_map(pixels):
    image = torch.tensor([[[0.0, 1.0, 2.0], [3.0, 4.0, 8.0]]])
    seen = replace(pixels, explained=(image,))
    left, right = charts.plot_allocation(seen).axes[:2]
    np.testing.assert_allclose(left.images[0].get_array(), image[0] / 8)
    np.testing.assert_array_equal(right.images[0].get_array(), [[-2, -1, 0], [1, 2, 3]])
    figure = Figure()
    assert len(seen.plot(ax=figure.add_subplot()).axes) == 2, "the map and its colour bar alone on axes that were given"


@pytest.mark.parametrize("kept", [torch.zeros(2, 2, 3), torch.zeros(1, 2, 3, dtype=torch.long)])
def test_what_is_no_picture_is_not_shown_as_one(give, kept):
    found = give(Players.patches(torch.zeros(1, 2, 3), 1), [1.0] * 6, explained=(kept,))
    assert len(charts.plot_allocation(found).axes) == 2


def test_a_picture_in_colours_stays_so(give):
    image = torch.rand(3, 2, 3)
    found = give(Players.patches(image, 1), [1.0] * 6, explained=(image,))
    assert charts.plot_allocation(found).axes[0].images[0].get_array().shape == (2, 3, 3)


def test_bars_and_steps_name_what_the_sample_holds(table):
    seen = replace(table, explained=(torch.tensor([0.2, 5.125, 1.4]),))
    assert ticks(charts.plot_bars(seen)) == ["petal length = 1.4", "sepal length = 5.12", "petal width = 0.2"]
    assert "petal length = 1.4" in ticks(charts.plot_waterfall(seen))


def test_the_title_says_what_is_explained_and_of_which_sample(give):
    facts = {"target": "class 3", "id": "patient $7"}
    figure = charts.plot_bars(give(Players.features(torch.zeros(2)), [1.0, 2.0], provenance=facts))
    assert figure.axes[0].get_title(loc="left") == r"Shapley value, class 3, patient \$7"


def test_values_without_base_and_total_have_no_verdict_and_no_waterfall(table):
    lost = replace(table, base=torch.tensor(float("nan")))
    figure = charts.plot_bars(lost)
    said = {text.get_text(): text.get_color() for text in figure.findobj(Text)}
    assert said["gap not known: no base value and output"] == style.LIGHT["mut"]
    with pytest.raises(InvalidInput, match="goes from base to total"):
        charts.plot_waterfall(lost)


def test_importing_vesalius_does_not_import_matplotlib():
    code = "import sys, vesalius; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
