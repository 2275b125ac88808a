"""Small models whose units are joined in all the ways that architectures join them, with inputs for each."""

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = torch.relu(self.first(x))
        return self.last(torch.relu(h + self.inner(h)))


class Concat(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.last = nn.Linear(6, 8), nn.Linear(6, 4), nn.Linear(12, 3)

    def forward(self, x):
        return self.last(torch.cat([torch.relu(self.left(x)), torch.tanh(self.right(x))], 1))


class Gated(nn.Module):
    """SwiGLU, with both halves in one matrix."""

    def __init__(self):
        super().__init__()
        self.both, self.last = nn.Linear(6, 16), nn.Linear(8, 3)

    def forward(self, x):
        gate, up = self.both(x).chunk(2, -1)
        return self.last(F.silu(gate) * up)


class Normed(nn.Module):
    """A residual stream under a layer norm, a norm by the root mean square, and one that is written out."""

    def __init__(self):
        super().__init__()
        self.first, self.layer, self.inner, self.rms, self.scale = (
            nn.Linear(6, 8),
            nn.LayerNorm(8),
            nn.Linear(8, 8),
            nn.RMSNorm(8),
            nn.Parameter(torch.rand(8) + 0.5),
        )
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        h = self.first(x)
        h = self.rms(h + self.inner(torch.relu(self.layer(h))))
        return self.last(h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6) * self.scale)


class SqueezeExcite(nn.Module):
    """A depthwise block with squeeze and excitation, added to its input."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.wide = nn.Sequential(nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16), nn.ReLU6())
        self.depth = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16), nn.SiLU())
        self.squeeze, self.excite, self.narrow = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1), nn.Conv2d(16, 8, 1)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        h = self.stem(x)
        inner = self.depth(self.wide(h))
        weight = torch.sigmoid(self.excite(torch.relu(self.squeeze(inner.mean((2, 3), keepdim=True)))))
        return self.last((h + self.narrow(inner * weight)).mean((2, 3)))


class Attention(nn.Module):
    """Heads, with queries, keys and values in one matrix, after a class token and positions."""

    def __init__(self, heads=4):
        super().__init__()
        self.heads, self.embed = heads, nn.Linear(6, 16)
        self.token, self.places = nn.Parameter(torch.randn(1, 1, 16)), nn.Parameter(torch.randn(1, 6, 16))
        self.norm, self.qkv, self.out, self.last = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x):
        h = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x)], 1) + self.places
        batch, steps = h.shape[:2]
        qkv = self.qkv(self.norm(h)).reshape(batch, steps, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (query @ key.transpose(-2, -1) / 2).softmax(-1)
        h = h + self.out((weights @ value).transpose(1, 2).reshape(batch, steps, -1))
        return self.last(h[:, 0])


class GroupedQueries(nn.Module):
    """Four heads of queries on two of keys and values, over looked-up tokens, with the head tied to the table."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 16)
        self.query, self.key, self.value = nn.Linear(16, 16), nn.Linear(16, 8), nn.Linear(16, 8)
        self.out, self.head = nn.Linear(16, 16), nn.Linear(16, 11, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids):
        h = self.table(ids)
        query, key, value = (part(h).unflatten(-1, (-1, 4)).transpose(1, 2) for part in (self.query, self.key, self.value))
        key, value = key.repeat_interleave(2, 1), value.repeat_interleave(2, 1)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).flatten(2)
        return self.head(h + self.out(mixed))[:, -1]


class Torch(nn.Module):
    """PyTorch's own attention, of one sequence on another."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(6, 8)
        self.attention, self.last = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        one, other = self.first(x), self.second(x)
        return self.last((one + self.attention(one, other, other, need_weights=False)[0]).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.first, self.cells, self.last = nn.Linear(6, 8), kind(8, 6, 2, batch_first=True, bidirectional=True), nn.Linear(12, 3)

    def forward(self, x):
        return self.last(self.cells(torch.relu(self.first(x)))[0][:, -1])


class LastState(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.last = nn.LSTM(6, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.cells(x)[1][0][-1])


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.GroupNorm(4, 8), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.up, self.last = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x):
        h = self.down(x)
        return self.last(torch.cat([self.up(self.deep(F.max_pool2d(h, 2))), h], 1))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.bias, self.shift = nn.Parameter(torch.randn(8, 6)), nn.Parameter(torch.randn(8)), nn.Parameter(torch.randn(6))

    def forward(self, x):
        return F.linear(torch.relu(F.linear(x, self.weight, self.bias)), self.weight.t(), self.shift)


class Windows(nn.Module):
    """Shifted windows, positions that are looked up for each head, and patches that are merged."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.qkv, self.out = nn.Conv2d(2, 8, 1), nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.table, self.merge, self.last = nn.Parameter(torch.randn(9, 2)), nn.Linear(32, 12), nn.Linear(12, 3)
        self.register_buffer("places", torch.arange(16).reshape(4, 4) % 9)

    def forward(self, x):
        h = torch.roll(self.embed(x).permute(0, 2, 3, 1), (-1, -1), (1, 2))
        parts = h.view(len(h), 2, 2, 2, 2, 8).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 8)
        query, key, value = self.qkv(self.norm(parts)).reshape(-1, 4, 3, 2, 4).permute(2, 0, 3, 1, 4)
        bias = self.table[self.places.view(-1)].view(4, 4, 2).permute(2, 0, 1)
        mixed = ((query @ key.transpose(-2, -1) + bias[None]).softmax(-1) @ value).transpose(1, 2).reshape(-1, 4, 8)
        h = h + self.out(mixed).view(-1, 2, 2, 2, 2, 8).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 4, 8)
        merged = torch.cat([h[:, 0::2, 0::2], h[:, 1::2, 0::2], h[:, 0::2, 1::2], h[:, 1::2, 1::2]], -1)
        return self.last(torch.relu(self.merge(merged)).mean((1, 2)))


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.one, self.other = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 2)

    def forward(self, x):
        h = torch.relu(self.first(x))
        return self.one(h), self.other(h)


