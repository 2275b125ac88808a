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

from vesalius.information.layer_graph import LayerGraph


def import_igraph() -> Any:
    """python-igraph."""
    return import_module("igraph")


def import_networkx() -> Any:
    """networkx, which torch brings along."""
    return import_module("networkx")


def edge_list(layers: LayerGraph, flows: Sequence[Float64[Tensor, "_ _"]]) -> Int64[Tensor, "E 2"]:
    """Both ends of every edge with a positive weight, by layer pair and then row by row; units are numbered through the layers."""
    offsets = [0, *accumulate(layers.sizes)]
    ends = [torch.tensor([offsets[first], offsets[second]]) for first, second in layers.pairs]
    return torch.cat([flow.nonzero() + start for flow, start in zip(flows, ends, strict=True)])


def edge_values(flows: Sequence[Float64[Tensor, "_ _"]], values: Sequence[Tensor]) -> Tensor:
    """Entries of one matrix per layer pair where there is an edge, in the order of :func:`edge_list`."""
    return torch.cat([value[flow > 0] for flow, value in zip(flows, values, strict=True)])


def build_igraph(layers: LayerGraph, flows: Sequence[Float64[Tensor, "_ _"]], *, directed: bool) -> Any:
    """An igraph graph of all units, in order, and all edges, in the order of :func:`edge_list`."""
    return import_igraph().Graph(n=sum(layers.sizes), edges=edge_list(layers, flows).numpy(), directed=directed)


def split_by_layer(layers: LayerGraph, values: Tensor) -> list[Tensor]:
    """Values of all units, layer by layer."""
    return list(values.split(list(layers.sizes)))
