"""Axes of inputs that may be those of a sequence, whose length is not the same in every call."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from vesalius.trace.graph import Value
from vesalius.trace.vocabulary import WHOLE_NAMES

SHORTEST = 3
"""Length from which on torch can follow an axis as a symbol: 0 and 1 are special to it, and what is one shorter is a length too."""


def sequence_axes(inputs: Sequence[Value | Tensor], *, shortest: int = 1) -> tuple[tuple[int, ...], ...]:
    """Of each input the axes that may be of sequences; whether they are, only the model can tell.

    Ids and masks [batch, steps] have them, whole numbers [batch, choices, steps] and floating sequences [batch, steps, width] or
    [batch, width, steps]; besides axes of other inputs that are as long as some ids, such as those of a mask [batch, 1, steps, steps].

    Args:
        inputs: facts about each; or an example of each.
        shortest: length from which on an axis counts.
    """
    kinds = [str(one.dtype).removeprefix("torch.") for one in inputs]
    whole = [kind in WHOLE_NAMES or kind == "bool" for kind in kinds]
    own = [len(one.shape) in ((2, 3) if is_whole else (3,)) for one, is_whole in zip(inputs, whole, strict=True)]
    steps = {one.shape[1] for one, is_whole in zip(inputs, whole, strict=True) if is_whole and len(one.shape) == 2}
    return tuple(
        tuple(
            axis for axis, side in enumerate(one.shape) if axis > 0 and side is not None and side >= shortest and (moves or side in steps)
        )
        for one, moves in zip(inputs, own, strict=True)
    )
