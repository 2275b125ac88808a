"""Small dense models, the awkward ones included."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MLP(nn.Module):
    """One ReLU module, used three times."""

    def __init__(self, size: int = 6, hidden: int = 16, classes: int = 5) -> None:
        super().__init__()
        self.fc1 = nn.Linear(size * size, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.fc3 = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, classes)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(x.size(0), -1)
        x = self.relu(self.fc1(x))
        x = self.relu(self.fc2(x))
        x = self.relu(self.fc3(x))
        return self.out(x)


class TwoInput(nn.Module):
    """An image and a row of a table, joined before the classifier."""

    def __init__(self, columns: int = 7, classes: int = 5) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.mlp = nn.Sequential(nn.Linear(columns, 8), nn.BatchNorm1d(8), nn.Tanh())
        self.head = nn.Linear(16, classes)

    def forward(self, image: Tensor, row: Tensor) -> Tensor:
        return self.head(torch.cat([self.cnn(image), self.mlp(row)], dim=1))


class TiedAutoencoder(nn.Module):
    """The decoder's weight is the encoder's, transposed: one parameter, two layers."""

    def __init__(self, size: int = 12, code: int = 5) -> None:
        super().__init__()
        self.encoder = nn.Linear(size, code)
        self.decoder_bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.sigmoid(self.encoder(x))
        return F.linear(h, self.encoder.weight.t(), self.decoder_bias)


class NormFirst(nn.Module):
    """LayerNorm directly on the input: at a zero baseline its variance is zero."""

    def __init__(self, size: int = 10, classes: int = 5) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.fc1 = nn.Linear(size, 16)
        self.fc2 = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.leaky_relu(self.fc1(self.norm(x)), 0.1))


class Branching(nn.Module):
    """Python decides by the data which layer runs: no graph can hold this."""

    def __init__(self, size: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.warm = nn.Linear(size, classes)
        self.cold = nn.Linear(size, classes)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return self.warm(x)
        return self.cold(x)
