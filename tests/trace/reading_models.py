"""Models that ask tensors for numbers; apart from the tests, in which asserts are not those that were written."""

import torch
from torch import nn


class Reader(nn.Module):
    """Two layers and some buffers."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 4)
        self.register_buffer("steps", torch.tensor(3))
        self.register_buffer("share", torch.tensor(0.7))
        self.register_buffer("on", torch.tensor(True))


class OfBuffers(Reader):
    def forward(self, x):
        h = self.a(x)
        for _ in range(int(self.steps)):
            h = torch.sin(h) * self.share.item()
        if self.on:
            h = h.relu() * float(self.a.weight.norm())
        return self.b(h)


class Checked(Reader):
    def forward(self, x):
        if torch.isnan(x).any():
            raise ValueError("not a number")
        assert (x.abs() < 1e4).all(), "too large"
        if not torch.isfinite(x).all().item():
            print("infinite")
        return self.b(self.a(x).relu())


class Pairs(Reader):
    def forward(self, x):
        pairs = self.a(x)[:, torch.combinations(torch.arange(4))].prod(-1)
        return self.b(torch.cat([pairs, pairs[:, :2]], 1))


class EarlyExit(Reader):
    def forward(self, x):
        h = self.a(x)
        if (h.detach() > 100).any():
            return self.b(h)
        return self.b(h.relu())


class AfterAnEscape(Reader):
    """The count of a mask of the input passes through a tensor of the model's own making."""

    def forward(self, x):
        count = x[x > 0].shape[0]
        scale = torch.tensor(float(count)).item()
        return self.b(self.a(x).relu() * scale)


class OfTheBatch(Reader):
    def forward(self, x):
        return self.b(self.a(x).relu()) * torch.ones(len(x)).sum().item() / x.shape[0]
