"""Least squares on the links that are left."""

import pytest
import torch

from tests.reference import pruning
from vesalius.sparsity.pruning import refit
from vesalius.sparsity.pruning.refit import RegressionMoments, solve_ridge


def problem(units=7, links=12, rows=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, links, generator=generator) @ torch.randn(links, links, generator=generator) + 3
    start = torch.randn(units, links, generator=generator)
    kept = torch.rand(units, links, generator=generator) < 0.5
    kept[0], kept[1] = True, False
    return x, x @ start.T + torch.randn(rows, units, generator=generator), kept, start


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("memory", [1 << 27, 1])
def test_every_unit_solves_its_own_normal_equations(bias, memory, monkeypatch):
    monkeypatch.setattr(refit, "MAX_SOLVE_BYTES", memory)
    x, targets, kept, start = problem()
    weight, shift = solve_ridge(RegressionMoments.of(x, targets, bias=bias), kept, start, 1e-2)
    expected, moved = pruning.refit_layer(x, targets, kept, start, 1e-2, bias=bias)
    torch.testing.assert_close(weight, expected, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(shift, moved, rtol=1e-6, atol=1e-6)
    assert not weight[~kept].any()


def test_links_that_suffice_give_back_the_weights():
    x, _, kept, start = problem()
    start = start * kept
    weight, shift = solve_ridge(RegressionMoments.of(x, x @ start.T + 2), kept, start, 1e-2)
    torch.testing.assert_close(weight.float(), start, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(shift, torch.full_like(shift, 2.0), rtol=1e-3, atol=1e-3)


def test_units_keep_their_mean():
    x, targets, kept, start = problem()
    weight, shift = solve_ridge(RegressionMoments.of(x, targets), kept, start, 1e-2)
    torch.testing.assert_close((x.double() @ weight.T + shift).mean(0), targets.double().mean(0))


def test_inputs_that_never_vary_do_no_harm():
    x, _, kept, start = problem()
    x[:] = 1.5
    weight, shift = solve_ridge(RegressionMoments.of(x, x @ start.T), kept, start, 1e-2)
    assert weight.isfinite().all()
    torch.testing.assert_close(x.double() @ weight.T + shift, x.double() @ start.double().T, rtol=1e-5, atol=1e-5)
