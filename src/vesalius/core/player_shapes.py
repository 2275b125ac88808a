"""Whether players divide the tensors that they are taken to divide, told by the shapes of their indices."""

from __future__ import annotations

from collections.abc import Sequence

from vesalius.core.errors import InvalidInput

Shape = Sequence[int]


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
