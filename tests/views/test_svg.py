"""Small pictures: the right colour at the right place, a text for each, nothing but numbers inside."""

import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vesalius.views import style, svg
from vesalius.views.chart_data import WaterfallStep


def painted(picture):
    """The colour of every pixel, read back from an SVG of shapes or from its PNG."""
    if "<image" in picture:
        content = re.search(r"base64,([^\"]+)", picture)[1]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))
    width, height = (int(size) for size in re.search(r'viewBox="0 0 (\d+) (\d+)"', picture).groups())
    colours = np.full((height, width, 3), -1)
    for colour, path in re.findall(r'<path fill="#(\w+)" d="([^"]+)"', picture):
        for x, y, run in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", path):
            place = colours[int(y), int(x) : int(x) + int(run)]
            assert (place == -1).all(), "painted twice"
            place[:] = list(bytes.fromhex(colour))
    return colours


@pytest.mark.parametrize("shape", [(1, 3), (8, 8), (28, 28), (28, 29), (70, 90)])
def test_every_pixel_has_its_colour(shape):
    values = np.random.default_rng(0).normal(size=shape)
    values[0, :3] = [-1, 0, 1]
    picture = svg.heatmap(values, 1.0, "a map")
    np.testing.assert_array_equal(painted(picture), style.diverging_colours(values, 1.0))
    assert painted(picture)[0, :3].tolist() == [list(style.BLUE), list(style.PAPER), list(style.RED)]


def test_small_maps_are_shapes_and_large_ones_png():
    assert "<image" not in svg.heatmap(np.zeros((28, 28)), 1.0, "")
    assert "<image" in svg.heatmap(np.zeros((29, 29)), 1.0, "")


def test_equal_neighbours_are_one_shape():
    assert svg.heatmap(np.zeros((2, 5)), 1.0, "").count("M") == 2


def test_photos_are_grey_or_coloured_and_clipped():
    grey = svg.image(np.array([[[0.0, 0.5, 7.0]]]), "grey")
    assert painted(grey).tolist() == [[[0] * 3, [128] * 3, [255] * 3]]
    colour = svg.image(np.array([[[1.0]], [[0.0]], [[0.2]]]), "colour")
    assert painted(colour).tolist() == [[[255, 0, 51]]]


def test_texts_are_escaped_and_announced():
    for picture in (svg.heatmap(np.zeros((1, 1)), 1.0, 'a "<b>"'), svg.bar(1.0, 2.0, 'a "<b>"')):
        assert 'role="img" aria-label="a &#34;&lt;b&gt;&#34;"' in picture


@pytest.mark.parametrize(
    ("value", "x", "width", "kind"), [(2.0, 50, 50, "raises"), (-1.0, 25, 25, "lowers"), (0.0, 50, 0, "lowers"), (9.0, 50, 50, "raises")]
)
def test_bars_start_at_zero_in_the_middle(value, x, width, kind):
    assert f'<rect class="{kind}" x="{x:.2f}%" y="50%" width="{width:.2f}%"' in svg.bar(value, 2.0, "")


def test_whiskers_reach_one_standard_error():
    assert 'class="whisker" x1="62.50%" x2="87.50%"' in svg.bar(1.0, 2.0, "", stderr=0.5)
    assert "whisker" not in svg.bar(1.0, 2.0, "")


def test_steps_hang_together():
    """The line that leaves a step is where the next one starts."""
    steps = [
        WaterfallStep(name="base", start=0.0, end=0.0, part="base"),
        WaterfallStep(name="a", start=0.0, end=4.0),
        WaterfallStep(name="b", start=4.0, end=3.0),
        WaterfallStep(name="g", start=3.0, end=5.0, part="gap"),
        WaterfallStep(name="total", start=5.0, end=5.0, part="total"),
    ]
    drawn = [svg.waterfall_step(step, 0.0, 5.0, step.name) for step in steps]
    leaves = [re.search(r'class="link" x1="([\d.]+)%" x2="\1%" y1="50%" y2="100%"', one)[1] for one in drawn[:-1]]
    enters = [re.search(r'class="link" x1="([\d.]+)%" x2="\1%" y1="0" y2="50%"', one)[1] for one in drawn[1:]]
    assert leaves == enters == ["2.00", "78.80", "59.60", "98.00"]
    assert [re.search(r'<rect class="(\w+)"', one)[1] for one in drawn[1:-1]] == ["raises", "lowers", "gap"]


@given(st.floats(), st.floats())
def test_no_strip_holds_anything_but_numbers(value, stderr):
    """Neither infinite nor missing values get into a page as coordinates."""
    drawn = svg.bar(value, 1.0, "x", stderr=stderr) + svg.waterfall_step(WaterfallStep(name="s", start=value, end=stderr), 0.0, 1.0, "x")
    assert "nan" not in drawn and "inf" not in drawn
