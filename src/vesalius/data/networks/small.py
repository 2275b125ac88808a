"""Networks that are trained in seconds. Each takes data in the unit it was published in and standardises it itself."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@final
class DigitsCNN(nn.Module):
    """Two convolutions and two linear layers for digits of 8 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, dtype=torch.float32)
        self.conv2 = nn.Conv2d(16, 16, 3, stride=2, padding=1, dtype=torch.float32)
        self.fc1 = nn.Linear(16 * 4 * 4, 48, dtype=torch.float32)
        self.fc2 = nn.Linear(48, 10, dtype=torch.float32)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: Float[Tensor, "batch 1 8 8"]) -> Float[Tensor, "batch 10"]:
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x))
        x = torch.relu(self.fc1(self.dropout(x.flatten(1))))
        logits: Tensor = self.fc2(self.dropout(x))
        return logits


@final
class IrisMLP(nn.Module):
    """One hidden layer for the four lengths of iris, in centimetres."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4, dtype=torch.float32))
        self.register_buffer("std", torch.ones(4, dtype=torch.float32))
        self.hidden = nn.Linear(4, 16, dtype=torch.float32)
        self.out = nn.Linear(16, 3, dtype=torch.float32)

    def forward(self, x: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 3"]:
        logits: Tensor = self.out(torch.relu(self.hidden((x - self.mean) / self.std)))
        return logits


@final
class AdultMLP(nn.Module):
    """Two hidden layers for the census rows of Adult: six numbers, and one column per category."""

    mean: Tensor
    std: Tensor

    def __init__(self, features: int = 108) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float32))
        self.register_buffer("std", torch.ones(features, dtype=torch.float32))
        self.hidden1 = nn.Linear(features, 64, dtype=torch.float32)
        self.hidden2 = nn.Linear(64, 32, dtype=torch.float32)
        self.out = nn.Linear(32, 2, dtype=torch.float32)

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch 2"]:
        x = torch.relu(self.hidden1((x - self.mean) / self.std))
        logits: Tensor = self.out(torch.relu(self.hidden2(x)))
        return logits


@final
class ReviewsCNN(nn.Module):
    """Words as vectors, one convolution over three words, and the mean over all places, for texts of any length."""

    def __init__(self, words: int = 10_002) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 32, padding_idx=0, dtype=torch.float32)
        self.conv = nn.Conv1d(32, 32, 3, padding=1, dtype=torch.float32)
        self.out = nn.Linear(32, 2, dtype=torch.float32)
        self.dropout = nn.Dropout(0.3)

    def forward(self, ids: Int[Tensor, "batch length"]) -> Float[Tensor, "batch 2"]:
        x = self.dropout(self.embedding(ids)).transpose(1, 2)
        logits: Tensor = self.out(self.dropout(torch.relu(self.conv(x)).mean(2)))
        return logits


def digits_cnn() -> nn.Module:
    """A new, untrained network for the digits of scikit-learn."""
    return DigitsCNN()


def iris_mlp() -> nn.Module:
    """A new, untrained network for iris."""
    return IrisMLP()


def adult_mlp() -> nn.Module:
    """A new, untrained network for census income."""
    return AdultMLP()


def reviews_cnn() -> nn.Module:
    """A new, untrained network for movie reviews."""
    return ReviewsCNN()
