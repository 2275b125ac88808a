"""Losses of single rows: what the network said against what it should have said.

Axes: N rows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from vesalius.core.errors import InvalidInput

RowLoss = Callable[[Tensor, Tensor], Tensor]
"""From outputs [N ...] and targets [N ...] to losses [N]."""


def cross_entropy(outputs: Float[Tensor, "N *classes"], targets: Shaped[Tensor, "N *event"]) -> Float[Tensor, " N"]:
    """-log softmax of the class.

    Args:
        outputs: logits, one per class.
        targets: classes, integers from 0 to classes - 1.

    Returns:
        Losses >= 0, in nats.

    Raises:
        InvalidInput: outputs that are no logits [N classes], or targets that are none of the classes.
    """
    if outputs.ndim != 2 or targets.ndim != 1 or targets.is_floating_point():
        raise InvalidInput(
            "cross-entropy needs outputs [N classes] and integer targets [N], not outputs of shape "
            f"{list(outputs.shape)} and {targets.dtype} targets of shape {list(targets.shape)}; for numbers use loss='squared_error'"
        )
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < outputs.shape[1]:
        raise InvalidInput(
            f"classes run from 0 to {outputs.shape[1] - 1}, but the targets from {int(targets.min())} to {int(targets.max())}"
        )
    return torch.nn.functional.cross_entropy(outputs, targets.long(), reduction="none")


def squared_error(outputs: Float[Tensor, "N *outputs"], targets: Shaped[Tensor, "N *event"]) -> Float[Tensor, " N"]:
    """Squared distance to the target, mean over outputs.

    Args:
        outputs: in any unit.
        targets: as many numbers per row.

    Raises:
        InvalidInput: another number of targets.
    """
    if outputs.numel() != targets.numel():
        raise InvalidInput(f"the head gives outputs of shape {list(outputs.shape)}, but the targets have shape {list(targets.shape)}")
    return (outputs - targets.reshape(outputs.shape)).square().reshape(len(outputs), -1).mean(1)


LOSSES: dict[str, RowLoss] = {"cross_entropy": cross_entropy, "squared_error": squared_error}
