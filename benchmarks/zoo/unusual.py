"""Networks whose layers are unusual: forecasts by lags, flows by splines, gradients of their own, written weights, fixed points."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from benchmarks.zoo.convolutional import CLASSES
from benchmarks.zoo.entry import Entry, draw

WIDTH = 8


class Autocorrelation(nn.Module):
    """Autoformer: the lags at which a series is most like itself, and the series rolled by them."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 6) for _ in range(3))
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x).transpose(1, 2) for layer in (self.q, self.k, self.v))
        length = x.shape[1]
        likeness = torch.fft.irfft(torch.fft.rfft(q, dim=-1) * torch.conj(torch.fft.rfft(k, dim=-1)), length, dim=-1).mean(1)
        weights, lags = torch.topk(likeness, 3, dim=-1)
        weights = weights.softmax(-1)
        places = (torch.arange(length)[None, None] + lags[..., None]) % length
        rolled = torch.gather(v[:, None].expand(-1, 3, -1, -1), 3, places[:, :, None].expand(-1, -1, v.shape[1], -1))
        return self.fc((rolled * weights[..., None, None]).sum(1).mean(-1))


class Decomposition(nn.Module):
    """DLinear: a trend by a moving average, and what is left."""

    def __init__(self) -> None:
        super().__init__()
        self.average, self.trend, self.season = nn.AvgPool1d(5, 1), nn.Linear(16, CLASSES), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        padded = torch.cat([x[:, :1].repeat(1, 2), x, x[:, -1:].repeat(1, 2)], 1)
        trend = self.average(padded[:, None]).squeeze(1)
        return self.trend(trend) + self.season(x - trend)


class InstanceNormalised(nn.Module):
    """iTransformer with RevIN: each series is normalised, attends to others, and its scale is put back."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(16, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.block = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True, norm_first=True, activation="gelu")

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True).detach()
        deviation = torch.sqrt(x.var(1, keepdim=True, unbiased=False) + 1e-5).detach()
        y = self.head(self.block(self.embed(((x - mean) / deviation).transpose(1, 2))))
        return (y * deviation.transpose(1, 2) + mean.transpose(1, 2)).mean(1)


class FusionTransformer(nn.Module):
    """TFT: gated residual networks, variables chosen by a softmax, an LSTM, interpretable attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.choose = nn.ModuleList(nn.Linear(1, 6) for _ in range(4)), nn.Linear(24, 4)
        self.lstm, self.gate, self.norm = nn.LSTM(6, 6, batch_first=True), nn.Linear(6, 12), nn.LayerNorm(6)
        self.attention, self.fc = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        embedded = torch.stack([layer(x[..., i : i + 1]) for i, layer in enumerate(self.embed)], -2)
        chosen = (embedded * self.choose(F.elu(embedded.flatten(-2))).softmax(-1)[..., None]).sum(-2)
        y = self.norm(chosen + F.glu(self.gate(self.lstm(chosen)[0])))
        mask = torch.triu(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool), 1)
        return self.fc((y + self.attention(y, y, y, attn_mask=mask)[0])[:, -1])


