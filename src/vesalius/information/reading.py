"""One pass of the data through the network, for the units of all sites.

Axes: N rows, U units of a site.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float32, Int
from torch import Tensor

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.information.measuring import Measuring
from vesalius.information.sites import Site, drawn, pooled
from vesalius.trace.network import Network

Data = Tensor | Sequence[Tensor] | Mapping[str, Tensor] | Iterable[Any]
"""Rows as a tensor, several tensors or a mapping of them; or batches: tensors, (inputs, labels), or mappings that may hold ``labels``."""
FROM_DATA = "data"
LABELS = ("labels", "label", "y", "target")
"""Names under which a batch that is a mapping may hold labels."""
MOST_BYTES = 4 << 30
"""Memory that the units of all rows may take."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Read:
    """Units of all rows.

    Attributes:
        units: one table per site, in float32 on the CPU.
        labels: class of each row, if they were asked for.
    """

    units: tuple[Float32[Tensor, "N _"], ...]
    labels: Int[Tensor, " N"] | None

    def __len__(self) -> int:
        return len(self.units[0])


def memory(sites: Sequence[Site], rows: int) -> int:
    """Bytes that the units of so many rows take."""
    return 4 * rows * sum(site.units for site in sites)


def read(network: Network, data: Data, labels: Tensor | str | None, sites: Sequence[Site], measuring: Measuring) -> Read:
    """Read all sites, batch by batch.

    Raises:
        InvalidInput: no rows, too few, labels that do not fit, more than 4 GiB of units, NaN or infinite values.
        WrongType: data or labels of another kind.
    """
    most = min(measuring.rows, _rows(data))
    if (asked := memory(sites, most)) > MOST_BYTES:
        raise InvalidInput(
            f"{most:,} rows of {sum(site.units for site in sites):,} units would take {asked / 2**30:.1f} GiB, at most"
            f" {MOST_BYTES >> 30} are allowed; name fewer layers, or take fewer rows"
        )
    names = [value.name for value in network.inputs]
    program = network.program(names, [site.value for site in sites])
    parts: list[list[Tensor]] = [[] for _ in sites]
    classes: list[Tensor] = []
    count, generator = 0, torch.Generator().manual_seed(measuring.seed)
    for inputs, given in _batches(network, data, labels, measuring):
        if count >= measuring.rows:
            break
        with torch.no_grad():
            spots = drawn(len(inputs[0]), generator)
            rows = pooled(sites, program(*inputs), measuring.pool, spots)
        for part, found in zip(parts, rows, strict=True):
            part.append(found[: measuring.rows - count])
        classes += [] if given is None else [given[: measuring.rows - count].cpu()]
        count += len(rows[0])
        if measuring.report is not None:
            measuring.report(min(count, most), most)
    if not count:
        raise InvalidInput("the data holds no rows")
    return Read(units=tuple(torch.cat(part) for part in parts), labels=torch.cat(classes) if classes else None)


def _batches(
    network: Network, data: Data, labels: Tensor | str | None, measuring: Measuring
) -> Iterator[tuple[tuple[Tensor, ...], Int[Tensor, " b"] | None]]:
    """Checked inputs of the network, and labels if they are wanted."""
    if isinstance(data, Tensor) or _all_tensors(data):
        tensors = network.bind(data)  # type: ignore[arg-type]
        if isinstance(labels, str):
            raise InvalidInput(
                "labels='data' takes them from batches (inputs, labels); this data is inputs alone, so give the labels themselves"
            )
        if labels is not None and len(labels) != len(tensors[0]):
            raise InvalidInput(f"{len(labels)} labels for {len(tensors[0])} rows")
        for start in range(0, len(tensors[0]), measuring.batch):
            rows = slice(start, start + measuring.batch)
            yield tuple(tensor[rows] for tensor in tensors), None if labels is None else _classes(labels[rows])
        return
    if isinstance(labels, Tensor):
        raise InvalidInput("labels as a tensor belong to data as a tensor; with batches (inputs, labels) say labels='data'")
    if not isinstance(data, Iterable):
        raise WrongType(f"data is a tensor of rows, tensors by name, or batches such as a DataLoader, not {type(data).__name__}")
    for batch in data:
        inputs, given = _parted(batch)
        if labels is not None and given is None:
            raise InvalidInput(
                "labels='data' was asked for, and a batch holds none; batches are (inputs, labels), or mappings with 'labels'"
            )
        yield network.bind(inputs), None if labels is None or given is None else _classes(given)


def _rows(data: Data) -> int:
    """How many rows there are, where that can be known; else more than anyone has."""
    if isinstance(data, Mapping):
        data = next((item for item in data.values() if isinstance(item, Tensor)), torch.empty(0))
    first = data if isinstance(data, Tensor) else data[0] if isinstance(data, tuple) and data else None
    return len(first) if isinstance(first, Tensor) and first.ndim else sys.maxsize


def _all_tensors(data: Any) -> bool:
    """Whether this is one tensor per input, not batches."""
    if isinstance(data, Mapping):
        return all(isinstance(item, Tensor) for item in data.values())
    return isinstance(data, tuple) and all(isinstance(item, Tensor) for item in data)


def _parted(batch: Any) -> tuple[Any, Any]:
    """Inputs and labels of a batch."""
    if isinstance(batch, Mapping):
        kept = {name: item for name, item in batch.items() if name not in LABELS}
        return kept, next((batch[name] for name in LABELS if name in batch), None)
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    return batch, None


def _classes(labels: Any) -> Int[Tensor, " b"]:
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
