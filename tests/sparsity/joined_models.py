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
