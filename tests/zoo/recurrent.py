"""Recurrent models beyond the two in sequence.py."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StackedGRU(nn.Module):
    """Two layers in one direction, [steps, batch, features] inside; all steps' states are averaged."""

    def __init__(self, features: int = 4, hidden: int = 6, classes: int = 5) -> None:
        super().__init__()
        self.gru = nn.GRU(features, hidden, num_layers=2, dropout=0.1)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.gru(x.permute(1, 0, 2))
        return self.fc(out.mean(0))


class BidirectionalLSTM(nn.Module):
    """A tagger's encoder: the maximum over the steps of both directions' states."""

    def __init__(self, features: int = 4, hidden: int = 5, classes: int = 5) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.lstm(x)
        pooled, _ = torch.max(out, dim=1)
        return self.fc(pooled)


class ElmanRNN(nn.Module):
    """nn.RNN with tanh, its last hidden state classified."""

    def __init__(self, features: int = 4, hidden: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.rnn = nn.RNN(features, hidden, nonlinearity="tanh", batch_first=True)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        _, hidden = self.rnn(x)
        return self.fc(hidden.squeeze(0))
