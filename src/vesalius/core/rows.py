"""Rows in any form a user has them, as tensors, with the names they came with.

Axes: N rows, C columns.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vesalius.core.entry import out_of_inference, without_history
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.names import numbered_repeats

Tensors = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
LABELS = ("labels", "label", "y", "target")
"""Names under which a mapping may hold labels."""
EXPECTED = (
    "a tensor, a NumPy array, a DataFrame or Series (pandas, polars), an xarray DataArray, a mapping or tuple of these for several inputs,"
    " a Dataset or a DataLoader"
)
MAX_COLLECTED_ROWS = 4096
"""Rows taken from batches where one batch is wanted."""
SCALARS = (bool, int, float, complex, np.generic)


@dataclass(frozen=True, eq=False, kw_only=True)
class Rows:
    """Rows as tensors.

    Attributes:
        tensors: [N *event] each: one, several in order, or by name.
        features: names of the columns of a table, else empty.
        classes: names of the classes, where the data has them.
        labels: class of each row, where the data has them.
        single: whether this is one sample without a batch axis, known from its kind (a Series is one row of a table).
        typed: whether the data came as tensors, whose dtype says what is meant; a table's does not.
        ids: what a table calls its rows, where it does more than count them, else empty.
    """

    tensors: Tensors
    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    labels: Tensor | None = None
    single: bool = False
    typed: bool = False
    ids: tuple[Any, ...] = ()

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """The tensors in order."""
        return parts_of(self.tensors)

    def map(self, change: Any) -> Rows:
        """The same with every tensor changed."""
        return replace(self, tensors=map_tensors(self.tensors, change))


def parts_of(tensors: Tensors) -> tuple[Tensor, ...]:
    """The tensors in order."""
    return (tensors,) if isinstance(tensors, Tensor) else tuple(tensors.values() if isinstance(tensors, dict) else tensors)


def map_tensors(tensors: Tensors, change: Any) -> Tensors:
    """Every tensor changed, in the same container."""
    if isinstance(tensors, Tensor):
        changed: Tensor = change(tensors)
        return changed
    if isinstance(tensors, dict):
        return {name: change(tensor) for name, tensor in tensors.items()}
    return tuple(change(tensor) for tensor in tensors)


def read_rows(data: Any) -> Rows:
    """Rows in any form as tensors, in the dtype they have; values are copied only where they must be.

    Args:
        data: a tensor; a NumPy array; a pandas or polars DataFrame (columns become names of features) or Series (one row); an xarray
            DataArray; lists of numbers; a mapping of these by input (Hugging Face ``BatchEncoding`` too), or a tuple of them in order; a
            ``Bunch`` of scikit-learn; a ``Dataset`` (of torch or Hugging Face) or ``DataLoader`` of at most 4,096 rows.

    Raises:
        WrongType: none of these; words where numbers are expected, with their columns.
        InvalidInput: no rows; more rows than one batch should hold.
    """
    if isinstance(data, Rows):
        return data
    if isinstance(data, Tensor):
        return Rows(tensors=out_of_inference(data), typed=True)
    if isinstance(data, np.ndarray):
        return Rows(tensors=to_tensor(data))
    if (library := _library(data)) in TABLES:
        return TABLES[library](data)
    if isinstance(data, Mapping):
        return _from_mapping(data)
    if isinstance(data, (tuple, list)):
        return _from_sequence(data)
    if is_batches(data):
        return collect_rows(data, MAX_COLLECTED_ROWS)
    raise WrongType(f"expected {EXPECTED}, not {_describe(data)}")


def is_table(data: Any) -> bool:
    """Whether this is an array or a table of a library that is read here."""
    return isinstance(data, np.ndarray) or _library(data) in TABLES


def is_batches(data: Any) -> bool:
    """Whether this gives batches, or samples to be put into batches, rather than all rows at once."""
    if isinstance(data, (DataLoader, Dataset)):
        return True
    if isinstance(data, (Tensor, np.ndarray, str, bytes, Mapping, tuple, Rows)) or _library(data) in TABLES:
        return False
    if isinstance(data, list):
        return bool(data) and not _is_number_list(data)
    return isinstance(data, Iterable)


def as_batches(data: Any, size: int) -> Iterable[Any]:
    """Batches of a data set, or batches as they are; without a draw from the global generator where nothing is drawn by it.

    A loader draws a seed for its workers whenever it is gone through, from the global generator if it has none of its own, and be there no
    workers: then a copy of it draws from another one.
    """
    if _library(data) == HUGGING_FACE and hasattr(data, "with_format"):
        return _ColumnBatches(data, size)
    if isinstance(data, Dataset):
        return DataLoader(data, batch_size=size, generator=torch.Generator())
    if type(data) is not DataLoader or data.num_workers or data.generator is not None:
        found: Iterable[Any] = data
        return found
    quiet = copy.copy(data)
    quiet.generator = torch.Generator()
    return quiet


def collect_rows(batches: Any, most: int) -> Rows:
    """The rows of a few batches as one, and their labels.

    Raises:
        InvalidInput: no rows, or more than ``most``.
    """
    found: list[Rows] = []
    count = 0
    for batch in as_batches(batches, 64):
        inputs, labels = split_labels(without_history(batch))
        rows = read_rows(inputs)
        found.append(replace(rows, labels=None if labels is None else to_tensor(labels)))
        count += len(rows.parts[0])
        if count > most:
            raise InvalidInput(f"the batches hold more than {most:,} rows, and one batch is wanted here; take some: next(iter(loader))")
    if not found:
        raise InvalidInput("the data holds no rows")
    tensors = [torch.cat(column) for column in zip(*(rows.parts for rows in found), strict=True)]
    first = found[0].tensors
    if isinstance(first, dict):
        joined: Tensors = dict(zip(first, tensors, strict=True))
    else:
        joined = tensors[0] if isinstance(first, Tensor) else tuple(tensors)
    known = [rows.labels for rows in found if rows.labels is not None]
    return replace(found[0], tensors=joined, labels=torch.cat(known) if len(known) == len(found) else None)


def split_labels(batch: Any, inputs: int = 1) -> tuple[Any, Any]:
    """Inputs and labels of a batch.

    Args:
        batch: a mapping that may hold labels, (inputs, labels), the inputs in order with or without labels behind them, or one input.
        inputs: how many there are.
    """
    if isinstance(batch, Mapping):
        kept = {name: item for name, item in batch.items() if name not in LABELS}
        return (kept, next((batch[name] for name in LABELS if name in batch), None)) if kept else (dict(batch), None)
    if not isinstance(batch, (tuple, list)) or _is_number_list(batch):
        return batch, None
    if len(batch) == inputs and not isinstance(batch[0], (tuple, list, Mapping)):
        return (batch if inputs > 1 else batch[0]), None
    if len(batch) == inputs + 1 and inputs > 1:
        return batch[:inputs], batch[inputs]
    return (batch[0], batch[1]) if len(batch) == 2 else (batch, None)


def has_labels(tensors: tuple[Tensor, ...], inputs: int) -> bool:
    """Whether the last of several tensors is a label per row and no input."""
    return len(tensors) == inputs + 1 and tensors[-1].ndim == 1 and all(len(part) == len(tensors[-1]) for part in tensors[:-1] if part.ndim)


def to_tensor(values: Any) -> Tensor:
    """Numbers in any form as a tensor of their own dtype.

    Raises:
        WrongType: words, objects or dates.
    """
    if isinstance(values, Tensor):
        return out_of_inference(values)
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        values = np.where(np.ma.getmaskarray(values), np.nan, np.ma.getdata(values))
    array = np.asarray(values)
    if array.dtype.kind == "O":
        array = _numbers_of_objects(array)
    if array.dtype.kind not in "biuf":
        raise WrongType(f"expected numbers, not {array.dtype}; encode words and dates as numbers first")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    if array.dtype.name == "float128":
        array = array.astype(np.float64)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    usable = native if native.flags.writeable and all(step > 0 for step in native.strides) else native.copy()
    return torch.from_numpy(usable)


def real_values(values: Any, count: int, source: str) -> Tensor:
    """What a user's function gave for so many rows, as float64 on the CPU: numbers in any form, truth values counting 0 and 1.

    Args:
        values: one for each row.
        count: how many rows there were.
        source: what gave them, for the error.

    Raises:
        WrongType: complex numbers, or none.
        InvalidInput: another shape.
    """
    if values is None or (values.is_complex() if isinstance(values, Tensor) else np.iscomplexobj(values)):
        came = "nothing" if values is None else "complex numbers"
        raise WrongType(f"{source} returned {came}; expected one real number for each of {count} coalitions (a modulus: .abs())")
    found = to_tensor(values).detach().to("cpu", torch.float64)
    if found.shape != (count,):
        raise InvalidInput(f"{source} returned shape {tuple(found.shape)} for {count} coalitions; expected one value each")
    return found


def _numbers_of_objects(array: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise WrongType(f"expected numbers, found {array.flat[0]!r} and the like; encode words as numbers first") from error


# ---- kinds --------------------------------------------------------------------------------------------------------------------------


def _from_mapping(data: Mapping[Any, Any]) -> Rows:
    if {"data", "target"} <= set(data) and "feature_names" in data:
        return _from_bunch(data)
    if not data:
        raise InvalidInput("the data holds no rows: it is an empty mapping")
    if _library(data) == HUGGING_FACE:
        raise WrongType(f"a {type(data).__name__} holds several data sets ({', '.join(map(str, data))}); give one of them")
    parts = {str(name): item for name, item in data.items() if item is not None}
    return Rows(tensors={name: _part(item) for name, item in parts.items()}, typed=all(isinstance(item, Tensor) for item in parts.values()))


def _from_bunch(data: Mapping[Any, Any]) -> Rows:
    """A data set of scikit-learn."""
    rows, labels = read_rows(data["data"]), to_tensor(data["target"])
    classes = tuple(map(str, data["target_names"])) if data.get("target_names") is not None and not labels.is_floating_point() else ()
    return replace(rows, features=numbered_repeats(data["feature_names"]), classes=classes, labels=labels)


def _from_sequence(data: Sequence[Any]) -> Rows:
    """Numbers, nested or not, are one tensor; anything else is one tensor per input."""
    if not data:
        raise InvalidInput("the data holds no rows")
    if _is_number_list(data):
        return Rows(tensors=to_tensor(data))
    if len(data) == 1:
        return read_rows(data[0])
    return Rows(tensors=tuple(_part(item) for item in data), typed=all(isinstance(item, Tensor) for item in data))


def _is_number_list(data: Any) -> bool:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, SCALARS)


def _part(item: Any) -> Tensor:
    """One of several inputs."""
    found = read_rows(item).tensors
    if not isinstance(found, Tensor):
        raise WrongType("an input of several is one tensor or array, not a container of them")
    return found


def _from_pandas(data: Any) -> Rows:
    if data.ndim == 1:
        named = data.index.dtype.kind in "OUT" or str(data.index.dtype) in ("string", "str")
        ids = () if data.name is None else (data.name,)
        return Rows(tensors=to_tensor(data.to_numpy()), features=numbered_repeats(data.index) if named else (), single=True, ids=ids)
    words = [str(name) for name, kind in zip(data.columns, data.dtypes, strict=True) if not _is_numeric(data, name, kind)]
    _refuse_words(words)
    ids = () if type(data.index).__name__ == "RangeIndex" and data.index.start == 0 and data.index.step == 1 else tuple(data.index)
    return Rows(tensors=_table(_pandas_numbers(data)), features=numbered_repeats(data.columns), ids=ids)


def _pandas_numbers(frame: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """int64 where every column holds whole numbers and none is missing, else float64; what is missing is NaN."""
    whole = all(getattr(kind, "kind", "O") in "iu" for kind in frame.dtypes) and not frame.isna().any(axis=None)
    try:
        found: np.ndarray[Any, np.dtype[Any]] = (
            frame.to_numpy(dtype=np.int64) if whole else frame.to_numpy(dtype=np.float64, na_value=np.nan)
        )
    except (TypeError, ValueError) as error:
        raise WrongType(f"a column holds something that is no number ({error}); clean it, or encode words as numbers") from error
    return found


def _is_numeric(frame: Any, name: Any, kind: Any) -> bool:
    if getattr(kind, "kind", "O") in "biuf":
        return True
    column = frame[name]
    return column.ndim == 1 and all(isinstance(value, SCALARS) for value in column.head(8))


def _from_polars(data: Any) -> Rows:
    if not hasattr(data, "columns"):
        return Rows(tensors=to_tensor(data.to_numpy()), single=True)
    _refuse_words([name for name, kind in zip(data.columns, data.dtypes, strict=True) if not (kind.is_numeric() or str(kind) == "Boolean")])
    whole = all(kind.is_integer() for kind in data.dtypes) and not any(data.null_count().row(0))
    return Rows(tensors=_table(data.to_numpy().astype(np.int64 if whole else np.float64)), features=tuple(data.columns))


def _from_xarray(data: Any) -> Rows:
    if hasattr(data, "data_vars"):
        data = data.to_array().transpose(..., "variable")
    last = data.dims[-1] if data.dims else None
    names = data.coords[last].values if last in data.coords else np.empty(0)
    return Rows(
        tensors=to_tensor(data.values), features=numbered_repeats(names) if names.dtype.kind in "OUT" else (), single=data.ndim == 1
    )


def _table(array: np.ndarray[Any, np.dtype[Any]]) -> Tensor:
    if not array.size:
        raise InvalidInput(f"the data holds no rows: a table of {array.shape[0]} rows and {array.shape[1]} columns")
    return to_tensor(array)


def _refuse_words(columns: Sequence[str]) -> None:
    if columns:
        shown = ", ".join(map(repr, columns[:6])) + (", ..." if len(columns) > 6 else "")
        raise WrongType(f"columns that are not numbers: {shown}; drop them or encode them, for instance with pandas.get_dummies(frame)")


@dataclass(frozen=True, eq=False)
class _ColumnBatches:
    """A data set of Hugging Face (in memory or streamed) as batches, (inputs, labels) where it has labels; its own format is kept."""

    data: Any
    size: int

    def __iter__(self) -> Iterator[Any]:
        shown = self.data if (getattr(self.data, "format", None) or {}).get("type") else self.data.with_format("numpy")
        known = getattr(self.data, "features", None) or {}
        classes = next((tuple(names) for name in LABELS if (names := getattr(known.get(name), "names", None))), ())
        for batch in shown.iter(batch_size=self.size):
            inputs, labels = split_labels(dict(batch))
            yield _columns(inputs, classes) if labels is None else (_columns(inputs, classes), labels)


def _columns(inputs: Mapping[str, Any], classes: tuple[str, ...]) -> Rows:
    """Columns of one number per row as those of a table, columns of arrays as inputs by name, or as the one input; words are refused."""
    _refuse_words([name for name, column in inputs.items() if len(column) and isinstance(column[0], (str, bytes))])
    tensors = {name: to_tensor(column) for name, column in inputs.items()}
    parts = list(tensors.values())
    typed = all(isinstance(column, Tensor) for column in inputs.values())
    if len(parts) > 1 and all(part.ndim == 1 for part in parts):
        whole = all(not part.is_floating_point() for part in parts)
        table = torch.stack([part.to(torch.int64 if whole else torch.float64) for part in parts], 1)
        return Rows(tensors=table, features=tuple(tensors), classes=classes)
    if len(parts) == 1:
        return Rows(tensors=parts[0][:, None] if parts[0].ndim == 1 else parts[0], classes=classes, typed=typed)
    return Rows(tensors=tensors, classes=classes, typed=typed)


HUGGING_FACE = "datasets"
TABLES = {"pandas": _from_pandas, "polars": _from_polars, "xarray": _from_xarray}
"""Readers of tables by library, none of which is imported here: who hands one over has it."""


def _library(data: Any) -> str:
    return type(data).__module__.partition(".")[0]


def _describe(data: Any) -> str:
    return f"an empty {type(data).__name__}" if isinstance(data, (tuple, list)) else type(data).__name__
