"""A small picture network that was disentangled in a second, for whatever needs one."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

import vesalius as vs
from vesalius.complexity import Complexity, Training, complexity

TRAINING = Training(epochs=4, seeds=2, width=4, batch=64)


class SmallNet(nn.Module):
    """Two convolutions and a linear layer; the second one's sum is bypassed by nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 3, stride=2, padding=1), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3)))


def model(seed: int = 0) -> nn.Module:
    """With weights of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SmallNet().eval()


def rows(count: int = 300, seed: int = 0) -> Tensor:
    """Smooth random pictures."""
    coarse = torch.randn(count, 1, 3, 3, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, (6, 6), mode="bilinear")


@cache
def network(seed: int = 0) -> vs.Network:
    """Traced."""
    return vs.trace(model(seed), rows(2))


@cache
def small_complexity(seed: int = 0) -> Complexity:
    """Its second convolution by orders 0, 1 and 2."""
    return complexity(network(seed), rows(), at="second", orders=(0, 1, 2), training=TRAINING)


def labelled_rows(count: int = 60, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Pictures and the classes the first network gives them."""
    x = rows(count, seed)
    return x, network()(x).argmax(1)
