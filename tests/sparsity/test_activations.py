"""Means of activations under a Gaussian argument, against quadrature; their derivatives, against autograd."""

import numpy as np
import pytest
import torch

from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.sparsity.activations import FUNCTIONS, Activation

NODES, SHARES = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(160))
SHARES = SHARES / SHARES.sum()
M = torch.linspace(-4, 4, 33, dtype=torch.float64)
OFF = {"relu": 4e-3, "leaky_relu": 4e-3, "softplus": 3e-4, "tanh": 2e-4, "gelu": 1e-9, "gelu_tanh": 5e-4, "silu": 2e-4}
"""What the mixtures miss, and, at a corner, the quadrature."""


@pytest.mark.parametrize("name", [*FUNCTIONS])
@pytest.mark.parametrize("deviation", [0.0, 0.4, 2.0])
def test_means_are_those_of_a_gaussian_argument(name, deviation):
    act = Activation(name)
    expected = (act(M[:, None] + deviation * NODES) * SHARES).sum(1)
    found = act.mean(M, torch.tensor(deviation, dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=0, atol=OFF.get(name, 1e-4))


@pytest.mark.parametrize(
    "act", [*(Activation(name) for name in FUNCTIONS), Activation("leaky_relu", 0.3), Activation("softplus", 3.0)], ids=str
)
def test_slopes_and_curvatures_are_derivatives_of_the_mean(act):
    m, s = M.clone().requires_grad_(), torch.tensor(0.7, dtype=torch.float64)
    slope = torch.autograd.grad(act.mean(m, s).sum(), m, create_graph=True)[0]
    torch.testing.assert_close(act.mean_slope(M, s), slope.detach(), rtol=0, atol=1e-12)
    if slope.requires_grad:
        curvature = torch.autograd.grad(slope.sum(), m, allow_unused=True)[0]
        curvature = torch.zeros_like(M) if curvature is None else curvature
        torch.testing.assert_close(act.mean_curvature(M, s), curvature, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [*FUNCTIONS])
def test_the_slope_at_a_point(name):
    act, z = Activation(name), (M + 0.01).requires_grad_()
    expected = torch.autograd.grad(act(z).sum(), z)[0]
    torch.testing.assert_close(act.slope(M + 0.01), expected, rtol=0, atol={"gelu_tanh": 2e-3}.get(name, 4e-4))


def test_parameters_are_those_of_the_activation():
    z = torch.tensor([-2.0, 3.0])
    assert torch.equal(Activation("leaky_relu", 0.5)(z), torch.tensor([-1.0, 3.0]))
    torch.testing.assert_close(Activation("softplus", 2.0)(z), torch.nn.functional.softplus(z, 2.0))
    assert Activation("leaky_relu").parameter == 0.01 and Activation("leaky_relu").monotone
    assert not Activation("leaky_relu", -0.1).monotone and not Activation("gelu").monotone


def test_errors(as_a_user):
    with pytest.raises(UnknownName, match="did you mean 'relu'"):
        Activation("rleu")
    with pytest.raises(InvalidInput, match="beta above 0, not -1"):
        Activation("softplus", -1.0)
