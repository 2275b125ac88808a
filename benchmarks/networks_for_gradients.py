"""Networks that integrated gradients are measured on, beside those of the tests."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CUBIC = 3
"""Degree of splines."""


class SplineLayer(nn.Module):
    """A layer of a Kolmogorov-Arnold network: a cubic B-spline and a SiLU on every edge (Liu et al. 2024)."""

    def __init__(self, inputs: int, outputs: int, intervals: int = 5) -> None:
        super().__init__()
        step = 4 / intervals
        self.register_buffer("knots", torch.arange(-CUBIC, intervals + CUBIC + 1).float() * step - 2)
        self.base = nn.Parameter(torch.randn(outputs, inputs) / inputs**0.5)
        self.spline = nn.Parameter(torch.randn(outputs, inputs, intervals + CUBIC) * 0.4)

    def forward(self, x: Tensor) -> Tensor:
        t, k = x.unsqueeze(-1), self.knots
        basis = ((t >= k[:-1]) & (t < k[1:])).to(x.dtype)
        for degree in range(1, CUBIC + 1):
            rising = (t - k[: -(degree + 1)]) / (k[degree:-1] - k[: -(degree + 1)])
            falling = (k[degree + 1 :] - t) / (k[degree + 1 :] - k[1:-degree])
            basis = rising * basis[..., :-1] + falling * basis[..., 1:]
        return F.linear(F.silu(x), self.base) + torch.einsum("bik,oik->bo", basis, self.spline)


class Mamba(nn.Module):
    """One selective state-space block between RMS norms (Gu and Dao 2023)."""

    def __init__(self, width: int = 6, states: int = 4, classes: int = 3) -> None:
        super().__init__()
        self.norm, self.last_norm = nn.RMSNorm(width, eps=1e-6), nn.RMSNorm(width, eps=1e-6)
        self.inside, self.outside = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.conv = nn.Conv1d(width, width, 3, padding=2, groups=width)
        self.choose, self.step = nn.Linear(width, 2 * states + 1), nn.Linear(1, width)
        self.decay = nn.Parameter(torch.log(torch.arange(1, states + 1).float().repeat(width, 1)))
        self.head, self.states = nn.Linear(width, classes), states

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.inside(self.norm(x)).chunk(2, -1)
        value = F.silu(self.conv(value.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        step, write, read = self.choose(value).split([1, self.states, self.states], -1)
        step = F.softplus(self.step(step))
        state, outputs = torch.zeros_like(value[:, 0, :, None] * write[:, 0, None, :]), []
        for t in range(x.shape[1]):
            kept = torch.exp(-step[:, t, :, None] * self.decay.exp())
            state = kept * state + step[:, t, :, None] * write[:, t, None, :] * value[:, t, :, None]
            outputs.append((state * read[:, t, None, :]).sum(-1) + value[:, t])
        return self.head(self.last_norm(x + self.outside(torch.stack(outputs, 1) * F.silu(gate))).mean(1))


class Normed(nn.Module):
    """A norm, and an MLP behind it."""

    def __init__(self, norm: Callable[[Tensor], Tensor], act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.norm, self.act = norm, act
        self.first, self.second, self.last = nn.Linear(12, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self.second(self.act(self.first(self.norm(x))))))


def norms() -> dict[str, Callable[[Tensor], Tensor]]:
    """Norms of rows of 12."""
    return {
        "LayerNorm": nn.LayerNorm(12),
        "RMSNorm": nn.RMSNorm(12, eps=1e-6),
        "GroupNorm": lambda x: F.group_norm(x[..., None], 3)[..., 0],
        "InstanceNorm": lambda x: F.instance_norm(x.reshape(-1, 3, 4)).reshape(-1, 12),
        "normalize": lambda x: 3 * F.normalize(x, dim=-1),
    }


def grown(build: Callable[[], nn.Module], gain: float) -> nn.Module:
    """A network of seed 0, its matrices multiplied by ``gain`` lest it be linear."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.mul_(gain if parameter.ndim > 1 else 1)
    return model
