"""Games on networks: one sample, some players, and what stands in for those who are absent.

Axes: N coalitions, P players, M stand-ins averaged over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.players import Players
from vesalius.core.tensor_identity import bytes_of
from vesalius.games.absence import Absence, Baseline, Deletion
from vesalius.games.interior_question import ask_for_players
from vesalius.games.memory import rows_at_once
from vesalius.trace.network import Inputs, Network
from vesalius.trace.question import Question
from vesalius.trace.target import Target

MOST_SHARED = 4096
"""Numbers in an output that is kept for other targets of the same sample."""
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


def coalition_functions(question: Question, absence: Absence) -> Callable[[Players, int], CharacteristicFunction]:
    """How coalitions of players within a sample are evaluated, by an absence that stands in for them or leaves them out.

    Raises:
        InvalidInput: an absence that does not fit what is explained.
    """
    if isinstance(absence, Deletion):
        known: dict[bytes, Tensor] = {}
        return lambda players, sample: characteristic_of_deletion(question, absence, players, sample, known)
    fills = absence.fill(question)
    return lambda players, sample: characteristic_of_sample(question, players, fills, sample)


def characteristic_of_deletion(
    question: Question, absence: Deletion, players: Players, sample: int, known: dict[bytes, Tensor]
) -> CharacteristicFunction:
    """Players within a sequence of ids, which is shorter by those who are absent.

    Args:
        known: outputs for sequences that were looked at, which are added to.

    Raises:
        InvalidInput: what is explained is no sequence of ids; a target at a counted position; nothing left of a sequence.
    """
    ids, place = _sequence(question), [value.name for value in question.network.inputs].index(question.at[0])
    players.check([ids[sample]])
    front = int((players.index[0] >= 0).nonzero().max()) + 1
    fixed = question.pick.positions[sample].tolist() if question.pick.positions is not None else list(question.pick.index)
    if len(fixed) > 1 and fixed[0] >= 0:
        raise InvalidInput(
            f"position {fixed[0]} of the output is that of another token when tokens before it are left out; count it from the end:"
            f" target=({fixed[0] - ids.shape[1]}, {fixed[1]})"
        )

    def rows_of(kept: Bool[Tensor, " T"]) -> tuple[Tensor, ...]:
        if absence.alone is not None and not bool(kept[:front].any()):
            first = torch.arange(ids.shape[1], device=ids.device) == 0
            found = list(rows_of(kept | first))
            found[place][0, 0] = absence.alone
            return tuple(found)
        if not bool(kept.any()):
            raise InvalidInput(
                "with all players left out nothing is left of the text; keep a special token, or take a token: 'mask', 'pad'"
            )
        return tuple(tensor[[sample]][:, kept] if tensor.shape[1:2] == ids.shape[1:2] else tensor[[sample]] for tensor in question.inputs)

    def value(masks: Bool[Tensor, "N P"]) -> Float[Tensor, " N"]:
        asked = [rows_of(kept) for kept in players.presence(masks, [ids[sample]])[0]]
        keys = [b"".join(map(bytes_of, rows)) for rows in asked]
        lengths: dict[tuple[torch.Size, ...], dict[bytes, tuple[Tensor, ...]]] = {}
        for key, rows in zip(keys, asked, strict=True):
            if key not in known:
                lengths.setdefault(tuple(row.shape for row in rows), {})[key] = rows
        for fresh in lengths.values():
            found = run_any_length(question.network, [torch.cat(column) for column in zip(*fresh.values(), strict=True)])
            known.update(zip(fresh, found.split(1), strict=True))
        samples = torch.full((len(keys),), sample, device=ids.device)
        each = [question.pick(known[key], samples[:1]) for key in keys]
        return torch.cat(each).double()

    return CharacteristicFunction(value, rows_at_once(question, ids.device), question.network.differentiable)


def share_outputs(question: Question) -> Question:
    """The same question, where all samples are alike and only their targets differ, with each output computed once for all of them."""
    cut = question.subgraph
    if question.batch < 2 or question.dependent is not None or question.network.random or cut is None or question.head != cut.head:
        return question
    if not all(bool((part == part[:1]).all()) for part in (*question.inputs, *question.present, *cut.context)):
        return question
    known: dict[bytes, Tensor] = {}

    def head(values: Sequence[Tensor], rows: Int[Tensor, " N"]) -> Tensor:
        keys = [b"".join(bytes_of(value[place]) for value in values) for place in range(len(rows))]
        fresh = {key: place for place, key in enumerate(keys) if key not in known}
        if fresh:
            places = torch.tensor(list(fresh.values()), device=rows.device)
            found = question.head([value[places] for value in values], rows[places])
            if found[0].numel() > MOST_SHARED:
                return question.head(values, rows)
            known.update(zip(fresh, found, strict=True))
        return torch.stack([known[key] for key in keys])

    return replace(question, head=head)


def run_any_length(network: Network, tensors: Sequence[Tensor]) -> Tensor:
    """The output for a sequence of any length, by the live model, or by the graph of a network from a file.

    Raises:
        InvalidInput: the graph does not hold for that length.
    """
    with torch.no_grad():
        return network(*tensors) if network.call is None else network.call.evaluate(tensors)


def _sequence(question: Question) -> Tensor:
    """The explained ids [B T]."""
    names = [value.name for value in question.network.inputs]
    if len(question.at) != 1 or question.at[0] not in names or question.present[0].ndim != 2 or question.present[0].is_floating_point():
        raise InvalidInput(
            f"tokens are left out of ids [T], and {' and '.join(question.at)} is explained; explain the ids, or take a token"
        )
    return question.present[0]


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
