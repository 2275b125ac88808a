"""Tests of independence in the tail: Fisher's, cells, moments where they hold, and no false edge among rare units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import hypergeom

from tests.reference import mutual_information as slow
from vesalius.information.estimators import Binned, adjusted, independence_tests, null_distribution, pairwise
from vesalius.information.estimators.discretization import Discretization
from vesalius.information.estimators.resolution import Resolution, mid_rank_scores


def binary(rows, on_x, on_y, both):
    x, y = torch.zeros(rows, 1), torch.zeros(rows, 1)
    x[:on_x] = 1
    y[on_x - both : on_x - both + on_y] = 1
    return x, y


def level(X, Y, bins=16):
    """Their counts, as tests take them."""
    sides = [Discretization.fit(side.double(), bins) for side in (X, Y)]
    hot = [torch.nn.functional.one_hot(s.codes(side.double()), len(s)).sum(1) for s, side in zip(sides, (X, Y), strict=True)]
    return Resolution(*sides, (hot[0].T @ hot[1]).double())


def scores(table, rows):
    return mid_rank_scores(table.x, table.margin_x, rows), mid_rank_scores(table.y, table.margin_y, rows)


@pytest.mark.parametrize(("rows", "on_x", "on_y", "both"), [(60, 9, 11, 5), (60, 9, 11, 0), (200, 100, 30, 20), (200, 3, 3, 2)])
def test_two_halves_are_tested_as_fisher_does(rows, on_x, on_y, both):
    x, y = binary(rows, on_x, on_y, both)
    table = level(x, y)
    asked = torch.ones(1, 1, dtype=torch.bool)
    found = independence_tests.halves_test(table, scores(table, rows), rows, asked)
    assert float(found) == pytest.approx(slow.fisher(x.flatten().int().tolist(), y.flatten().int().tolist()), rel=1e-9)
    assert float(independence_tests.halves_test(table, scores(table, rows), rows, ~asked)) == 1


def test_the_fullest_cell_is_bounded_by_its_tail_and_closely():
    x, y = binary(500, 20, 25, 9)
    found = independence_tests.cell_test(level(x, y), 500, torch.ones(1, 1, dtype=torch.bool))
    exact = 4 * hypergeom.sf(8, 500, 20, 25)
    assert exact <= float(found) <= 1.2 * exact


@pytest.mark.parametrize(("rows", "on", "both"), [(1000, 1, 1), (1000, 10, 2), (4000, 40, 4), (10_000, 100, 8), (1000, 10, 0)])
def test_rare_units_have_the_p_value_of_the_exact_test(rows, on, both):
    """Within a factor: it is one of two tests that are put together. Moments alone say 1e-219 for one row in common of 1000."""
    x, y = binary(rows, on, on, both)
    exact = slow.fisher(x.flatten().int().tolist(), y.flatten().int().tolist())
    assert exact / 2 <= float(pairwise(x, y).p) <= min(1.0, 4 * exact)


def test_moments_are_used_where_cells_are_full_and_only_there():
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(2000, 2, generator=generator)
    full, rare = level(normal[:, :1], normal[:, 1:]), level((normal[:, :1] - 2.2).relu(), (normal[:, 1:] - 2.2).relu())
    for table, holds in ((full, True), (rare, False)):
        assert bool(independence_tests.chi2_test(table, 2000)[1]) == holds
        assert bool(independence_tests.rank_test(table, scores(table, 2000), 2000)[1]) == holds


def test_the_tail_of_chi_square_is_that_of_permutations():
    """Eight labels by eight with 100 rows: 40,000 permutations. A chi-square distribution would be off by a third at 1e-3."""
    numbers = np.random.default_rng(0)
    x, y = numbers.integers(0, 8, 100), np.stack([numbers.permutation(np.arange(100) % 8) for _ in range(40_000)], 1)
    counts = np.bincount(x, minlength=8).astype(float)
    joint = np.stack([np.stack([(y[x == a] == b).sum(0) for b in range(8)], 1) for a in range(8)], 1).astype(float)
    margin = np.bincount(np.arange(100) % 8).astype(float)
    statistic = 100 * ((joint**2 / counts[:, None] / margin).sum((1, 2)) - 1)
    sums = [(8, (1 / m).sum(), (1 / m**2).sum()) for m in (counts, margin)]
    sides = [tuple(torch.tensor([float(part)], dtype=torch.float64) for part in side) for side in sums]
    mean, variance, third = (float(part) for part in null_distribution.chi2_moments(*sides, 100))
    assert statistic.mean() == pytest.approx(mean, rel=5e-3) and statistic.var() == pytest.approx(variance, rel=3e-2)
    assert 0.7 * third < ((statistic - mean) ** 3).mean() < 1.1 * third
    z = torch.from_numpy((statistic - mean) / variance**0.5)[None]
    p = null_distribution.standardised_gamma_p(z, torch.full_like(z, third / variance**1.5))
    for share in (1e-2, 1e-3):
        assert 0.6 < float((p < share).double().mean()) / share < 1.5


@pytest.mark.parametrize("skew", [-0.4, 0.0, 0.8])
def test_a_skewed_tail_has_its_moments(skew):
    """Mean 0, variance 1 and the skewness, by the integral of the tail."""
    z = torch.linspace(-12, 12, 24_001, dtype=torch.float64)[None]
    tail = null_distribution.standardised_gamma_p(z, torch.full_like(z, skew))[0]
    mass, middle = tail[:-1] - tail[1:], (z[0, 1:] + z[0, :-1]) / 2
    assert [float((mass * middle**power).sum()) for power in (0, 1, 2, 3)] == pytest.approx([1, 0, 1, skew], abs=2e-3)


def test_rare_units_have_no_false_edges():
    """20 draws of 32 x 32 pairs that are on in 1 to 3 % of the rows; benchmarks/false_discoveries.py has more of all."""
    numbers = np.random.default_rng(0)
    false = 0
    for threshold in np.repeat([1.9, 2.3], 10):
        X, Y = (torch.from_numpy(np.maximum(numbers.standard_normal((1000, 32)) - threshold, 0)) for _ in range(2))
        false += bool((adjusted(Binned().estimate(X, Y).p) <= 0.05).any())
    assert false <= 4


def test_rare_units_that_depend_are_found():
    x = (torch.randn(1000, 1, generator=torch.Generator().manual_seed(0)) - 2.2).relu()
    noise = torch.randn(1000, 40, generator=torch.Generator().manual_seed(1)).sub(2.2).relu()
    found = pairwise(x, torch.cat([2 * x, noise], 1)).p
    assert float(found[0, 0]) < 1e-15 and int((adjusted(found) <= 0.05).sum()) == 1
