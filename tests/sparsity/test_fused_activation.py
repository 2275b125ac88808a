"""What follows a layer is part of it only along the layer's own units."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.rules.layer_rule_networks import EXACT, Function, random
from vesalius.sparsity.links import links_of

SIDE = 4


class Normed(nn.Module):
    """A layer of tokens, then a batch norm along the steps or, behind a transpose, along the units: as many of these as of those."""

    def __init__(self, *, moved: bool) -> None:
        super().__init__()
        self.fc, self.norm, self.moved = nn.Linear(SIDE, SIDE), nn.BatchNorm1d(SIDE), moved

    def forward(self, x):
        h = self.fc(x)
        h = self.norm(h.transpose(1, 2) if self.moved else h)
        return torch.relu(h).flatten(1)


def build(moved):
    torch.manual_seed(0)
    model = Normed(moved=moved).double().eval()
    for tensor in (model.norm.weight, model.norm.running_mean):
        tensor.data.normal_()
    return model


def test_a_norm_along_the_steps_is_not_one_of_units():
    after = links_of(vs.trace(build(False), random(2, SIDE, SIDE)))["fc"].after
    assert after.scale is after.shift is None and after.activation.name == "identity"


def test_a_norm_behind_a_transpose_is_one_of_units():
    model, x = build(True), random(2, SIDE, SIDE)
    (weight, bias), norm = links_of(vs.trace(model, x))["fc"].argument(), model.norm
    expected = norm(model.fc(x).transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(x @ weight.T + bias, expected.detach(), **EXACT)


@pytest.mark.parametrize("moved", [False, True])
def test_a_bias_is_that_of_units_where_it_is_added_along_them(moved):
    weight, bias = random(SIDE, SIDE, seed=1), random(SIDE, seed=2)

    def model(x):
        h = x @ weight.T
        return ((h.transpose(1, 2) if moved else h) + bias).relu().flatten(1)

    (links,) = links_of(vs.trace(Function(model), random(2, SIDE, SIDE))).values()
    assert (links.after.shift is None) == moved


def test_what_sums_become_is_what_the_network_computes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.GELU(), nn.Linear(4, 2)).eval()
    model[1].running_mean.normal_()
    model[1].weight.data.normal_()
    x = torch.randn(5, 3)
    (links, _) = links_of(vs.trace(model, x)).values()
    torch.testing.assert_close(links.after.value(model[0](x)), model[2](model[1](model[0](x))))
