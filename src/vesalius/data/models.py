"""Two small networks to look into, trained in seconds and kept in a cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vesalius.core import store
from vesalius.core.errors import ForeignFile, UnknownName
from vesalius.core.version import VERSION
from vesalius.data.datasets import Dataset, load
from vesalius.data.files import user_cache


@final
class DigitsCNN(nn.Module):
    """Two convolutions and two linear layers for digits of 8 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 16, 3, stride=2, padding=1)
        self.fc1 = nn.Linear(16 * 4 * 4, 48)
        self.fc2 = nn.Linear(48, 10)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: Float[Tensor, "batch 1 8 8"]) -> Float[Tensor, "batch 10"]:
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x))
        x = torch.relu(self.fc1(self.dropout(x.flatten(1))))
        return self.fc2(self.dropout(x))


@final
class IrisMLP(nn.Module):
    """One hidden layer for the four lengths of iris, in centimetres; it standardises them itself."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("std", torch.ones(4))
        self.hidden = nn.Linear(4, 16)
        self.out = nn.Linear(16, 3)

    def forward(self, x: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 3"]:
        return self.out(torch.relu(self.hidden((x - self.mean) / self.std)))


def digits_cnn() -> nn.Module:
    """A new, untrained network for the digits of scikit-learn."""
    return DigitsCNN()


def iris_mlp() -> nn.Module:
    """A new, untrained network for iris."""
    return IrisMLP()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained: AdamW with a one-cycle schedule on the cross entropy.

    Attributes:
        data: name of the data set.
        epochs: passes over the training part.
        batch: samples per step.
        rate: largest learning rate.
        decay: weight decay.
        seed: of weights, order and dropout.
    """

    data: str
    epochs: int
    batch: int = 64
    rate: float = 5e-3
    decay: float = 1e-2
    seed: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """A trained network.

    Attributes:
        model: in eval mode.
        data: what it was trained and tested on.
        accuracy: share of the test samples it gets right, 0..1.
        weights: the file its parameters are kept in (safetensors).
    """

    model: nn.Module
    data: Dataset
    accuracy: float
    weights: Path


NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], Recipe]] = {
    "digits_cnn": (digits_cnn, Recipe(data="digits", epochs=30)),
    "iris_mlp": (iris_mlp, Recipe(data="iris", epochs=100, batch=32, rate=2e-2, seed=2)),
}
"""Factory and recipe of each network, by name."""


def trained(name: str, *, cache: Path | None = None, report: Callable[[int, int], None] | None = None) -> Trained:
    """A trained network: from the cache if this version trained it before, else trained now.

    Args:
        name: one of ``NETWORKS``.
        cache: folder of trained networks; the user's cache by default.
        report: told (epochs done, epochs in all) while training.

    Raises:
        UnknownName: there is no such network.
    """
    if name not in NETWORKS:
        raise UnknownName("network", name, NETWORKS)
    factory, recipe = NETWORKS[name]
    data = load(recipe.data, cache=cache)
    path = (user_cache() if cache is None else cache) / "networks" / f"{name}-{_key(recipe)}.safetensors"
    model = _read(path, factory)
    if model is None:
        model = fit(factory, recipe, data, report)
        store.write(path, "weights", model.state_dict(), {"network": name, "recipe": asdict(recipe)})
    return Trained(model=model, data=data, accuracy=accuracy(model, data), weights=path)


def fit(factory: Callable[[], nn.Module], recipe: Recipe, data: Dataset, report: Callable[[int, int], None] | None = None) -> nn.Module:
    """Train a new network by a recipe; the global random state is left as it was."""
    with _seeded(recipe.seed):
        model = factory()
        _standardise(model, data.train_x)
        optimiser = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=recipe.decay)
        steps = recipe.epochs * -(-len(data.train_x) // recipe.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps)
        for epoch in range(recipe.epochs):
            for rows in torch.randperm(len(data.train_x)).split(recipe.batch):
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(data.train_x[rows]), data.train_y[rows]).backward()
                optimiser.step()
                schedule.step()
            if report is not None:
                report(epoch + 1, recipe.epochs)
    return model.eval()


def accuracy(model: nn.Module, data: Dataset) -> float:
    """Share of the test samples whose largest output is their class."""
    with torch.no_grad():
        return float((model(data.test_x).argmax(1) == data.test_y).float().mean())


def _standardise(model: nn.Module, x: Float[Tensor, "train *event"]) -> None:
    if isinstance(model, IrisMLP):
        model.mean.copy_(x.mean(0))
        model.std.copy_(x.std(0))


def _read(path: Path, factory: Callable[[], nn.Module]) -> nn.Module | None:
    """The kept network, or ``None`` if there is none that can be used."""
    try:
        tensors, _ = store.read(path, "weights")
        with _seeded(0):
            model = factory()
        model.load_state_dict(tensors)
    except (FileNotFoundError, ForeignFile, RuntimeError):
        return None
    return model.eval()


def _key(recipe: Recipe) -> str:
    """Digest of the recipe, the version and this file: what a kept network depends on."""
    parts = f"{VERSION} {recipe}".encode() + Path(__file__).read_bytes()
    return hashlib.sha256(parts).hexdigest()[:12]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
