"""Roots, norms and deviations that are 0 at both ends, or at one: values add up and none is NaN."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vesalius as vs
from tests.rules.single_op import EXACT, TABLES, multipliers, random
from vesalius.core.errors import InvalidInput
from vesalius.rules.two_point_ops import Elementwise

ROOTS = {
    "sqrt": lambda h: h.square().sum(1, keepdim=True).sqrt(),
    "norm": lambda h: h.norm(dim=1, keepdim=True),
    "norm of order 3": lambda h: h.norm(3, dim=1, keepdim=True),
    "normalize": lambda h: F.normalize(h, dim=1),
    "std": lambda h: h.std(1, keepdim=True),
    "power": lambda h: h.square().sum(1, keepdim=True) ** 0.5,
    "small power": lambda h: h.abs() ** 0.3,
    "distance": lambda h: torch.cdist(h[:, None], torch.zeros_like(h[:, None]))[:, 0],
    "hypot": lambda h: torch.hypot(h[:, :2], h[:, 2:]),
    "spectrum": lambda h: torch.fft.rfft(h).abs(),
}


class Rooted(nn.Module):
    """A root of what the first two columns are, beside the rest."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        h = x[:, :1] * torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=x.dtype)
        return torch.cat([self.function(h), x[:, 1:] ** 2], 1).sum(1, keepdim=True)


@pytest.mark.parametrize("name", ROOTS)
def test_roots_of_zero_at_both_ends(name):
    """The column under the root is 0 at the sample and at the baseline; the other one is all there is."""
    network = vs.trace(Rooted(ROOTS[name]), random(2, 2).abs() + 0.1)
    x = torch.tensor([[0.0, 2.0], [0.0, -1.0]]).double()
    for method in ("deeplift_rescale", "deeplift_revealcancel", vs.METHODS["deep_shap"](variant="exact"), "integrated_gradients"):
        found = vs.attribute(network, x, method)
        torch.testing.assert_close(found.values, torch.tensor([[0.0, 4.0], [0.0, 1.0]]).double(), rtol=1e-2, atol=1e-12)
        assert found.relative_gap.max() < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("name", ROOTS)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-12, 1e-9, 1e-4, 1.0])
def test_roots_from_zero_add_up_however_near(name, table, size):
    """``multipliers`` checks it, to 1e-10 of numbers that are up to the root of that apart."""
    x = size * random(2, 4, seed=1)
    found = multipliers(ROOTS[name], (x,), (torch.zeros_like(x),), table=table)
    assert found[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("function", [torch.sqrt, lambda z: z**0.3, torch.log1p], ids=["sqrt", "power", "log1p"])
def test_slopes_near_the_end_of_a_domain_are_those_of_the_secant(function, dtype):
    """Where the derivative half way is far from the secant, near ends or not."""
    start = {torch.sqrt: 0.0, torch.log1p: -0.5}.get(function, 0.0)
    z0 = torch.full((3,), start, dtype=dtype)
    z1 = z0 + torch.tensor([1e-3, 3e-7, 0.0], dtype=dtype) * (1 if dtype == torch.float32 else 1e-3)
    slope = Elementwise(function).slope(z1, z0)
    change = function(z1) - function(z0)
    torch.testing.assert_close(slope * (z1 - z0), change, rtol=1e-6, atol=1e-12)
    assert slope.isfinite().all()


def test_relevance_of_a_root_of_zero_is_none():
    network = vs.trace(Rooted(ROOTS["sqrt"]), random(2, 2))
    found = vs.attribute(network, torch.tensor([[0.0, 2.0]]).double(), "lrp_epsilon")
    torch.testing.assert_close(found.values, torch.tensor([[0.0, 4.0]]).double(), **EXACT)


@pytest.mark.parametrize("method", ["gradient_x_input", "gradient_x_input_at_baseline"])
def test_gradients_that_are_not_numbers_are_an_error(method):
    network = vs.trace(Rooted(lambda h: h.clamp_min(0).sqrt() * 0), random(2, 2).abs() + 0.1)
    with pytest.raises(InvalidInput, match="NaN or infin"):
        vs.attribute(network, torch.tensor([[0.0, 2.0]]).double(), method)
