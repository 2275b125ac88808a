"""Players where none were named."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from vesalius.core.players import Players


def default_players(samples: Sequence[Tensor], most: int = 64) -> Players:
    """Players a user would expect for a sample: columns of a table, patches of an image, positions of a sequence.

    Args:
        samples: one sample [*event] per explained tensor.
        most: patches are made large enough that at most this many cover an image.
    """
    sample = samples[0]
    if len(samples) == 1 and not sample.is_floating_point() and sample.ndim:
        return Players.tokens(sample)
    if len(samples) == 1 and sample.numel() > most:
        if sample.ndim >= 3 and min(sample.shape[-2:]) > 1:
            height, width = sample.shape[-2:]
            size = next(s for s in range(1, max(height, width) + 1) if -(-height // s) * -(-width // s) <= most)
            return Players.patches(sample, (min(size, height), min(size, width)))
        return Players.tokens(sample)
    return Players.features(*samples)
