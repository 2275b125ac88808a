"""Patches times weights are the layer, for transposed convolutions of every stride, padding, dilation and grouping."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.rules.layer_rule_networks import EXACT, random
from vesalius.sparsity import Pruning, link_importance, sparsify
from vesalius.sparsity.links import links_of

TRANSPOSED = [
    nn.ConvTranspose1d(4, 6, 3),
    nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1),
    nn.ConvTranspose1d(4, 6, 4, stride=3, padding=2, groups=2, bias=False),
    nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), output_padding=(1, 0)),
    nn.ConvTranspose2d(4, 4, 2, stride=2, groups=4),
    nn.ConvTranspose3d(4, 3, 2, stride=2, padding=1),
]


def traced(layer):
    torch.manual_seed(0)
    layer = layer.double()
    space = (5, 4, 3)[: layer.weight.ndim - 2]
    x = random(3, 4, *space)
    return vs.trace(nn.Sequential(layer, nn.ReLU()), x), x


@pytest.mark.parametrize("layer", TRANSPOSED, ids=str)
def test_rows_times_links_are_the_layer(layer):
    net, x = traced(layer)
    (one,) = links_of(net).values()
    z = net.read(x, one.layer.value)[one.layer.value]
    made = torch.cat([part @ one.weight[units].T + one.bias[units] for units, part in one.split(one.rows(x))], 1)
    torch.testing.assert_close(made, z.movedim(1, -1).reshape(-1, one.units), **EXACT)
    assert torch.equal(one.to_weight_shape(one.weight), net.parameters[one.layer.weight])
    assert link_importance(net, x)["0"].values.shape == layer.weight.shape


def test_a_decoder_of_images_is_pruned_and_refitted():
    torch.manual_seed(0)
    x = torch.randn(64, 2, 6, 6)
    layers = nn.Conv2d(2, 8, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2, 2), nn.ReLU(), nn.ConvTranspose2d(6, 2, 1)
    model = nn.Sequential(*layers).eval()

    def change(thin):
        return float((thin.model(x) - model(x)).detach().square().mean())

    refitted, once = (sparsify(model, x, sparsity=0.6, mode=mode, pruning=Pruning(allocation="uniform")) for mode in ("refit", "paper"))
    assert set(refitted.masks) == {"0", "2", "4"} and not refitted.coverage.left
    assert change(refitted) < change(once)
