"""The graph libraries, loaded when they are first asked for.

igraph imports matplotlib, and importing vesalius must not.

Axes: E edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor


def import_igraph() -> Any:
    """python-igraph."""
    return import_module("igraph")


def import_networkx() -> Any:
    """networkx, which torch brings along."""
    return import_module("networkx")


def layer_offsets(sizes: Sequence[int]) -> list[int]:
    """Number of the first unit of every layer, when units are numbered through the layers; then that of all units."""
    return [0, *accumulate(sizes)]


def layer_sizes(flows: Sequence[Float64[Tensor, "_ _"]]) -> list[int]:
    """Units of every layer."""
    return [len(flows[0]), *(flow.shape[1] for flow in flows)]


def edge_list(flows: Sequence[Float64[Tensor, "_ _"]]) -> Int64[Tensor, "E 2"]:
    """Both ends of every edge with a positive weight, by layer pair and then row by row."""
    first = layer_offsets(layer_sizes(flows))
    return torch.cat([flow.nonzero() + torch.tensor(first[at : at + 2]) for at, flow in enumerate(flows)])


def edge_values(flows: Sequence[Float64[Tensor, "_ _"]], values: Sequence[Tensor]) -> Tensor:
    """Entries of one matrix per layer pair where there is an edge, in the order of :func:`edge_list`."""
    return torch.cat([value[flow > 0] for flow, value in zip(flows, values, strict=True)])


def build_igraph(flows: Sequence[Float64[Tensor, "_ _"]], *, directed: bool) -> Any:
    """An igraph graph of all units, in order, and all edges, in the order of :func:`edge_list`."""
    return import_igraph().Graph(n=sum(layer_sizes(flows)), edges=edge_list(flows).numpy(), directed=directed)


def split_by_layer(values: Tensor, flows: Sequence[Float64[Tensor, "_ _"]]) -> list[Tensor]:
    """Values of all units, layer by layer."""
    return list(values.split(layer_sizes(flows)))
