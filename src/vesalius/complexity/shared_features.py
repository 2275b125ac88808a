"""The same feature in other networks of the same task, and what they know of its components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.complexity.features import feature_source
from vesalius.complexity.reliability import Matching, Reliability, match_features
from vesalius.core.errors import WrongType
from vesalius.trace.network import Inputs, Network
from vesalius.trace.receive import receive

if TYPE_CHECKING:
    from vesalius.complexity.components import Complexity

BATCH = 256
"""Rows that run through a network at once."""


def component_reliability(
    found: Complexity, x: Inputs, others: Sequence[Any], *, matching: Matching | None = None, seed: int = 0
) -> Reliability:
    """What other networks know of the components of some rows: :meth:`vesalius.Complexity.reliability`."""
    batches = [found.components(part, seed=seed) for part in _batches(found.reading.network, x)]
    components = torch.cat([one.parts for one in batches], 1), torch.cat([one.rest for one in batches])
    return shared_reliability(found, components, x, others, matching=matching)


def shared_reliability(
    found: Complexity,
    components: tuple[Float[Tensor, "L N *event"], Float[Tensor, "N *event"]],
    x: Inputs,
    others: Sequence[Any],
    *,
    matching: Matching | None = None,
) -> Reliability:
    """The same, where components and rest of these rows are known."""
    axis = 1 + found.shape.channel_axis
    if not isinstance(others, (list, tuple)):
        raise WrongType(f"others are networks in a list, not {type(others).__name__}; for a single one: others=[network]")
    rows = tuple(part[:1] for part in found.reading.network.bind(x))
    known = [_read_feature(receive(other, rows if len(rows) > 1 else rows[0]).network, found.at, x, axis) for other in others]
    return match_features(*components, known, matching=replace(matching or Matching(), axis=axis))


def _batches(network: Network, x: Inputs) -> list[tuple[Tensor, ...]]:
    return list(zip(*(tensor.split(BATCH) for tensor in network.bind(x)), strict=True))


def _read_feature(network: Network, at: str, x: Inputs, axis: int) -> Float[Tensor, "N ..."]:
    """Another network's value of the same name, or of the module of that name; its channels on an axis that counts from the batch."""
    name = at if at in network.values else at.rpartition("/")[0] or at  # a module may compute the same by another op
    place = feature_source(network, name, pre_activation=False)
    found = torch.cat([place.read(part)[1] for part in _batches(network, x)])
    return found.movedim(1 + place.shape.channel_axis, min(axis, found.ndim - 1))
