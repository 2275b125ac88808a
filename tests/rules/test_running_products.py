"""Products over an axis: the mean of the derivative along the line, by an integral of another kind, and what LRP makes of them."""

import numpy as np
import pytest
import torch
from torch import nn

import vesalius as vs
from tests.rules.single_op import EXACT, multipliers, random


def mean_gradient(function, x, b, m, steps=2000):
    """Midpoints of many small steps."""
    total = torch.zeros_like(x)
    for time in (np.arange(steps) + 0.5) / steps:
        point = (b + (x - b) * time).requires_grad_()
        total += torch.autograd.grad((function(point) * m).sum(), point)[0]
    return total / steps


PRODUCTS = {
    "prod": lambda z: z.prod(1),
    "prod of one factor": lambda z: z[:, :1].prod(1),
    "prod, kept": lambda z: z[:, None].prod(2, keepdim=True),
    "cumprod": lambda z: z.cumprod(1),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("zeros", [False, True])
def test_products_have_the_mean_gradient(name, zeros):
    """Zeros among the factors included, at one end or at both."""
    function, x, b = PRODUCTS[name], random(2, 6, seed=1), random(2, 6, seed=2)
    if zeros:
        x[:, 1], b[:, 1], b[:, 4] = 0, 0, 0
    m = random(*function(x).shape[1:], seed=3)
    (found,) = multipliers(function, (x,), (b,), m)
    torch.testing.assert_close(found, mean_gradient(function, x, b, m), rtol=1e-5, atol=1e-5)


def test_all_factors_of_a_product_count_alike():
    (found,) = multipliers(lambda z: z.prod(1), (torch.full((1, 5), 2.0).double(),), (torch.ones(1, 5).double(),), torch.ones(()).double())
    torch.testing.assert_close(found, torch.full((1, 5), 31 / 5, dtype=torch.float64), **EXACT)


def test_a_long_product_adds_up():
    x, b = 1 + 0.1 * random(1, 101, seed=1), 1 + 0.1 * random(1, 101, seed=2)
    multipliers(lambda z: z.cumprod(1), (x,), (b,))


class Product(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x).reshape(x.shape[0], -1).sum(1, keepdim=True)


@pytest.mark.parametrize("name", PRODUCTS)
def test_relevance_of_a_product_is_shared_equally(name):
    x = random(2, 4, seed=4)
    found = vs.attribute(vs.trace(Product(PRODUCTS[name]), x), x, "lrp_epsilon")
    torch.testing.assert_close(found.values.sum(1), found.total, **EXACT)
    if name == "prod":
        torch.testing.assert_close(found.values, (found.total / 4)[:, None].expand(-1, 4), **EXACT)
