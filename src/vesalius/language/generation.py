"""Greedy continuation of a text by a model that gives logits of the next token."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Int
from torch import Tensor

from vesalius.core.errors import InvalidInput


def generate(logits: Callable[[Int[Tensor, "1 T"]], Tensor], ids: Int[Tensor, " T"], count: int, stop: int | None) -> Sequence[int]:
    """The likeliest next token, again and again.

    Args:
        logits: from ids to logits [1 T V], or [1 V] of the last position.
        ids: to begin with.
        count: most tokens.
        stop: token that ends a text, which is the last one then; ``None``: none does.

    Raises:
        InvalidInput: no logits of tokens.
    """
    found: list[int] = []
    while len(found) < count:
        output = logits(ids[None])
        if output.ndim not in (2, 3):
            raise InvalidInput(f"generating needs logits of the next token, [1, positions, tokens], not {list(output.shape)}")
        row = output[0, -1] if output.ndim == 3 else output[0]
        found.append(int(row.argmax()))
        if found[-1] == stop:
            break
        ids = ids.new_tensor([*ids.tolist(), found[-1]])
    return found
