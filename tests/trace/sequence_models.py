"""Small seeded models that read ids, with and without masks, whose modules can be hooked."""

from __future__ import annotations

import torch
from torch import Tensor, nn

VOCABULARY, STEPS, WIDTH, HEADS = 7, 5, 6, 2


class HeadOutputs(nn.Module):
    """What each head of an attention layer writes, [batch, heads, steps, width]."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Parameter(torch.randn(HEADS, WIDTH, WIDTH) * 0.7) for _ in range(3))

    def forward(self, h: Tensor, shut: Tensor | None = None) -> Tensor:
        q, k, v = (torch.einsum("btd,hde->bhte", h, weight) for weight in (self.q, self.k, self.v))
        scores = q @ k.transpose(-1, -2)
        if shut is not None:
            scores = scores.masked_fill(shut[:, None, None], -1e4)
        return scores.softmax(-1) @ v


class TwoLayers(nn.Module):
    """Two layers of attention with a perceptron between them, on a residual stream; the last step is classified."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.first, self.second = HeadOutputs(), HeadOutputs()
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.out = nn.Linear(width, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.body(self.embed(ids))

    def body(self, h: Tensor, shut: Tensor | None = None) -> Tensor:
        h = h + self.first(h, shut).sum(1)
        h = h + self.mlp(h)
        h = h + self.second(h, shut).sum(1)
        return self.out(h)[:, -1]


class Masked(TwoLayers):
    """The same with an attention mask, which comes first."""

    def forward(self, attention_mask: Tensor, ids: Tensor) -> Tensor:
        return self.body(self.embed(ids), attention_mask == 0)


def built(kind: type[nn.Module], *args: object) -> nn.Module:
    """A seeded model in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return kind(*args).double().eval()


IDS = torch.tensor([[5, 2, 3, 4, 1]])
OTHER = torch.tensor([[1, 6, 3, 0, 2]])
