"""Small seeded models of sequences, for tests of lengths: each with an example of eight steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

VOCABULARY, STEPS, WIDTH, POSITIONS = 11, 8, 6, 12


class Attending(nn.Module):
    """A causal attention layer over learned positions; a row of logits for each step."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(POSITIONS, WIDTH)
        self.qkv, self.norm, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.embed(ids) + self.place(torch.arange(ids.shape[1], device=ids.device))
        q, k, v = self.qkv(self.norm(h)).chunk(3, -1)
        scores = q @ k.transpose(-1, -2) / WIDTH**0.5
        later = torch.ones(ids.shape[1], ids.shape[1], device=ids.device).triu(1).bool()
        return self.out(h + scores.masked_fill(later, -1e4).softmax(-1) @ v)


class Masked(Attending):
    """The mean over steps that a mask keeps, of a picture of ids."""

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        kept = mask[..., None].to(self.out.weight.dtype)
        return (super().forward(ids) * kept).sum(1) / kept.sum(1)


class Recurrent(nn.Module):
    """A recurrent layer, read at its last step."""

    def __init__(self, kind: Callable[..., nn.Module], **options: object) -> None:
        super().__init__()
        self.steps = kind(4, WIDTH, batch_first=True, **options)
        self.out = nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.steps(x)[0][:, -1])


class Convolved(nn.Module):
    """A strided convolution over steps, pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv1d(4, WIDTH, 3, stride=2, padding=1), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.conv(x).relu().mean(-1))


class Beside(nn.Module):
    """Ids, and beside them a row of as many columns as there are steps in the example, which is no sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.side, self.out = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(STEPS, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, ids: Tensor, row: Tensor) -> Tensor:
        return self.out((self.embed(ids).mean(1) + self.side(row)).tanh())


class Two(nn.Module):
    """An encoder and a decoder, of a length each."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids: Tensor, decoder_ids: Tensor) -> Tensor:
        memory, h = self.embed(ids), self.embed(decoder_ids)
        return self.out(h + (h @ memory.transpose(-1, -2)).softmax(-1) @ memory)


class Branching(nn.Module):
    """Another function of short sequences than of long ones."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.embed(ids)
        return self.out((h.square() if ids.shape[1] > 5 else h).mean(1))


class Baked(Branching):
    """Weights of the steps from NumPy, which torch does not follow."""

    def forward(self, ids: Tensor) -> Tensor:
        weights = torch.tensor(np.cos(np.arange(ids.shape[1])), dtype=self.out.weight.dtype)
        return self.out((self.embed(ids) * weights[:, None]).sum(1))


class TellsExport(Branching):
    """Does when it is exported what it does not do otherwise, which shows at other lengths than that of the example alone."""

    def forward(self, ids: Tensor) -> Tensor:
        steps = STEPS if torch.compiler.is_exporting() else ids.shape[1]
        return self.out(self.embed(ids).sum(1) / steps)


class Flattened(nn.Module):
    """All steps in one row, so that there is one length."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(STEPS * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x.flatten(1))


def built(make: Callable[[], nn.Module], *example: Tensor) -> nn.Module:
    """A seeded model in float64, called once."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = make().double().eval()
        model(*example)
    return model


def ids(steps: int, rows: int = 2) -> Tensor:
    return (torch.arange(rows * steps).reshape(rows, steps) * 7 + 3) % VOCABULARY


def numbers(steps: int, rows: int = 2) -> Tensor:
    return torch.cos(torch.arange(rows * steps * 4, dtype=torch.float64)).reshape(rows, steps, 4)


ANY_LENGTH: dict[str, tuple[Callable[[], nn.Module], Callable[[int], tuple[Tensor, ...]]]] = {
    "attention": (Attending, lambda steps: (ids(steps),)),
    "mask": (Masked, lambda steps: (ids(steps), (torch.arange(steps) < steps - 2).long().expand(2, -1))),
    "lstm": (lambda: Recurrent(nn.LSTM, bidirectional=True), lambda steps: (numbers(steps),)),
    "projected lstm": (lambda: Recurrent(nn.LSTM, num_layers=2, proj_size=2), lambda steps: (numbers(steps),)),
    "gru": (lambda: Recurrent(nn.GRU), lambda steps: (numbers(steps),)),
    "rnn": (lambda: Recurrent(nn.RNN, nonlinearity="relu"), lambda steps: (numbers(steps),)),
    "encoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 1, enable_nested_tensor=False),
        lambda steps: (numbers(steps),),
    ),
    "convolution": (Convolved, lambda steps: (numbers(steps).transpose(1, 2),)),
    "beside": (Beside, lambda steps: (ids(steps), numbers(2)[:, 0].repeat(1, 2))),
    "two lengths": (Two, lambda steps: (ids(steps), ids(steps // 2 + 1))),
}
"""Models whose graph holds at any length, and their inputs at one."""
