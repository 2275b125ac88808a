"""Networks of sequences: recurrent, convolutional, linear attention, experts, forecasting."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.zoo.convolutional import CLASSES
from benchmarks.zoo.entry import Entry, draw

STEPS, WIDTH = 8, 4


class PackedLSTM(nn.Module):
    """Bidirectional, of packed sequences of full length."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(WIDTH, 6, 2, batch_first=True, bidirectional=True), nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, torch.full((x.shape[0],), x.shape[1]), batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.fc(out.mean(1))


class ConvLSTM(nn.Module):
    """A cell of convolutions, unrolled over frames."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.fc = nn.Conv2d(5, 16, 3, padding=1), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        B, T, _, H, W = x.shape
        h = c = x.new_zeros(B, 4, H, W)
        for t in range(T):
            i, f, o, g = torch.split(self.gates(torch.cat([x[:, t], h], dim=1)), 4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.fc(h.mean((2, 3)))


class EchoState(nn.Module):
    """A fixed reservoir with leaks, states read by a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("inward", torch.randn(WIDTH, 12))
        self.register_buffer("reservoir", 0.2 * torch.randn(12, 12))
        self.readout = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 12)
        states = []
        for step in x.unbind(1):
            state = 0.7 * state + 0.3 * torch.tanh(step @ self.inward + state @ self.reservoir)
            states.append(state)
        return self.readout(torch.stack(states, 1)[:, 2:].mean(1))


class WaveNet(nn.Module):
    """Gated causal convolutions with skips."""

    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Conv1d(WIDTH, 6, 1)
        self.gated = nn.ModuleList(nn.Conv1d(6, 12, 2, dilation=2**i) for i in range(3))
        self.skips, self.keeps = nn.ModuleList(nn.Conv1d(6, 6, 1) for _ in range(3)), nn.ModuleList(nn.Conv1d(6, 6, 1) for _ in range(3))
        self.end = nn.Sequential(nn.ReLU(), nn.Conv1d(6, 6, 1), nn.ReLU(), nn.Conv1d(6, CLASSES, 1))

    def forward(self, x: Tensor) -> Tensor:
        x, skip = self.inward(x.transpose(1, 2)), 0
        for i, (conv, to_skip, keep) in enumerate(zip(self.gated, self.skips, self.keeps, strict=True)):
            first, second = conv(F.pad(x, (2**i, 0))).chunk(2, 1)
            y = torch.tanh(first) * torch.sigmoid(second)
            skip = skip + to_skip(y)
            x = (x + keep(y)) * math.sqrt(0.5)
        return self.end(skip)[..., -1]


class Chomp(nn.Module):
    """Cuts the end that padding added."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : -self.size].contiguous()


class TemporalConvolution(nn.Module):
    """TCN: weight-normed convolutions and chomps."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.net = nn.Sequential(
            norm(nn.Conv1d(WIDTH, 6, 3, padding=2)),
            Chomp(2),
            nn.ReLU(),
            norm(nn.Conv1d(6, 6, 3, padding=4, dilation=2)),
            Chomp(4),
            nn.ReLU(),
        )
        self.skip, self.fc = nn.Conv1d(WIDTH, 6, 1), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mT
        return self.fc(F.relu(self.net(x) + self.skip(x))[:, :, -1])


