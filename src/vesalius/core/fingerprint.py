"""What an answer depends on, described as JSON, so that two questions can be told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vesalius.core.players import Players
from vesalius.core.rows import is_table, read_rows


def json_description(value: object) -> Any:
    """A value as JSON: tensors, arrays, tables and players by a digest of what they hold."""
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        data = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
        return [str(plain.dtype), list(plain.shape), hashlib.sha256(data).hexdigest()]
    if isinstance(value, Players):
        return [value.kind, list(value.shape), [json_description(index) for index in value.index]]
    if isinstance(value, Mapping):
        return {str(name): json_description(part) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [json_description(part) for part in value]
    if is_table(value):
        return [json_description(part) for part in read_rows(value).parts]
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)
