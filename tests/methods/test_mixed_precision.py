"""A network in double precision that goes through single precision within adds up as one that does not."""

import torch
from torch import nn

import vesalius as vs


class SoftmaxInFloat32(nn.Module):
    """As language models have it."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        h = self.first(x)
        square = h.to(torch.float32).pow(2).mean(-1, keepdim=True)
        h = h * torch.rsqrt(square + 1e-6).to(h.dtype)
        return self.last(h * torch.softmax(h, -1, dtype=torch.float32).to(h.dtype))


def test_deeplift_adds_up_to_double_precision():
    torch.manual_seed(0)
    model, x = SoftmaxInFloat32().double(), torch.randn(3, 4).double()
    network = vs.trace(model, x)
    assert network.mixes_precisions
    for method in ("deeplift_rescale", "deeplift_revealcancel"):
        found = vs.attribute(network, x, method, target=1)
        assert found.relative_gap.max() < 1e-12
        torch.testing.assert_close(found.total, model(x)[:, 1].detach(), rtol=1e-6, atol=1e-6)


def test_a_network_of_one_precision_mixes_none():
    assert not vs.trace(nn.Linear(2, 2).double(), torch.zeros(1, 2).double()).mixes_precisions
