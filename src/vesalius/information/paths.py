"""What flows from where to where: products of weights along paths.

A layered graph has as many paths as its layers' sizes multiply to; sums over all of them are a product of matrices, and the best of them
come out of one pass through the layers.

Axes: F units of the first layer, L units of the last, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.numbers import POSITIVE_COUNT, whole_number


class FlowPath(NamedTuple):
    """One path: its units as (layer, position), its length in edges one less, and the product of its weights."""

    units: tuple[tuple[str, int], ...]
    product: float


def path_attribution(flows: Sequence[Float64[Tensor, "*N _ _"]]) -> Float64[Tensor, "*N F L"]:
    """For every unit of the first and of the last layer, the sum over all paths between them of the products of weights.

    Args:
        flows: weights, one matrix or one batch of matrices per layer pair.

    Reference: Davis2020, where paths are enumerated.
    """
    return reduce(torch.matmul, flows)


def pointwise_attribution(flows: Sequence[Float64[Tensor, "_ _"]], samples: Sequence[Float[Tensor, "N _ _"]]) -> Float64[Tensor, "N F L"]:
    """:func:`path_attribution` of single samples, by the point-wise information of each; edges that the graph does not have stay out.

    Args:
        flows: weights of the graph; only where they are positive matters.
        samples: point-wise information, one batch of matrices per layer pair, in nats; it may be negative.

    Raises:
        InvalidInput: not one batch per layer pair, another shape, values that are not finite.
    """
    if not isinstance(samples, Sequence) or isinstance(samples, str):
        raise WrongType(f"samples are batches of matrices, one for each layer pair, not {type(samples).__name__}")
    if len(samples) != len(flows):
        raise InvalidInput(f"{len(samples)} batches of matrices for {len(flows)} layer pairs")
    for at, (flow, sample) in enumerate(zip(flows, samples, strict=True)):
        if tuple(sample.shape) != (len(samples[0]), *flow.shape):
            raise InvalidInput(f"batch {at} has shape {tuple(sample.shape)}; expected {(len(samples[0]), *flow.shape)}")
        if not sample.isfinite().all():
            raise InvalidInput(f"batch {at} has values that are not finite")
    return path_attribution([sample.to("cpu", torch.float64) * (flow > 0) for flow, sample in zip(flows, samples, strict=True)])


def throughput(flows: Sequence[Float64[Tensor, "_ _"]]) -> list[Float64[Tensor, " _"]]:
    """For every unit, the share of all that flows from the first layer to the last that passes through it; adds up to 1 in each layer.

    Where nothing flows, 0.
    """
    into, out = [torch.ones(len(flows[0]), dtype=torch.float64)], [torch.ones(flows[-1].shape[1], dtype=torch.float64)]
    for flow in flows:
        into.append(_scale_to_max(into[-1] @ flow))
    for flow in reversed(flows):
        out.append(_scale_to_max(flow @ out[-1]))
    passing = [_scale_to_max(before) * after for before, after in zip(into, reversed(out), strict=True)]
    return [part / total if (total := part.sum()) > 0 else part for part in passing]


def _scale_to_max(values: Tensor) -> Tensor:
    """With a largest value of 1, so that products over many layers stay numbers."""
    return values / values.max() if values.any() else values


def strongest_paths(flows: Sequence[Float64[Tensor, "_ _"]], k: int) -> list[tuple[tuple[int, ...], float]]:
    """The k paths with the largest products, exactly, largest first; fewer where there are no more with a positive one.

    Args:
        flows: weights, one matrix per layer pair.
        k: at least 1.

    Returns:
        Positions, one per layer, and the product.

    Best k paths to a unit pass through best k paths to the units before it, so only those are kept, layer by layer.
    """
    k = whole_number("k", k, POSITIVE_COUNT)
    best = torch.ones(len(flows[0]), 1, dtype=torch.float64)
    came: list[tuple[Tensor, Tensor]] = []
    for flow in flows:
        width = best.shape[1]
        options = (best[:, :, None] * flow[:, None, :]).flatten(0, 1)
        best, place = options.T.sort(dim=1, descending=True, stable=True)
        best, place = best[:, :k], place[:, :k]
        came.append((place // width, place % width))
    ends = best.flatten().sort(descending=True, stable=True)
    chosen = [(int(place), float(value)) for place, value in zip(ends.indices[:k], ends.values[:k], strict=True) if value > 0]
    return [(_trace_back(came, *divmod(place, best.shape[1])), value) for place, value in chosen]


def _trace_back(came: Sequence[tuple[Tensor, Tensor]], unit: int, rank: int) -> tuple[int, ...]:
    """Back along one path, from its last unit."""
    units = [unit]
    for before, ranks in reversed(came):
        unit, rank = int(before[unit, rank]), int(ranks[unit, rank])
        units.append(unit)
    return tuple(reversed(units))
