"""Data in all its forms, as checked batches of a network's inputs and, where they are wanted, labels.

Axes: N rows, b rows of a batch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.utils.data import Dataset

from vesalius.core.entry import without_history
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.rows import LABELS, as_batches, has_labels, is_batches, read_rows, split_labels
from vesalius.trace.network import Network

Data = Any
"""Rows in any form that :func:`vesalius.core.rows.read_rows` takes; a Dataset; or batches: inputs, (inputs, labels), or mappings that may
hold ``labels``."""
LABELS_FROM_DATA = "data"


def iterate_batches(
    network: Network, data: Data, labels: Tensor | str | None = None, *, size: int, real: bool = False
) -> Iterator[tuple[tuple[Tensor, ...], Shaped[Tensor, "b ..."] | None]]:
    """Checked inputs of the network, and labels if they are wanted.

    Args:
        network: whose inputs they are.
        data: rows, or batches.
        labels: class numbers of rows; ``"data"`` to take them from the batches; ``None`` for none.
        size: rows of a batch, where data is not in batches already.
        real: whether labels may be real targets, one or several for each row, as floating-point numbers.

    Raises:
        InvalidInput: labels that do not fit, inputs of another shape.
        WrongType: data or labels of another kind.
    """
    if not is_batches(data):
        tensors = network.bind(data)
        if isinstance(labels, str):
            raise InvalidInput(
                "labels='data' takes them from batches (inputs, labels); this data is inputs alone, so give the labels themselves"
            )
        if labels is not None and len(labels) != len(tensors[0]):
            raise InvalidInput(f"{len(labels)} labels for {len(tensors[0])} rows")
        for start in range(0, len(tensors[0]), size):
            rows = slice(start, start + size)
            yield tuple(tensor[rows] for tensor in tensors), None if labels is None else _check_labels(labels[rows], real=real)
        return
    if isinstance(labels, Tensor):
        raise InvalidInput("labels as a tensor belong to data as a tensor; with batches (inputs, labels) say labels='data'")
    for batch in as_batches(data, size):
        inputs, given = split_labels(without_history(batch), len(network.inputs))
        if labels is not None and given is None:
            raise InvalidInput(
                "labels='data' was asked for, and a batch holds none; batches are (inputs, labels), or mappings with 'labels'"
            )
        yield network.bind(inputs), None if labels is None or given is None else _check_labels(given, real=real)


def row_labels(network: Network, data: Data) -> Tensor | None:
    """What came with rows in the form (x, y), or by a name for labels, in whatever form it is; ``None`` where nothing did.

    Args:
        network: whose inputs the rows are.
        data: rows; batches have labels of their own.
    """
    if is_batches(data):
        return None
    rows, names = read_rows(data), [value.name for value in network.inputs]
    if rows.labels is not None:
        return rows.labels
    if isinstance(rows.tensors, dict):
        return next((tensor for name, tensor in rows.tensors.items() if name in LABELS and name not in names), None)
    return rows.parts[-1] if has_labels(rows.parts, len(names)) else None


def iterate_labelled(network: Network, data: Data, labels: Tensor | None = None, *, size: int) -> Iterator[tuple[tuple[Tensor, ...], Any]]:
    """Checked inputs of the network, and labels as they are; ``None`` for those of batches that have none.

    Args:
        network: whose inputs they are.
        data: rows, or batches.
        labels: of rows, see :func:`row_labels`.
        size: rows of a batch, where data is not in batches already.

    Raises:
        InvalidInput: inputs of another shape.
        WrongType: data of another kind.
    """
    if not is_batches(data):
        tensors = network.bind(data)
        for start in range(0, len(tensors[0]), size):
            rows = slice(start, start + size)
            yield tuple(tensor[rows] for tensor in tensors), None if labels is None else labels[rows].to(tensors[0].device)
        return
    for batch in as_batches(data, size):
        inputs, given = split_labels(without_history(batch), len(network.inputs))
        bound = network.bind(inputs)
        yield bound, given.to(bound[0].device) if isinstance(given, Tensor) else given


def count_rows(data: Data) -> int:
    """How many rows there are, where that can be known; else more than anyone has."""
    if is_batches(data):
        return len(data) if isinstance(data, Dataset) and hasattr(data, "__len__") else sys.maxsize
    first = read_rows(data).parts[0]
    return len(first) if first.ndim else sys.maxsize


def _check_labels(labels: Any, *, real: bool) -> Shaped[Tensor, "b ..."]:
    """Labels as class numbers; or as real targets where they may be and are floating-point numbers.

    Raises:
        WrongType, InvalidInput.
    """
    found = torch.as_tensor(labels)
    if real and found.is_floating_point() and found.ndim in (1, 2):
        if not bool(found.isfinite().all()):
            raise InvalidInput("labels have NaN or infinite values; leave those rows out")
        return found.double()
    if found.is_floating_point() or found.is_complex() or found.ndim != 1:
        raise WrongType(f"labels are whole numbers, one per row, not {found.dtype} of shape {list(found.shape)}")
    if bool((found < 0).any()):
        raise InvalidInput(f"labels are class numbers from 0 up; found {int(found.min())}")
    return found.long()
