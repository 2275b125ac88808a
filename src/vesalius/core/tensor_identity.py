"""Telling tensors apart, and seeing that one was written to, for every kind of tensor a model may hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def place_of(tensor: Tensor) -> int:
    """Where a tensor's numbers lie; of one that has no single place (sparse, quantised) which object it is."""
    return tensor.data_ptr() if tensor.layout == torch.strided and not tensor.is_quantized else id(tensor)


def version_of(tensor: Tensor) -> int:
    """How often a tensor was written to; those of inference mode, which cannot be written to outside it, do not count."""
    return 0 if tensor.is_inference() else tensor._version


def bytes_of(tensor: Tensor) -> bytes:
    """A tensor's numbers, to be hashed."""
    held = tensor.detach().cpu()
    if held.is_quantized:
        held = held.dequantize()
    if held.layout != torch.strided:
        held = held.to_dense()
    return held.resolve_conj().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def digest_of(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """A short hash of tensors and their names, in this order."""
    total = hashlib.blake2b(digest_size=8)
    for name, tensor in tensors:
        total.update(name.encode())
        total.update(bytes_of(tensor))
    return total.hexdigest()
