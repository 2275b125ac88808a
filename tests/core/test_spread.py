"""Standard errors from few repeats hold the truth as often as they say."""

import math

import pytest
import torch

from vesalius.core.spread import bootstrap_stderr, jackknife_stderr, mean_stderr, normal_equivalent


def inside(found, stderr, truth=0.0):
    return float(((found - truth).abs() <= 1.96 * stderr).double().mean())


def draws(count, columns=20_000, seed=0):
    return torch.randn(count, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_factor_is_that_of_students_law():
    assert normal_equivalent(2) == pytest.approx(4.302653 / 1.959964, rel=1e-6)
    assert normal_equivalent(10**6) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("count", [2, 3, 16])
def test_the_error_of_a_mean_of_few(count):
    given = draws(count)
    assert inside(given.mean(0), mean_stderr(given)) == pytest.approx(0.95, abs=0.006)


def test_the_jackknife_of_a_mean_is_the_error_of_the_mean():
    given = draws(10)
    left_out = torch.stack([(given.sum(0) - one) / 9 for one in given])
    torch.testing.assert_close(jackknife_stderr(left_out), mean_stderr(given))


def test_the_bootstrap_of_few_rows():
    given = draws(8, columns=3000)
    picked = torch.randint(8, (2000, 8), generator=torch.Generator().manual_seed(1))
    drawn = torch.stack([given[rows].mean(0) for rows in picked])
    assert inside(given.mean(0), bootstrap_stderr(drawn, 8)) == pytest.approx(0.95, abs=0.015)


def test_one_repeat_shows_no_spread():
    assert math.isnan(float(mean_stderr(torch.ones(1, 1))))
    assert math.isnan(float(bootstrap_stderr(torch.ones(5, 1), 1)))
