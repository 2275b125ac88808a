"""Line charts: the median, a band, names at the ends; the same on paper and on a page."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from vesalius.core.errors import InvalidInput
from vesalius.views import style
from vesalius.views.charts import plot_curves
from vesalius.views.line_chart import BOTTOM, LEFT, RIGHT, SIZE, TOP, ChartLabels, svg_curves

CURVES = {"information flow": ([0, 0.5, 1], [[0.9, 0.8, 0.1], [0.9, 0.7, 0.1]]), "random": ([0, 0.5, 1], [[0.9, 0.4, 0.1]] * 2)}
LABELS = ChartLabels(title="what it costs", x="share removed", y="accuracy", percent=(True, True))


def test_on_paper_curves_have_a_band_and_their_name_at_the_end():
    ax = plot_curves(CURVES, LABELS).axes[0]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.9, 0.75, 0.1])
    assert len(ax.collections) == 2
    assert {text.get_text(): text.get_color() for text in ax.texts}["random"] == style.LIGHT["dim"]
    figure, given = plt.subplots()
    assert plot_curves(CURVES, LABELS, ax=given) is figure
    plt.close(figure)


def test_on_a_page_lines_are_where_their_values_are(read):
    page = read(str(svg_curves(CURVES, LABELS)))
    way = page.all("path", **{"class": "line c0"})[0]["d"]
    spots = np.array([[float(number) for number in spot.split()] for spot in re.split("[ML]", way)[1:]])
    np.testing.assert_allclose(spots[:, 0], [LEFT, (LEFT + SIZE[0] - RIGHT) / 2, SIZE[0] - RIGHT], atol=0.1)
    low, high = 0.0, 1.0
    np.testing.assert_allclose(
        spots[:, 1], SIZE[1] - BOTTOM - (np.array([0.9, 0.75, 0.1]) - low) / (high - low) * (SIZE[1] - BOTTOM - TOP), atol=0.1
    )
    assert len(page.all("path", **{"class": "band c0"})) == 1 and len(page.all("path", **{"class": "line other"})) == 1
    assert "40 %" in page.text and "share removed" in page.text and "random" in page.text


def test_a_flat_curve_and_a_single_place_are_drawn(read):
    page = read(str(svg_curves({"flat": ([2.0], [[3.0]])}, ChartLabels(title="t", x="x", y="y"))))
    assert "nan" not in page.all("path", **{"class": "line c0"})[0]["d"]


def test_names_of_users_are_escaped():
    drawn = str(svg_curves({"<b>": ([0, 1], [0, 1])}, ChartLabels(title="<i>", x="<x>", y="<y>")))
    assert "<b>" not in drawn and "<i>" not in drawn and "<x>" not in drawn and "&lt;b&gt;" in drawn


def test_what_is_no_curve_is_refused():
    with pytest.raises(InvalidInput, match="no curves"):
        svg_curves({}, LABELS)
