"""Games on networks: one sample, some players, and what stands in for those who are absent.

Axes: N coalitions, P players, M stand-ins averaged over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.players import Players
from vesalius.games.absence import Absence, Baseline
from vesalius.games.interior_question import ask_for_players
from vesalius.games.memory import rows_at_once
from vesalius.trace.network import Inputs, Network
from vesalius.trace.question import Question
from vesalius.trace.target import Target

LINK_BATCH = 64
"""Coalitions of links between two looks at the memory; each is a run of its own, since the weights differ."""


@dataclass(frozen=True)
class CharacteristicFunction:
    """A characteristic function on a network, how many coalitions fit into memory at once, and whether PyTorch runs it."""

    value: Callable[[Bool[Tensor, "N P"]], Float[Tensor, " N"]]
    batch: int
    runs_torch: bool


def ask_about_sample(  # noqa: PLR0913 - what a verb was asked
    network: Network,
    x: Inputs,
    players: Players | None,
    *,
    target: Target,
    baseline: Baseline,
    at: str | Sequence[str] | None,
    direct: bool = False,
) -> tuple[Question, Absence]:
    """The question a game asks about one sample, and what stands in; units, links and parts of the inside bring their places with them.

    Raises:
        InvalidInput: more than one sample.
    """
    place = network.layer(players.layer).value if players is not None and players.kind == "units" and players.layer else at
    question, absence = ask_for_players(network, x, players, target=target, baseline=baseline, at=place, direct=direct)
    if question.batch != 1:
        raise InvalidInput(f"a game is about one sample; {question.batch} came. Loop over them, or use vesalius.attribute")
    return question, absence


def characteristic_of_sample(
    question: Question, players: Players, stand_ins: Sequence[Shaped[Tensor, "B M ..."]], sample: int
) -> CharacteristicFunction:
    """Players within a sample; what stands in for absent ones comes from ``Absence.fill``.

    Where one explained tensor is computed from another, its present elements are computed anew (unless direct effects are asked for).

    Raises:
        InvalidInput: players that do not fit.
    """
    present = tuple(tensor[sample] for tensor in question.present)
    players.check(present)
    fills = tuple(fill[sample] for fill in stand_ins)
    count = len(fills[0])

    def score(masks: Bool[Tensor, "N P"], absent: Sequence[Tensor]) -> Float[Tensor, " N"]:
        rows = torch.full((len(masks),), sample, device=present[0].device)
        values = players.compose(masks, present, absent)
        if question.dependent is None:
            return question.score(values, rows)
        return question.score_overwritten(values, players.presence(masks, present), absent, rows)

    def value(masks: Bool[Tensor, "N P"]) -> Float[Tensor, " N"]:
        with torch.no_grad():
            each = [score(masks, [fill[m] for fill in fills]).double() for m in range(count)]
        return torch.stack(each).mean(0)

    return CharacteristicFunction(value, rows_at_once(question, present[0].device), question.network.differentiable)


def characteristic_of_links(question: Question, players: Players) -> CharacteristicFunction:
    """Players are a layer's weights; an absent link has weight zero."""
    network = question.network
    layer = network.layer(players.layer or "")
    weight = network.weight(layer)
    names = [value.name for value in network.inputs]
    program = network.program([*names, layer.weight_value], [question.end])
    rows = torch.zeros(1, dtype=torch.long, device=weight.device)

    def value(masks: Bool[Tensor, "N P"]) -> Float[Tensor, " N"]:
        with torch.no_grad():
            kept = players.expand(masks.to(weight.device)).reshape(-1, *weight.shape)
            return torch.cat([question.pick(program(*question.inputs, weight * mask)[0], rows) for mask in kept])

    return CharacteristicFunction(value, LINK_BATCH, True)
