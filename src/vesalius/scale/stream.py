"""Data of any length as blocks of rows: read once, in order, never held as a whole, and cut in the same places whatever its batches are.

Axes: b rows of a block.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from vesalius.core.entry import without_history
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.random_state import RandomState
from vesalius.core.rows import as_batches, is_batches, read_rows, split_labels
from vesalius.scale.texts import text_batches
from vesalius.trace.batches import row_labels
from vesalius.trace.network import Network
from vesalius.trace.receive import BATCH_ROWS

SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
"""Samplers that draw."""
LOOKED_AT = 1000
"""Places of a sampler that are compared with those of the next time."""
Label = int | float | str
"""The class of a row by number or name, or a real number that it should have."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RowBlock:
    """Some rows of a data set, one after the other.

    Attributes:
        start: position of the first in the data.
        inputs: of the network, [b *event] each, on the CPU.
        ids: what the rows are called; empty where they are only counted.
        labels: one per row, or empty.
        columns: what else is known of each row, by name.
        texts: in place of inputs, where texts are explained.
    """

    start: int
    inputs: tuple[Tensor, ...]
    ids: tuple[Any, ...] = ()
    labels: tuple[Label, ...] = ()
    columns: Mapping[str, tuple[Any, ...]]
    texts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.inputs[0]) if self.inputs else len(self.texts)

    def part(self, rows: slice) -> RowBlock:
        """Some of the rows."""
        return RowBlock(
            start=self.start + rows.start,
            inputs=tuple(tensor[rows] for tensor in self.inputs),
            ids=self.ids[rows],
            labels=self.labels[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
            texts=self.texts[rows],
        )

    def choose(self, rows: Int[Tensor, " _"]) -> RowBlock:
        """Rows at some places, which are no more one after the other."""
        places = rows.tolist()
        return RowBlock(
            start=0,
            inputs=tuple(tensor[rows] for tensor in self.inputs),
            ids=tuple(self.ids[place] for place in places) if self.ids else (),
            labels=tuple(self.labels[place] for place in places) if self.labels else (),
            columns={},
            texts=tuple(self.texts[place] for place in places) if self.texts else (),
        )

    def batches(self, size: int) -> Iterator[RowBlock]:
        """The rows, so many at once."""
        return (self.part(slice(start, min(start + size, len(self)))) for start in range(0, len(self), size))

    def digest(self) -> str:
        """A hash of all that is in it."""
        total = hashlib.blake2b(digest_size=16)
        told = [self.ids, self.labels, dict(self.columns), *([self.texts] if self.texts else [])]
        total.update(json.dumps(told, default=str).encode())
        for tensor in self.inputs:
            total.update(json.dumps([str(tensor.dtype), list(tensor.shape)]).encode())
            total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return total.hexdigest()


@dataclass(frozen=True, eq=False, kw_only=True)
class RowStream:
    """A data set that is gone through once.

    Attributes:
        network: whose inputs the rows are.
        data: rows, or batches.
        labels: given beside the data, one per row, or ``None``.
        columns: what else is given, by name.
        block_rows: rows of a block.
        expected: how many rows there are, where that can be known.
        texts: whether the rows are texts.
    """

    network: Network
    data: Any
    labels: Sequence[Any] | None
    columns: Mapping[str, Sequence[Any]]
    block_rows: int
    expected: int | None
    texts: bool = False

    def __iter__(self) -> Iterator[RowBlock]:
        """All rows in blocks of ``block_rows``, of which the last may be shorter.

        Raises:
            InvalidInput, WrongType: no rows; rows of several shapes, or that do not fit the network; labels or columns of another length.
        """
        waiting: list[RowBlock] = []
        first: RowBlock | None = None
        start = count = 0
        for part in self._parts():
            first = first or part.part(slice(0, 1))
            _check_like(first, part)
            waiting.append(part)
            count += len(part)
            while count >= self.block_rows:
                joined = _join(waiting, start)
                yield self._complete(joined.part(slice(0, self.block_rows)))
                waiting = [joined.part(slice(self.block_rows, count))] if count > self.block_rows else []
                start, count = start + self.block_rows, count - self.block_rows
        if count:
            yield self._complete(_join(waiting, start))
        elif not start:
            raise InvalidInput("the data holds no rows")
        self._check_lengths(start + count)

    def sample(self, count: int, seed: int = 0) -> RowBlock:
        """Some rows, drawn from all of the data in one pass; all of them, where they are no more.

        Raises:
            InvalidInput: data that is gone through only once.
        """
        self.require_repeatable("a plan that all shards share")
        kept: list[RowBlock] = []
        draws, keys = torch.Generator().manual_seed(seed), torch.zeros(0, dtype=torch.float64)
        for block in self:
            drawn = torch.cat([keys, torch.rand(len(block), generator=draws, dtype=torch.float64)])
            rows = _join([*kept, block], 0)
            chosen = drawn.topk(min(count, len(drawn)), largest=False, sorted=False).indices.sort().values
            kept, keys = [rows.choose(chosen)], drawn[chosen]
        return kept[0]

    def require_repeatable(self, what: str) -> None:
        """Refuse data that is gone through only once, where something needs a look at it first.

        Raises:
            InvalidInput: it is an iterator.
        """
        if isinstance(self.data, Iterator):
            raise InvalidInput(
                f"{what} needs a look at the data first, and an iterator is gone through only once; give a Dataset or a DataLoader, or an"
                " absence: vesalius.Constant(values), vesalius.Marginal(rows)"
            )

    def _parts(self) -> Iterator[RowBlock]:
        """The rows as they come."""
        if self.texts:
            for texts, given in text_batches(self.data, BATCH_ROWS):
                yield RowBlock(start=0, inputs=(), labels=read_labels(given, len(texts)), columns={}, texts=texts)
            return
        if not is_batches(self.data):
            found = read_rows(self.data)
            tensors = tuple(tensor.detach().cpu() for tensor in self.network.bind(found))
            own = read_labels(row_labels(self.network, self.data), len(tensors[0]))
            block = RowBlock(start=0, inputs=tensors, ids=tuple(map(_plain, found.ids)), labels=own, columns={})
            yield from (block.part(slice(at, at + self.block_rows)) for at in range(0, len(block), self.block_rows))
            return
        for batch in as_batches(self.data, BATCH_ROWS):
            inputs, given = split_labels(without_history(batch), len(self.network.inputs))
            found = read_rows(inputs)
            if found.parts[0].ndim and not len(found.parts[0]):
                continue  # as a filter leaves them
            tensors = tuple(tensor.detach().cpu() for tensor in self.network.bind(found))
            labels = read_labels(found.labels if given is None else given, len(tensors[0]))
            yield RowBlock(start=0, inputs=tensors, ids=tuple(map(_plain, found.ids)), labels=labels, columns={})

    def _complete(self, block: RowBlock) -> RowBlock:
        """A block with what was given beside the data."""
        rows = slice(block.start, block.start + len(block))
        labels = block.labels if self.labels is None else tuple(map(_plain, self.labels[rows]))
        columns = {name: tuple(map(_plain, values[rows])) for name, values in self.columns.items()}
        given = [("labels", labels)] if self.labels is not None else []
        for name, values in (*given, *columns.items()):
            if len(values) != len(block):
                self._refuse_length(name, rows.start + len(values), f"at least {rows.stop:,}")
        return RowBlock(start=block.start, inputs=block.inputs, ids=block.ids, labels=labels, columns=columns, texts=block.texts)

    def _check_lengths(self, count: int) -> None:
        for name, values in (*([("labels", self.labels)] if self.labels is not None else []), *self.columns.items()):
            if len(values) != count:
                self._refuse_length(name, len(values), f"{count:,}")

    def _refuse_length(self, name: str, came: int, rows: str) -> None:
        raise InvalidInput(f"{name}: {came:,} values for {rows} rows; expected one per row, in order")


def check_loader(data: Any) -> None:
    """Refuse a loader whose order is drawn anew each time, so that a run could not be taken up and no row found again; or that leaves rows
    out.

    Raises:
        InvalidInput: it is one.
    """
    if not isinstance(data, DataLoader):
        return
    streamed = isinstance(data.dataset, IterableDataset)
    inner = getattr(data.batch_sampler, "sampler", None)
    sampler = data.sampler if inner is None else inner
    order = sampler if data.batch_sampler is None else data.batch_sampler
    if isinstance(sampler, SHUFFLING) or getattr(sampler, "shuffle", None) is True or (not streamed and _order_differs(order)):
        raise InvalidInput(
            "this DataLoader shuffles, so that its rows have no places by which a survey could be taken up; use shuffle=False (a sample of"
            " the rows: torch.utils.data.Subset)"
        )
    rows = None if streamed else len(data.dataset)  # type: ignore[arg-type]
    if data.drop_last and data.batch_size and (rows is None or rows % data.batch_size):
        raise InvalidInput("this DataLoader leaves out its last rows (drop_last=True), and a survey is of all; use drop_last=False")


def _order_differs(sampler: Any) -> bool:
    """Whether a sampler gives its rows in another order the next time."""
    if not isinstance(sampler, Iterable):
        return False
    with RandomState():
        first, again = (list(islice(iter(sampler), LOOKED_AT)) for _ in range(2))
    return first != again


def class_numbers(labels: Sequence[Label], classes: Sequence[str]) -> list[int | None]:
    """Labels as numbers of classes, ``None`` for one that is none."""
    places = {name: place for place, name in enumerate(classes)}
    return [
        label if isinstance(label, int) and not isinstance(label, bool) else places.get(str(label)) if isinstance(label, str) else None
        for label in labels
    ]


def read_labels(labels: Any, count: int) -> tuple[Label, ...]:
    """Labels in any form as numbers and words; empty for none.

    Raises:
        WrongType: not one value per row.
        InvalidInput: another number of them than rows.
    """
    if labels is None:
        return ()
    if isinstance(labels, (Tensor, np.ndarray)):
        labels = labels.reshape(-1).tolist()
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Sequence):
        raise WrongType(f"labels are one for each row, in order, not {type(labels).__name__}")
    if len(labels) != count:
        raise InvalidInput(f"{len(labels)} labels for {count} rows; expected one per row")
    return tuple(map(_plain, labels))