class Conformer(nn.Module):
    """Half-step feed-forward, attention, gated convolution."""

    def __init__(self) -> None:
        super().__init__()
        width = 8
        self.inward = nn.Linear(WIDTH, width)
        self.first, self.last = (
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 16), nn.SiLU(), nn.Linear(16, width)) for _ in range(2)
        )
        self.norm, self.attn = nn.LayerNorm(width), nn.MultiheadAttention(width, 2, batch_first=True)
        self.conv = nn.Sequential(
            nn.Conv1d(width, 16, 1),
            nn.GLU(dim=1),
            nn.Conv1d(width, width, 3, padding="same", groups=width),
            nn.BatchNorm1d(width),
            nn.SiLU(),
            nn.Conv1d(width, width, 1),
        )
        self.end, self.fc = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inward(x)
        x = x + 0.5 * self.first(x)
        y = self.norm(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        x = x + self.conv(x.transpose(1, 2)).transpose(1, 2)
        return self.fc(self.end(x + 0.5 * self.last(x)).mean(1))


class ProbSparse(nn.Module):
    """Informer: the most telling queries attend, the others take the mean of values."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.qkv, self.fc = nn.Linear(WIDTH, 8), nn.Linear(8, 24), nn.Linear(8, CLASSES)
        self.distil = nn.Sequential(
            nn.Conv1d(8, 8, 3, padding=1, padding_mode="circular"), nn.BatchNorm1d(8), nn.ELU(), nn.MaxPool1d(3, 2, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.inward(x)).chunk(3, -1)
        scores = q @ k.transpose(1, 2) / math.sqrt(8)
        spread = scores.max(-1)[0] - scores.mean(-1)
        top = spread.topk(3, sorted=False)[1]
        rows = torch.arange(len(x), device=x.device)[:, None]
        context = v.mean(dim=1, keepdim=True).expand(-1, x.shape[1], -1).clone()
        context[rows, top, :] = torch.softmax(scores[rows, top, :], dim=-1) @ v
        return self.fc(self.distil(context.transpose(1, 2)).mean(2))


class NBeats(nn.Module):
    """Backcasts that are taken away, forecasts that are added."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 8)) for _ in range(3)
        )
        time = torch.arange(16 + CLASSES) / 16
        self.register_buffer("basis", torch.stack([time**power for power in range(4)]))

    def forward(self, x: Tensor) -> Tensor:
        forecast = torch.zeros(x.size(0), CLASSES, dtype=x.dtype)
        for block in self.blocks:
            backward, forward = block(x).split(4, dim=-1)
            x = x - torch.einsum("bp,pt->bt", backward, self.basis[:, :16])
            forecast = forecast + torch.einsum("bp,pt->bt", forward, self.basis[:, 16:])
        return forecast


class DeepAR(nn.Module):
    """Scaled by the mean, an LSTM, and the parameters of a normal distribution."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.mean, self.scale = nn.LSTM(WIDTH, 8, batch_first=True), nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        size = 1 + x.abs().mean(1, keepdim=True)
        out, _ = self.lstm(x / size)
        normal = torch.distributions.Normal(self.mean(out), F.softplus(self.scale(out)) + 1e-3)
        return (normal.mean * size[..., :1]).squeeze(-1)[:, -3:] + normal.log_prob(x[..., :1]).squeeze(-1)[:, -3:]


class LinearAttention(nn.Module):
    """elu + 1 features, causal by running sums."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.fc = nn.Linear(WIDTH, 6), nn.Linear(WIDTH, 6), nn.Linear(WIDTH, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = F.elu(self.q(x)) + 1, F.elu(self.k(x)) + 1, self.v(x)
        sums = torch.einsum("btk,btv->btkv", k, v).cumsum(1)
        found = torch.einsum("btk,btkv->btv", q, sums) / (torch.einsum("btk,btk->bt", q, k.cumsum(1)) + 1e-6).unsqueeze(-1)
        return self.fc(found[:, -1])


