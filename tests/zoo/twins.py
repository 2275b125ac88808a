"""The same network spelled twice: with functions, as users like it, and with one module per step, as hook-based libraries need it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .specimen import coloured, grown, normal


@dataclass(frozen=True)
class Twins:
    """Two spellings of one network; the outputs are equal to the bit in eval mode.

    Attributes:
        name: unique, usable as a test id.
        functional: builder of the spelling with ``F.relu``, ``+``, ``torch.cat`` or one ReLU used again and again.
        modules: builder of the spelling in which every step is a module, called once.
        inputs: ``inputs(batch, dtype, generator)`` gives a batch.
    """

    name: str
    functional: Callable[[], nn.Module]
    modules: Callable[[], nn.Module]
    inputs: Callable[[int, torch.dtype, torch.Generator], Tensor]


class Sum(nn.Module):
    """``+`` as a module."""

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        first, second = inputs
        return first + second


class Concatenate(nn.Module):
    """``torch.cat`` along the channels, as a module."""

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(inputs), dim=1)


class DenseFunctional(nn.Module):
    """One ReLU, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(8, 16)
        self.fc2 = nn.Linear(16, 12)
        self.fc3 = nn.Linear(12, 5)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(self.relu(self.fc2(self.relu(self.fc1(x)))))


def dense_modules() -> nn.Module:
    """The same, in sequence."""
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 5))


class ConvolutionalFunctional(nn.Module):
    """Two convolutions, a maximum and an average pool, all steps in between functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.fc1 = nn.Linear(8 * 2 * 2, 16)
        self.fc2 = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.avg_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(torch.flatten(x, 1))))


def convolutional_modules() -> nn.Module:
    """The same, in sequence."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 2 * 2, 16),
        nn.ReLU(),
        nn.Linear(16, 5),
    )


class BlockFunctional(nn.Module):
    """A residual block of one width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + x)


class BlockModules(nn.Module):
    """The same with a ReLU of its own at every place, and the sum a module."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.sum = Sum()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.sum([self.bn2(self.conv2(out)), x]))


class ResidualFunctional(nn.Module):
    """A stem, two residual blocks, the mean over the image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(6)
        self.layer1 = BlockFunctional(6)
        self.layer2 = BlockFunctional(6)
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn(self.conv(x))), 2)
        x = self.layer2(self.layer1(x))
        return self.fc(F.avg_pool2d(x, x.size(-1)).view(x.size(0), -1))


def residual_modules() -> nn.Module:
    """The same, in sequence, for images of eight pixels a side."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        BlockModules(6),
        BlockModules(6),
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Linear(6, 5),
    )


class BranchesFunctional(nn.Module):
    """Two kernel sizes side by side, joined by torch.cat."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(3, 4, 1)
        self.wide = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(8 * 2 * 2, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.narrow(x), self.wide(x)], dim=1)
        return self.fc(F.max_pool2d(F.relu(x), 4).flatten(1))


class BranchesModules(nn.Module):
    """The same with the concatenation a module."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(3, 4, 1)
        self.wide = nn.Conv2d(3, 4, 3, padding=1)
        self.cat = Concatenate()
        self.tail = nn.Sequential(nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(8 * 2 * 2, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.cat([self.narrow(x), self.wide(x)]))


def _rows(batch: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    return normal((batch, 8), dtype, generator)


def _images(batch: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    return coloured(batch, 3, 8, dtype, generator)


TWINS: tuple[Twins, ...] = (
    Twins("mlp", grown(DenseFunctional, 51), grown(dense_modules, 51), _rows),
    Twins("cnn", grown(ConvolutionalFunctional, 52), grown(convolutional_modules, 52), _images),
    Twins("residual", grown(ResidualFunctional, 53, gain=2), grown(residual_modules, 53, gain=2), _images),
    Twins("branches", grown(BranchesFunctional, 54), grown(BranchesModules, 54), _images),
)
