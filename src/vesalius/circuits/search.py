"""A circuit made of scores: the edges that matter most are kept, and the rest is patched.

Axes: E edges.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.circuits.circuit import Circuit
from vesalius.circuits.edge_attribution import eap_ig
from vesalius.circuits.edge_games import EdgeGame
from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.numbers import Limit, whole_number
from vesalius.core.players import Players
from vesalius.games.absence import Baseline
from vesalius.trace.network import Inputs, Network
from vesalius.trace.receive import receive
from vesalius.trace.target import Target


@verb
def circuit_of(
    model: Any,
    x: Inputs,
    baseline: Baseline = None,
    scores: Allocation | None = None,
    *,
    keep: int,
    target: Target = None,
) -> Circuit:
    """The edges of the largest scores, and what the network computes when all others are patched.

    Args:
        model: a Network, or any model that :func:`vesalius.trace` takes.
        x: prompts, ids [B T].
        baseline: as :func:`vesalius.circuits.attribution_patching`.
        scores: of edges, from :func:`vesalius.circuits.eap_ig`, :func:`vesalius.circuits.edge_attribution_patching` or any method with
            ``players=vesalius.Players.edges(net)``; of several prompts, their mean. EAP-IG by default.
        keep: how many edges are kept, from 1 to all of them; those of the largest absolute scores.
        target: what is explained.

    Raises:
        InvalidInput: scores of other edges; a baseline that changes nothing.
        WrongType: scores that are no allocation.

    Reference: Hanna2024; Syed2024.
    """
    network = receive(model, x).network
    found = eap_ig(network, x, baseline, target=target) if scores is None else scores
    worth = mean_scores(found, network)
    keep = whole_number("keep", keep, Limit(least=1, most=len(worth)))
    game = EdgeGame.of(network, x, target=target, baseline=baseline)
    return make_circuit(game, worth, largest(worth, keep), {"scores": found.method, "keep": keep})


def mean_scores(scores: Allocation, network: Network) -> Float[Tensor, " E"]:
    """A score for every edge of a network, the mean over prompts.

    Raises:
        WrongType, InvalidInput: no allocation, or one of other players.
    """
    if not isinstance(scores, Allocation):
        raise WrongType(f"scores are an Allocation of edges, not {type(scores).__name__}; make them with vesalius.circuits.eap_ig(...)")
    edges = Players.edges(network)
    if scores.players.labels != edges.labels or scores.coalitions is not None:
        raise InvalidInput(
            f"scores are of the {edges.n} edges of this network, players=vesalius.Players.edges(net), not of {scores.players}"
        )
    return scores.values.detach().cpu().double().reshape(-1, edges.n).mean(0)


def largest(scores: Float[Tensor, " E"], count: int) -> Bool[Tensor, " E"]:
    """Which are the largest in size; the first of equals."""
    order = torch.argsort(scores.abs(), descending=True, stable=True)
    kept = torch.zeros(len(scores), dtype=torch.bool)
    kept[order[:count]] = True
    return kept


def make_circuit(game: EdgeGame, scores: Float[Tensor, " E"], kept: Bool[Tensor, " E"], options: dict[str, Any]) -> Circuit:
    """A circuit with what it computes, and what the rest does."""
    game.share(game.whole)
    value, rest = game.values(torch.stack([kept, ~kept])).tolist()
    facts = {**game.facts(), "options": options}
    return Circuit(
        names=game.players.labels,
        scores=scores,
        kept=kept,
        whole=game.whole,
        empty=game.empty,
        value=value,
        rest=rest,
        provenance=facts,
    )
