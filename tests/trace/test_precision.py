"""A network in another precision is made once, is a copy, and costs nothing the second time."""

from __future__ import annotations

import gc
import linecache
import weakref

import pytest
import torch
from torch import nn

import vesalius as vs


@pytest.fixture
def case():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    return model, vs.trace(model, x), x


def test_the_second_cast_is_the_first(case):
    _, network, x = case
    double = network.cast(torch.float64)
    assert network.cast(torch.float64) is double
    assert network.cast(torch.bfloat16) is not double
    assert {tensor.dtype for tensor in double.parameters.values()} == {torch.float64}
    torch.testing.assert_close(double(x.double()), network(x).double(), rtol=1e-6, atol=1e-6)


def test_no_source_piles_up(case):
    """torch keeps the text of every program it compiles for good."""
    _, network, x = case
    vs.attribute(network, x, "deeplift_rescale", target=0)
    network.cast(torch.float64)(x.double())
    before = len(linecache.cache)
    for _ in range(3):
        network.cast(torch.float64)(x.double())
    assert len(linecache.cache) == before


@pytest.mark.parametrize("write", [lambda weight: weight.mul_(2), lambda weight: weight.data.mul_(2)])
def test_a_model_that_learned_is_cast_anew_and_the_copy_stays_as_it_was(case, write):
    model, network, x = case
    earlier = network.cast(torch.float64)
    before = earlier(x.double())
    with torch.no_grad():
        write(model[0].weight)
    assert torch.equal(earlier(x.double()), before)
    torch.testing.assert_close(network.cast(torch.float64)(x.double()), network(x).double(), rtol=1e-6, atol=1e-6)
    assert network.cast(torch.float64) is not earlier


@pytest.mark.slow
def test_a_cast_keeps_nothing_alive():
    """Neither does the copy hold the network, nor anything else either of them."""
    network = vs.trace(nn.Linear(3, 2), torch.zeros(1, 3))
    double = network.cast(torch.float64)
    first, second = weakref.ref(network), weakref.ref(double)
    del network
    gc.collect()
    assert first() is None
    del double
    gc.collect()
    assert second() is None
