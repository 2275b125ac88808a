"""The charts draw what is there, where they are told to, and refuse the rest."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import vesalius as vs
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.interactions.taylor import taylor_profile
from vesalius.views import style
from vesalius.views.interactions import charts


class Polynomial(torch.nn.Module):
    """x y + x^2."""

    def forward(self, x):
        return x[:, :1] * x[:, 1:2] + x[:, :1] ** 2


DRAW = [charts.plot_effects, charts.plot_coalition_sizes, charts.plot_pairs]


@pytest.mark.parametrize("draw", [*DRAW, charts.plot_involvement])
def test_a_chart_goes_where_it_is_told(draw, tiles):
    figure, ax = plt.subplots()
    assert draw(tiles, ax=ax) is figure
    plt.close(figure)
    figure = draw(tiles)
    figure.canvas.draw()
    assert len(figure.axes[0].get_title("left")) > 10 and not plt.get_fignums()


@pytest.mark.parametrize("draw", [*DRAW, charts.plot_involvement])
def test_one_value_per_player_is_refused(draw, table):
    with pytest.raises(InvalidInput, match="one per player"):
        draw(table)


def test_effects_are_bars_with_dots_for_their_members(named):
    figure = charts.plot_effects(named, most=3)
    ax = figure.axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [3, -2, 0.9])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["", "", "13 others"]
    assert {text.get_text() for text in ax.texts} >= {"a", "b"} and "c" not in {text.get_text() for text in ax.texts}
    dark = [line for line in ax.lines if line.get_color() == style.LIGHT["ink"] and len(line.get_xdata()) == 2 and line.get_marker() == "o"]
    assert len(dark) == 1, "one effect of two players"


def test_effects_of_an_image_have_small_pictures(tiles):
    ax = charts.plot_effects(tiles, most=3).axes[0]
    pictures = [artist.offsetbox.get_data() for artist in ax.artists]
    dark = np.array(style.INK) / 255
    assert (pictures[0][:2] == dark).all() and not (pictures[0][2:] == dark).any()


def test_many_players_are_named_instead(together):
    worth = {(player,): 20.0 - player for player in range(18)}
    few = vs.Players.features(torch.zeros(18))
    effects = together(few, worth).reduce("k_sii", order=2)
    labels = [label.get_text() for label in charts.plot_effects(effects, most=19).axes[0].get_yticklabels()]
    assert labels[0] == "feature 0" and labels[-1] == "153 others"


def test_sizes_have_a_mark_at_their_sum(named):
    ax = charts.plot_coalition_sizes(named).axes[0]
    heights = np.array([bar.get_height() for bar in ax.patches]).reshape(2, 4)
    np.testing.assert_allclose(heights, [[3, 0, 0.9, 0], [0, -2, 0, 0]])
    np.testing.assert_allclose([part[0, 1] for part in ax.collections[0].get_segments()], [3, -2, 0.9, 0])


def test_pairs_are_lines_in_the_colour_of_their_sign(tiles):
    ax = charts.plot_pairs(tiles).axes[0]
    assert [line.get_color() for line in ax.lines] == [style.to_hex(style.BLUE), style.to_hex(style.RED)]
    assert ax.lines[1].get_linewidth() > ax.lines[0].get_linewidth()


def test_involvement_is_a_map(tiles, named):
    image = charts.plot_involvement(tiles).axes[0].images[0].get_array()
    np.testing.assert_allclose(image, np.kron([[3, 2], [1, 0]], np.ones((2, 2))))
    with pytest.raises(InvalidInput, match="do not divide an image"):
        charts.plot_involvement(named)


def test_an_allocation_to_coalitions_plots_its_effects(named):
    assert named.plot().axes[0].get_title("left") == "Interactions of features"


@pytest.mark.usefixtures("as_a_user")
def test_a_profile_is_a_table_in_colours():
    net = vs.trace(Polynomial(), torch.ones(1, 2).double())
    profile = taylor_profile(net, torch.tensor([1.0, 3.0]).double(), vs.Players.features(torch.zeros(2)), order=3)
    ax = profile.plot().axes[0]
    assert [text.get_text() for text in ax.texts if text.get_position()[1] in (0, 1)][:4] == ["0", "+0.250", "0", "0"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[0, 0.25, 0, 0], [0, 0.75, 0, 0], [0, 1, 0, 0]], atol=1e-12)
    with pytest.raises(WrongType, match="taylor_profile"):
        charts.plot_taylor_profile("x")
