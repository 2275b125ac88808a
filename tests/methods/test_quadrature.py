"""Gradients integrated by nested rules: their exactness, their honesty at spikes, and that they never step over one."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import vesalius as vs
from vesalius.methods import ExpectedGradients, IntegratedGradients
from vesalius.methods.clenshaw_curtis import chebyshev_weights, graded_nodes, nested_weights, strip_nodes

EDGES = [0.0, *(10.0**-k for k in range(20, 0, -1)), *np.linspace(0.15, 0.95, 17), *(1 - 10.0**-k for k in range(2, 13)), 1.0]


def integral(function, x, b):
    """Gauss-Legendre on panels that are graded to both ends: (x - b) times the mean gradient of a function of rows [n D]."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    total = torch.zeros_like(x)
    for start, stop in itertools.pairwise(EDGES):
        times = torch.from_numpy(start + (stop - start) * (nodes + 1) / 2)[:, None]
        points = (b + times * (x - b)).requires_grad_()
        (slopes,) = torch.autograd.grad(function(points).sum(), points)
        total += torch.from_numpy(weights) @ slopes * (stop - start) / 2
    return total * (x - b)


class Cells(nn.Module):
    """[N 12 1] as channels of one place, or three channels of four places."""

    def __init__(self, norm, *shape):
        super().__init__()
        self.norm, self.shape = norm, shape

    def forward(self, x):
        return self.norm(x.reshape(-1, *self.shape)).reshape(-1, 12)


class Normalize(nn.Module):
    def forward(self, x):
        return 3 * F.normalize(x, dim=-1)


NORMS = {
    "layer": lambda: nn.LayerNorm(12),
    "layer, tiny eps": lambda: nn.LayerNorm(12, eps=1e-12),
    "rms": lambda: nn.RMSNorm(12, eps=1e-6),
    "group": lambda: Cells(nn.GroupNorm(3, 12), 12, 1),
    "instance": lambda: Cells(nn.InstanceNorm1d(3), 3, 4),
    "normalize": Normalize,
}


