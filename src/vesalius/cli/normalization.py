"""How the pixels of pictures are normalised before a model sees them, and which models are known to want it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vesalius.core.errors import ForeignFile, InvalidInput
from vesalius.workflow.samples import Samples


@dataclass(frozen=True)
class Normalization:
    """Pixels from 0 to 1 become (pixel - mean) / std, channel by channel.

    Attributes:
        mean: of each channel, or one for all, in pixels from 0 to 1.
        std: likewise, > 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, pixels: Tensor) -> Tensor:
        """Normalised pixels.

        Args:
            pixels: [... channels height width], from 0 to 1.
        """
        mean, std = (torch.tensor(values, dtype=pixels.dtype)[:, None, None] for values in (self.mean, self.std))
        return (pixels - mean) / std


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What nearly all weights trained on ImageNet were trained with."""
EXPECTED = "imagenet, MEAN:STD (such as 0.5:0.5, or 0.49,0.46,0.41:0.23,0.22,0.23), a preprocessor_config.json, or none"
FREE_OF_IT = ("torchvision.models.detection",)
"""Models of the libraries below that normalise by themselves."""
VISION_LIBRARIES = ("torchvision.models", "timm")
"""Whose weights expect normalised pixels."""


# ---- words --------------------------------------------------------------------------------------------------------------------------


def parse_normalization(words: str | None) -> Normalization | None:
    """``imagenet``, ``MEAN:STD`` or a file of Hugging Face; ``None`` where pixels are to stay as they are.

    Raises:
        InvalidInput: anything else.
        FileNotFoundError, ForeignFile: there is no such file, or it does not say.
    """
    if words is None or words == "none":
        return None
    if words == "imagenet":
        return IMAGENET
    if words.endswith(".json"):
        return _from_preprocessor(Path(words))
    try:
        mean, std = (tuple(float(number) for number in part.split(",")) for part in words.split(":"))
    except ValueError as error:
        raise InvalidInput(f"--normalize {words!r} is not known; expected {EXPECTED}") from error
    return _checked(mean, std, f"--normalize {words!r}")


def _from_preprocessor(path: Path) -> Normalization:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} to read a normalisation from")
    try:
        held = json.loads(path.read_text("utf-8"))
        mean, std = (tuple(float(number) for number in held[name]) for name in ("image_mean", "image_std"))
    except (ValueError, TypeError, KeyError) as error:
        raise ForeignFile(f"{path} does not say image_mean and image_std; give --normalize MEAN:STD") from error
    return _checked(mean, std, str(path))


def _checked(mean: tuple[float, ...], std: tuple[float, ...], what: str) -> Normalization:
    if len(mean) != len(std) or not all(map(isfinite, (*mean, *std))) or min(std) <= 0:
        raise InvalidInput(
            f"{what}: expected as many means as deviations, the same for all channels or one for each, and deviations above 0"
        )
    return Normalization(mean, std)


# ---- samples ------------------------------------------------------------------------------------------------------------------------


def normalize_samples(samples: Samples, normalization: Normalization | None) -> Samples:
    """Samples with normalised pixels: those explained, and all that they are compared with.

    Raises:
        InvalidInput: no pictures, of another number of channels, or not in pixels from 0 to 1.
    """
    if normalization is None:
        return samples
    x, channels = samples.x, len(normalization.mean)
    if x.ndim != 4 or not x.is_floating_point() or channels not in (1, x.shape[1]):
        raise InvalidInput(
            f"--normalize goes with pictures [rows, {channels if channels > 1 else 'channels'}, height, width], and the samples are"
            f" {list(x.shape)}; leave it out, or give one mean and deviation for each channel"
        )
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1:
        raise InvalidInput(
            f"--normalize takes pixels from 0 to 1, and these go from {low:.4g} to {high:.4g};"
            + (" leave it out if they are normalised already" if low < 0 else " divide them by 255, or by what their largest is")
        )

    def normalized(pixels: Tensor | None) -> Tensor | None:
        return None if pixels is None else normalization.apply(pixels)

    return replace(
        samples,
        x=normalization.apply(x),
        mean=normalized(samples.mean),
        background=normalized(samples.background),
        flow=normalized(samples.flow),
        whole=None if samples.whole is None else normalize_samples(samples.whole, normalization),
    )


# ---- models that want it ------------------------------------------------------------------------------------------------------------


def require_normalization(model: nn.Module, spec: str, x: Tensor) -> None:
    """Refuse pixels as they are for a model of a library whose weights expect them normalised.

    Args:
        model: as its factory made it.
        spec: MODEL, of the command line.
        x: samples, for which no normalisation was given.

    Raises:
        InvalidInput: with what to add to the command.
    """
    wanted = _expected_words(model, spec)
    if wanted is None or x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point() or float(x.min()) < 0:
        return
    raise InvalidInput(
        f"weights of {spec} expect normalised pixels, and these are not; add --normalize {wanted} (most of them also"
        " --resize 256 --crop 224), or --normalize none if these weights were trained on pixels from 0 to 1"
    )


def _expected_words(model: nn.Module, spec: str) -> str | None:
    """What to give as ``--normalize`` for a model; ``None`` where that is not known to be needed."""
    first = _first_module(model)
    homes = (spec.rpartition(":")[0], type(first).__module__)
    if any(_is_in(home, FREE_OF_IT) for home in homes):
        return None
    if any(_is_in(home, VISION_LIBRARIES) for home in homes):
        config: Any = getattr(first, "pretrained_cfg", None)
        known = isinstance(config, dict) and {"mean", "std"} <= set(config)
        return _words(config["mean"], config["std"]) if known else "imagenet"
    if _is_in(homes[1], ("transformers.models",)) and getattr(first, "main_input_name", "") == "pixel_values":
        return "preprocessor_config.json, the file beside the weights"
    return None


def _first_module(model: nn.Module) -> nn.Module:
    """The module that sees the pixels first, inside of sequences and of torch's wrappers."""
    inside: Any = model[0] if isinstance(model, nn.Sequential) and len(model) else None
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inside = model.module
    inside = getattr(model, "_orig_mod", inside)
    return model if inside is None else _first_module(inside)


def _is_in(home: str, packages: Sequence[str]) -> bool:
    return any(home == package or home.startswith(f"{package}.") for package in packages)


def _words(mean: Sequence[float], std: Sequence[float]) -> str:
    if (tuple(mean), tuple(std)) == (IMAGENET.mean, IMAGENET.std):
        return "imagenet"
    return ":".join(",".join(f"{number:g}" for number in part) for part in (mean, std))
