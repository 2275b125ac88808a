"""Games with known Shapley values for the estimator benchmark: five families, any number of instances by seed.

Up to 16 players the truth is exact. For 49 patches it is the mean of very many antithetic permutations and carries its own standard error.
MNIST is read from the folder named by the environment variable VESALIUS_DATA.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from vesalius.games import moebius

TRUTH_PAIRS = 30_000  # antithetic pairs of permutations behind the truth of the 49-patch games


@dataclass(frozen=True)
class Picture:
    """A network's output at an image whose square patches may be absent."""

    net: nn.Module
    image: Tensor
    absent: Tensor
    label: int
    patch: int

    @property
    def owner(self) -> Tensor:
        """The patch of every pixel."""
        side = self.image.shape[-1] // self.patch
        return torch.arange(side * side).view(side, side).repeat_interleave(self.patch, 0).repeat_interleave(self.patch, 1)

    @torch.no_grad()
    def __call__(self, masks: Tensor) -> Tensor:
        out = []
        for part in masks.split(1024):
            keep = part[:, self.owner.flatten()].view(-1, 1, *self.owner.shape).float()
            out.append(self.net(self.absent + keep * (self.image - self.absent))[:, self.label].double())
        return torch.cat(out)


@dataclass(frozen=True)
class KnownGame:
    """A game, its Shapley values and the mean square of their standard error (0 where exact)."""

    name: str
    n: int
    function: Callable[[Tensor], Tensor]
    truth: Tensor
    truth_variance: float
    picture: Picture | None = None

    @property
    def players(self) -> SimpleNamespace:
        return SimpleNamespace(n=self.n)

    def __call__(self, masks: Tensor) -> Tensor:
        return self.function(masks)


def unanimity(name: str, n: int, terms: int, largest: int, lowest_weight: float) -> Callable[[int], KnownGame]:
    """Sums of unanimity games: sizes uniform on 1..largest, weights uniform on [lowest_weight, 1]."""

    def build(seed: int) -> KnownGame:
        rng = np.random.default_rng([seed, n])
        sizes = rng.integers(1, largest + 1, terms)
        carriers = torch.tensor(np.stack([rng.permutation(n) < size for size in sizes]), dtype=torch.float64)
        weights = torch.tensor(rng.uniform(lowest_weight, 1, terms))

        def value(masks: Tensor) -> Tensor:
            return ((masks.double() @ carriers.T) == carriers.sum(1)).double() @ weights

        return table_game(name, n, value)

    return build


def random_mlp(name: str, n: int) -> Callable[[int], KnownGame]:
    """Random networks n-32-32-1 at a random input; absent features are 0; tanh at even seeds, ReLU at odd ones."""

    def build(seed: int) -> KnownGame:
        rng = np.random.default_rng([seed, 77])
        widths = [n, 32, 32, 1]
        weights = [torch.tensor(rng.normal(size=(a, b)) * 1.5 / a**0.5) for a, b in pairwise(widths)]
        biases = [torch.tensor(rng.normal(size=b) * 0.3) for b in widths[1:]]
        x = torch.tensor(rng.normal(size=n))
        act = torch.tanh if seed % 2 == 0 else torch.relu

        def value(masks: Tensor) -> Tensor:
            hidden = masks.double() * x
            for w, b in zip(weights[:-1], biases[:-1], strict=True):
                hidden = act(hidden @ w + b)
            return (hidden @ weights[-1] + biases[-1])[:, 0]

        return table_game(name, n, value)

    return build


def digits_cnn(name: str) -> Callable[[int], KnownGame]:
    """The logit of the true class, 8x8 digits, 16 patches of 2x2, absent patches are the mean image; one network, one image per seed."""
    data = load_digits()
    images = torch.tensor(data.images / 16, dtype=torch.float32)[:, None]
    labels = torch.tensor(data.target)
    net = train_network(
        nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(256, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        ),
        images[:1400],
        labels[:1400],
        15,
    )
    mean = images[:1400].mean(0)

    def build(seed: int) -> KnownGame:
        at = 1400 + (seed * 37) % 397
        return table_game(name, 16, Picture(net, images[at], mean, int(labels[at]), 2))

    return build


