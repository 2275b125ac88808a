"""MINE for one pair, as its paper writes it: a network of torch modules, its optimiser, a loop. The peer of the batched run."""

from __future__ import annotations

from math import cos, log, pi

import torch
from torch import nn


def build_critic(inputs, widths):
    """A perceptron with two hidden layers on [x, y]."""
    first, second = widths
    return nn.Sequential(nn.Linear(inputs, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, 1))


def train(network, x, y, batches, rate, *, shuffle):
    """Belghazi2018, algorithm 1 with the gradient of equation 12; x [N, D] and y [N, 1]; ``shuffle(step, rows)`` orders the y apart."""
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    moving = None
    for step, batch in enumerate(batches):
        optimiser.param_groups[0]["lr"] = rate * (1 + cos(pi * step / len(batches))) / 2
        joint = network(torch.cat([x[batch], y[batch]], 1))
        apart = network(torch.cat([x[batch], y[batch][shuffle(step, len(batch))]], 1)).exp().mean()
        moving = apart.detach() if moving is None else 0.9 * moving + 0.1 * apart.detach()
        loss = apart / moving - joint.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


@torch.no_grad()
def donsker_varadhan(network, x, y, shifts):
    """Donsker-Varadhan on held-out rows, with y shifted for independent pairs."""
    joint = network(torch.cat([x, y], 1)).double().mean()
    apart = torch.stack([network(torch.cat([x, y.roll(by, 0)], 1)).double()[:, 0] for by in shifts])
    return float(joint - (apart.logsumexp((0, 1)) - log(apart.numel())))
