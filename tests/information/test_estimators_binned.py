"""Tables of counts: exact moments and expectations, slots, tests that hold their level, and counts that add up."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from tests.reference import mutual_information as slow
from tests.reference.known_mutual_information import CHANNELS
from vesalius.core.errors import InvalidInput
from vesalius.information.estimators import Binned, adjusted, contingency, null_distribution, pairwise
from vesalius.information.estimators.discretization import Discretization

rows_of_symbols = st.integers(5, 7).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 2), min_size=n, max_size=n).filter(lambda x: len(set(x)) > 1),) * 2)
)


def margins(symbols):
    """(how often each margin, margins) of one unit, and (slots, sum of inverse counts)."""
    sizes = torch.from_numpy(np.unique(symbols, return_counts=True)[1]).double()
    distinct, often = sizes.unique(return_counts=True)
    return (often[None].double(), distinct), (torch.tensor([len(sizes)]).double(), (1 / sizes).sum()[None], (1 / sizes**2).sum()[None])


@given(rows_of_symbols)
def test_moments_of_chi_square_are_those_over_all_permutations(pair):
    x, y = pair
    mean, variance, _ = null_distribution.chi2_moments(margins(x)[1], margins(y)[1], len(x))
    over = slow.permutation_values(slow.chi2, x, y)
    assert float(mean) == pytest.approx(over.mean(), abs=1e-10)
    assert float(variance) == pytest.approx(over.var(), abs=1e-10)


@pytest.mark.slow
@given(rows_of_symbols)
def test_null_information_is_the_mean_over_all_permutations(pair):
    x, y = pair
    null = null_distribution.null_information(margins(x)[0], margins(y)[0], len(x))
    assert float(null.expected) == pytest.approx(slow.permutation_values(slow.plug_in, x, y).mean(), abs=1e-10)
    occupied = slow.permutation_values(lambda a, b: len(set(zip(a, b, strict=True))), x, y).mean()
    assert float(null.cells) == pytest.approx(occupied, abs=1e-10)
    assert float(null.least) == len(set(x)) + len(set(y)) - 1


@pytest.mark.parametrize(("row", "column", "n"), [(3, 4, 20), (60, 62, 1000), (140, 150, 1000), (160, 160, 1000), (700, 200, 1000)])
def test_cells_of_any_size_have_the_hypergeometric_expectation(row, column, n):
    """Below 20 expected rows it is exact, and above it is a series."""
    one = torch.ones(1, 1, dtype=torch.float64)
    sizes = [torch.tensor([size], dtype=torch.float64) for size in (row, column)]
    null = null_distribution.null_information((one, sizes[0]), (one, sizes[1]), n)
    expected, occupied = slow.hypergeometric_information(row, column, n)
    exact = row * column / n < null_distribution.EXACT_BELOW
    assert float(null.expected) == pytest.approx(expected, rel=1e-9 if exact else 1e-3)
    assert float(null.cells) == pytest.approx(occupied, abs=1e-8)


def test_combined_p_values_follow_the_strongest_and_ignore_a_certain_failure():
    p = null_distribution.cauchy_combination(torch.tensor([1e-12, 1.0, 1.0, 1.0], dtype=torch.float64)[:, None, None])
    assert float(p) == pytest.approx(4e-12, rel=1e-3)
    same = null_distribution.cauchy_combination(torch.full((4, 1, 1), 0.03, dtype=torch.float64))
    assert float(same) == pytest.approx(0.03)


def test_adjusted_p_values_are_the_step_up_rule():
    p = torch.tensor([[0.01, 0.04], [0.03, 0.9]], dtype=torch.float64)
    torch.testing.assert_close(adjusted(p), torch.tensor([[0.04, 0.16 / 3], [0.16 / 3, 0.9]], dtype=torch.float64))


def test_slots_separate_atoms_from_what_lies_around_them():
    values = torch.cat([torch.zeros(400), torch.linspace(-1, 1, 401), torch.full((199,), 1.0)]).double()[:, None]
    slots = Discretization.fit(values, 16)
    assert (slots.atoms[0].tolist(), int(slots.bins)) == ([0.0, 1.0], 8)
    codes = slots.codes(values).flatten()
    assert codes[values.flatten() == 0].unique().tolist() == [8]
    assert codes[values.flatten() == 1].unique().tolist() == [9]
    sizes = codes.bincount()[:8]
    assert int(sizes.max() - sizes.min()) <= 1


def test_a_value_that_the_pilot_never_saw_has_a_place():
    slots = Discretization.fit(torch.tensor([0.0, 1.0]).repeat(50)[:, None].double(), 16)
    assert slots.codes(torch.tensor([[0.0], [1.0], [0.5], [-7.0]]).double()).flatten().tolist() == [1, 2, 0, 0]


def test_pooled_slots_are_the_slots_of_half_as_many_bins():
    rows = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows[:, 1] = rows[:, 1].clamp_min(0)
    fine = Discretization.fit(rows, 32)
    pooled, new = fine.halve_bins()
    assert torch.equal(new[fine.codes(rows)], pooled.codes(rows))
    assert pooled.bins.tolist() == [16, 8, 16]


def test_plug_in_value_and_null_are_those_of_the_twin():
    """With three labels a side nothing is extrapolated."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, 300)
    y = np.where(rng.random(300) < 0.5, x, rng.integers(0, 3, 300))
    found = pairwise(torch.from_numpy(x)[:, None], torch.from_numpy(y)[:, None], estimator="binned")
    assert float(found.values + found.null) == pytest.approx(slow.plug_in(x.tolist(), y.tolist()), abs=1e-12)
    sizes = [np.unique(side, return_counts=True)[1].tolist() for side in (x, y)]
    expected = sum(slow.hypergeometric_information(r, c, 300)[0] for r in sizes[0] for c in sizes[1])
    assert float(found.null) == pytest.approx(expected, rel=1e-3)