class SplineFlow(nn.Module):
    """A neural spline coupling: bins by a cumulated softmax, the bin found by a search, a rational quadratic within."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3 * (4 + 4 + 5)))

    def forward(self, x: Tensor) -> Tensor:
        kept, moved = x[:, :3], torch.sigmoid(x[:, 3:])
        widths, heights, slopes = self.net(kept).view(-1, 3, 13).split([4, 4, 5], -1)
        left = F.pad(widths.softmax(-1).cumsum(-1), (1, 0))
        low = F.pad(heights.softmax(-1).cumsum(-1), (1, 0))
        slopes = F.softplus(slopes) + 1e-3
        place = (torch.sum(moved[..., None] >= left, -1, keepdim=True) - 1).clamp(0, 3)
        start, width = left.gather(-1, place)[..., 0], widths.softmax(-1).gather(-1, place)[..., 0]
        floor, height = low.gather(-1, place)[..., 0], heights.softmax(-1).gather(-1, place)[..., 0]
        first, second = slopes.gather(-1, place)[..., 0], slopes.gather(-1, place + 1)[..., 0]
        t, slope = (moved - start) / width, height / width
        above = height * (slope * t**2 + first * t * (1 - t))
        y = floor + above / (slope + (first + second - 2 * slope) * t * (1 - t))
        return torch.cat([kept, y], 1) @ torch.ones(6, CLASSES, dtype=x.dtype).tril()


class MaskedAutoregression(nn.Module):
    """MADE and MAF: masked weights, and an affine flow with its log-density."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(5, 12), nn.Linear(12, 10)
        order = torch.arange(12) % 4
        self.register_buffer("first", (order[:, None] >= torch.arange(5)).float())
        self.register_buffer("second", (torch.arange(5)[:, None] > order).float().repeat(2, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(F.linear(x, self.inner.weight * self.first, self.inner.bias))
        mean, log_scale = F.linear(h, self.outer.weight * self.second, self.outer.bias).chunk(2, -1)
        noise = (x - mean) * torch.exp(-log_scale.clamp(-3, 3))
        return torch.distributions.Normal(0.0, 1.0).log_prob(noise) - log_scale


class _Swish(torch.autograd.Function):
    """Memory-saving, with a backward pass of its own, as in EfficientNet."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (x,) = context.saved_tensors
        s = torch.sigmoid(x)
        return gradient * (s * (1 + x * (1 - s)))


class OwnGradient(nn.Module):
    """An activation that is an autograd function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 12), nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(_Swish.apply(self.first(x)))


class Maxout(nn.Module):
    """The largest of several maps, behind a highway."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces, self.gate, self.carry, self.fc = nn.Linear(6, 24), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.pieces(x).view(-1, 8, 3).max(-1)[0]
        t = torch.sigmoid(self.gate(h))
        return self.fc(t * F.relu(self.carry(h)) + (1 - t) * h)


class HyperNetwork(nn.Module):
    """A network that writes the weights of another, for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.writer, self.fc = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 6 * 5 + 5)), nn.Linear(5, CLASSES)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        written = self.writer(context)
        weight, bias = written[:, :30].view(-1, 5, 6), written[:, 30:]
        return self.fc(torch.tanh(torch.bmm(weight, x[..., None]).squeeze(-1) + bias))


class Equilibrium(nn.Module):
    """A fixed point by a fixed number of damped steps, with a spectral norm."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.inject = parametrizations.spectral_norm(nn.Linear(WIDTH, WIDTH)), nn.Linear(6, WIDTH)
        self.fc = parametrizations.weight_norm(nn.Linear(WIDTH, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        z, injected = x.new_zeros(x.shape[0], WIDTH), self.inject(x)
        for _ in range(8):
            z = 0.5 * z + 0.5 * torch.tanh(self.inner(z) + injected)
        return self.fc(z)


class LiquidTime(nn.Module):
    """CfC: a closed form of a liquid network, over steps."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(4 + 6, 12)
        self.first, self.second, self.rate, self.shift = (nn.Linear(12, 6) for _ in range(4))
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(x.shape[0], 6)
        for step in x.unbind(1):
            z = 1.7159 * torch.tanh(0.666 * self.backbone(torch.cat([step, h], 1)))
            gate = torch.sigmoid(self.rate(z) + self.shift(z))
            h = torch.tanh(self.first(z)) * (1 - gate) + gate * torch.tanh(self.second(z))
        return self.fc(h)


