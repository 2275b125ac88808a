"""Texts of unlike lengths in one batch: which positions are text, as the network's own mask says, and which are padding.

Axes: B batch, T positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.trace.network import Network
from vesalius.trace.vocabulary import WHOLE_NAMES


def text_mask(network: Network, inputs: Sequence[Tensor]) -> Bool[Tensor, "B T"] | None:
    """Where there is text and no padding; ``None`` where no mask comes in, or none of the texts is padded.

    Raises:
        InvalidInput: a text of padding alone.
    """
    texts = {tuple(tensor.shape) for value, tensor in zip(network.inputs, inputs, strict=True) if value.dtype in WHOLE_NAMES}
    for value, tensor in zip(network.inputs, inputs, strict=True):
        if "mask" in value.name.lower() and tensor.ndim == 2 and (len(network.inputs) == 1 or tuple(tensor.shape) in texts):
            mask = tensor != 0
            if bool(mask.all()):
                return None
            if not bool(mask.any(1).all()):
                row = int((~mask.any(1)).nonzero()[0])
                raise InvalidInput(f"{value.name!r} says that text {row} of a batch is padding alone; leave such rows out")
            return mask
    return None


def position_of_each(mask: Bool[Tensor, "B T"], position: int) -> Int[Tensor, " B"]:
    """Where a position of the text is in each row, padding left out: -1 is the last token, wherever the padding is.

    Raises:
        InvalidInput: a text that is too short to have it.
    """
    count = mask.sum(1)
    wanted = count + position if position < 0 else torch.full_like(count, position)
    bad = (wanted < 0) | (wanted >= count)
    if bool(bad.any()):
        shortest = int(count.min())
        raise InvalidInput(
            f"there is no position {position} in a text of {shortest}, the shortest without its padding; name one that all texts have, such"
            " as 0 or -1, or leave short texts out"
        )
    place: Tensor = (mask.cumsum(1) == (wanted + 1)[:, None]).int().argmax(1)  # the first place with so many tokens up to it
    return place
