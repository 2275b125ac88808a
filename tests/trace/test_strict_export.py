"""Models that ask for the length of their input, against the same models that ask for its shape."""

import pytest
import torch
from torch import nn

import vesalius as vs


class Model(nn.Module):
    """A layer, a norm, something of the batch's size, and a layer."""

    def __init__(self, mixed):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU())
        self.blocks = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.recurrent = nn.GRUCell(6, 6)
        self.head = nn.Linear(7, 2)
        self.mixed = mixed

    def forward(self, x):
        h = self.body(x)
        for block in self.blocks:
            h = h + block(h).tanh()
        return self.head(self.mixed(self, x, h))


def with_ones(size):
    return lambda self, x, h: torch.cat([h, torch.ones(size(x), 1)], 1)


def with_state(size):
    return lambda self, x, h: torch.cat([self.recurrent(h, torch.zeros(size(x), 6)), h[:, :1]], 1)


def with_view(size):
    return lambda self, x, h: torch.cat([h.view(size(x), 2, 3).flatten(1), h.new_zeros(size(h), 1)], 1)


def with_rows(size):
    return lambda self, x, h: torch.cat([h, h[torch.arange(size(h)), h.shape[1] - 1][:, None]], 1)


MIXTURES = {"ones": with_ones, "a first state": with_state, "a view": with_view, "rows by number": with_rows}


def built(mixture, size):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Model(MIXTURES[mixture](size)).eval()


@pytest.mark.parametrize("name", MIXTURES)
def test_a_model_that_asks_for_len_is_the_model_that_asks_for_the_shape(name):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    by_length, by_shape = built(name, len), built(name, lambda tensor: tensor.shape[0])
    found, expected = vs.trace(by_length, x), vs.trace(by_shape, x)
    assert not found.opaque, found.reason
    assert set(found.values) == set(expected.values)
    assert [value.module for value in found.values.values()] == [value.module for value in expected.values.values()]
    assert list(found.layers) == list(expected.layers)
    for rows in (x[:1], x.repeat(3, 1)):
        torch.testing.assert_close(found.run([rows]), by_length(rows))
    one, other = (vs.attribute(network, x, "deeplift_rescale", target=1).values for network in (found, expected))
    torch.testing.assert_close(one, other)


def test_weights_are_the_models_own():
    model = built("ones", len)
    network, x = vs.trace(model, torch.randn(2, 4)), torch.randn(2, 4)
    before = network.run([x])
    with torch.no_grad():
        model.head.bias += 1
    torch.testing.assert_close(network.run([x]), before + 1)


def test_a_loop_over_samples_still_has_no_graph_and_is_told_why():
    class Looped(nn.Module):
        def forward(self, x):
            return torch.stack([row * 2 for row in x])

    network = vs.trace(Looped(), torch.randn(3, 4))
    assert network.opaque
    assert "shape[0]" in network.reason
