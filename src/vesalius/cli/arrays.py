"""Files of arrays that a user brings: npz, npy and safetensors. How much they would take is seen before they are read."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, TypeVar
from zipfile import ZipFile

import numpy as np
import torch
from jaxtyping import Shaped
from numpy.lib import format as npy
from safetensors.torch import load_file
from torch import Tensor

from vesalius.core.errors import ForeignFile, MemoryExhausted, WrongType

Found = TypeVar("Found")

MAX_UNPACKED_BYTES = 4 << 30
"""Bytes that a compressed file may unpack to, however small it is; and so many times its own size:"""
MAX_RATIO = 20

READABLE = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8})
READABLE_WHOLE = frozenset({torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64})


def read_npz(path: Path) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Arrays by name.

    Raises:
        ForeignFile: it is damaged, holds objects, or says that it unpacks to more than any file of its size.
        MemoryExhausted: it does not fit into memory.
    """

    def arrays() -> dict[str, Shaped[np.ndarray, "..."]]:
        with ZipFile(path) as box:
            _check_unpacked(path, sum(info.file_size for info in box.infolist()))
            for info in box.infolist():
                if info.filename.endswith(".npy"):
                    with box.open(info) as member:
                        _check_declared(member, info.file_size)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    return _read(path, arrays, "npz", "write it with numpy.savez(path, x=..., y=...)")


def read_npy(path: Path) -> Shaped[np.ndarray, "..."]:
    """One array.

    Raises: as :func:`read_npz`.
    """

    def array() -> Shaped[np.ndarray, "..."]:
        with path.open("rb") as file:
            _check_declared(file, path.stat().st_size)
        return np.asarray(np.load(path, allow_pickle=False))

    return _read(path, array, "npy", "write it with numpy.save(path, x)")


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name.

    Raises:
        WrongType: numbers of a kind that is only stored, and not computed with.
        InvalidInput: as :func:`read_npz`.
    """
    tensors = _read(path, lambda: load_file(path), "safetensors", "write it with safetensors.torch.save_file")
    for name, tensor in tensors.items():
        if tensor.dtype not in READABLE | READABLE_WHOLE and not tensor.is_complex():
            raise WrongType(f"{name!r} in {path} holds {tensor.dtype}; convert it to float32")
    return {name: tensor.long() if tensor.dtype in READABLE_WHOLE else tensor for name, tensor in tensors.items()}


def _read(path: Path, function: Callable[[], Found], kind: str, way_out: str) -> Found:
    try:
        return function()
    except ForeignFile:
        raise
    except MemoryError as error:
        raise MemoryExhausted(f"{path} does not fit into memory; give fewer rows") from error
    except Exception as error:  # readers of files raise whatever the bytes lead them to
        raise ForeignFile(
            f"{path} cannot be read as {kind} ({' '.join(str(error).split())[:300] or type(error).__name__}); {way_out}"
        ) from error


def _check_unpacked(path: Path, size: int) -> None:
    if size > max(MAX_UNPACKED_BYTES, MAX_RATIO * path.stat().st_size):
        times = size // max(path.stat().st_size, 1)
        raise ForeignFile(f"{path} would unpack to {size:,} bytes, {times:,} times its own; if that is meant, write it with numpy.savez")


def _check_declared(file: Any, size: int) -> None:
    """Whether an array is as long as its head says, which numpy makes room for before it reads."""
    version = npy.read_magic(file)
    readers: dict[Any, Any] = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"its version is {version}")
    shape, _, dtype = readers[version](file)
    if any(side < 0 for side in shape) or (not dtype.hasobject and prod(shape) * dtype.itemsize != size - file.tell()):
        raise ValueError(f"it says that it holds {list(shape)} of {dtype}, and has {size - file.tell():,} bytes")
