"""Automatic circuit discovery: edges are cut one after the other, from the output back, as long as the target hardly changes.

Axes: E edges.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.circuits.circuit import Circuit, feeds
from vesalius.circuits.edge_games import EdgeGame
from vesalius.circuits.search import make_circuit
from vesalius.core.entry import verb
from vesalius.core.numbers import POSITIVE, real_number
from vesalius.games.absence import Baseline
from vesalius.trace.network import Inputs
from vesalius.trace.receive import receive
from vesalius.trace.target import Target


@verb
def acdc(model: Any, x: Inputs, baseline: Baseline = None, *, threshold: float, target: Target = None) -> Circuit:
    """The circuit that is left when edges are patched one after the other as long as each changes the target less than a threshold.

    Readers are visited from the output back, and of each reader the writers from the last to the first; a reader that nothing reads any
    more loses its edges unasked. It is occlusion in a loop, in which what was cut stays cut.

    Args:
        model, x, baseline, target: as :func:`vesalius.circuits.attribution_patching`.
        threshold: the largest change of the target, averaged over prompts as an absolute value, at which an edge is cut, > 0, in its unit.

    Returns:
        The circuit; a score is what the target lost when the edge was tried, NaN where it was not.

    Reference: Conmy2023, algorithm 1. Differs from the paper: what is compared is the target, not the divergence of the whole output.
    """
    threshold = real_number("threshold", threshold, POSITIVE)
    game = EdgeGame.of(receive(model, x).network, x, target=target, baseline=baseline)
    kept = torch.ones(game.players.n, dtype=torch.bool)
    scores = torch.full((game.players.n,), torch.nan, dtype=torch.float64)
    now = game.each(kept[None])[0]
    for place in reversed(range(len(game.stream.readers))):
        edges = [edge for edge, (_, reader) in enumerate(game.stream.edges) if reader == place]
        if not _is_read(game, place, kept):
            kept[edges] = False
            continue
        for edge in reversed(edges):
            now = _try_without(game, edge, kept, scores, now, threshold)
    return make_circuit(game, scores, kept, {"method": "acdc", "threshold": threshold})


def _try_without(
    game: EdgeGame, edge: int, kept: Bool[Tensor, " E"], scores: Float[Tensor, " E"], now: Float[Tensor, " B"], threshold: float
) -> Float[Tensor, " B"]:
    """The target of each prompt after an edge was tried: cut, or kept."""
    kept[edge] = False
    without = game.each(kept[None])[0]
    scores[edge] = float((now - without).mean())
    if float((now - without).abs().mean()) < threshold:
        return without
    kept[edge] = True
    return now


def _is_read(game: EdgeGame, place: int, kept: Bool[Tensor, " E"]) -> bool:
    """Whether what a reader makes goes anywhere along edges that are kept."""
    reader = game.stream.readers[place].name
    if reader == "logits":
        return True
    leaving = [writer for edge, (writer, _) in enumerate(game.stream.edges) if bool(kept[edge])]
    return any(feeds(reader, game.stream.writers[writer].name) for writer in set(leaving))
