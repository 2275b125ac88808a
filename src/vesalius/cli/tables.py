"""Tables with named columns: csv, and parquet where pyarrow is installed."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from vesalius.core.errors import ForeignFile, InvalidInput
from vesalius.core.names import require_known

Columns = dict[str, list[float]]


def read(path: Path, label: str | None) -> tuple[Columns, list[str] | None]:
    """Columns of numbers by name, and the labels as they are written; an empty cell is NaN.

    Args:
        path: a csv or parquet file.
        label: the column of labels, or ``None``.

    Raises:
        UnknownName: there is no column of that name.
        InvalidInput: no rows, a column of words, two columns of one name.
        ForeignFile: the file is damaged, or pyarrow is missing.
    """
    cells = _read_parquet(path) if path.suffix.lower() == ".parquet" else read_cells(path)
    if label is not None:
        require_known(f"column in {path}:", label, cells)
    labels = list(cells[label]) if label is not None else None
    numbers = {name: _parse_numbers(path, name, column) for name, column in cells.items() if name != label}
    if not numbers or not next(iter(numbers.values())):
        raise InvalidInput(f"{path} holds no rows of numbers; expected a line of column names and at least one row")
    return numbers, labels


def read_cells(path: Path) -> dict[str, list[str]]:
    """The cells of a csv file by column, as they are written.

    Raises:
        InvalidInput, ForeignFile: as :func:`read`.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ForeignFile(f"{path} cannot be read as csv ({error})") from error
    if not lines:
        raise InvalidInput(f"{path} is empty; expected a line of column names and at least one row")
    names = [name.strip() for name in lines[0]]
    _check_names(path, names)
    for row, line in enumerate(lines[1:]):
        if len(line) != len(names):
            raise InvalidInput(f"row {row} of {path} has {len(line)} cells, and there are {len(names)} columns")
    return {name: [line[place].strip() for line in lines[1:]] for place, name in enumerate(names)}


def _read_parquet(path: Path) -> Mapping[str, Sequence[str]]:
    try:
        reader = import_module("vesalius.cli.parquet")
    except ImportError as error:
        raise ForeignFile(f"reading {path} needs pyarrow; install it with: pip install 'vesalius[tables]'") from error
    columns: dict[str, list[str]] = reader.columns(path)
    _check_names(path, list(columns))
    return columns


def _check_names(path: Path, names: Sequence[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput(f"{path} has two columns named {twice!r}; rename one")


def _parse_numbers(path: Path, name: str, cells: Sequence[str]) -> list[float]:
    made = []
    for row, cell in enumerate(cells):
        try:
            made.append(_to_number(cell))
        except ValueError as error:
            raise InvalidInput(
                f"row {row} of {path} has {cell!r} in column {name!r}; expected a number. If this column is the label, add --label {name}"
            ) from error
    return made


def _to_number(cell: str) -> float:
    """The number in a cell, NaN in an empty one; Python alone reads underscores in it."""
    if "_" in cell:
        raise ValueError(cell)
    return float(cell) if cell else float("nan")
