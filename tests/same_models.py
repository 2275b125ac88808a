"""Small models and samples on which every method has a number, for tests of what must not change it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import vesalius as vs


class Kinked(nn.Module):
    """ReLUs and a maximum over two channels at each of some columns."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(columns, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(torch.maximum(x[..., 0], 0.3 * x[..., 1])).relu())


class Smooth(nn.Module):
    """Hyperbolic tangents of some columns with two channels each."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2 * columns, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x.flatten(1)).tanh())


class Pooled(nn.Module):
    """A convolution with pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 4, 3), nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.max_pool2d(self.conv(x).relu(), 2).flatten(1))


def perceptron(columns: int) -> nn.Sequential:
    """Many columns, so that games on them are sampled."""
    return nn.Sequential(nn.Linear(columns, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))


def _made(kind: Any, *arguments: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return kind(*arguments)


def draw(*shape: int, seed: int = 4) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


CASES = {
    "kinked": (_made(Kinked, 5), draw(3, 5, 2)),
    "smooth": (_made(Smooth, 5), draw(3, 5, 2)),
    "pooled": (_made(Pooled), draw(3, 1, 8, 8)),
    "many": (_made(perceptron, 14), draw(3, 14)),
}
DRAWING = {"permutation": 120, "kernel": 200, "surrogate": 200, "adaptive": 90}
"""Estimators of Shapley values that draw, and coalitions that they are given."""
METHOD_CASES: list[tuple[str, str, dict[str, Any]]] = [
    *[(case, name, {}) for case in ("kinked", "smooth", "pooled") for name in vs.METHODS if case == "pooled" or name != "grad_cam"],
    *[("many", "shapley_value", {"estimator": name, "budget": budget}) for name, budget in DRAWING.items()],
]
"""Every method on every model that it takes, and the estimators of Shapley values that draw."""


def ask_method(case: str, name: str, options: dict[str, Any], rows: Any = slice(None)) -> vs.Allocation:
    """A method's answer for some of the samples; with a background where that is what the method is for."""
    model, x = CASES[case]
    background = draw(4, *x.shape[1:], seed=6) if name in ("expected_gradients", "prediction_difference") else None
    return vs.attribute(model, x[rows], name, baseline=background, options=options)
