"""Which edges of a graph belong together."""

from __future__ import annotations

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from vesalius.core.errors import InvalidInput


def edge_owners(
    edges: Shaped[Tensor, "..."], edge_index: Shaped[Tensor, "..."], *, directed: bool
) -> tuple[Int[Tensor, "E *_"], tuple[str, ...]]:
    """The player of each edge of a graph, and the players' names, in order of their first edge.

    Args:
        edges: weights or features of the edges, [E *features].
        edge_index: the nodes that each goes from and to, [2 E].
        directed: whether the two directions between a pair of nodes are two players.

    Raises:
        InvalidInput: nodes that are not two whole numbers for each edge.
    """
    count = len(edges) if edges.ndim else 0
    if edge_index.is_floating_point() or edge_index.is_complex() or tuple(edge_index.shape) != (2, count):
        came = f"this one has shape {list(edge_index.shape)} of {edge_index.dtype}"
        raise InvalidInput(f"edge_index holds two whole numbers for each of the {count} edges, in the shape [2, {count}]; {came}")
    ends = [tuple(pair) if directed else tuple(sorted(pair)) for pair in edge_index.T.tolist()]
    players = {pair: player for player, pair in enumerate(dict.fromkeys(ends))}
    owner = torch.tensor([players[pair] for pair in ends]).reshape(-1, *[1] * (edges.ndim - 1))
    return owner, tuple(f"{first}{'->' if directed else '-'}{second}" for first, second in players)
