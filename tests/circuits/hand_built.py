"""Three transformers whose weights are written by hand, so that it is known which heads and edges do what.

All are attention alone, without norms, in float64. Their residual stream has a slot for tokens, one for positions, and some that heads
write to. Scores are so large that a head looks at one place: what it writes is known to 1e-9.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHARP = 60.0
"""Scale of scores: exp(-60) is what is left for any other place."""


class Heads(nn.Module):
    """Causal attention whose heads have matrices of their own: queries, keys [heads D d], values and outputs [heads D D]."""

    def __init__(self, heads: list[tuple[Tensor, Tensor, Tensor]]) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Parameter(torch.stack([head[place] for head in heads])) for place in range(3))

    def forward(self, h: Tensor) -> Tensor:
        q, k, v = (torch.einsum("btd,hde->bhte", h, weight) for weight in (self.q, self.k, self.v))
        hidden = torch.ones(h.shape[1], h.shape[1], dtype=torch.bool).triu(1)
        scores = (q @ k.transpose(-1, -2)).masked_fill(hidden, -1e4)
        return (scores.softmax(-1) @ v).sum(1)


class HandBuilt(nn.Module):
    """Tokens and positions in slots, layers of heads that add to the stream, and an unembedding that reads one slot."""

    def __init__(self, vocabulary: int, positions: int, slots: int) -> None:
        super().__init__()
        self.vocabulary, self.positions = vocabulary, positions
        self.width = vocabulary * slots + positions
        self.embed = nn.Embedding(vocabulary, self.width, dtype=torch.float64)
        self.embed.weight.data.zero_()
        self.embed.weight.data[:, :vocabulary] = torch.eye(vocabulary, dtype=torch.float64)
        place = torch.zeros(positions, self.width, dtype=torch.float64)
        place[:, vocabulary : vocabulary + positions] = torch.eye(positions, dtype=torch.float64)
        self.register_buffer("place", place)
        self.layers = nn.ModuleList()
        self.unembed = nn.Linear(self.width, vocabulary, bias=False, dtype=torch.float64)
        self.unembed.weight.data.zero_()

    def slot(self, number: int) -> Tensor:
        """Reads a slot: [width, vocabulary]; slot 0 holds the token itself."""
        start = 0 if number == 0 else self.vocabulary * number + self.positions
        return torch.eye(self.width, dtype=torch.float64)[:, start : start + self.vocabulary]

    def where(self) -> Tensor:
        """Reads the position: [width, positions]."""
        return torch.eye(self.width, dtype=torch.float64)[:, self.vocabulary : self.vocabulary + self.positions]

    def idle(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """A head, with so many features of queries, that looks everywhere and writes nothing."""
        zero = torch.zeros(self.width, size, dtype=torch.float64)
        return zero, zero, torch.zeros(self.width, self.width, dtype=torch.float64)

    def previous(self, slot: int) -> tuple[Tensor, Tensor, Tensor]:
        """A head that copies the token before into a slot."""
        shift = torch.zeros(self.positions, self.positions, dtype=torch.float64)
        shift[torch.arange(1, self.positions), torch.arange(self.positions - 1)] = SHARP
        return self.where() @ shift, self.where(), self.slot(0) @ self.slot(slot).T

    def forward(self, ids: Tensor) -> Tensor:
        h = self.embed(ids) + self.place[: ids.shape[1]]
        for layer in self.layers:
            h = h + layer(h)
        return self.unembed(h)[:, -1]


def induction() -> HandBuilt:
    """... a b ... a -> b: L0H0 notes the token before, L1H0 finds where the last token was noted and copies what stands there."""
    model = HandBuilt(vocabulary=8, positions=8, slots=3)
    found = SHARP * model.slot(0), model.slot(1), model.slot(0) @ model.slot(2).T
    model.layers.extend([Heads([model.previous(1), model.idle(8)]), Heads([found, model.idle(8)])])
    model.unembed.weight.data = model.slot(2).T.clone()
    return model.eval()


INDUCTION = torch.tensor([[1, 5, 2, 3, 4, 5]])
"""5 2 ... 5: the next is 2."""
INDUCTION_OTHER = torch.tensor([[1, 6, 2, 3, 4, 5]])
"""No 5 before the last: nothing is found, and the head looks at all places alike."""


def copy_with_distractor() -> HandBuilt:
    """The token at the first place is copied to the end by L0H1; L0H0 copies the one at the second place, and is not read.

    L1H1 copies again what L0H1 has written at the last place: half of the answer comes directly, half through it.
    """
    model = HandBuilt(vocabulary=6, positions=5, slots=4)
    everywhere = torch.zeros(model.positions, model.positions, dtype=torch.float64)

    def look_at(place: int, slot: int) -> tuple[Tensor, Tensor, Tensor]:
        pattern = everywhere.clone()
        pattern[:, place] = SHARP
        return model.where() @ pattern, model.where(), model.slot(0) @ model.slot(slot).T

    stay = SHARP * model.where(), model.where(), model.slot(2) @ model.slot(3).T
    model.layers.extend([Heads([look_at(1, 1), look_at(0, 2)]), Heads([model.idle(5), stay])])
    model.unembed.weight.data = (model.slot(2) + model.slot(3)).T.clone()
    return model.eval()


COPY = torch.tensor([[3, 4, 0, 1, 2]])
COPY_OTHER = torch.tensor([[5, 1, 0, 1, 2]])


class Threshold(nn.Module):
    """An MLP that says for each number whether it is larger than what is in a slot."""

    def __init__(self, model: HandBuilt, slot: int, out: int) -> None:
        super().__init__()
        larger = torch.ones(model.vocabulary, model.vocabulary, dtype=torch.float64).triu(1)  # [given, candidate]
        self.read = nn.Linear(model.width, model.vocabulary, bias=False, dtype=torch.float64)
        self.write = nn.Linear(model.vocabulary, model.width, bias=False, dtype=torch.float64)
        self.read.weight.data = (model.slot(slot) @ larger).T.clone()
        self.write.weight.data = model.slot(out).clone()

    def forward(self, h: Tensor) -> Tensor:
        return self.write(torch.relu(self.read(h)))


class GreaterThan(HandBuilt):
    """The number at the second place comes to the end by L0H0; the MLP of layer 0 raises all that are greater. L0H1 is idle."""

    def __init__(self) -> None:
        super().__init__(vocabulary=6, positions=4, slots=3)
        pattern = torch.zeros(self.positions, self.positions, dtype=torch.float64)
        pattern[:, 1] = SHARP
        bring = self.where() @ pattern, self.where(), self.slot(0) @ self.slot(1).T
        self.layers.append(Heads([bring, self.idle(4)]))
        self.layers.append(Threshold(self, 1, 2))
        self.unembed.weight.data = self.slot(2).T.clone()


def greater_than() -> HandBuilt:
    return GreaterThan().eval()


GREATER = torch.tensor([[0, 2, 0, 1]])
"""A 2: 3, 4 and 5 are greater."""
GREATER_OTHER = torch.tensor([[0, 4, 0, 1]])
"""A 4: 5 alone is."""
