"""Means of functions that are made of ops, against those in closed form and against fine quadrature; derivatives against autograd."""

import pytest
import torch

from vesalius.sparsity.activations import Activation
from vesalius.sparsity.elementwise_function import Earlier, ElementwiseFunction, Step, UnitConstant, normal_nodes

M = torch.linspace(-4, 4, 33, dtype=torch.float64)
GELU = ElementwiseFunction(name="gelu", steps=(Step(torch.nn.functional.gelu, (Earlier(0),), {}),))
RELU = ElementwiseFunction(name="relu", steps=(Step(torch.relu, (Earlier(0),), {}),))


@pytest.mark.parametrize("deviation", [0.0, 0.4, 2.0])
def test_a_smooth_function_has_the_means_of_its_closed_form(deviation):
    s = torch.tensor(deviation, dtype=torch.float64)
    known = Activation("gelu")
    torch.testing.assert_close(GELU.mean(M, s), known.mean(M, s), rtol=0, atol=1e-9)
    torch.testing.assert_close(GELU.mean_slope(M, s), known.mean_slope(M, s), rtol=0, atol=1e-8)
    torch.testing.assert_close(GELU.mean_curvature(M, s), known.mean_curvature(M, s), rtol=0, atol=1e-6)


@pytest.mark.parametrize("deviation", [0.4, 2.0])
def test_a_corner_costs_little(deviation):
    s = torch.tensor(deviation, dtype=torch.float64)
    known = Activation("relu")
    torch.testing.assert_close(RELU.mean(M, s), known.mean(M, s), rtol=0, atol=6e-3 * deviation)
    torch.testing.assert_close(RELU.mean_slope(M, s), known.mean_slope(M, s), rtol=0, atol=1.5e-2)


def test_single_precision_has_slopes_too():
    m = M.float()
    torch.testing.assert_close(GELU.slope(m).double(), Activation("gelu").slope(M), rtol=0, atol=2e-3)
    assert float(RELU.slope(torch.zeros(1))) == pytest.approx(0.5, abs=1e-3)


def test_nodes_are_those_of_a_standard_normal():
    moments = [sum(share * node**power for node, share in normal_nodes()) for power in range(7)]
    assert moments == pytest.approx([1, 0, 1, 0, 3, 0, 15], abs=1e-5)  # the rest is beyond 6.4 deviations


def test_constants_are_those_of_the_units_on_their_axis():
    scale = torch.tensor([1.0, 10.0, 100.0])
    function = ElementwiseFunction(name="c * h", steps=(Step(torch.mul, (Earlier(0), UnitConstant(scale)), {}),))
    assert torch.equal(function(torch.ones(2, 3)), scale.expand(2, 3))
    assert torch.equal(function.at(-2)(torch.ones(2, 3, 4)), scale[:, None].expand(2, 3, 4))
    assert torch.equal(function.select(slice(1, 3)).at(-2)(torch.ones(2, 4)), scale[1:, None].expand(2, 4))
    assert torch.equal(function.select(torch.tensor([2, 0]))(torch.ones(1, 2)), scale[[2, 0]][None])
