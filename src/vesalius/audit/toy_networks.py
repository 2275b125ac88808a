"""Small networks that methods are tried on, each with something known about it.

Column 0 has no effect, columns 3 and 4 have the same effect, and a network of several parts is the sum of them.

Axes: B samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vesalius.trace import Network, trace

COLUMNS = 5
BATCH = 4


@final
class ColumnNetwork(nn.Module):
    """Networks of columns, added. A sample [5] may have two channels, [5 2]."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch 2"]:
        """Column 0 is ignored, and the last two are added."""
        x = x if x.ndim == 2 else x[..., 0] + 2 * x[..., 1]
        features = torch.stack([x[:, 1], x[:, 2], x[:, 3] + x[:, 4]], 1)
        found: Tensor = sum(part(features) for part in self.parts)
        return found


@final
class ConstantNetwork(nn.Module):
    """3, whatever comes in."""

    def forward(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, " batch"]:
        return x.flatten(1).sum(1) * 0 + 3


@final
class TokenClassifier(nn.Module):
    """Classes of sentences of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(7, 3, dtype=torch.float32), nn.Linear(3, 2, dtype=torch.float32)

    def forward(self, ids: Int[Tensor, "batch steps"]) -> Float[Tensor, "batch 2"]:
        found: Tensor = self.out(torch.tanh(self.embedding(ids)).mean(1))
        return found


@dataclass(frozen=True)
class ToyProblem:
    """Where a method is tried: on columns, or on columns with two channels each, for methods that look at positions.

    Attributes:
        channels: whether columns have channels.
    """

    channels: bool

    @property
    def at(self) -> str | None:
        """Where to look; only methods with a place of their own have to be told."""
        return "x" if self.channels else None

    @property
    def event(self) -> tuple[int, ...]:
        """Shape of a sample."""
        return (COLUMNS, 2) if self.channels else (COLUMNS,)

    def samples(self, count: int = BATCH) -> Float[Tensor, "B *event"]:
        """Samples in which columns 3 and 4 are equal."""
        x = torch.randn(count, COLUMNS, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        x[:, 4] = x[:, 3]
        return torch.stack([x, x], -1) / 3 if self.channels else x

    def network(self, *seeds: int) -> Network:
        """The sum of networks with the given seeds."""
        return trace(ColumnNetwork([smooth_network(seed) for seed in seeds]), torch.zeros(1, *self.event, dtype=torch.float64))

    def flat(self) -> Network:
        """A network whose output is constant."""
        return trace(ConstantNetwork(), torch.zeros(1, *self.event, dtype=torch.float64))

    def opaque(self) -> Network:
        """A callable that cannot be traced."""
        model = ColumnNetwork([smooth_network(0)])
        return trace(lambda x: model(x), torch.zeros(1, *self.event, dtype=torch.float64))


def token_classifier() -> tuple[Network, Int[Tensor, "B steps"]]:
    """A network of integers, and samples."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = TokenClassifier()
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    return trace(model, ids), ids


def smooth_network(seed: int) -> nn.Module:
    """A small network without kinks; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 6, dtype=torch.float32), nn.Tanh(), nn.Linear(6, 2, dtype=torch.float32)).double()
