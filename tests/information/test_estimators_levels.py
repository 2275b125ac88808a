"""Units of many levels: the twin, what is between the bounds, order, and rows that repeat."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch

from tests.reference import mutual_information as slow
from tests.reference.known_mutual_information import CHANNELS
from vesalius.information.estimators import pairwise
from vesalius.information.estimators.levels import count_levels, level_information, shuffle_levels


def columns(x, y):
    return torch.from_numpy(np.asarray(x, float))[:, None], torch.from_numpy(np.asarray(y, float))[:, None]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_rows_left_out_are_those_of_the_twin():
    numbers = np.random.default_rng(0)
    x = numbers.integers(0, 12, 150).astype(float)
    y = np.where(numbers.random(150) < 0.5, x, numbers.integers(0, 12, 150))
    found = level_information(x, y)
    expected = slow.left_out_information(x.tolist(), y.tolist())
    assert found.lower == pytest.approx(np.mean(expected), abs=1e-12)
    assert found.variance == pytest.approx(np.var(expected), abs=1e-12)
    cells = len(set(zip(x.tolist(), y.tolist(), strict=True)))
    assert found.upper == pytest.approx(slow.plug_in(x.tolist(), y.tolist()) - (cells - 23) / 300, abs=1e-12)


@pytest.mark.parametrize(("classes", "kept", "rows"), [(30, 0.7, 2000), (100, 0.7, 4000), (100, 0.95, 2000)])
def test_the_truth_of_copied_labels_lies_between(classes, kept, rows):
    numbers = np.random.default_rng(1)
    x = numbers.integers(0, classes, rows).astype(float)
    y = np.where(numbers.random(rows) < kept, x, numbers.integers(0, classes, rows))
    same, other = kept + (1 - kept) / classes, (1 - kept) / classes
    truth = same * log(same * classes) + (classes - 1) * other * log(other * classes)
    found = level_information(x, y)
    noise = 3 * (found.variance / rows) ** 0.5
    assert found.lower - noise < truth < found.upper + noise


@pytest.mark.parametrize("name", ["6 bits", "8 bits", "8 bits and continuous", "noisy label of 100"])
def test_levels_in_order_are_read_without_bias(name):
    numbers = np.random.default_rng(2)
    found = [pairwise(*columns(*CHANNELS[name].draw(2000, numbers)), generator=rng()) for _ in range(10)]
    error = np.array([float(one.values) for one in found]) - CHANNELS[name].truth
    assert abs(error.mean()) <= 0.03 + 2 * error.std() / 10**0.5
    assert not any(bool(one.unreliable) for one in found)


@pytest.mark.parametrize("name", ["copied label of 100", "copied label of 100, rarely"])
def test_classes_with_too_few_rows_are_flagged_and_say_why(name):
    found = pairwise(*columns(*CHANNELS[name].draw(2000, np.random.default_rng(3))), generator=rng())
    assert bool(found.unreliable) and "too few rows for so many levels" in found.why_unreliable(0, 0)
    assert abs(float(found.values) - CHANNELS[name].truth) < 2 * float(found.stderr)


def test_levels_named_anew_are_the_same_levels():
    rows = torch.stack([torch.arange(200.0) % 7, torch.randn(200, generator=rng())], 1).double()
    assert [part.tolist() for part in count_levels(rows)] == [[7.0, 0.0], [True, False]]
    seldom = [part.tolist() for part in count_levels((rows[:, 1:] - 1.0).relu())]
    assert seldom == [[1.0], [False]], "a unit that is seldom on has one level, and values besides"
    named = shuffle_levels(rows, rng(5))
    assert torch.equal(named[:, 1], rows[:, 1]) and not torch.equal(named[:, 0], rows[:, 0])
    assert len(torch.stack([rows[:, 0], named[:, 0]], 1).unique(dim=0)) == 7


def test_rows_that_repeat_are_flagged_and_levels_that_do_are_not():
    x = torch.randn(300, 3, generator=rng(), dtype=torch.float64)
    y = torch.randn(300, 2, generator=rng(1), dtype=torch.float64)
    found = pairwise(x.repeat(3, 1), y.repeat(3, 1), generator=rng())
    assert bool(found.unreliable.all()) and "copies of a row" in found.why_unreliable(2, 1)
    for left, right in ((x, y), (x.relu(), y.relu()), ((8 * x).round(), (8 * y).round()), (x[:, :1].relu(), (y[:, :1] > 0).double())):
        assert not bool(pairwise(left, right, generator=rng()).unreliable.any())


@pytest.mark.parametrize("rows", [16, 24, 30, 60])
def test_few_rows_of_rounded_values_stay_within_their_entropy(rows):
    numbers = np.random.default_rng(rows)
    sides = (torch.from_numpy(np.round(20 * numbers.standard_normal((rows, 40)))) for _ in range(2))
    found = pairwise(*sides, generator=rng())
    assert float(found.values.min()) > -log(rows) and float(found.values.max()) < log(rows)


def test_pixels_and_a_continuous_unit_are_read_in_order_and_not_flagged():
    """256 grey values, 8 rows each, from next to nothing to nearly all: neighbours within a level alone would be too few."""
    draws = np.random.default_rng(4)
    z = draws.standard_normal((2000, 1))
    rho = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9])
    pixels = np.clip(np.round(42 * (rho * z + np.sqrt(1 - rho**2) * draws.standard_normal((2000, 8))) + 127.5), 0, 255)
    found = pairwise(torch.from_numpy(pixels), torch.from_numpy(z), generator=rng())
    assert not bool(found.unreliable.any())
    error = found.values[:, 0] - torch.from_numpy(-0.5 * np.log1p(-(rho**2)))
    assert float(error.abs().max()) < 0.06 and bool((error.abs() <= 2.5 * found.stderr[:, 0]).all())


def test_classes_that_shift_a_continuous_unit_are_read_by_class_and_flagged():
    """250 classes with a mean of their own, in no order: in order they seem to say almost nothing."""
    draws = np.random.default_rng(5)
    means = draws.standard_normal(250)
    x = draws.integers(0, 250, 2000)
    y = means[x] + 0.3 * draws.standard_normal(2000)
    near = np.linspace(-8, 8, 4000)
    each = np.exp(-((near[:, None] - means) ** 2) / 0.18) / (0.3 * (2 * np.pi) ** 0.5)
    whole = each.mean(1)
    truth = -np.trapezoid(whole * np.log(whole), near) - 0.5 * np.log(2 * np.pi * np.e * 0.09)
    found = pairwise(*columns(x, y), generator=rng())
    assert bool(found.unreliable) and "too few rows for so many levels" in found.why_unreliable(0, 0)
    assert abs(float(found.values) - truth) < 0.25 * truth
