"""The Gaussian copula: its formula, its bias, and what it misses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import ndtri
from scipy.stats import rankdata

from tests.reference.known_mutual_information import CHANNELS
from vesalius.information.estimators import Gaussian, pairwise
from vesalius.information.estimators.gaussian import information_within


def columns(name, rows, seed):
    return (torch.from_numpy(side)[:, None] for side in CHANNELS[name].draw(rows, np.random.default_rng(seed)))


def test_value_and_what_was_taken_off_are_the_formula_of_the_correlation_of_scores():
    x, y = columns("rectified 0.8", 300, 0)
    scores = [ndtri((rankdata(side.flatten()) - 0.5) / 300) for side in (x, y)]
    r = np.corrcoef(*scores)[0, 1]
    found = pairwise(x, y, estimator="gaussian")
    assert float(found.values + found.null) == pytest.approx(-0.5 * np.log(1 - r**2), abs=1e-12)


def test_independent_units_have_zero_on_average_and_hold_the_level():
    generator = torch.Generator().manual_seed(0)
    found = pairwise(torch.randn(100, 60, generator=generator), torch.randn(100, 60, generator=generator), estimator="gaussian")
    assert abs(float(found.values.mean())) < 4 * float(found.values.std()) / 60
    assert 0.03 < float((found.p < 0.05).double().mean()) < 0.07


@pytest.mark.parametrize("name", ["gaussian 0.75", "cube and wiggle", "gaussian 0.97"])
def test_gaussian_copulas_are_met_and_intervals_cover(name):
    found = [pairwise(*columns(name, 1000, seed), estimator="gaussian") for seed in range(60)]
    error = torch.tensor([float(one.values) - CHANNELS[name].truth for one in found])
    z = error / torch.tensor([float(one.stderr) for one in found])
    assert abs(float(error.mean())) < 0.02
    assert float((z.abs() <= 1.96).double().mean()) >= 0.88


def test_what_is_not_monotone_is_missed():
    x = torch.linspace(-1, 1, 501, dtype=torch.float64)[:, None]
    assert abs(float(pairwise(x, x**2, estimator="gaussian").values)) < 0.01 < 1 < float(pairwise(x, x**2).values)


def test_information_within_a_layer_is_that_of_the_pairs():
    rows = torch.randn(300, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows[:, 1], rows[:, 2] = rows[:, 0] + rows[:, 1], 4.0
    found, expected = information_within(rows), Gaussian().estimate(rows, rows).values
    torch.testing.assert_close(found.triu(1), expected.triu(1), atol=1e-12, rtol=0)
    assert not found[2].any() and not found[:, 2].any() and float(found[0, 1]) > 0.2
