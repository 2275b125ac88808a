"""Methods in tiers: those that the numbers of an audit cannot tell apart stand side by side.

Axes: R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.audit.result import MethodAudit
from vesalius.core.near_ties import descending_order


def bootstrap_interval(resampled: Float[Tensor, " R"]) -> tuple[float, float]:
    """Where 95 in 100 resamples lie."""
    low, high = torch.quantile(resampled, torch.tensor([0.025, 0.975], dtype=resampled.dtype)).tolist()
    return low, high


def rank_in_tiers(records: Mapping[str, MethodAudit], errors: Mapping[str, Tensor]) -> tuple[tuple[str, ...], ...]:
    """Methods by error; one that cannot be told from the best of a tier joins it."""
    tiers: list[list[str]] = []
    order = descending_order(-torch.tensor([record.error for record in records.values()], dtype=torch.float64))
    for label in (list(records)[place] for place in order.tolist()):
        first = tiers[-1][0] if tiers else None
        if first is None or not _is_tie(records[first], records[label], errors[first], errors[label]):
            tiers.append([])
        tiers[-1].append(label)
    return tuple(tuple(tier) for tier in tiers)


def _is_tie(first: MethodAudit, second: MethodAudit, mine: Tensor, theirs: Tensor) -> bool:
    """Whether the numbers cannot tell two methods apart."""
    return second.error - first.error <= first.tolerance or (bool(len(mine)) and bootstrap_interval(theirs - mine)[0] <= 0)