def mnist_cnn(name: str) -> Callable[[int], KnownGame]:
    """The logit of the true class, MNIST test images, 49 patches of 4x4, absent patches are black; one network, one image per seed."""
    images, labels = load_mnist("train")
    net = train_network(
        nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(8, 16, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 49, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        ),
        images[:20000],
        labels[:20000],
        3,
    )
    tests, test_labels = load_mnist("t10k")

    def build(seed: int) -> KnownGame:
        at = (seed * 61) % 10_000
        value = Picture(net, tests[at], torch.zeros(1, 28, 28), int(test_labels[at]), 4)
        truth, variance = sampled_truth(value, 49, torch.Generator().manual_seed(10_000 + seed))
        return KnownGame(name, 49, value, truth, variance, value)

    return build


def train_network(net: nn.Sequential, images: Tensor, labels: Tensor, epochs: int) -> nn.Sequential:
    """The network trained by Adam with a fixed seed, in eval mode."""
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else parameter.numel()
        nn.init.normal_(parameter, std=(2 / fan_in) ** 0.5 if parameter.dim() > 1 else 0.0, generator=generator)
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=generator).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(images[rows]), labels[rows]).backward()
            optimiser.step()
    return net.eval().requires_grad_(False)


def load_mnist(part: str) -> tuple[Tensor, Tensor]:
    raw = Path(os.environ["VESALIUS_DATA"]) / "MNIST" / "raw"
    images = np.frombuffer(gzip.decompress((raw / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((raw / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return torch.tensor(images.reshape(-1, 1, 28, 28) / 255, dtype=torch.float32), torch.tensor(labels.astype(np.int64))


def table_game(name: str, n: int, value: Callable[[Tensor], Tensor]) -> KnownGame:
    """A game answered from the table of all its values, with exact Shapley values."""
    table = torch.cat([value(part) for part in moebius.membership(n).split(8192)])
    place = 1 << torch.arange(n)
    return KnownGame(name, n, lambda masks: table[masks.long() @ place], moebius.shapley_values(moebius.dividends(table)), 0.0)


def sampled_truth(value: Callable[[Tensor], Tensor], n: int, generator: torch.Generator, pairs: int = TRUTH_PAIRS) -> tuple[Tensor, float]:
    """Shapley values and the mean over players of their squared standard error, from antithetic pairs of permutations."""
    steps = torch.cat([pair_steps(value, n, generator, 50) for _ in range(pairs // 50)])
    return steps.mean(0), float((steps.var(0) / len(steps)).mean())


def pair_steps(value: Callable[[Tensor], Tensor], n: int, generator: torch.Generator, pairs: int) -> Tensor:
    order = torch.rand(pairs, n, generator=generator).argsort(1)
    rank = torch.cat([order.argsort(1), n - 1 - order.argsort(1)])
    masks = rank[:, None, :] < torch.arange(n + 1)[None, :, None]
    gains = value(masks.reshape(-1, n)).view(2 * pairs, n + 1).diff(dim=1)
    return gains.gather(1, rank).view(2, pairs, n).mean(0)


FAMILIES: dict[str, Callable[[], Callable[[int], KnownGame]]] = {
    "unanimity-12": lambda: unanimity("unanimity-12", 12, terms=40, largest=12, lowest_weight=0.0),
    "unanimity-16": lambda: unanimity("unanimity-16", 16, terms=60, largest=8, lowest_weight=-1.0),
    "mlp-12": lambda: random_mlp("mlp-12", 12),
    "digits-16": lambda: digits_cnn("digits-16"),
    "mnist-49": lambda: mnist_cnn("mnist-49"),
}  # cheapest first; each makes a builder from seed to instance, so that a network is trained once
