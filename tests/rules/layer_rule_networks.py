"""Small sequential networks in float64 with one of everything that layer-wise rules meet, and their twins as dense layers."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from tests.reference import convolution, dense_rules
from tests.reference.dense_rules import Options
from vesalius.rules.composite import Composite
from vesalius.rules.layer_rules import AlphaBeta, Box, Epsilon, Gamma, WSquare

POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d)
STEPS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, *POOLS)
EXACT = {"rtol": 1e-10, "atol": 1e-10}
EVERYWHERE = {
    "epsilon 1e-6": (Epsilon(), "epsilon", Options(eps=1e-6)),
    "epsilon .25": (Epsilon(epsilon=0.25), "epsilon", Options(eps=0.25)),
    "epsilon 0": (Epsilon(epsilon=0), "epsilon", Options()),
    "alpha 2 beta 1": (AlphaBeta(), "alpha_beta", Options(stabiliser=1e-9)),
    "z+": (AlphaBeta(alpha=1, beta=0), "z_plus", Options(stabiliser=1e-9)),
    "alpha 1.5, stabilised": (AlphaBeta(alpha=1.5, beta=0.5, stabiliser=0.1), "alpha_beta", Options(alpha=1.5, beta=0.5, stabiliser=0.1)),
    "gamma": (Gamma(), "gamma", Options(stabiliser=1e-6)),
    "gamma 2, stabilised": (Gamma(gamma=2.0, stabiliser=0.1), "gamma", Options(gamma=2.0, stabiliser=0.1)),
}
"""Rules for all layers: ours, the twin's name and its options."""

AT_THE_INPUT = {
    "box": (Box(low=-1.5, high=2.0, stabiliser=0.01), "z_box", Options(low=-1.5, high=2.0, stabiliser=0.01)),
    "square": (WSquare(), "w_square", Options(stabiliser=1e-6)),
    "flat": (WSquare(flat=True), "flat", Options(stabiliser=1e-6)),
}
"""Rules for the first layer, with epsilon = 0 behind it."""


def everywhere(rule):
    """One rule for all layers."""
    return Composite(dense=rule, convolution=rule)


def at_the_input(rule):
    """One rule for the first layer, LRP-0 for the others."""
    return Composite(dense=Epsilon(epsilon=0), convolution=Epsilon(epsilon=0), first=rule)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def settled(*modules, seed=0):
    """In eval mode, with random weights, biases and statistics; every third channel of a batch norm has a negative weight."""
    model = nn.Sequential(*modules).double().eval()
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point():
            tensor.data = torch.randn(tensor.shape, generator=generator, dtype=torch.float64) * 0.6
        if name.endswith("running_var"):
            tensor.data = tensor.data.abs() + 0.5
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.weight.data = module.weight.data.abs() + 0.4
            module.weight.data[::3] *= -1
    return model


class Function(nn.Module):
    """A function as a network: plain ones are not traced."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def mlp(activation):
    return settled(nn.Linear(5, 6), activation, nn.Linear(6, 4), activation, nn.Linear(4, 3))


NETS = {
    "relu": lambda: (mlp(nn.ReLU()), (5,)),
    "leaky relu": lambda: (mlp(nn.LeakyReLU(0.1)), (5,)),
    "gelu": lambda: (mlp(nn.GELU()), (5,)),
    "tanh": lambda: (mlp(nn.Tanh()), (5,)),
    "sigmoid": lambda: (mlp(nn.Sigmoid()), (5,)),
    "linear after linear": lambda: (settled(nn.Linear(5, 4), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), (5,)),
    "no biases": lambda: (settled(nn.Linear(5, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False)), (5,)),
    "convolutions": lambda: (
        settled(
            *(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2, groups=2, padding=(1, 0)), nn.SiLU()),
            *(nn.Conv2d(4, 3, 2, dilation=(2, 1), padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(27, 3)),
        ),
        (2, 5, 5),
    ),
    "transposed": lambda: (
        settled(
            *(nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1), nn.BatchNorm2d(4), nn.ReLU()),
            *(nn.ConvTranspose2d(4, 2, 2, groups=2), nn.GELU(), nn.Flatten(), nn.Linear(98, 2)),
        ),
        (2, 3, 3),
    ),
    "pools": lambda: (
        settled(
            *(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3, padding="same"), nn.Tanh()),
            *(nn.AvgPool2d(3, stride=1, padding=1), nn.Conv2d(4, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)),
        ),
        (1, 6, 6),
    ),
    "batch norms": lambda: (
        settled(
            *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3, bias=False), nn.BatchNorm2d(3), nn.LeakyReLU(0.2)),
            *(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3)),
        ),
        (1, 6, 6),
    ),
    "steps of a sequence": lambda: (
        settled(
            nn.Conv1d(2, 4, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv1d(4, 3, 2, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(9, 2)
        ),
        (2, 6),
    ),
}
"""Name to (module, shape of one sample)."""


def twin(model, shape, x, rules, options=None, target=1):
    """Relevance by the slow twin, sample by sample; ``rules`` is one name, or that of the first layer and of the others.

    Average pools pass relevance on in proportion, without a stabiliser, whatever the rule of the layers around them.
    """
    first, others = rules if isinstance(rules, tuple) else (rules, rules)
    options = options or Options()
    if first == others == "epsilon":  # is gamma = 0, whose stabiliser is not that of the pools
        first, others, options = "gamma", "gamma", replace(options, gamma=0.0, stabiliser=options.eps, eps=0.0)
    names = ["epsilon" if isinstance(module, POOLS) else others for module in model if isinstance(module, STEPS)]
    layers = convolution.stack(model, shape)
    return torch.stack([dense_rules.lrp(layers, row.flatten(), target, [first, *names[1:]], options).reshape(shape) for row in x])