class Cells(nn.Module):
    """Steps by hand, from zeros and from a state that is computed."""

    def __init__(self):
        super().__init__()
        self.first, self.lstm, self.gru, self.last = nn.Linear(6, 8), nn.LSTMCell(6, 8), nn.GRUCell(8, 6), nn.Linear(6, 3)

    def forward(self, x):
        h, c, g = torch.tanh(self.first(x[:, 0])), x.new_zeros(len(x), 8), x.new_zeros(len(x), 6)
        for step in range(3):
            h, c = self.lstm(x[:, step], (h, c))
            g = self.gru(h, g)
        return self.last(g)


class Projected(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.cells, self.last = nn.Linear(6, 8), nn.LSTM(8, 8, batch_first=True, proj_size=4), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.cells(torch.relu(self.first(x)))[0][:, -1])


class Einsums(nn.Module):
    """Heads whose weights have an axis each for heads and for their units, without a softmax."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 3)
        self.query, self.key, self.value = (nn.Parameter(0.3 * torch.randn(4, 16, 8)) for _ in range(3))
        self.out = nn.Parameter(0.3 * torch.randn(4, 8, 16))

    def forward(self, x):
        h = self.first(x)
        query, key, value = (torch.einsum("...td,hde->...hte", h, one) for one in (self.query, self.key, self.value))
        mixed = torch.einsum("bhts,bhse->bhte", torch.einsum("bhte,bhse->bhts", query, key).softmax(-1), value)
        return self.last((h + torch.einsum("bhte,hed->btd", mixed, self.out)).mean(1))


class BiasedHeads(nn.Module):
    """A bias for relative positions and a slope for each head, inside of attention."""

    def __init__(self):
        super().__init__()
        self.first, self.qkv, self.out, self.last = nn.Linear(6, 16), nn.Linear(16, 48), nn.Linear(16, 16), nn.Linear(16, 3)
        self.table = nn.Parameter(torch.randn(9, 4))
        places = torch.arange(5)
        self.register_buffer("places", places[:, None] - places[None] + 4)
        self.register_buffer("slopes", torch.tensor([1.0, 0.5, 0.25, 0.125]).reshape(4, 1, 1))

    def forward(self, x):
        h = self.first(x)
        query, key, value = self.qkv(h).reshape(len(x), 5, 3, 4, 4).permute(2, 0, 3, 1, 4)
        bias = self.table[self.places].permute(2, 0, 1) - self.slopes * (self.places - 4).abs()
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias[None])
        return self.last((h + self.out(mixed.transpose(1, 2).reshape(len(x), 5, 16))).mean(1))


class PaddedShortcut(nn.Module):
    """Channels of zeros beside those of a shortcut, as in ResNets without projections; and slopes for each channel."""

    def __init__(self):
        super().__init__()
        self.first, self.slopes, self.second = nn.Conv2d(2, 8, 3, padding=1), nn.PReLU(8), nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.slope, self.last = nn.PReLU(), nn.Linear(12, 3)

    def forward(self, x):
        h = self.slopes(self.first(x))
        return self.last(self.slope(self.second(h) + F.pad(h[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))).mean((2, 3)))


class Shuffled(nn.Module):
    """Channels that change places, are picked by these, and are dealt out to two readers."""

    def __init__(self):
        super().__init__()
        self.first, self.depth, self.last = nn.Conv2d(2, 16, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8), nn.Linear(8 + 6 + 8, 3)
        self.shuffle = nn.ChannelShuffle(2)
        self.register_buffer("places", torch.tensor([7, 1, 0, 4, 2, 5]))

    def forward(self, x):
        one, other = self.shuffle(torch.relu(self.first(x))).chunk(2, 1)
        deep, picked = self.depth(one).mean((2, 3)), other[:, self.places].mean((2, 3))
        return self.last(torch.cat([deep, picked, torch.cat([deep[:, ::2], deep[:, 1::2]], 1)], 1))


class ManyNorms(nn.Module):
    """Norms over channels and positions, over each channel, to unit length, and over positions alone."""

    def __init__(self):
        super().__init__()
        self.first, self.layer, self.second = nn.Conv2d(2, 8, 1), nn.LayerNorm([8, 4, 4]), nn.Conv2d(8, 8, 1)
        self.instance, self.positions = nn.InstanceNorm2d(8, affine=True, track_running_stats=True), nn.LayerNorm([4, 4])
        self.last = nn.Linear(16, 3)

    def forward(self, x):
        h = torch.relu(self.layer(self.first(x)))
        unit = F.normalize(F.adaptive_max_pool2d(torch.relu(self.instance(self.second(h))), 1).flatten(1), dim=-1)
        return self.last(torch.cat([unit, torch.relu(self.positions(h)).mean((2, 3))], 1))


class SelectiveKernel(nn.Module):
    """Two branches, weighed by a softmax over both; and the largest of three units each."""

    def __init__(self):
        super().__init__()
        self.one, self.other, self.squeeze = nn.Conv2d(2, 8, 1), nn.Conv2d(2, 8, 3, padding=1), nn.Linear(8, 12)
        self.weigh, self.last = nn.Linear(4, 16), nn.Linear(8, 3)

    def forward(self, x):
        both = torch.stack([torch.relu(self.one(x)), torch.relu(self.other(x))], 1)
        few = self.squeeze(both.sum(1).mean((2, 3))).view(-1, 4, 3).amax(-1)
        weights = self.weigh(few).view(-1, 2, 8).softmax(1)
        return self.last((both * weights[..., None, None]).sum(1).mean((2, 3)))


def _sequential(*layers):
    return lambda: nn.Sequential(*layers)


def _draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


FLAT, IMAGES, STEPS = _draw(40, 6), _draw(40, 2, 4, 4), _draw(40, 5, 6)
IDS = torch.randint(0, 11, (40, 5), generator=torch.Generator().manual_seed(0))

JOINED = {
    "residual": (Residual, FLAT, 1.0),
    "concat": (Concat, FLAT, 1.0),
    "gated": (Gated, FLAT, 1.0),
    "glu": (_sequential(nn.Linear(6, 16), nn.GLU(), nn.Linear(8, 3)), FLAT, 1.0),
    "norms": (Normed, FLAT, 1.0),
    "squeeze and excitation": (SqueezeExcite, IMAGES, 1.0),
    "grouped": (_sequential(nn.Conv2d(2, 8, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, groups=4), nn.Flatten(), nn.Linear(64, 3)), IMAGES, 1.0),
    "pixel shuffle": (_sequential(nn.Conv2d(2, 16, 3, padding=1), nn.PixelShuffle(2), nn.ReLU(), nn.Conv2d(4, 1, 3)), IMAGES, 1.0),
    "one group": (_sequential(nn.Conv2d(2, 8, 3), nn.GroupNorm(1, 8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)), IMAGES, 1.0),
    "transposed": (
        _sequential(nn.Conv2d(2, 8, 2, 2), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2, 2), nn.ReLU(), nn.Conv2d(6, 1, 1)),
        IMAGES,
        1.0,
    ),
    "attention": (Attention, STEPS, 1.0),
    "grouped queries": (GroupedQueries, IDS, 1.0),
    "torch's attention": (Torch, STEPS, 1.0),
    "lstm": (lambda: Recurrent(nn.LSTM), STEPS, 1.0),
    "gru": (lambda: Recurrent(nn.GRU), STEPS, 1.0),
    "rnn": (lambda: Recurrent(nn.RNN), STEPS, 1.0),
    "last state": (LastState, STEPS, 1.0),
    "u-net": (UNet, IMAGES, 1.0),
    "tied": (Tied, FLAT, 0.9),
    "windows": (Windows, IMAGES, 1.0),
    "cells": (Cells, STEPS, 1.0),
    "projected": (Projected, STEPS, 1.0),
    "einsums": (Einsums, STEPS, 1.0),
    "biased heads": (BiasedHeads, STEPS, 1.0),
    "padded shortcut": (PaddedShortcut, IMAGES, 1.0),
    "shuffled": (Shuffled, IMAGES, 1.0),
    "many norms": (ManyNorms, IMAGES, 0.8),
    "selective kernel": (SelectiveKernel, IMAGES, 1.0),
    "bags": (_sequential(nn.EmbeddingBag(11, 8), nn.ReLU(), nn.Linear(8, 3)), IDS, 1.0),
}
"""By name: a model, inputs, and the least share of the weights that belongs to units which can be removed, less biases of outputs."""


def build(name):
    """A model in evaluation, the statistics of its norms not those of the start, and its inputs."""
    make, x, _ = JOINED[name]
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
            if isinstance(module, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
                module.weight.uniform_(0.5, 2)
                module.bias.normal_(0, 0.3)
    return model, x