class SpikingNet(nn.Module):
    """Leaky neurons that fire and are reset, counted over steps."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 10), nn.Linear(10, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        potential, out = x.new_zeros(x.shape[0], 10), 0.0
        for _ in range(4):
            potential = 0.8 * potential + self.first(x)
            spike = (potential > 1).to(x.dtype)
            potential = potential - spike
            out = out + self.second(spike + torch.sigmoid(potential) * 0.1)
        return out / 4


class BinaryNet(nn.Module):
    """Signs with a straight-through gradient, of weights and of values."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(6, 16), nn.Linear(16, CLASSES), nn.BatchNorm1d(16)

    def forward(self, x: Tensor) -> Tensor:
        h = F.hardtanh(self.norm(self.first(x)))
        h = h + (torch.sign(h) - h).detach()
        weight = self.second.weight
        return F.linear(h, weight.sign() * weight.abs().mean(1, keepdim=True), self.second.bias)


class MixtureDensity(nn.Module):
    """The log-likelihood of a mixture of Gaussians whose parameters are the network's."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.out = nn.Linear(6, 12), nn.Linear(12, 9)

    def forward(self, x: Tensor) -> Tensor:
        logits, means, log_scales = self.out(torch.tanh(self.body(x))).chunk(3, -1)
        mixture = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(logits=logits), torch.distributions.Normal(means, F.softplus(log_scales) + 0.1)
        )
        return mixture.log_prob(torch.full((x.shape[0],), 0.3, dtype=x.dtype))


class Sinkhorn(nn.Module):
    """A doubly stochastic matching of two sets, by rows and columns in turn, in logarithms."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.fc = nn.Linear(3, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        first, second = h.chunk(2, 1)
        scores = -torch.cdist(first, second)
        for _ in range(4):
            scores = scores - scores.logsumexp(-1, keepdim=True)
            scores = scores - scores.logsumexp(-2, keepdim=True)
        return self.fc((scores.exp() @ second - first).abs().mean(1))


class NeuralTuring(nn.Module):
    """A controller that writes to and reads from a memory by content."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.heads, self.fc = nn.GRUCell(4 + 5, 8), nn.Linear(8, 5 + 1 + 5 + 5), nn.Linear(8, CLASSES)
        self.start = nn.Parameter(torch.randn(6, 5))

    def forward(self, x: Tensor) -> Tensor:
        memory, h = self.start.expand(x.shape[0], -1, -1), x.new_zeros(x.shape[0], 8)
        read = x.new_zeros(x.shape[0], 5)
        for step in x.unbind(1):
            h = self.cell(torch.cat([step, read], 1), h)
            key, sharp, erase, add = self.heads(h).split([5, 1, 5, 5], 1)
            weights = (F.softplus(sharp) * F.cosine_similarity(memory, key[:, None], dim=-1)).softmax(-1)[..., None]
            memory = memory * (1 - weights * torch.sigmoid(erase)[:, None]) + weights * torch.tanh(add)[:, None]
            read = (weights * memory).sum(1)
        return self.fc(h)


SERIES, ROW = draw(8, 4), draw(6)

UNUSUAL = (
    Entry("Autoformer", "time series", Autocorrelation, SERIES),
    Entry("DLinear", "time series", Decomposition, draw(16)),
    Entry("iTransformer", "time series", InstanceNormalised, draw(16, 3)),
    Entry("TFT", "time series", FusionTransformer, SERIES),
    Entry("neural spline flow", "flow", SplineFlow, ROW),
    Entry("MAF", "flow", MaskedAutoregression, draw(5)),
    Entry("autograd function", "own gradient", OwnGradient, ROW),
    Entry("maxout and highway", "gated", Maxout, ROW),
    Entry("hypernetwork", "hypernetwork", HyperNetwork, lambda samples: ((torch.randn(samples, 6), torch.randn(samples, 4)), {})),
    Entry("deep equilibrium", "fixed point", Equilibrium, ROW),
    Entry("CfC", "differential equation", LiquidTime, SERIES),
    Entry("spiking network", "spiking", SpikingNet, ROW),
    Entry("binary network", "quantised", BinaryNet, ROW),
    Entry("mixture density", "density", MixtureDensity, ROW),
    Entry("Sinkhorn", "matching", Sinkhorn, draw(8, 3)),
    Entry("neural Turing machine", "memory", NeuralTuring, SERIES),
)
