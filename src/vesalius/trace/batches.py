"""Data in all its forms, as checked batches of a network's inputs and, where they are wanted, labels.

Axes: N rows, b rows of a batch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.trace.network import Network

Data = Tensor | Sequence[Tensor] | Mapping[str, Tensor] | Iterable[Any]
"""Rows as a tensor, several tensors or a mapping of them; or batches: tensors, (inputs, labels), or mappings that may hold ``labels``."""
LABELS_FROM_DATA = "data"
LABEL_KEYS = ("labels", "label", "y", "target")
"""Names under which a batch that is a mapping may hold labels."""


def iterate_batches(
    network: Network, data: Data, labels: Tensor | str | None = None, *, size: int
) -> Iterator[tuple[tuple[Tensor, ...], Int[Tensor, " b"] | None]]:
    """Checked inputs of the network, and labels if they are wanted.

    Args:
        network: whose inputs they are.
        data: rows, or batches.
        labels: class numbers of rows; ``"data"`` to take them from the batches; ``None`` for none.
        size: rows of a batch, where data is not in batches already.

    Raises:
        InvalidInput: labels that do not fit, inputs of another shape.
        WrongType: data or labels of another kind.
    """
    if is_tensor_data(data):
        tensors = network.bind(data)  # type: ignore[arg-type]
        if isinstance(labels, str):
            raise InvalidInput(
                "labels='data' takes them from batches (inputs, labels); this data is inputs alone, so give the labels themselves"
            )
        if labels is not None and len(labels) != len(tensors[0]):
            raise InvalidInput(f"{len(labels)} labels for {len(tensors[0])} rows")
        for start in range(0, len(tensors[0]), size):
            rows = slice(start, start + size)
            yield tuple(tensor[rows] for tensor in tensors), None if labels is None else _check_labels(labels[rows])
        return
    if isinstance(labels, Tensor):
        raise InvalidInput("labels as a tensor belong to data as a tensor; with batches (inputs, labels) say labels='data'")
    if not isinstance(data, Iterable):
        raise WrongType(f"data is a tensor of rows, tensors by name, or batches such as a DataLoader, not {type(data).__name__}")
    for batch in data:
        inputs, given = _split_batch(batch)
        if labels is not None and given is None:
            raise InvalidInput(
                "labels='data' was asked for, and a batch holds none; batches are (inputs, labels), or mappings with 'labels'"
            )
        yield network.bind(inputs), None if labels is None or given is None else _check_labels(given)


def count_rows(data: Data) -> int:
    """How many rows there are, where that can be known; else more than anyone has."""
    if isinstance(data, Mapping):
        data = next((item for item in data.values() if isinstance(item, Tensor)), torch.empty(0))
    first = data if isinstance(data, Tensor) else data[0] if isinstance(data, tuple) and data else None
    return len(first) if isinstance(first, Tensor) and first.ndim else sys.maxsize


def is_tensor_data(data: Data) -> bool:
    """Whether this is all rows, as one tensor per input, and not batches."""
    items = data.values() if isinstance(data, Mapping) else data if isinstance(data, tuple) else [data]
    return all(isinstance(item, Tensor) for item in items)


def _split_batch(batch: Any) -> tuple[Any, Any]:
    """Inputs and labels of a batch."""
    if isinstance(batch, Mapping):
        kept = {name: item for name, item in batch.items() if name not in LABEL_KEYS}
        return kept, next((batch[name] for name in LABEL_KEYS if name in batch), None)
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    return batch, None


def _check_labels(labels: Any) -> Int[Tensor, " b"]:
    """Labels as class numbers.

    Raises:
        WrongType, InvalidInput.
    """
    found = torch.as_tensor(labels)
    if found.is_floating_point() or found.is_complex() or found.ndim != 1:
        raise WrongType(f"labels are whole numbers, one per row, not {found.dtype} of shape {list(found.shape)}")
    if bool((found < 0).any()):
        raise InvalidInput(f"labels are class numbers from 0 up; found {int(found.min())}")
    return found.long()
