"""Whether players divide the tensors that they are taken to divide, told by the shapes of their indices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.rows import to_tensor

Shape = Sequence[int]


def align(index: Tensor, ndim: int, *, lead: int = 0, left: bool = False) -> Tensor:
    """An index, or a mask made by it, with as many axes as an event, so that it broadcasts to it.

    Args:
        index: [*lead *axes].
        ndim: of the event, leading axes included.
        lead: axes that are no part of the event, such as that of coalitions.
        left: whether the axes are the first of the event, as a text's are, rather than the last.
    """
    missing = [1] * (ndim - index.ndim)
    if left:
        return index.reshape(*index.shape, *missing)
    return index.reshape(*index.shape[:lead], *missing, *index.shape[lead:])


def align_all(mine: Sequence[Tensor], theirs: Sequence[Tensor], *, left: tuple[bool, bool]) -> tuple[list[Tensor], list[Tensor]]:
    """The indices of two divisions with as many axes for each tensor, where one of them counts from the left; else as they are."""
    if len(mine) != len(theirs) or not any(left):
        return list(mine), list(theirs)
    sides = [max(a.ndim, b.ndim) for a, b in zip(mine, theirs, strict=True)]
    first, second = (
        [align(index, side, left=own) for index, side in zip(found, sides, strict=True)]
        for found, own in zip((mine, theirs), left, strict=True)
    )
    return first, second


def check_same_tensors(mine: Sequence[Shape], kind: str, theirs: Sequence[Shape], coarser: str) -> None:
    """Refuse to group players of some tensors into players of others.

    Args:
        mine: shape of each index of the players.
        kind: of them.
        theirs, coarser: likewise of those they are grouped into.

    Raises:
        InvalidInput: other tensors, or more or fewer of them.
    """
    if len(mine) != len(theirs) or not all(_broadcast_together(a, b) for a, b in zip(mine, theirs, strict=True)):
        raise InvalidInput(
            f"these {coarser} divide {_format(theirs)}, and the values are of {kind} that divide {_format(mine)}; make them of the tensor"
            " that was explained"
        )
    for ours, others in zip(mine, theirs, strict=True):
        refuse_tokens_of_ids(coarser, others, ours)
        refuse_tokens_of_ids(kind, ours, others)


def containing(divided: tuple[Sequence[Tensor], Sequence[Tensor]], kinds: tuple[str, str], count: int) -> Tensor:
    """For each of some players, the player of a coarser division that contains it, -1 if none does.

    Args:
        divided: the indices of both, see :func:`align_all`.
        kinds: of both.
        count: how many players are to be found.

    Raises:
        InvalidInput: players of other tensors, or one that is cut in two.
    """
    (kind, coarser), shapes = kinds, [[tuple(index.shape) for index in found] for found in divided]
    check_same_tensors(shapes[0], kind, shapes[1], coarser)
    owner = torch.full((count,), -2)
    for mine, theirs in zip(*divided, strict=True):
        shape = torch.broadcast_shapes(mine.shape, theirs.shape)
        fine, coarse = mine.expand(shape), theirs.expand(shape)
        kept = fine >= 0
        order = torch.unique(torch.stack([fine[kept], coarse[kept]]), dim=1)
        if (order[0].bincount(minlength=count) > 1).any():
            raise InvalidInput(f"these {kind} do not fit into the {coarser}: some player would be cut in two")
        owner[order[0]] = order[1]
    return owner


def stack_terms(parts: Any) -> Tensor:
    """Terms of a sum as one tensor.

    Raises:
        WrongType, InvalidInput: none, of different shapes, not finite.
    """
    if not isinstance(parts, Iterable) or getattr(parts, "ndim", 1) == 0:
        raise WrongType(f"components are the terms of a sum, tensors of one shape, not {type(parts).__name__}")
    terms = [to_tensor(part) for part in parts]
    shapes = [list(term.shape) for term in terms]
    if not terms or any(shape != shapes[0] for shape in shapes):
        raise InvalidInput(f"components are terms of one sum, so at least one and all of one shape; these have {shapes}")
    stacked = torch.stack(terms)
    if stacked.is_complex() or not bool(stacked.isfinite().all()):
        raise InvalidInput("components are finite real numbers; these are complex, or hold NaN or infinity")
    return stacked


def format_shapes(tensors: Sequence[Tensor]) -> str:
    """Shapes of tensors in words."""
    return " and ".join(str(tuple(tensor.shape)) for tensor in tensors)


def refuse_tokens_of_ids(kind: str, index: Shape, event: Shape) -> None:
    """Refuse positions that were read off ids [T] where the event is [T, ..., T]: they would be taken for its last axis.

    Raises:
        InvalidInput: they are.
    """
    if kind == "tokens" and len(index) == 1 < len(event) and index[0] == event[0] == event[-1] > 1:
        raise InvalidInput(
            f"these tokens were made of a tensor of shape {tuple(index)}, and may be the first axis of {tuple(event)} or its last; make"
            " them of what is explained: vesalius.Players.tokens(value)"
        )


def _broadcast_together(a: Shape, b: Shape) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(reversed(a), reversed(b), strict=False))


def _format(shapes: Sequence[Shape]) -> str:
    return " and ".join(f"a tensor of shape {tuple(shape)}" for shape in shapes) or "nothing"
