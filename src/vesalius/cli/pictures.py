"""A folder of pictures: files in order of their names, in subfolders that name their class or in none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from vesalius.core.errors import ForeignFile, InvalidInput, MemoryExhausted
from vesalius.core.store import what_is_there

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
MAX_PIXELS = 1 << 27
"""Of one picture: more than any camera takes."""
MAX_SIDE = 8192
"""Pixels per side that a picture may be resized to."""
GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "F"})


def listed(folder: Path) -> list[Path]:
    """All pictures in a folder and its subfolders, sorted.

    Raises:
        InvalidInput: there are none.
    """
    named = (file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
    found = sorted(file for file in named if not file.is_dir())
    if not found:
        raise InvalidInput(f"there are no pictures in {folder}; expected files ending in {', '.join(sorted(SUFFIXES))}")
    return found


def labels(files: Sequence[Path], folder: Path) -> list[str] | None:
    """Name of the subfolder each file is in; ``None`` if any lies in the folder itself."""
    found = [file.relative_to(folder).parts for file in files]
    return None if any(len(parts) == 1 for parts in found) else [parts[0] for parts in found]


def read(
    files: Sequence[Path], size: int | None = None, resize: int | None = None, crop: int | None = None
) -> Float[Tensor, "rows channels height width"]:
    """Pictures in 0..1, float32; one channel if all of them are grey, else three.

    Args:
        files: which.
        size: height and width to resize to.
        resize: or pixels of the shorter side to resize to, so that nothing is stretched.
        crop: height and width of the middle that is kept then. Without all three, pictures are as they are, which must be the same for all.

    Raises:
        ForeignFile: a file that is no picture.
        InvalidInput: pictures of different sizes, or smaller than what is to be kept of them.
    """
    opened = [_open(file, size, resize, crop) for file in files]
    mode = "L" if all(image.mode in GREY_MODES for image in opened) else "RGB"
    arrays = [_to_array(image, mode) for image in opened]
    for file, array in zip(files, arrays, strict=True):
        if array.shape != arrays[0].shape:
            raise InvalidInput(
                f"{file} has {_size_text(array)} pixels and {files[0]} has {_size_text(arrays[0])};"
                " give --size N to resize all of them to N x N, or --resize N --crop N to keep their proportions"
            )
    return torch.from_numpy(np.stack(arrays))


def mean(
    files: Sequence[Path], size: int | None = None, resize: int | None = None, crop: int | None = None
) -> Float[Tensor, "channels height width"]:
    """Mean of all pictures, one read at a time.

    Raises: as :func:`read`.
    """
    grey = all(_open(file, size, resize, crop).mode in GREY_MODES for file in files)
    total = np.zeros((), np.float64)
    for file in files:
        array = _to_array(_open(file, size, resize, crop), "L" if grey else "RGB")
        if total.ndim and array.shape != total.shape:
            raise InvalidInput(
                f"{file} has {_size_text(array)} pixels, others before it {_size_text(total)}; give --size N to resize all to N x N"
            )
        total = total + array
    return torch.from_numpy((total / len(files)).astype(np.float32))


def _open(file: Path, size: int | None, resize: int | None, crop: int | None) -> Image.Image:
    if size is not None and resize is not None:
        raise InvalidInput("--size stretches pictures to a square and --resize keeps their proportions; give one of them")
    for option, side in (("--size", size), ("--resize", resize), ("--crop", crop)):
        if side is not None and not 1 <= side <= MAX_SIDE:
            raise InvalidInput(f"pictures cannot be made {side} pixels wide ({option}); expected 1 to {MAX_SIDE}")
    try:
        if what_is_there(file) != "a file":
            raise ValueError(f"it is {what_is_there(file) or 'a link to nothing'}")
        with Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width:,} x {image.height:,} pixels are more than {MAX_PIXELS:,}")
            image.load()
            found = _resized(image, (size, size) if size else _proportional(image, resize) if resize else image.size)
    except MemoryError as error:
        raise MemoryExhausted(f"{file} does not fit into memory; take it out of the folder") from error
    except Exception as error:  # readers of pictures raise whatever the bytes lead them to
        raise ForeignFile(f"{file} cannot be read as a picture ({error}); repair it or take it out of the folder") from error
    return found if crop is None else _cropped(found, crop, file)


def _resized(image: Image.Image, sides: tuple[int, int]) -> Image.Image:
    return image.copy() if image.size == sides else image.resize(sides, Image.Resampling.BILINEAR)


def _proportional(image: Image.Image, shorter: int) -> tuple[int, int]:
    """Width and height with a shorter side of so many pixels; the longer one is rounded down, as by torchvision."""
    across, down = (shorter * side // min(image.size) for side in image.size)
    if max(across, down) > MAX_SIDE:
        raise ValueError(f"it would become {across} x {down} pixels, of at most {MAX_SIDE} a side")
    return across, down


def _cropped(image: Image.Image, side: int, file: Path) -> Image.Image:
    """The middle of a picture, as torchvision takes it."""
    if min(image.size) < side:
        raise InvalidInput(
            f"{file} has {image.height} x {image.width} pixels, and --crop {side} keeps more than that; add --resize {side} or more"
        )
    left, top = (round((length - side) / 2) for length in image.size)
    return image.crop((left, top, left + side, top + side))


def _to_array(image: Image.Image, mode: str) -> Float[np.ndarray, "channels height width"]:
    """[channels, height, width] in 0..1; 16-bit grey keeps its depth."""
    if image.mode.startswith("I"):
        deep = np.asarray(image, dtype=np.float32) / 65535
        return np.repeat(deep[None], 1 if mode == "L" else 3, 0)
    pixels = np.asarray(image.convert(mode), dtype=np.float32) / 255
    return pixels[None] if mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _size_text(array: Float[np.ndarray, "channels height width"]) -> str:
    return f"{array.shape[-2]} x {array.shape[-1]}"
