"""What flows from which input to which class, as a table or as maps.

Axes: F units of the first layer shown, L units of the last shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from vesalius.information.graph import FlowGraph
from vesalius.views.flow.chart_data import sum_channels
from vesalius.views.flow.paths import flow_shares

MOST_ROWS = 12
MOST_COLUMNS = 10
"""Inputs and classes shown, those with the most flow; the others are added up."""


@dataclass(frozen=True, eq=False, kw_only=True)
class AttributionTable:
    """Shares of all flow.

    Attributes:
        rows: inputs, from the largest; in their own order if all are shown.
        columns: classes.
        shares: of all flow; empty where there are maps.
        maps: one per class, where the inputs are an image.
        folded: whether the last row, and whether the last column, is a sum of others.
        left_out: classes without a map.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    shares: Float[ndarray, "F L"]
    maps: tuple[Float[ndarray, "height width"], ...] = ()
    folded: tuple[bool, bool] = (False, False)
    left_out: int = 0

    @property
    def scale(self) -> float:
        """The largest share that is not a sum of others, or the largest value of a map."""
        named = self.shares[: len(self.rows) - self.folded[0], : len(self.columns) - self.folded[1]]
        parts = self.maps or (named,)
        return max((float(part.max(initial=0)) for part in parts), default=0) or 1.0

    @property
    def depths(self) -> Float[ndarray, "F L"]:
        """Shares on the scale, 0 to 1; sums of others are not on it."""
        found = self.shares / self.scale
        found[len(self.rows) - self.folded[0] :] = 0
        found[:, len(self.columns) - self.folded[1] :] = 0
        return np.asarray(found)


def attribution_table(graph: FlowGraph, shape: tuple[int, ...] | None = None) -> AttributionTable:
    """Inputs by classes, of a size that can be read.

    Args:
        graph: any.
        shape: of the image that the first layer is.
    """
    shares, inputs, outputs = flow_shares(graph), _unit_names(graph, graph.sources), _unit_names(graph, graph.sinks)
    if shape is not None:
        return _class_maps(outputs, shares[: len(graph.layers[0])], shape)
    columns, turned = _sum_smallest(outputs, shares.T, MOST_COLUMNS)
    rows, found = _sum_smallest(inputs, turned.T, MOST_ROWS)
    folded = len(rows) < len(inputs), len(columns) < len(outputs)
    return AttributionTable(rows=rows, columns=columns, shares=found.numpy(), folded=folded)


def _unit_names(graph: FlowGraph, layers: Sequence[str]) -> tuple[str, ...]:
    """Labels of the units of a layer; of several, with the names of the layers."""
    if len(layers) == 1:
        return graph.layers[graph.place(layers[0])].units
    return tuple(graph.title((name, unit)) for name in layers for unit in range(len(graph.layers[graph.place(name)])))


def _class_maps(labels: tuple[str, ...], shares: torch.Tensor, shape: tuple[int, ...]) -> AttributionTable:
    """A map per class, of those with the most flow, in their own order."""
    chosen = sorted(shares.sum(0).sort(descending=True, stable=True).indices[:MOST_COLUMNS].tolist())
    maps = tuple(sum_channels(shares[:, unit], shape) for unit in chosen)
    columns = tuple(labels[unit] for unit in chosen)
    return AttributionTable(rows=(), columns=columns, shares=np.zeros((0, len(chosen))), maps=maps, left_out=len(labels) - len(chosen))


def _sum_smallest(labels: tuple[str, ...], shares: torch.Tensor, most: int) -> tuple[tuple[str, ...], torch.Tensor]:
    """Lines of a table; of too many, the largest, and the sum of the others."""
    if len(labels) <= most:
        return labels, shares
    ranked = shares.sum(1).sort(descending=True, stable=True).indices
    kept, rest = ranked[: most - 1], ranked[most - 1 :]
    names = (*(labels[int(line)] for line in kept), f"{len(rest):,} others")
    return names, torch.cat([shares[kept], shares[rest].sum(0, keepdim=True)])
