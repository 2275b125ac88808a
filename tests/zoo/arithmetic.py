"""Models whose forward is arithmetic: gates, extremes, ratios, logarithms and every activation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WhereGate(nn.Module):
    """torch.where chooses element by element, without a jump: an elu written by hand, then a learned floor."""

    def __init__(self, size: int = 8, hidden: int = 12, classes: int = 5) -> None:
        super().__init__()
        self.fc1 = nn.Linear(size, hidden)
        self.alpha = nn.Parameter(torch.rand(hidden) + 0.5)
        self.fc2 = nn.Linear(hidden, hidden)
        self.threshold = nn.Parameter(torch.randn(hidden) * 0.3)
        self.out = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        h = torch.where(h > 0, h, self.alpha * (torch.exp(h) - 1))
        h = self.fc2(h)
        h = torch.where(h > self.threshold, h, self.threshold)
        return self.out(h)


class Extremes(nn.Module):
    """A maxout unit, a minimum, a clamp and the largest value of an axis."""

    def __init__(self, features: int = 4, hidden: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.a = nn.Linear(features, hidden)
        self.b = nn.Linear(features, hidden)
        self.c = nn.Linear(hidden, hidden)
        self.d = nn.Linear(hidden, hidden)
        self.out = nn.Linear(2 * hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.maximum(self.a(x), self.b(x))
        h = torch.minimum(self.c(h).clamp(min=-1.0, max=2.0), self.d(h))
        return self.out(torch.cat([h.amax(dim=1), h.mean(dim=1).clamp(min=-0.5)], dim=-1))


class LogProbabilities(nn.Module):
    """The MNIST example's ending: forward returns log-probabilities."""

    def __init__(self, size: int = 10, hidden: int = 12, classes: int = 5) -> None:
        super().__init__()
        self.fc1 = nn.Linear(size, hidden)
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.fc2(F.relu(self.fc1(x))), dim=1)


class Mixture(nn.Module):
    """A mixture of experts that returns probabilities: softmax gates times the experts' softmax outputs."""

    def __init__(self, size: int = 6, experts: int = 3, classes: int = 5) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(size, experts), nn.Softmax(dim=-1))
        self.experts = nn.ModuleList(nn.Linear(size, classes) for _ in range(experts))

    def forward(self, x: Tensor) -> Tensor:
        answers = torch.stack([expert(x).softmax(dim=-1) for expert in self.experts], dim=1)
        return (self.gate(x).unsqueeze(-1) * answers).sum(dim=1)


class RunningAverage(nn.Module):
    """Weighted means up to every step: one cumulative sum divided by another."""

    def __init__(self, features: int = 4, hidden: int = 6, classes: int = 5) -> None:
        super().__init__()
        self.value = nn.Linear(features, hidden)
        self.weight = nn.Linear(features, hidden)
        self.out = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        weight = F.softplus(self.weight(x))
        average = (weight * self.value(x)).cumsum(dim=1) / weight.cumsum(dim=1)
        return self.out(torch.relu(average).mean(dim=1))


class StatisticsPooling(nn.Module):
    """Mean, deviation and log-mean-exp over the steps, compressed by a logarithm and set to unit length, as for speakers' voices."""

    def __init__(self, features: int = 4, hidden: int = 6, classes: int = 5) -> None:
        super().__init__()
        self.frame = nn.Linear(features, hidden)
        self.embedding = nn.Linear(3 * hidden, 2 * hidden)
        self.scale = nn.Parameter(torch.randn(classes) * 0.2)
        self.out = nn.Linear(2 * hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.frame(x)
        mean = h.mean(dim=1)
        deviation = torch.sqrt((h - mean.unsqueeze(1)).pow(2).mean(dim=1) + 0.01)
        soft_max = torch.log(torch.exp(h).mean(dim=1))
        e = torch.log1p(self.embedding(torch.cat([mean, deviation, soft_max], dim=1)).square())
        e = e / torch.sqrt(e.square().sum(dim=1, keepdim=True) + 1e-3)
        return self.out(e) * torch.exp(self.scale)


class Activations(nn.Module):
    """One linear layer, its units in groups with a continuous activation each, as when one looks for the best."""

    def __init__(self, size: int = 6, each: int = 3, classes: int = 5) -> None:
        super().__init__()
        self.activations = nn.ModuleList(
            [
                nn.PReLU(each),
                nn.SELU(),
                nn.ELU(0.7),
                nn.CELU(1.3),
                nn.Mish(),
                nn.Softplus(beta=2),
                nn.Tanhshrink(),
                nn.Hardtanh(-0.8, 1.2),
                nn.LogSigmoid(),
                nn.ReLU6(),
                nn.Softsign(),
                nn.Softshrink(0.3),
            ]
        )
        self.fc = nn.Linear(size, each * len(self.activations))
        self.out = nn.Linear(each * len(self.activations), classes)

    def forward(self, x: Tensor) -> Tensor:
        groups = self.fc(x).chunk(len(self.activations), dim=1)
        return self.out(torch.cat([act(group) for act, group in zip(self.activations, groups, strict=True)], dim=1))
