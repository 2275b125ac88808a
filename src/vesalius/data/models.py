"""Small networks to look into, trained in seconds and kept in a cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vesalius.core import store
from vesalius.core.entry import verb
from vesalius.core.errors import ForeignFile, MemoryExhausted
from vesalius.core.names import require_known
from vesalius.core.version import VERSION
from vesalius.data.datasets import Dataset, load
from vesalius.data.download import user_cache
from vesalius.data.networks import small
from vesalius.data.networks.small import adult_mlp, digits_cnn, iris_mlp, reviews_cnn

MIN_STD = 0.1
"""Columns that vary less are not stretched further."""


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
class TrainedNetwork:
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
    "adult_mlp": (adult_mlp, Recipe(data="adult", epochs=4, batch=256, rate=3e-3)),
    "reviews_cnn": (reviews_cnn, Recipe(data="reviews", epochs=8, batch=32, rate=4e-3)),
}
"""Factory and recipe of each network, by name."""


@verb
def trained(name: str, *, cache: Path | None = None, report: Callable[[int, int], None] | None = None) -> TrainedNetwork:
    """A trained network: from the cache if this version trained it before, else trained now.

    Args:
        name: one of ``NETWORKS``.
        cache: folder of trained networks; the user's cache by default.
        report: told (epochs done, epochs in all) while training.

    Raises:
        UnknownName: there is no such network.
    """
    require_known("network", name, NETWORKS)
    factory, recipe = NETWORKS[name]
    data = load(recipe.data, cache=cache)
    path = (user_cache() if cache is None else cache) / "networks" / f"{name}-{_recipe_digest(recipe)}.safetensors"
    model = _read_cached(path, factory)
    if model is None:
        model = fit(factory, recipe, data, report)
        store.write(path, "weights", model.state_dict(), {"network": name, "recipe": asdict(recipe)})
    return TrainedNetwork(model=model, data=data, accuracy=accuracy(model, data), weights=path)


def fit(factory: Callable[[], nn.Module], recipe: Recipe, data: Dataset, report: Callable[[int, int], None] | None = None) -> nn.Module:
    """Train a new network by a recipe; the global random state is left as it was."""
    with _fixed_seed(recipe.seed):
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


def _standardise(model: nn.Module, x: Tensor) -> None:
    """Give a network that standardises its input the mean and spread of the training part."""
    buffers = dict(model.named_buffers())
    if {"mean", "std"} <= buffers.keys():
        buffers["mean"].copy_(x.mean(0))
        # a category of three people in ten thousand would otherwise be blown up a hundred times
        buffers["std"].copy_(x.std(0).clamp(min=MIN_STD))


def _read_cached(path: Path, factory: Callable[[], nn.Module]) -> nn.Module | None:
    """The kept network, or ``None`` if there is none that can be used."""
    try:
        tensors, _ = store.read(path, "weights")
        with _fixed_seed(0):
            model = factory()
        model.load_state_dict(tensors)
    except (FileNotFoundError, ForeignFile, MemoryExhausted, RuntimeError):
        return None
    return model.eval()


def _recipe_digest(recipe: Recipe) -> str:
    """Digest of the recipe, the version, this file and that of the architectures: what a kept network depends on."""
    files = b"".join(Path(file).read_bytes() for file in (__file__, small.__file__))
    parts = f"{VERSION} {recipe}".encode() + files
    return hashlib.sha256(parts).hexdigest()[:12]


@contextmanager
def _fixed_seed(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
