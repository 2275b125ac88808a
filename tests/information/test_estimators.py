"""What every estimator of mutual information promises: truths, symmetry, constant units, flags, and errors one can act on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.reference.known_mutual_information import CHANNELS, SECTION_8
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.information.estimators import ESTIMATORS, AutoInformation, Neural, adjusted, pairwise

SURE = ["auto", "binned", "neighbours", "gaussian"]
ALL = [*SURE, Neural(steps=20, shifts=4)]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(rows, units, seed=0):
    return torch.randn(rows, units, generator=rng(seed))


@pytest.mark.parametrize("name", SECTION_8)
def test_auto_meets_the_truths(name):
    """Mean of 8 seeds at N = 4000; benchmarks/mutual_information.py has 20."""
    draw, truth = CHANNELS[name].draw, CHANNELS[name].truth
    numbers = np.random.default_rng(3)
    found = [pairwise(*(torch.from_numpy(side)[:, None] for side in draw(4000, numbers)), generator=rng()) for _ in range(8)]
    error = abs(np.mean([float(one.values) for one in found]) - truth)
    noise = np.std([float(one.values) for one in found]) / 8**0.5
    assert error <= (0.02 if truth <= 1 else 0.05 * truth) + noise


@pytest.mark.parametrize("name", ALL)
def test_constant_units_have_no_information_and_are_flagged(name):
    X, Y = normal(200, 3), normal(200, 2, 1)
    X[:, 1] = 0.25
    Y[:, 0] = 1e8 * (1 + 1e-12 * Y[:, 0].double()).float()
    found = pairwise(X, Y, estimator=name, generator=rng())
    assert (found.dead_x.tolist(), found.dead_y.tolist()) == ([False, True, False], [True, False])
    dead = found.dead_x[:, None] | found.dead_y
    assert found.values[dead].tolist() == found.stderr[dead].tolist() == [0.0] * 4
    assert found.p[dead].tolist() == [1.0] * 4
    assert not bool(found.unreliable.any())


@pytest.mark.parametrize("name", ALL)
def test_a_unit_that_varies_by_rounding_only_is_constant(name):
    X = 3 + 1e-12 * normal(300, 1).double()
    found = pairwise(X, X, estimator=name, generator=rng())
    assert (float(found.values), float(found.p), found.dead_x.tolist()) == (0.0, 1.0, [True])


@pytest.mark.parametrize("name", SURE)
def test_units_only_change_places(name):
    X, Y = normal(300, 4), normal(300, 3, 1) + normal(300, 4)[:, :3]
    order = [2, 0, 3, 1]
    plain, moved = (pairwise(side, Y, estimator=name, generator=rng()) for side in (X, X[:, order]))
    torch.testing.assert_close(moved.values, plain.values[order], atol=1e-12, rtol=0)
    torch.testing.assert_close(moved.p, plain.p[order], atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("name", SURE)
def test_both_directions_agree(name):
    X, Y = normal(300, 4), normal(300, 3, 1) + normal(300, 4)[:, :3]
    forth, back = pairwise(X, Y, estimator=name, generator=rng()), pairwise(Y, X, estimator=name, generator=rng())
    torch.testing.assert_close(forth.values, back.values.T, atol=1e-12, rtol=0)
    torch.testing.assert_close(forth.p, back.p.T, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("name", SURE)
def test_what_rows_cannot_support_is_flagged(name):
    X = normal(400, 2)
    found = pairwise(X, X, estimator=name, generator=rng())
    limit = 0.5 * np.log(400)
    assert torch.equal(found.unreliable, found.values > limit)
    if name != "binned":  # 16 bins cannot show more than ln 16
        assert found.unreliable.diagonal().tolist() == [True, True]
    assert not bool(found.unreliable[0, 1])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.float16, torch.bfloat16, torch.float64])
def test_any_real_dtype_is_welcome(name, dtype):
    """A label and its copy share the entropy of the label, which a Gaussian copula, being continuous, takes for infinite."""
    label = torch.arange(1000)[:, None] % 2
    found, as_double = (pairwise(side, label, estimator=name, generator=rng()) for side in (label.to(dtype), label.double()))
    assert torch.equal(found.values, as_double.values) and float(found.p) < 1e-12
    if name in ("auto", "binned", "neighbours"):
        assert float(found.values) == pytest.approx(np.log(2), abs=2e-3)
    assert bool(found.unreliable) == (name == "gaussian")


def test_auto_refines_the_significant_and_the_strong_and_nothing_else():
    X, Y = normal(1000, 12), normal(1000, 10, 1)
    Y[:, 0] += X[:, 0]
    found, screened = pairwise(X, Y, generator=rng()), pairwise(X, Y, estimator="binned", generator=rng())
    assert bool(found.refined[0, 0]) and int(found.refined.sum()) <= 4
    assert torch.equal(found.p, screened.p)
    assert torch.equal(found.values[~found.refined], screened.values[~found.refined])
    everything = pairwise(X, Y, estimator=AutoInformation(level=1.0), generator=rng())
    by_neighbours = pairwise(X, Y, estimator="neighbours", generator=rng())
    assert torch.equal(everything.values, by_neighbours.values) and bool(everything.refined.all())
    assert bool((adjusted(found.p)[found.refined] <= 0.05).any())
    weak = pairwise(X, Y, estimator=AutoInformation(level=0.0, strong=0.1), generator=rng())
    assert weak.refined.nonzero().tolist() == [[0, 0]]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_errors_say_what_came_and_what_to_do(name, as_a_user):
    good = normal(50, 2)
    for bad, kind, words in (
        (torch.full((50, 2), float("nan")), InvalidInput, "X has 100 values that are not finite, the first nan at row 0 of unit 0"),
        (torch.full((50, 1), float("inf")), InvalidInput, "the first inf at row 0"),
        (good[:, 0], InvalidInput, r"shape \(50,\); expected \[rows, units\]"),
        (good[:, :0], InvalidInput, "no units"),
        (good[:49], InvalidInput, "X has 49 rows and Y has 50"),
        (good.to(torch.complex64), WrongType, "complex"),
        (good.numpy(), WrongType, "ndarray; expected a tensor"),
    ):
        with pytest.raises(kind, match=words):
            pairwise(bad, good, estimator=name)
    with pytest.raises(InvalidInput, match="Y has 100 values"):
        pairwise(good, good * float("nan"), estimator=name)
    for rows in (0, 1, 15):
        with pytest.raises(InvalidInput, match=f"^{rows} rows .*at least 16"):
            pairwise(good[:rows], good[:rows], estimator=name)


def test_unknown_names_and_levels_are_refused():
    with pytest.raises(UnknownName, match="did you mean 'neighbours'"):
        pairwise(normal(50, 1), normal(50, 1), estimator="neighbors")
    with pytest.raises(InvalidInput, match="level is a number of at least 0 and of at most 1, not 2"):
        AutoInformation(level=2)


def test_inputs_are_left_alone():
    X, Y = normal(100, 2), normal(100, 2, 1)
    copies = X.clone(), Y.clone()
    pairwise(X, Y, generator=rng())
    assert torch.equal(X, copies[0]) and torch.equal(Y, copies[1])
