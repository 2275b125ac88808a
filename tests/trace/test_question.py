"""A question in double precision is the same question."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.core.errors import NotTraceable
from vesalius.trace.question import ask, to_float64


@pytest.fixture(scope="module")
def case():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4))
        x = torch.randn(6, 3)
    return vs.trace(model, x), x


def test_about_some_samples_it_explains_the_classes_that_were_predicted(case):
    network, x = case
    rows = torch.tensor([4, 1, 2])
    given = ask(network, x, at="1")
    found = to_float64(given, rows)
    assert {tensor.dtype for tensor in (*found.present, *found.inputs, found.total)} == {torch.float64}
    assert (found.at, found.end) == (given.at, given.end)
    assert torch.equal(found.pick.positions, given.pick.positions[rows])
    torch.testing.assert_close(found.total, given.total[rows].double(), rtol=1e-6, atol=1e-6)
    asked = to_float64(ask(network, x, target=torch.arange(6) % 4), rows)
    assert torch.equal(asked.pick.positions, (rows % 4)[:, None])


def test_what_single_precision_took_for_the_largest_is_still_explained():
    class Close(nn.Module):
        def forward(self, x):
            return torch.cat([1 + 0 * x, 1 + 1e-9 * x], 1)

    network = vs.trace(Close(), torch.ones(1, 1))
    given = ask(network, torch.ones(1, 1))
    assert network.cast(torch.float64)(torch.ones(1, 1).double()).argmax() == 1
    assert given.pick.positions.tolist() == to_float64(given).pick.positions.tolist() == [[0]]


def test_one_sample_stays_one_sample(case):
    network, x = case
    assert to_float64(ask(network, x[0])).single
    assert not to_float64(ask(network, x[:1])).single


def test_a_network_without_a_graph_has_no_other_precision():
    x = torch.ones(1, 3)
    with pytest.raises(NotTraceable, match="float64"):
        to_float64(ask(vs.trace(lambda z: z.sum(1), x), x))