class Performer(nn.Module):
    """Positive random features with a stabiliser."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.fc = nn.Linear(WIDTH, 18), nn.Linear(6, CLASSES)
        self.register_buffer("features", torch.linalg.qr(torch.randn(6, 6))[0] * 2)

    def phi(self, x: Tensor, query: bool) -> Tensor:
        """Features."""
        dash = torch.einsum("btd,fd->btf", x / 6**0.25, self.features)
        half = x.pow(2).sum(-1, keepdim=True) / (2 * 6**0.5)
        top = dash.amax(dim=-1, keepdim=True) if query else dash.amax(dim=(-1, -2), keepdim=True)
        return 6**-0.5 * (torch.exp(dash - half - top.detach()) + 1e-4)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k = self.phi(q, True), self.phi(k, False)
        inverse = 1.0 / torch.einsum("btf,bf->bt", q, k.sum(dim=1))
        return self.fc(torch.einsum("bfv,btf,bt->btv", torch.einsum("btf,btv->bfv", k, v), q, inverse).mean(1))


class TokenMixture(nn.Module):
    """A mixture of experts in a loop over experts, with index_add."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.router = nn.Linear(WIDTH, 6), nn.Linear(6, 3)
        self.experts, self.fc = (
            nn.ModuleList(nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6)) for _ in range(3)),
            nn.Linear(6, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.inward(x)
        weights, chosen = torch.topk(F.softmax(self.router(x), -1), 2, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            share = (weights * (chosen == i)).sum(-1, keepdim=True)
            out = out + share * expert(x)
        return self.fc((x + out).mean(1))


class SwitchTransformer(nn.Module):
    """The best expert alone, through one-hot dispatch by einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.router, self.w1, self.w2 = (
            nn.Linear(WIDTH, 6),
            nn.Linear(6, 3),
            nn.Parameter(torch.randn(3, 6, 8)),
            nn.Parameter(torch.randn(3, 8, 6)),
        )
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inward(x)
        probabilities = self.router(x).softmax(-1)
        mask = F.one_hot(probabilities.argmax(-1), 3).to(x.dtype)
        sent = torch.einsum("bte,btd->betd", mask, x)
        out = torch.einsum("betf,efd->betd", F.relu(torch.einsum("betd,edf->betf", sent, self.w1)), self.w2)
        return self.fc((x + torch.einsum("bte,betd->btd", probabilities * mask, out)).mean(1))


class MemoryNetwork(nn.Module):
    """Three hops over a memory that is the sequence itself."""

    def __init__(self) -> None:
        super().__init__()
        self.keys, self.values, self.query, self.fc = nn.Linear(WIDTH, 6), nn.Linear(WIDTH, 6), nn.Linear(WIDTH, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        memory, out, query = self.keys(x[:, :-1]), self.values(x[:, :-1]), self.query(x[:, -1])
        for _ in range(3):
            p = torch.softmax(torch.bmm(memory, query.unsqueeze(2)).squeeze(2), dim=1)
            query = query + torch.bmm(p.unsqueeze(1), out).squeeze(1)
        return self.fc(query)


class PointerNetwork(nn.Module):
    """Additive attention whose log-probabilities are the output; those pointed at are masked."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.LSTM(WIDTH, 6, batch_first=True), nn.LSTMCell(6, 6)
        self.w1, self.w2, self.v = nn.Linear(6, 6, bias=False), nn.Linear(6, 6), nn.Linear(6, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        states, (h, c) = self.encoder(x)
        h, c = h[0], c[0]
        mask = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
        for _ in range(2):
            scores = self.v(torch.tanh(self.w1(states) + self.w2(h).unsqueeze(1))).squeeze(-1).masked_fill(mask, float("-inf"))
            pointer = scores.argmax(1)
            mask = mask.scatter(1, pointer.unsqueeze(1), True)
            h, c = self.decoder((scores.softmax(1).unsqueeze(1) @ states).squeeze(1), (h, c))
        return F.log_softmax(self.v(torch.tanh(self.w1(states) + self.w2(h).unsqueeze(1))).squeeze(-1), 1)


SERIES = draw(STEPS, WIDTH)

SEQUENCES = (
    Entry("packed bidirectional LSTM", "recurrence", PackedLSTM, SERIES),
    Entry("ConvLSTM", "recurrence", ConvLSTM, draw(4, 1, 6, 6)),
    Entry("echo state network", "recurrence", EchoState, SERIES),
    Entry("WaveNet", "dilated convolution", WaveNet, SERIES),
    Entry("TCN", "dilated convolution", TemporalConvolution, SERIES),
    Entry("Conformer block", "conformer", Conformer, SERIES),
    Entry("Informer", "sparse or approximate attention", ProbSparse, SERIES),
    Entry("N-BEATS", "time series", NBeats, draw(16)),
    Entry("DeepAR", "time series", DeepAR, SERIES),
    Entry("linear attention", "sparse or approximate attention", LinearAttention, SERIES),
    Entry("Performer", "sparse or approximate attention", Performer, SERIES),
    Entry("token mixture", "mixture of experts", TokenMixture, SERIES),
    Entry("Switch transformer", "mixture of experts", SwitchTransformer, SERIES),
    Entry("memory network", "memory", MemoryNetwork, SERIES),
    Entry("pointer network", "memory", PointerNetwork, SERIES),
)
