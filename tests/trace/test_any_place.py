"""Networks from any value on, and models whose own checks look at the values."""

import torch
from torch import nn
from torch.distributions import Distribution, Normal

import vesalius as vs


class Turned(nn.Module):
    """A value is turned and read back through a view, which its own strides allow and those of a copy do not."""

    def __init__(self):
        super().__init__()
        self.embed, self.turn, self.head = nn.Linear(3, 4), nn.Identity(), nn.Linear(20, 2)

    def forward(self, x):
        turned = torch.tanh(self.embed(x)).transpose(1, 2) * 1
        return self.head(turned.transpose(1, 2).view(len(x), -1))


def test_from_a_value_on_strides_are_any():
    torch.manual_seed(0)
    model, x = Turned().eval(), torch.randn(2, 5, 3)
    network = vs.trace(model, x[:1])
    turned = "mul"
    found = vs.attribute(network, x, "deeplift_rescale", target=1, at=turned)
    torch.testing.assert_close(found.total, model(x)[:, 1].detach())
    torch.testing.assert_close(found.base + found.values.flatten(1).sum(1), found.total)


class Density(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))

    def forward(self, x):
        return Normal(0.0, 1.0).log_prob(self.inner(x)).sum(1)


def test_distributions_are_traced_without_their_checks_which_stay_as_they_were():
    torch.manual_seed(0)
    model, x, before = Density(), torch.randn(3, 4), Distribution._validate_args
    network = vs.trace(model, x)
    assert not network.opaque
    assert Distribution._validate_args is before
    torch.testing.assert_close(network(x), model(x))
