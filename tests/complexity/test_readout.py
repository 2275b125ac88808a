"""Exits in closed form: the slow twin, streaming, and what ridge choice may and may not do."""

from itertools import pairwise

import pytest
import torch

from tests.reference import ridge as slow
from vesalius.complexity.networks import RowShapes, Trunk
from vesalius.complexity.readout import (
    Disentangler,
    RidgeStatistics,
    fit_readout,
    mean_predictor,
    readout_features,
    ridge_regression,
    squared_errors,
)
from vesalius.core.errors import InvalidInput

SHAPE = RowShapes(x=(4,), f=(3,))


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def accumulate(a, b, size=7):
    sums = RidgeStatistics()
    for left, right in zip(a.split(size), b.split(size), strict=True):
        sums.add(left, right)
    return sums


def test_ridge_is_that_of_the_slow_twin_on_every_position_about_its_own_mean():
    places = torch.tensor([[[1.0], [-8.0], [30.0]]], dtype=torch.float64)
    a, b = draw(10, 3, 4) * torch.tensor([1.0, 5.0, 0.1, 1.0], dtype=torch.float64) + 20, draw(10, 3, 2, seed=1) - 7
    weight, bias = ridge_regression(accumulate(a + places, b - 2 * places), 0.01)
    centred = [(part - part.mean(0)).flatten(0, 1).tolist() for part in (a, b)]
    expected = torch.tensor(slow.ridge(*centred, 0.01)[0], dtype=torch.float64)
    torch.testing.assert_close(weight, expected, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(bias, (b - 2 * places).mean(0) - (a + places).mean(0) @ expected, rtol=1e-8, atol=1e-8)


def test_it_streams():
    a, b = draw(50, 1, 6), draw(50, 1, 2, seed=1)
    for size in (1, 50):
        torch.testing.assert_close(ridge_regression(accumulate(a, b, size), 1e-3), ridge_regression(accumulate(a, b, 16), 1e-3))


def test_more_columns_leave_less_of_the_rows_fitted():
    read, target = draw(60, 1, 12), draw(60, 1, 3, seed=1)
    left = []
    for wide in (3, 6, 9, 12):
        weight, bias = ridge_regression(accumulate(read[..., :wide], target), 1e-9)
        left.append(float((read[..., :wide] @ weight + bias - target).square().sum()))
    assert all(later < earlier for earlier, later in pairwise(left))


def test_fewer_rows_than_columns_in_single_precision_are_those_in_double():
    """Columns of unlike size, as behind a ReLU: a product in single precision is not positive definite by more than the least ridge."""
    a, b = draw(150, 1, 600, dtype=torch.float32).relu() * torch.logspace(-1, 2, 600), draw(150, 1, 2, seed=1, dtype=torch.float32)
    weight, bias = ridge_regression(accumulate(a, b, 64), 1e-8)
    exact, exact_bias = ridge_regression(accumulate(a.double(), b.double(), 64), 1e-8)
    torch.testing.assert_close(a.double() @ weight + bias, a.double() @ exact + exact_bias, rtol=1e-3, atol=1e-3)


def test_no_rows_and_flat_columns():
    with pytest.raises(InvalidInput, match="needs rows"):
        ridge_regression(RidgeStatistics(), 1e-3)
    weight, bias = ridge_regression(accumulate(torch.ones(20, 1, 2, dtype=torch.float64), draw(20, 1, 1)), 1e-3)
    assert weight.abs().max() < 1e-9
    torch.testing.assert_close(bias, draw(20, 1, 1).mean(0))


def rows(n, noise, seed):
    x = draw(n, 4, seed=seed, dtype=torch.float32)
    target = x @ draw(4, 3, seed=9, dtype=torch.float32) + 2 + noise * draw(n, 3, seed=seed + 1, dtype=torch.float32)
    return lambda: zip(x.split(16), target.unsqueeze(1).split(16), strict=True)


def test_a_linear_target_is_fitted_by_the_input_skip():
    net, errors = fit_readout(Trunk(SHAPE, 8, 0).eval(), rows(200, 0, 1), rows(40, 0, 3), 1e-6)
    assert errors.shape == (40,)
    assert errors.max() < 1e-6
    torch.testing.assert_close(net.weight, draw(4, 3, seed=9, dtype=torch.float32), rtol=1e-3, atol=1e-3)


def test_the_ridge_is_chosen_on_other_rows():
    few, many = rows(8, 3.0, 1), rows(400, 3.0, 3)
    trunk = Trunk(SHAPE, 8, 0).eval()
    _, errors = fit_readout(trunk, few, many, 0.1)
    sums = RidgeStatistics()
    for x, f in few():
        sums.add(readout_features(trunk, x), f)
    weak = Disentangler(trunk=trunk, **dict(zip(("weight", "bias"), (part.float() for part in ridge_regression(sums, 1e-3)), strict=True)))
    assert errors.sum() < squared_errors([weak], many)[0].sum()


def test_units_are_read_beside_the_input():
    trunk = Trunk(SHAPE, 8, 2, generator=torch.Generator().manual_seed(0)).eval()
    x = draw(5, 4, dtype=torch.float32)
    read = readout_features(trunk, x)
    assert torch.equal(read[..., :4], x.unsqueeze(1))
    assert torch.equal(read[..., 4:], trunk(x)[1])
    assert not read.requires_grad


def test_the_constant_net_is_the_mean():
    net = mean_predictor(Trunk(SHAPE, 8, 0).eval(), rows(100, 1.0, 1))
    expected = torch.cat([f for _, f in rows(100, 1.0, 1)()]).mean((0, 1))
    torch.testing.assert_close(net(torch.zeros(2, 4)), expected.expand(2, 1, 3))
