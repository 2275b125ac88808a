"""State spaces, linear recurrences and long convolutions, written by hand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.zoo.convolutional import CLASSES
from benchmarks.zoo.entry import Entry
from benchmarks.zoo.sequences import SERIES, WIDTH


class StateSpace(nn.Module):
    """S4D: a diagonal state space as a convolution by FFT, with complex poles."""

    def __init__(self) -> None:
        super().__init__()
        self.log_dt, self.real, self.frequency = (
            nn.Parameter(torch.rand(6) - 2),
            nn.Parameter(torch.rand(6, 4)),
            nn.Parameter(torch.rand(6, 4) * 4),
        )
        self.C = nn.Parameter(torch.randn(6, 4, 2))
        self.inward, self.D, self.out, self.fc = (
            nn.Linear(WIDTH, 6),
            nn.Parameter(torch.randn(6)),
            nn.Conv1d(6, 12, 1),
            nn.Linear(6, CLASSES),
        )

    def kernel(self, length: int) -> Tensor:
        """[6, length]"""
        A = torch.complex(-self.real.exp(), self.frequency)
        step = A * self.log_dt.exp().unsqueeze(-1)
        C = torch.view_as_complex(self.C) * (torch.exp(step) - 1.0) / A
        powers = torch.exp(step.unsqueeze(-1) * torch.arange(length, device=A.device))
        return 2 * torch.einsum("hn,hnl->hl", C, powers).real

    def forward(self, x: Tensor) -> Tensor:
        u = self.inward(x).transpose(-1, -2)
        L = u.size(-1)
        y = torch.fft.irfft(torch.fft.rfft(u, n=2 * L) * torch.fft.rfft(self.kernel(L), n=2 * L), n=2 * L)[..., :L]
        y = F.glu(self.out(F.gelu(y + u * self.D.unsqueeze(-1))), dim=-2)
        return self.fc((y + u).mean(-1))


class DiagonalScan(nn.Module):
    """S5/LRU: a complex diagonal recurrence, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.nu, self.theta = nn.Parameter(torch.rand(5)), nn.Parameter(3 * torch.rand(5))
        self.B, self.C, self.fc = (
            nn.Parameter(torch.randn(5, WIDTH, dtype=torch.cfloat)),
            nn.Parameter(torch.randn(6, 5, dtype=torch.cfloat)),
            nn.Linear(6, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        pole = torch.exp(torch.complex(-torch.exp(self.nu), self.theta))
        state = torch.zeros(x.shape[0], 5, dtype=pole.dtype, device=x.device)
        for t in range(x.shape[1]):
            state = pole * state + torch.complex(x[:, t], torch.zeros_like(x[:, t])) @ self.B.T.to(pole.dtype)
        return self.fc(F.gelu((state @ self.C.T.to(state.dtype)).real))


class SelectiveScan(nn.Module):
    """Mamba, with the scan written as a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.conv = nn.Linear(WIDTH, 12), nn.Conv1d(6, 6, 3, padding=2, groups=6)
        self.params, self.dt = nn.Linear(6, 2 + 8), nn.Linear(2, 6)
        self.A_log, self.D = nn.Parameter(torch.log(torch.arange(1, 5.0).repeat(6, 1))), nn.Parameter(torch.ones(6))
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        u, gate = self.inward(x).chunk(2, dim=-1)
        u = F.silu(self.conv(u.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        delta, B, C = torch.split(self.params(u), [2, 4, 4], dim=-1)
        delta = F.softplus(self.dt(delta))
        decay = torch.exp(delta.unsqueeze(-1) * -torch.exp(self.A_log))
        drive = delta.unsqueeze(-1) * B.unsqueeze(2) * u.unsqueeze(-1)
        state, found = torch.zeros_like(drive[:, 0]), []
        for t in range(x.shape[1]):
            state = decay[:, t] * state + drive[:, t]
            found.append((state * C[:, t].unsqueeze(1)).sum(-1))
        return self.fc(((torch.stack(found, 1) + u * self.D) * F.silu(gate))[:, -1])


class WeightedKeyValue(nn.Module):
    """RWKV: a running softmax with decay, token shift and squared ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.key, self.value, self.receptance = nn.Linear(WIDTH, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.mix, self.decay, self.first = nn.Parameter(torch.rand(6)), nn.Parameter(torch.rand(6)), nn.Parameter(torch.rand(6))
        self.up, self.down, self.shift, self.fc = nn.Linear(6, 12), nn.Linear(12, 6), nn.ZeroPad2d((0, 0, 1, -1)), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inward(x)
        mixed = x * self.mix + self.shift(x) * (1 - self.mix)
        k, v, r = self.key(mixed), self.value(mixed), torch.sigmoid(self.receptance(mixed))
        top, bottom = torch.zeros_like(k[:, 0]), torch.zeros_like(k[:, 0])
        largest, found = torch.full_like(k[:, 0], -1e38), []
        for t in range(x.shape[1]):
            q = torch.maximum(largest, self.first + k[:, t])
            e1, e2 = torch.exp(largest - q), torch.exp(self.first + k[:, t] - q)
            found.append((e1 * top + e2 * v[:, t]) / (e1 * bottom + e2))
            q = torch.maximum(largest - self.decay.exp(), k[:, t])
            e1, e2 = torch.exp(largest - self.decay.exp() - q), torch.exp(k[:, t] - q)
            top, bottom, largest = e1 * top + e2 * v[:, t], e1 * bottom + e2, q
        x = x + r * torch.stack(found, 1)
        return self.fc((x + self.down(torch.square(torch.relu(self.up(x)))))[:, -1])


class Retention(nn.Module):
    """RetNet, in its parallel form: decayed products, a group norm, a swish gate."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.q, self.k, self.v, self.gate = nn.Linear(WIDTH, 8), *(nn.Linear(8, 8, bias=False) for _ in range(4))
        self.norm, self.fc = nn.GroupNorm(2, 8), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inward(x)
        B, T, _ = x.shape
        q, k, v = (part(x).view(B, T, 2, 4).transpose(1, 2) for part in (self.q, self.k, self.v))
        place = torch.arange(T, dtype=x.dtype, device=x.device)
        decay = torch.tril(torch.tensor([0.9, 0.8], dtype=x.dtype)[:, None, None] ** (place[:, None] - place).clamp(min=0))
        y = ((q @ k.mT / 2) * decay) @ v
        y = self.norm(y.transpose(1, 2).reshape(B * T, 8)).view(B, T, 8)
        return self.fc((F.silu(self.gate(x)) * y)[:, -1])


class Hyena(nn.Module):
    """Long convolutions by FFT whose filters are made of positions, between gates."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.short = nn.Linear(WIDTH, 18), nn.Conv1d(18, 18, 3, padding=2, groups=18)
        self.filter, self.fc = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 6)), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        L = x.shape[1]
        first, second, v = self.short(self.inward(x).transpose(1, 2))[..., :L].split(6, dim=1)
        t = torch.linspace(0, 1, L, dtype=x.dtype)[:, None]
        filters = (self.filter(torch.cat([t, torch.sin(6 * t), torch.cos(6 * t)], -1)) * torch.exp(-3 * t)).T
        y = torch.fft.irfft(torch.fft.rfft(v * first, 2 * L) * torch.fft.rfft(filters, 2 * L), 2 * L)[..., :L]
        return self.fc((second * y).mean(-1))


class QuasiRecurrent(nn.Module):
    """SRU/minGRU: gates without the state, and a running product in logarithms."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.hidden, self.fc = nn.Linear(WIDTH, 6), nn.Linear(WIDTH, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        k = self.gate(x)
        log_z, log_coefficients = -F.softplus(-k), -F.softplus(k)
        h = self.hidden(x)
        log_h = torch.where(h >= 0, (F.relu(h) + 0.5).log(), -F.softplus(-h))
        a = F.pad(torch.cumsum(log_coefficients, dim=1), (0, 0, 1, 0))
        values = torch.cat([torch.full_like(log_h[:, :1], -0.5), log_z + log_h], dim=1)
        return self.fc((a + (values - a).logcumsumexp(dim=1)).exp()[:, -1])


STATE_SPACES = (
    Entry("S4D", "state space", StateSpace, SERIES),
    Entry("LRU", "state space", DiagonalScan, SERIES),
    Entry("Mamba by hand", "state space", SelectiveScan, SERIES),
    Entry("RWKV by hand", "linear recurrence", WeightedKeyValue, SERIES),
    Entry("RetNet", "linear recurrence", Retention, SERIES),
    Entry("Hyena", "long convolution", Hyena, SERIES),
    Entry("minGRU", "linear recurrence", QuasiRecurrent, SERIES),
)