def draws(kind, rows, units, rng):
    normal = rng.standard_normal((2, rows, units))
    if kind == "continuous":
        return normal
    if kind == "relu":
        return np.maximum(normal + np.array([0.5, 0])[:, None, None], 0)
    if kind == "sparse":
        return np.maximum(normal - 1.6, 0)
    return np.clip(normal[0], -1, 1), rng.integers(0, 10, (rows, units)).astype(float)


@pytest.mark.parametrize("rows", [200, 1000])
@pytest.mark.parametrize("kind", ["continuous", "relu", "sparse", "labels"])
def test_false_edges_and_the_mean_of_independent_pairs(kind, rows):
    """4096 pairs, which are not quite independent of each other; benchmarks/mutual_information.py has more of them and of rows."""
    rng = np.random.default_rng(rows)
    found = [Binned().estimate(*(torch.from_numpy(side) for side in draws(kind, rows, 32, rng))) for _ in range(4)]
    p, values, stderr = (torch.stack([getattr(one, name) for one in found]) for name in ("p", "values", "stderr"))
    least = 0.0 if kind == "sparse" else 0.03  # exact tests of a few rows have few levels, and stay below the one asked for
    assert least <= float((p < 0.05).double().mean()) <= 0.07
    assert abs(float(values.mean())) < 4 * float(values.std()) / len(values.flatten()) ** 0.5 + 1e-3
    assert float((values.abs() <= 1.96 * stderr).double().mean()) >= 0.92


@pytest.mark.parametrize("name", ["gaussian 0.75", "cauchy", "rectified 0.8", "label in a box", "copied label"])
def test_values_are_good_enough_to_rank_by(name):
    rng = np.random.default_rng(5)
    errors = []
    for _ in range(5):
        x, y = (torch.from_numpy(side)[:, None] for side in CHANNELS[name].draw(2000, rng))
        found = pairwise(x, y, estimator="binned")
        errors.append(float(found.values) - CHANNELS[name].truth)
        assert float(found.p) < 1e-6
    assert abs(np.mean(errors)) < 0.05


def test_shards_add_up_to_one_shot_bit_for_bit():
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(3000, 5, generator=generator).clamp_min(0)
    Y = torch.randn(3000, 4, generator=generator) + X[:, :4]
    pilot = Binned(bins=16).counts(X[:1000], Y[:1000])
    whole = pilot.fresh().add(X, Y)
    shards = [pilot.fresh().add(X[i::3], Y[i::3]) for i in range(3)]
    merged = shards[0] + shards[1] + shards[2]
    assert torch.equal(merged.joint, whole.joint) and merged.samples == 3000 and shards[0].samples == 1000
    for name in ("values", "stderr", "null", "p"):
        assert torch.equal(getattr(merged.result(), name), getattr(whole.result(), name))


def test_a_stream_with_the_edges_of_all_rows_is_the_one_shot():
    generator = torch.Generator().manual_seed(2)
    X, Y = torch.randn(500, 3, generator=generator), torch.randn(500, 2, generator=generator)
    stream = Binned().counts(X, Y)
    for start in range(0, 500, 7):
        stream.add(X[start : start + 7], Y[start : start + 7])
    assert torch.equal(stream.result().values, pairwise(X, Y, estimator="binned").values)


def test_blocks_of_units_and_rows_change_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(3)
    X, Y = torch.randn(400, 6, generator=generator), torch.randn(400, 5, generator=generator)
    X[:, 2] = 1.0
    whole = pairwise(X, Y, estimator="binned")
    monkeypatch.setattr(contingency, "CELLS_AT_ONCE", 3000)
    monkeypatch.setattr("vesalius.information.estimators.binned.CELLS_AT_ONCE", 3000)
    parts = pairwise(X, Y, estimator="binned")
    for name in ("values", "stderr", "null", "p", "dead_x", "dead_y", "unreliable"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), atol=1e-12, rtol=0)


def test_counts_refuse_other_slots_and_other_units():
    X, Y = torch.randn(100, 2, generator=torch.Generator().manual_seed(0)), torch.arange(100.0)[:, None]
    mine, other = Binned().counts(X, Y), Binned().counts(X + 1, Y)
    with pytest.raises(InvalidInput, match=r"other slots.*fresh"):
        mine.merge(other)
    with pytest.raises(InvalidInput, match="X has 1 units; these counts are of 2"):
        mine.add(X[:, :1], Y)
    with pytest.raises(InvalidInput, match="0 rows"):
        mine.result()


@pytest.mark.parametrize("bins", [8, 20, 0])
def test_bins_that_do_not_pool_are_refused(bins):
    with pytest.raises(InvalidInput, match="16, 32 or 64"):
        Binned(bins=bins)