def rows(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normed(norm, act, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(norm(), nn.Linear(12, 16), act(), nn.Linear(16, 16), act(), nn.Linear(16, 2)).double().eval()
        for layer in model[1::2]:
            layer.weight.data.mul_(2)
        return model


def compare(found, exact):
    away = (found.flat.double() - exact).norm(dim=1) / exact.norm(dim=1)
    assert (away <= 2 * found.map_error.double()).all(), (away, found.map_error)
    assert (away[found.converged] <= 2e-2).all()
    return away


def test_weights_are_those_of_polynomials():
    for count in (3, 5, 9, 17):
        nodes = -np.cos(np.pi * np.arange(count) / (count - 1))
        for degree in range(count):
            exact = 0.0 if degree % 2 else 2 / (degree + 1)
            assert chebyshev_weights(count) @ nodes**degree == pytest.approx(exact, abs=1e-13)


@pytest.mark.parametrize("grading", [-6.0, -1.5, 0.0, 1.5, 20.0])
def test_graded_nodes_are_nested_and_integrate_smooth_functions(grading):
    fine, coarse = graded_nodes(65, grading)[0], graded_nodes(33, grading)[0]
    np.testing.assert_allclose(fine[::2], coarse, rtol=1e-12, atol=1e-15)
    assert fine[0] == 0
    assert fine[-1] == pytest.approx(1)
    nodes, speeds = graded_nodes(129, grading)
    assert nested_weights(129, 3)[0] @ (speeds * np.exp(nodes)) == pytest.approx(np.e - 1, rel=1e-8)


def test_the_strip_converges_faster_than_the_ellipse():
    """1 / (1 + 16 t^2), poles at a distance from [-1, 1] that is short against its length."""
    exact = np.arctan(4) / 2
    nodes = -np.cos(np.pi * np.arange(33) / 32)
    plain = chebyshev_weights(33) @ (1 / (1 + 16 * nodes**2))
    place, speed = strip_nodes(33)
    even = chebyshev_weights(33) @ (2 * speed / (1 + 16 * (2 * place - 1) ** 2))
    assert abs(even - exact) < abs(plain - exact) / 10


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
def test_norms_at_a_zero_baseline_are_known_to_the_tolerance(norm):
    model, x = normed(NORMS[norm], nn.GELU), rows(2, 12, seed=1)
    exact = torch.stack([integral(lambda p: model(p)[:, 0], row, torch.zeros_like(row)) for row in x])
    found = vs.attribute(vs.trace(model, x), x, target=0)
    compare(found, exact)
    assert found.converged.all()
    assert found.gap.abs().max() <= 1e-10
    single = vs.attribute(vs.trace(model.float(), x.float()), x.float(), target=0)
    compare(single, exact)
    assert single.converged.all()


@pytest.mark.parametrize("ends", ["near", "sample", "inside"])
def test_spikes_beside_the_baseline_at_the_sample_and_inside(ends):
    model, x = normed(NORMS["layer"], nn.GELU), rows(1, 12, seed=2)
    start, stop = {"near": (1e-6 * x.flip(1), x), "sample": (x, 0 * x), "inside": (-x / 4, x)}[ends]
    parts = [(start, stop)] if ends != "inside" else [(start, 0 * x), (0 * x, stop)]
    exact = sum(integral(lambda p: model(p)[:, 0], b[0], a[0]) for a, b in parts)[None]
    found = vs.attribute(vs.trace(model, x), stop, target=0, baseline=start)
    compare(found, exact)
    assert found.converged.all()


@pytest.mark.parametrize("rule", ["auto", "quadrature"])
def test_kinks_behind_a_norm_are_not_stepped_over(rule):
    """Against panels that are halved where they disagree."""
    model, x = normed(NORMS["layer"], nn.ReLU), rows(2, 12, seed=3)
    network = vs.trace(model, x)
    exact = vs.attribute(network, x, IntegratedGradients(rule="quadrature", tol=3e-4, max_steps=20_000), target=0)
    assert exact.converged.all()
    compare(vs.attribute(network, x, IntegratedGradients(rule=rule), target=0), exact.flat)


def test_what_has_no_slope_at_the_baseline():
    """A root of a sum of squares is x / |x| everywhere but at 0."""
    x = rows(3, 4)
    found = vs.attribute(lambda rows: rows.square().sum(1).sqrt(), x, IntegratedGradients(rule="quadrature"), target=None)
    torch.testing.assert_close(found.values, x.square() / x.norm(dim=1, keepdim=True), rtol=1e-3, atol=1e-4)


def test_a_black_box_is_judged_too():
    model, x = normed(NORMS["rms"], nn.GELU), rows(2, 12, seed=4)
    exact = torch.stack([integral(lambda p: model(p)[:, 1], row, torch.zeros_like(row)) for row in x])
    network = vs.trace(lambda rows: model(rows) if float(rows.sum()) > -1e9 else model(-rows), x)
    assert network.opaque
    found = vs.attribute(network, x, target=1)
    compare(found, exact)
    assert found.converged.all()


def test_cancelling_spikes_are_seen_at_the_baseline():
    """Two steep functions whose spikes cancel in the output, not in the map."""
    x = torch.tensor([[1.0, 1.0, 0.3]]).double()
    network = vs.trace(lambda r: torch.tanh(1e6 * r[:, 0]) - torch.tanh(1e6 * r[:, 1]) + r[:, 2] ** 2, x)
    found = vs.attribute(network, x, IntegratedGradients(rule="quadrature"))
    torch.testing.assert_close(found.values, torch.tensor([[1.0, -1.0, 0.09]]).double(), rtol=1e-2, atol=1e-3)
    assert found.converged.all()


def test_baselines_are_integrated_together_and_their_mean_is_judged():
    model, x = normed(NORMS["layer"], nn.GELU), rows(2, 12, seed=5)
    background = torch.cat([torch.zeros(1, 12).double(), rows(2, 12, seed=6)])
    exact = torch.stack([torch.stack([integral(lambda p: model(p)[:, 0], row, b) for b in background]).mean(0) for row in x])
    found = vs.attribute(vs.trace(model, x), x, ExpectedGradients(), target=0, baseline=background)
    compare(found, exact)
    assert found.converged.all()
    assert found.gap.abs().max() <= 1e-10


def test_few_gradients_are_not_enough_and_that_is_said():
    model, x = normed(NORMS["rms"], nn.GELU), rows(2, 12, seed=7)
    found = vs.attribute(vs.trace(model, x), x, IntegratedGradients(max_steps=12), target=0)
    assert not found.converged.any()
    assert (found.evaluations <= 13).all()
    assert (found.gap.abs() > 1e-3).all()
