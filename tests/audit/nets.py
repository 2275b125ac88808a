"""Networks to audit, in float64 and as users write them."""

from contextlib import contextmanager

import torch
from jaxtyping import config
from torch import nn

import vesalius as vs

N = 10


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def tanh_net(inputs=N, seed=0, bias=0.4):
    """Smooth, of two hidden layers; its series at 0 does not stop at any order."""
    model = nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 3)).double()
    return filled(model, seed, bias)


def relu_net(inputs=N, seed=1):
    """Kinked, without any bias."""
    model = nn.Sequential(
        nn.Linear(inputs, 16, bias=False), nn.ReLU(), nn.Linear(16, 12, bias=False), nn.ReLU(), nn.Linear(12, 3, bias=False)
    ).double()
    return filled(model, seed, 0.0)


def filled(model, seed, bias):
    generator = seeded(seed)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64) * 0.9 / layer.in_features**0.5)
                if layer.bias is not None:
                    layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator, dtype=torch.float64) * bias)
    return model


def sample(inputs=N, seed=2):
    return torch.randn(inputs, generator=seeded(seed), dtype=torch.float64)


def traced(model, inputs=N):
    return vs.trace(model, torch.zeros(1, inputs, dtype=torch.float64))


def columns(inputs=N):
    return vs.Players.features(torch.zeros(inputs))


def twelve_segments():
    """Sixteen blocks of 2 x 2 pixels of a digit, the corners joined with other blocks: twelve players."""
    rows = torch.arange(8) // 2
    blocks = rows[:, None] * 4 + rows
    return vs.Players.segments(torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 3, 8, 11])[blocks])


@contextmanager
def unchecked():
    """Without the shape checks of tests, which cost thousands of small games more than the games; smaller audits run with them."""
    before, config.jaxtyping_disable = config.jaxtyping_disable, True
    try:
        yield
    finally:
        config.jaxtyping_disable = before
