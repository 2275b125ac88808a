"""Whether a graph of few rows would be found again: how many of its edges half of the rows keep.

Axes: N rows, A units of a layer, B units of one that reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from vesalius.information.edge_weights import significant_edges
from vesalius.information.estimators import Binned
from vesalius.information.estimators.estimate import MIN_ROWS
from vesalius.information.layers import FlowEdges

FEW_ROWS = 500
"""Rows below which edges are looked for again in halves of them."""
HALVES = 6


def edge_stability(
    rows: Sequence[Float64[Tensor, "N _"]],
    pairs: Sequence[tuple[int, int]],
    edges: Sequence[FlowEdges],
    rate: float,
    generator: torch.Generator,
) -> dict[str, Any]:
    """What is kept of the provenance of a graph about its rows; nothing where these are many.

    Args:
        rows: of all layers.
        pairs: of layers that are joined.
        edges: between them, as they were found in all rows.
        rate: false discovery rate of the graph.
        generator: draws the halves.

    Returns:
        ``few_rows``: how many halves were drawn, 0 where they would be too small, and ``kept``, the mean share of the edges that is
        significant in a half as well.
    """
    count = len(rows[0])
    found = sum(int(part.kept.sum()) for part in edges)
    if count >= FEW_ROWS or not found:
        return {}
    if count < 2 * MIN_ROWS:
        return {"few_rows": {"halves": 0, "kept": 0.0}}
    again = 0
    for _ in range(HALVES):
        half = torch.randperm(count, generator=generator)[: count // 2]
        for (first, second), part in zip(pairs, edges, strict=True):
            tested = Binned().estimate(rows[first][half], rows[second][half])
            live = ~(tested.dead_x[:, None] | tested.dead_y)
            again += int((significant_edges(tested.p, rate, tested=live) & part.kept).sum())
    return {"few_rows": {"halves": HALVES, "kept": again / (HALVES * found)}}


def stability_note(provenance: Mapping[str, Any]) -> str:
    """A sentence about a graph of few rows; empty for one of many."""
    few = provenance.get("few_rows")
    if not isinstance(few, Mapping):
        return ""
    head = f"Few rows ({provenance.get('rows', 'unknown')})"
    if not few.get("halves"):
        return f"{head}, too few to look for the edges again in half of them: take the graph for a hint."
    share = f"{100 * float(few.get('kept', 0.0)):.0f} %"
    return f"{head}: half of them show {share} of these edges again. Others may be missed: p-values bound false edges only."
