"""What the components of a feature do for the task, through the rest of the network: on rows it was trained on, and on others.

Axes: L components.
"""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor

from vesalius.complexity.coalitions import LabelledComponents, Scoring
from vesalius.complexity.components import Complexity
from vesalius.complexity.effectiveness import CoalitionLosses, coalition_losses
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.trace.network import Inputs

BATCH = 256
"""Rows disentangled at once."""
MAX_BYTES = 4 << 30
"""Memory that the components of all rows may take."""

LabelledInputs = tuple[Inputs, Shaped[Tensor, "_ ..."]]
"""Inputs of the network, and what it should say of each row."""


@verb
def component_effects(
    found: Complexity, train: LabelledInputs, test: LabelledInputs | None = None, *, seed: int = 0, scoring: Scoring | None = None
) -> CoalitionLosses:
    """Run every subset of the components through the rest of the network, and keep what each row loses.

    Args:
        found: from :func:`vesalius.complexity.complexity`, with its network.
        train: rows the network was trained on, and their classes or numbers; a thousand are enough for most errors.
        test: rows it was not trained on; over-fitting needs them.
        seed: which run's disentanglers, from 0.
        scoring: loss, absence, errors.

    Returns:
        The table of losses: effectiveness, over-fitting, accuracy of every subset.

    Raises:
        InvalidInput: something bypasses the feature; targets that do not fit; no network; components of more than 4 GiB.
        WrongType: inputs of another kind than the network's.

    Reference: Ren2021, section 3.
    """
    head = found.reading.head
    ours, theirs = labelled_components(found, train, seed), None if test is None else labelled_components(found, test, seed)
    return coalition_losses(head, ours, theirs, orders=found.orders, scoring=scoring)


def labelled_components(found: Complexity, labelled: LabelledInputs, seed: int = 0) -> LabelledComponents:
    """Components of all rows, with their targets.

    Raises: as :func:`component_effects`.
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
