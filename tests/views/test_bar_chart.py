"""Bars in groups: their heights and errors, what is not known left out, names escaped."""

import numpy as np
import pytest

from vesalius.core.errors import InvalidInput
from vesalius.views.bar_chart import svg_grouped_bars
from vesalius.views.line_chart import BOTTOM, SIZE, TOP, ChartLabels

LABELS = ChartLabels(title="strength", x="order", y="share of variance")


def test_bars_are_as_high_as_their_values_and_errors_two_standard_errors(read):
    page = read(str(svg_grouped_bars(["0", "1"], {"strength": ([1.0, -0.5], [0.0, 0.25]), "gain": ([0.5, float("nan")], None)}, LABELS)))
    unit = (SIZE[1] - BOTTOM - TOP) / 2
    bars = page.all("rect", **{"class": "kind c0"})
    np.testing.assert_allclose([float(bar["height"]) for bar in bars], [unit, unit / 2], atol=0.1)
    assert float(bars[1]["y"]) == pytest.approx(float(bars[0]["y"]) + unit, abs=0.1), "one stands on 0, the other hangs from it"
    assert len(page.all("rect", **{"class": "kind c1"})) == 1, "what is not a number is not drawn"
    low, high = (float(end) for end in page.all("path", **{"class": "whisker"})[1]["d"][1:].split()[1].split("V"))
    assert low - high == pytest.approx(unit, abs=0.1)
    assert "share of variance" in page.text and "order" in page.text


def test_names_of_users_are_escaped():
    drawn = str(svg_grouped_bars(["<b>"], {"<i>": ([1.0], None)}, ChartLabels(title="t", x="x", y="y")))
    assert "<b>" not in drawn and "<i>" not in drawn and "&lt;b&gt;" in drawn


@pytest.mark.parametrize(
    ("groups", "series", "match"),
    [
        ([], {"a": ([], None)}, "0 groups"),
        (["0"], {}, "0 series"),
        (["0"], {"a": ([1.0, 2.0], None)}, r"values \(2,\)"),
        (["0"], {"a": ([float("inf")], None)}, "infinite"),
        (["0"], {str(at): ([1.0], None) for at in range(7)}, "7 series"),
    ],
)
def test_what_cannot_be_drawn_is_refused(groups, series, match):
    with pytest.raises(InvalidInput, match=match):
        svg_grouped_bars(groups, series, LABELS)
