"""Files as someone else might make them: any header over any tensors, with the digest that belongs to them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from vesalius.core.store import file_digest


def header_text(path: Path) -> str:
    """What a file of ours says of itself."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    found: str = json.loads(raw[8 : 8 + size])["__metadata__"]["vesalius"]
    return found


def craft(path: Path, text: str, tensors: Mapping[str, Tensor], *, digest: str | None = None) -> Path:
    """Write a file with this header over these tensors, and the right digest unless another is given."""
    held = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    path.write_bytes(save(held, metadata={"vesalius": text, "digest": file_digest(text, held) if digest is None else digest}))
    return path


def rewrite(path: Path, target: Path, change: Callable[[str], str]) -> Path:
    """A file with its header's text changed, and a digest that fits."""
    return craft(target, change(header_text(path)), load_file(path))


def rewrite_whole(path: Path, target: Path, change: Callable[[Any, dict[str, Tensor]], object]) -> Path:
    """A file with its header, as data, and its tensors changed in place, and a digest that fits."""
    header, tensors = json.loads(header_text(path)), load_file(path)
    change(header, tensors)
    header["tensors"] = sorted(tensors)
    return craft(target, json.dumps(header), tensors)
