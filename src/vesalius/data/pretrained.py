"""Networks that others have trained; their weights are looked for where data is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from vesalius.core.entry import verb
from vesalius.core.errors import ForeignFile
from vesalius.core.names import require_known
from vesalius.data.datasets import CIFAR_CLASSES
from vesalius.data.download import DataFile, fetch
from vesalius.data.networks.resnet_squeezenet import resnet20, squeezenet


@dataclass(frozen=True, eq=False, kw_only=True)
class PretrainedNetwork:
    """A network with the weights it was published with.

    Attributes:
        model: in eval mode; it takes pictures in 0..1.
        class_names: one per output.
        weights: the file they came from.
        size: height and width of the pictures it was trained on, in pixels.
    """

    model: nn.Module
    class_names: tuple[str, ...]
    weights: Path
    size: int


@dataclass(frozen=True, kw_only=True)
class PretrainedSource:
    """Where a network comes from.

    Attributes:
        factory: makes it, untrained.
        weights: its parameters (safetensors).
        classes: names of its classes.
        size: as in :class:`PretrainedNetwork`.
    """

    factory: Callable[[], nn.Module]
    weights: DataFile
    classes: Callable[[Path | None], tuple[str, ...]]
    size: int


@verb
def pretrained(name: str, *, cache: Path | None = None) -> PretrainedNetwork:
    """A pretrained network by name.

    Args:
        name: one of ``PRETRAINED``.
        cache: where downloads are kept; the user's cache by default.

    Raises:
        UnknownName: there is no such network.
        MissingData, ForeignFile: its files are not here, or are not what they should be.
    """
    require_known("pretrained network", name, PRETRAINED)
    published = PRETRAINED[name]
    place = fetch(published.weights, cache=cache)
    with torch.random.fork_rng(devices=[]):
        model = published.factory()
    try:
        model.load_state_dict(load_file(place))
    except (SafetensorError, RuntimeError) as error:
        raise ForeignFile(f"{place} does not hold the weights of {name}: {' '.join(str(error).split())[:300]}") from error
    return PretrainedNetwork(model=model.eval(), class_names=published.classes(cache), weights=place, size=published.size)


def imagenet_classes(cache: Path | None = None) -> tuple[str, ...]:
    """The 1000 classes of ImageNet, each by the first of its names."""
    lines = fetch(IMAGENET_CLASSES, cache=cache).read_text("utf-8").splitlines()
    return tuple(line.partition(" ")[2].split(",")[0] for line in lines if line.strip())


IMAGENET_CLASSES = DataFile(
    path="photos/imagenet_class_names.txt", sha256=("b6e5b90376a998304703176bc829997a99fc461ecbb75e855db80b3d5b76d827",)
)
PHOTOS: Mapping[str, DataFile] = {
    "soccer": DataFile(path="photos/soccer.jpg", sha256=("307eb848195246f553df677ba30e0e78fb5039a08410db5a943afd7e1fd4adf2",)),
    "traffic": DataFile(path="photos/traffic.jpg", sha256=("29397507ac945d2764be1bcd754948f5bf132cdfbfa87a0c77c794ca6b53367c",)),
}
"""Photographs to try a network of ImageNet on."""

PRETRAINED: Mapping[str, PretrainedSource] = {
    "resnet20": PretrainedSource(
        factory=resnet20,
        weights=DataFile(
            path="resnet_cifar10/resnet20.safetensors",
            sha256=("6ad91261fddfa2736f65d140aa288293c56bce4ef0d514523518436ee62fbee8",),
        ),
        classes=lambda cache: CIFAR_CLASSES,
        size=32,
    ),
    "squeezenet": PretrainedSource(
        factory=squeezenet,
        weights=DataFile(
            path="squeezenet1_0/squeezenet1_0_deepcompressed.safetensors",
            sha256=("1699fc1ea193d488c94928d05fe1913bf50164fe23c08be14208ce0f296fc2a2",),
        ),
        classes=imagenet_classes,
        size=227,
    ),
}
"""Networks by name. Weights: akamaster/pytorch_resnet_cifar10 (BSD-2), songhan/SqueezeNet-Deep-Compression (BSD-2 style)."""
