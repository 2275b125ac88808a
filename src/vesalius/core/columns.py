"""One sample as its tensors, and the columns of a row by name or number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
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


def group_owners(groups: Mapping[str, Any], names: Sequence[str], count: int) -> Tensor:
    """The group of each column, -1 for one of none.

    Args:
        groups: columns of each, by name or position.
        names: of the columns, or empty.
        count: how many columns there are.

    Raises:
        UnknownName, InvalidInput: see :meth:`vesalius.Players.groups`.
    """
    owner, titles = torch.full((count,), -1), list(groups)
    for player, members in enumerate(groups.values()):
        for member in one_or_several(members):
            place = column_place(member, names, count)
            if owner[place] >= 0:
                raise InvalidInput(f"column {member!r} comes twice, in group {titles[int(owner[place])]!r} and in {titles[player]!r}")
            owner[place] = player
    if empty := [title for player, title in enumerate(titles) if not bool((owner == player).any())]:
        raise InvalidInput(f"group {empty[0]!r} has no columns, so it could not be absent; leave it out")
    return owner


def column_place(member: str | int, names: Sequence[str], count: int) -> int:
    """The position of a column."""
    if isinstance(member, str):
        require_known("column", member, names)
        return names.index(member)
    place = whole_number("the number of a column", member)
    if not -count <= place < count:
        raise InvalidInput(f"there is no column {place}; the row has {count}")
    return place % count
