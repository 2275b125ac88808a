"""Curves over runs: the median, the middle half, and names that do not overlap."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from vesalius.core.errors import InvalidInput
from vesalius.views.median_curves import median_curves, separate_labels


def test_the_median_and_the_middle_half():
    found = median_curves({"flow": ([0, 0.5], [[1, 0.1], [1, 0.2], [1, 0.3], [1, 0.4], [1, 0.9]]), "random": ([0, 0.5], [0.9, 0.2])})
    assert found[0].middle.tolist() == [1, 0.3] and found[0].low.tolist() == [1, 0.2] and found[0].high.tolist() == [1, 0.4]
    assert [(line.runs, line.colour) for line in found] == [(5, "c0"), (1, "dim")]


@pytest.mark.parametrize(
    ("curves", "match"),
    [
        ({}, "no curves"),
        ({"a": ([0, 1], [[1, 2, 3]])}, "'a' has places of shape"),
        ({"a": ([], [[]])}, "expected"),
        ({"a": ([0, 1], [[1, float("nan")]])}, "not finite"),
        ({str(name): ([0], [[1]]) for name in range(7)}, "7 curves"),
    ],
)
def test_what_is_no_curve_is_refused(curves, match):
    with pytest.raises(InvalidInput, match=match):
        median_curves(curves)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_names_are_moved_apart_in_their_order(places):
    found = separate_labels(places, 0.1)
    order = np.argsort(places, kind="stable")
    assert (np.diff(np.array(found)[order]) >= 0.1 - 1e-9).all()
    assert np.mean(found) == pytest.approx(np.mean(places), abs=1e-9)
    assert separate_labels([0.0, 0.5, 1.0], 0.1) == [0.0, 0.5, 1.0]