def read_column(name: str, values: Any) -> Sequence[Any]:
    """What is known of each row, in any form, as a sequence.

    Raises:
        WrongType: no sequence.
    """
    if isinstance(values, (str, bytes, Mapping)):
        raise WrongType(f"{name} are one value for each row, in order, not {type(values).__name__} {str(values)[:60]!r}")
    if hasattr(values, "tolist"):
        values = values.tolist()
    try:
        found = list(values)
    except TypeError as error:
        raise WrongType(f"{name} are one value for each row, in order, not {type(values).__name__}") from error
    for one in found:
        if isinstance(one, (list, Mapping)) or len(getattr(one, "shape", ())):
            raise WrongType(f"{name} are one value for each row, and {str(one)[:60]} came for one; give a column for each of its parts")
    return found


def expected_rows(data: Any) -> int | None:
    """How many rows there are, where that can be known without reading them."""
    if not is_batches(data):
        first = read_rows(data).parts[0]
        return len(first) if first.ndim else None
    counted: Any = data.dataset if isinstance(data, DataLoader) else data
    try:
        return len(counted) if isinstance(counted, Dataset) else None  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None


def _plain(value: Any) -> Any:
    """A number or word as JSON holds it; anything else as text."""
    if isinstance(value, (np.generic, Tensor)):
        value = value.item()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return int(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _check_like(first: RowBlock, part: RowBlock) -> None:
    """Whether rows are of the same shape as the first ones, and labelled if these are."""
    for before, now in zip(first.inputs, part.inputs, strict=True):
        if before.shape[1:] != now.shape[1:]:
            raise InvalidInput(
                f"rows of shapes {list(before.shape[1:])} and {list(now.shape[1:])} came; a survey needs rows of one shape: pad them to one"
                " length"
            )
    if bool(first.labels) != bool(part.labels) or bool(first.ids) != bool(part.ids):
        raise InvalidInput("some batches have labels or ids and others have none; give all of them, or labels=")


def _join(parts: Sequence[RowBlock], start: int) -> RowBlock:
    return RowBlock(
        start=start,
        inputs=tuple(torch.cat(column) for column in zip(*(part.inputs for part in parts), strict=True)),
        ids=tuple(one for part in parts for one in part.ids),
        labels=tuple(one for part in parts for one in part.labels),
        columns={},
        texts=tuple(one for part in parts for one in part.texts),
    )
