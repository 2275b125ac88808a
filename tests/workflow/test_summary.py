"""What the page is given: maps that can be compared, and words made from numbers."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.methods import Occlusion
from vesalius.workflow.summary import displayable_image, sum_pixels_over_patches


@pytest.fixture(scope="module")
def maps():
    """One picture of 3 x 8 x 8: its gradient, and occlusion of patches of a given size."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    network = vs.trace(model, x)

    def make(size):
        players = vs.Players.patches(x[0], size)
        return [vs.attribute(network, x[0], "gradient_x_input"), vs.attribute(network, x[0], Occlusion(players=players))]

    return make


def test_pixels_are_added_up_over_large_patches(maps):
    pixels, patches = maps(4)
    shown, same = sum_pixels_over_patches([pixels, patches])
    assert same is patches and shown.players is patches.players
    torch.testing.assert_close(shown.values, pixels.values.sum(0).reshape(2, 4, 2, 4).sum((1, 3)))
    torch.testing.assert_close(shown.gap, pixels.gap, atol=1e-5, rtol=0)


def test_the_map_of_a_layer_has_no_patches_to_add_up_over(maps):
    """Grad-CAM's players are patches as well, of one place of a layer each; they hid the large ones behind them."""
    pixels, patches = maps(4)
    layer = replace(patches, players=vs.Players.patches(torch.zeros(1, 2, 2), 1))
    first, shown, same = sum_pixels_over_patches([layer, pixels, patches])
    assert first is layer and same is patches and shown.players is patches.players


def test_small_patches_stand_beside_pixels(maps):
    pixels, patches = maps(2)
    assert sum_pixels_over_patches([pixels, patches]) == (pixels, patches)


def test_pixels_alone_stay_pixels(maps):
    pixels, _ = maps(4)
    assert sum_pixels_over_patches([pixels]) == (pixels,)


def test_pictures_are_stretched_only_where_they_leave_0_to_1():
    inside = torch.tensor([[[0.2, 0.6]]])
    assert displayable_image(inside).equal(inside)
    assert displayable_image(torch.tensor([[[-1.0, 0.0, 3.0]]])).tolist() == [[[0, 0.25, 1]]]
    assert displayable_image(torch.full((1, 2, 2), 7.0)).eq(0).all()
    assert displayable_image(torch.zeros(4)) is None and displayable_image(torch.zeros(2, 4, 4)) is None
