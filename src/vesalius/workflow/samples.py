"""The samples a job is about: some rows of a data set, with their labels, and what else of it is needed."""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.core.names import require_known
from vesalius.core.progress import say
from vesalius.core.rows import MAX_COLLECTED_ROWS, Rows, as_batches, collect_rows, is_batches, is_table, read_rows, split_labels

Labels = Sequence[str] | Sequence[int] | Sequence[float]
RowChoice = Any
"""Rows of a data set: 5, slice(0, 8), [1, 4, 9], a mask, or the same in words: "5", "0:8", "1,4,9"."""
FIRST_ROWS = "0:8"
"""Rows that are explained by default."""
DATASET_BATCH = 64
"""Rows of a batch of a ``Dataset``."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples:
    """Rows of a data set that are to be explained.

    Attributes:
        x: the chosen rows [rows *event], floating or int64.
        rows: their positions in the data.
        of: rows in the data.
        y: class of each chosen row, or ``None`` where that is unknown.
        labels: the label of each chosen row in words, or empty.
        classes: names of the classes, or empty.
        features: names of the elements of a row, or empty.
        ids: what each chosen row is called, such as its file, or empty.
        mean: mean of all rows, if it was wanted.
        background: rows to compare with [rows *event], if they were wanted.
        flow: rows to measure the flow of information on, if they were wanted.
        whole: all rows, or as many as are looked at, if a value is to be disentangled.
        ordered: whether the order of ``classes`` is known to be the model's; else they are in alphabetical order.
    """

    x: Tensor
    rows: tuple[int, ...]
    of: int
    y: Int[Tensor, " rows"] | None = None
    labels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    mean: Float[Tensor, "*event"] | None = None
    background: Tensor | None = None
    flow: Tensor | None = None
    whole: Samples | None = None
    ordered: bool = True


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledRows:
    """All rows of a data set.

    Attributes:
        x: [rows *event], floating or int64.
        labels: one per row, or ``None``.
        classes: names of the classes in the model's order, or empty.
        features: names of the elements of a row, or empty.
        ids: what each row is called, or empty.
    """

    x: Tensor
    labels: Labels | None = None
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class RowSelection:
    """Which rows of a data set are needed.

    Attributes:
        rows: to be explained.
        mean: whether the mean of all rows is needed.
        background: rows to compare with, or ``None``.
        flow: rows to measure the flow of information on, or ``None``.
        whole: most rows of ``Samples.whole``; 0 for none.
    """

    rows: RowChoice = FIRST_ROWS
    mean: bool = False
    background: RowChoice = None
    flow: RowChoice = None
    whole: int = 0


def select_samples(data: LabelledRows, wanted: RowSelection) -> Samples:
    """The rows that are needed, checked.

    Raises:
        InvalidInput: no such rows; NaN or infinity in those that are used; labels or names that do not fit.
    """
    x, count = data.x, len(data.x)
    if data.labels is not None and len(data.labels) != count:
        raise InvalidInput(f"{len(data.labels)} labels for {count} rows; expected one per row")
    if data.features and len(data.features) != (wide := x[0].numel()):
        hint = "name each with names= (on the command line: --features)"
        raise InvalidInput(f"{len(data.features)} names of features, and a row has {wide} elements; {hint}")
    rows = choose_rows(wanted.rows, count)
    others = () if wanted.background is None else choose_rows(wanted.background, count)
    flowing = () if wanted.flow is None else choose_rows(wanted.flow, count)
    _check_finite(x, range(count) if wanted.mean else (*rows, *others, *flowing), data.features)
    found = Samples(
        x=x[list(rows)],
        rows=rows,
        of=count,
        features=data.features,
        ids=tuple(data.ids[row] for row in rows) if data.ids else (),
        mean=x.double().mean(0).to(x.dtype if x.is_floating_point() else torch.float32) if wanted.mean else None,
        background=x[list(others)] if others else None,
        flow=x[list(flowing)] if flowing else None,
        whole=select_samples(data, RowSelection(rows=slice(0, wanted.whole))) if wanted.whole else None,
    )
    return label_samples(found, data.labels, data.classes)


def choose_rows(choice: RowChoice, count: int) -> tuple[int, ...]:
    """Positions of chosen rows, each once, out of ``count``.

    Raises:
        InvalidInput: not a choice of rows, a row that does not exist, or none at all.
        WrongType: of another kind.
    """
    if isinstance(choice, str):
        found = _parse_rows(choice, count)
    elif isinstance(choice, slice):
        found = list(range(count)[choice])
    else:
        found = _row_numbers(choice, count)
    if not found:
        raise InvalidInput(f"rows={choice!r} chooses none of the {count} rows")
    return tuple(dict.fromkeys(found))


def _parse_rows(text: str, count: int) -> list[int]:
    rows: list[int] = []
    for part in text.split(","):
        try:
            ends = [int(end) if end.strip() else None for end in part.split(":")]
            rows += list(range(count)[slice(*ends)]) if len(ends) > 1 else [range(count)[int(part)]]
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"rows={text!r} is not a choice of rows; expected 0:8, 5 or 1,4,9") from error
        except IndexError as error:
            raise InvalidInput(f"rows={text!r} names a row that does not exist; there are {count}") from error
    return rows


def _row_numbers(choice: Any, count: int) -> list[int]:
    given = np.asarray(choice)
    if given.dtype == bool and given.shape == (count,):
        return [int(row) for row in given.nonzero()[0]]
    if given.size and (given.dtype.kind not in "iu" or given.ndim > 1):
        raise WrongType(f"rows are a number, a slice, some numbers, a mask of {count}, or words such as '0:8'; not {choice!r}")
    try:
        return [range(count)[operator.index(row)] for row in given.reshape(-1).tolist()]
    except IndexError as error:
        raise InvalidInput(f"rows={choice!r} names a row that does not exist; there are {count}") from error


def _check_finite(x: Tensor, rows: Sequence[int], features: Sequence[str]) -> None:
    chosen = x[list(rows)].reshape(len(rows), -1)
    bad = (~chosen.isfinite()).nonzero()
    if not len(bad):
        return
    row, place = bad[0].tolist()
    where = f"column {features[place]!r}" if place < len(features) else f"element {place}"
    raise InvalidInput(
        f"row {rows[row]} holds {float(chosen[row, place])} ({where}); {len(bad[:, 0].unique())} of {len(rows)} rows are like that: "
        "clean them or leave them out with rows= (on the command line: --rows)"
    )


# ---- labels -------------------------------------------------------------------------------------------------------------------------


def label_samples(samples: Samples, labels: Labels | None, classes: tuple[str, ...]) -> Samples:
    """Samples with labels and names of classes.

    Args:
        samples: some rows.
        labels: of all rows of the data: classes if they are whole numbers or words, else values of which only the words are kept.
        classes: names of the classes in the model's order, or empty.

    Raises:
        InvalidInput: whole numbers that are no classes.
        UnknownName: a word that is none of ``classes``.
    """
    if labels is None:
        return replace(samples, classes=classes)
    if unknown := [place for place, label in enumerate(labels) if label is None]:
        raise InvalidInput(f"the label of row {unknown[0]} is missing, and of {len(unknown)} rows in all; leave them out, or all labels")
    words = [_as_word(label) for label in labels]
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        return _label_by_name(samples, words, classes)
    if classes and set(words) <= set(classes):
        return _label_by_name(samples, words, classes)
    if not all(number.is_integer() for number in numbers):
        return replace(samples, labels=tuple(f"{numbers[row]:.4g}" for row in samples.rows), classes=classes)
    top = len(classes) if classes else max(numbers) + 1
    if min(numbers) < 0 or max(numbers) >= top:
        raise InvalidInput(f"labels go from {min(numbers):g} to {max(numbers):g}; expected 0 to {top - 1:g}, the class of each row")
    y = torch.tensor([int(numbers[row]) for row in samples.rows])
    return replace(samples, y=y, labels=tuple(classes[i] if classes else str(i) for i in y.tolist()), classes=classes)


def _as_word(label: Any) -> str:
    return str(label) if isinstance(label, str) or not float(label).is_integer() else str(int(label))


def _label_by_name(samples: Samples, words: Sequence[str], given: tuple[str, ...]) -> Samples:
    classes = given or tuple(sorted(set(words)))
    chosen = [words[row] for row in samples.rows]
    for label in chosen:
        require_known("class among the names given by classes= (on the command line: --names)", label, classes)
    y = torch.tensor([classes.index(label) for label in chosen])
    return replace(samples, y=y, labels=tuple(chosen), classes=classes, ordered=bool(given))


# ---- data in any form ---------------------------------------------------------------------------------------------------------------


def read_labelled(data: Any, labels: Any = None) -> tuple[Rows, Labels | None]:
    """Rows in any form, and their labels in any form, words or numbers.

    Args:
        data: as :func:`vesalius.core.rows.read_rows` takes it, with or without labels: (x, y), a mapping with a name for labels, batches.
        labels: one per row, or the name of the column of a table that holds them; ``None``: those that are in the data, if any are.

    Raises:
        WrongType, InvalidInput: as there.
        UnknownName: no such column.
    """
    if isinstance(labels, str):
        data, labels = _split_column(data, labels)
    if is_batches(data):
        data = collect_rows(_first_batches(data), sys.maxsize)
    inside: Any = None
    if isinstance(data, tuple) and len(data) == 2 and np.ndim(data[1]) == 1 and np.ndim(data[0]) > 1:
        data, inside = data
    elif isinstance(data, Mapping) and "feature_names" not in data:
        data, inside = split_labels(data)
        data = next(iter(data.values())) if len(data) == 1 else data
    rows = read_rows(data)
    found = next((one for one in (labels, inside, rows.labels) if one is not None), None)
    if found is None:
        return rows, None
    if isinstance(found, (str, bytes, Set, Mapping)) or not isinstance(found, Iterable):
        raise WrongType(f"labels are one for each row, in order, or the name of a column, not {type(found).__name__} {found!r}")
    listed: Labels = found.reshape(-1).tolist() if isinstance(found, (Tensor, np.ndarray)) else list(found)
    return rows, listed


def _split_column(data: Any, name: str) -> tuple[Any, list[Any]]:
    """A table without the column of that name, and the column."""
    columns = list(getattr(data, "columns", ()))
    if not is_table(data) or name not in columns:
        raise UnknownName("column of labels", name, map(str, columns))
    return data[[column for column in columns if column != name]], list(data[name])


def _first_batches(data: Any) -> Iterator[Any]:
    """Batches up to as many rows as are held at once."""
    count = 0
    for batch in as_batches(data, DATASET_BATCH):
        if count >= MAX_COLLECTED_ROWS:
            say(f"the first {count:,} rows of the data are looked at")
            return
        yield batch
        count += len(read_rows(split_labels(batch)[0]).parts[0])
