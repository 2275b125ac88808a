"""A folder with models and data as users have them, and the command run in this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vesalius.cli import main

MODELS = '''
"""Models as a user writes them."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 8)
        self.b = nn.Linear(8, 3)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


class Pictures(nn.Module):
    def __init__(self, channels=1):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3)
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        return self.out(torch.relu(self.conv(x)).mean((2, 3)))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(10, 3)
        self.out = nn.Linear(3, 2)

    def forward(self, ids):
        return self.out(self.emb(ids).mean(1))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, x):
        return {"logits": self.net(x), "hidden": torch.relu(self.net.a(x))}


class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, x):
        return self.net(x) if x.sum() > 0 else 2 * self.net(x)


def seeded(kind, *args):
    torch.manual_seed(0)
    return kind(*args)


def net():
    return seeded(Net)


def pictures():
    return seeded(Pictures)


def colour():
    return seeded(Pictures, 3)


def tokens():
    return seeded(Tokens)


def two():
    return seeded(Two)


def branch():
    return seeded(Branch)


def single():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))


def wide():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(14, 16), nn.Tanh(), nn.Linear(16, 2))


def softmax():
    return nn.Sequential(net(), nn.Softmax(1))


def overflow():
    class Overflow(nn.Module):
        def forward(self, x):
            return (x * 1e38) * 1e38
    return Overflow()


def broken():
    raise RuntimeError("no licence\\nat all")


def number():
    return 3


ready = seeded(Net)
constant = 3
'''


@dataclass(frozen=True)
class Ran:
    """Exit code, stdout and stderr of one run."""

    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The working folder: models.py, and ten rows of four numbers with classes as x.npz."""
    monkeypatch.chdir(tmp_path)
    Path("models.py").write_text(MODELS)
    rng = np.random.default_rng(0)
    np.savez("x.npz", x=rng.standard_normal((10, 4)).astype(np.float32), y=rng.integers(0, 3, 10))
    return tmp_path


@pytest.fixture
def made(home):
    """A model as a factory in models.py makes it."""

    def make(name):
        namespace = {}
        with torch.random.fork_rng(devices=[]):
            exec((home / "models.py").read_text(), namespace)
            return namespace[name]()

    return make


@pytest.fixture
def vesalius(capsys):
    """Run the command in this process; the global random state that user code seeds is put back."""

    def run(*words):
        with torch.random.fork_rng(devices=[]):
            code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def explain(vesalius, home):
    """``vesalius explain MODEL DATA --out out ...`` with quick methods."""

    def run(model="models.py:net", data="x.npz", *rest):
        words = list(rest)
        if "--methods" not in words:
            words += ["--methods", "gradient_x_input", "occlusion"]
        return vesalius("explain", model, data, "--out", "out", *words)

    return run


@pytest.fixture
def weights(home):
    """Parameters for models.py:net, as safetensors."""
    generator = torch.Generator().manual_seed(5)
    shapes = {"a.weight": (8, 4), "a.bias": (8,), "b.weight": (3, 8), "b.bias": (3,)}
    found = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(found, "w.safetensors")
    return found
