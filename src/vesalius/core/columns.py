"""One sample as its tensors, and the columns of a row by name or number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.names import require_known
from vesalius.core.numbers import whole_number
from vesalius.core.rows import read_rows


def read_samples(samples: Sequence[Any]) -> tuple[list[Tensor], tuple[str, ...]]:
    """Samples as tensors, and the names of the columns of a row of a table."""
    rows = [read_rows(sample) for sample in samples]
    if any(not isinstance(row.tensors, Tensor) for row in rows):
        raise WrongType("a sample is one tensor, array or row; give the inputs one by one")
    tensors = [row.parts[0][0] if row.features and not row.single and row.parts[0].ndim > 1 else row.parts[0] for row in rows]
    return tensors, tuple(name for row in rows for name in row.features)


def read_sample(sample: Any) -> Tensor:
    """One sample as a tensor."""
    tensors, _ = read_samples((sample,))
    return tensors[0]


def one_or_several(members: Any) -> Iterable[Any]:
    """Members of a group, by name or number; a single one stands for itself."""
    if isinstance(members, Iterable) and not isinstance(members, str):
        return members
    return [members]


def column_place(member: str | int, names: Sequence[str], count: int) -> int:
    """The position of a column."""
    if isinstance(member, str):
        require_known("column", member, names)
        return names.index(member)
    place = whole_number("the number of a column", member)
    if not -count <= place < count:
        raise InvalidInput(f"there is no column {place}; the row has {count}")
    return place % count
