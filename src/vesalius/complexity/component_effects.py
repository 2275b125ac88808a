"""What the components of a feature do for the task, through the rest of the network: on rows it was trained on, and on others.

Axes: L components.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Shaped
from torch import Tensor

from vesalius.complexity.coalitions import LabelledComponents, Scoring
from vesalius.complexity.effectiveness import CoalitionLosses, coalition_losses
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.trace.network import Inputs

if TYPE_CHECKING:
    from vesalius.complexity.components import Complexity

BATCH = 256
"""Rows disentangled at once."""
MAX_BYTES = 4 << 30
"""Memory that the components of all rows may take."""

LabelledInputs = tuple[Inputs, Shaped[Tensor, "_ ..."]]
"""Inputs of the network, and what it should say of each row."""


def component_losses(
    found: Complexity, train: LabelledInputs, test: LabelledInputs | None = None, *, scoring: Scoring | None = None, seed: int = 0
) -> CoalitionLosses:
    """Run every subset of the components through the rest of the network, and keep what each row loses.

    Raises: as :meth:`vesalius.Complexity.profile`.
    """
    head = found.reading.head
    ours, theirs = labelled_components(found, train, seed), None if test is None else labelled_components(found, test, seed)
    return coalition_losses(head, ours, theirs, orders=found.orders, scoring=scoring)


def labelled_components(found: Complexity, labelled: LabelledInputs, seed: int = 0) -> LabelledComponents:
    """Components of all rows, with their targets.

    Raises: as :meth:`vesalius.Complexity.profile`.
    """
    if not isinstance(labelled, (tuple, list)) or len(labelled) != 2:
        raise WrongType(f"rows with their targets are a pair (x, targets), not {type(labelled).__name__}")
    x, targets = labelled
    tensors = found.reading.network.bind(x)
    first = found.components(tuple(tensor[:1] for tensor in tensors), seed=seed)
    if (needed := len(tensors[0]) * (first.parts.nbytes + first.rest.nbytes)) > MAX_BYTES:
        size, most = needed / 2**30, MAX_BYTES >> 30
        raise InvalidInput(f"components of {len(tensors[0]):,} rows would take {size:.1f} GiB, at most {most} are allowed; take fewer rows")
    batches = [found.components(part, seed=seed) for part in zip(*(tensor.split(BATCH) for tensor in tensors), strict=True)]
    return LabelledComponents(
        torch.cat([part.parts for part in batches], 1), torch.cat([part.rest for part in batches]), targets.to(batches[0].rest.device)
    )
