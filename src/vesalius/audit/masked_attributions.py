"""A method's maps of masked samples, summed into players.

a(T) is the map of the masked model at the sample (taylor.md, 5.4). A method is run on the masked *sample*, counted from the same baseline,
which is the same for every method that looks at values and differences only. Two kinds are treated in a way of their own:

- Methods that add noise (SmoothGrad) are run on the masked *model*, so that the noise of absent players is masked too.
- Methods that play games (they have ``players`` and need neither gradients nor a graph) read the masked game v(S within T) off the table of
  the game, which is known already. A method that claims ``dummy`` plays without the absent players; that this changes nothing is checked on
  some coalitions, and if it does, everybody plays.

Axes: N coalitions, P players, S all coalitions, B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vesalius.audit.problem import AuditProblem, masked_model_question, split_masks, table_question
from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.player_shapes import align
from vesalius.core.players import Players
from vesalius.core.rows import to_tensor
from vesalius.core.text_division import BYSTANDER
from vesalius.games.absence import Constant
from vesalius.games.moebius import membership, player_count
from vesalius.methods import Method, PredictionDifference, SmoothGrad

CHECKED_COALITIONS = 12
"""Coalitions on which it is checked that a game method does not pay players without effect."""


def attribute_masked(method: Method, problem: AuditProblem, masks: Bool[Tensor, "N P"]) -> tuple[Float[Tensor, "N P"], Int[Tensor, " N"]]:
    """Maps of masked samples, and how many evaluations each took; the mean over stand-ins, where there are several.

    Raises:
        InvalidInput: the map cannot be summed into the players; the message says why.
        NoRule, NotTraceable, WrongType: the method does not work on this network.
    """
    method = prepare_method(method, problem)
    place = method.place(problem.question.network) if problem.moved else None
    place = None if place in problem.question.at else place
    found, spent = [], []
    for part in split_masks(masks):
        total = torch.zeros(len(part), problem.players.n, dtype=torch.float64)
        cost = torch.zeros(len(part), dtype=torch.long)
        for which in range(problem.repeats):
            if isinstance(method, SmoothGrad):
                question = masked_model_question(problem, part, which)
            else:
                question = problem.masked_question(part, which, place)
            allocation = method.allocate(question, problem.absence(which, place))
            total += allocation_per_player(allocation, problem)
            cost += allocation.evaluations.expand(len(part)).cpu()
        found.append(total / problem.repeats)
        spent.append(cost)
    return torch.cat(found), torch.cat(spent)


def attribute_masked_games(method: Method, problem: AuditProblem, values: Float[Tensor, " S"]) -> Float[Tensor, "S P"]:
    """Maps of all masked games of a method that plays games, from the values of the game.

    Raises:
        InvalidInput: the method's values are not in the output's unit.
    """
    method = prepare_method(method, problem)
    players = player_count(values)
    everyone = membership(players)
    if "dummy" not in method.claims:
        return _attribute_full_games(method, problem, values, everyone)
    found = torch.zeros(len(values), players, dtype=torch.float64)
    for size in range(1, players + 1):
        rows = (everyone.sum(1) == size).nonzero().flatten()
        members = everyone[rows].nonzero()[:, 1].reshape(-1, size)
        found[rows[:, None], members] = _attribute_games(method, problem, values, (1 << members).double())
    some = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))[:CHECKED_COALITIONS]
    whole = _attribute_full_games(method, problem, values, everyone[some])
    agree = torch.allclose(whole, found[some], rtol=1e-9, atol=1e-9 * float(values.abs().max()))
    return found if agree else _attribute_full_games(method, problem, values, everyone)


def _attribute_full_games(
    method: Method, problem: AuditProblem, values: Float[Tensor, " S"], masks: Bool[Tensor, "N P"]
) -> Float[Tensor, "N P"]:
    """Maps of masked games in which everybody plays, those without effect included."""
    return _attribute_games(method, problem, values, masks.double() * (1 << torch.arange(masks.shape[1])))


def _attribute_games(
    method: Method, problem: AuditProblem, values: Float[Tensor, " S"], weights: Float[Tensor, "B K"]
) -> Float[Tensor, "B K"]:
    question, players = table_question(problem, values, weights)
    playing = replace(method, players=players)
    return playing.allocate(question, Constant()).flat.double().cpu()


def prepare_method(method: Method, problem: AuditProblem) -> Method:
    """The method as it is audited: the players of the audit play, and nothing is estimated that can be enumerated.

    Raises:
        InvalidInput: the method's values are not in the output's unit.
    """
    if isinstance(method, PredictionDifference) and method.evidence is not None:
        raise InvalidInput("with evidence= its values are differences of log odds, not in the output's unit")
    if not method.plays:
        return method
    changes: dict[str, Any] = {"players": problem.players}
    few = problem.players.n <= 14
    if few and getattr(method, "estimator", None) == "auto" and getattr(method, "budget", 0) is None:
        changes["estimator"] = "exact"
    return replace(method, **changes)


def allocation_per_player(allocation: Allocation, problem: AuditProblem) -> Float[Tensor, "B P"]:
    """An allocation's values, summed into the players; what belongs to bystanders is left out.

    Raises:
        InvalidInput: a part that has one value would be cut in two.
    """
    players = problem.players
    values = allocation.flat.detach().double().cpu()
    if allocation.players is players:
        return values
    if players.parts is not None:
        raise InvalidInput("components are not parts of the explained tensor, so a map of that tensor cannot be summed into them")
    events = [tuple(tensor.shape) for tensor in problem.sample]
    owner = player_of_parts(_upsample_parts(allocation.players, events), players, events)
    padded = torch.zeros(len(values), players.n + 1, dtype=torch.float64)
    padded.index_add_(1, torch.where(owner < 0, players.n, owner), values)
    return padded[:, : players.n]


def player_of_parts(fine: Sequence[Int[Tensor, "..."]], coarse: Players, events: Sequence[tuple[int, ...]]) -> Int[Tensor, " K"]:
    """The player that each part belongs to; -1 where it is a bystander.

    Args:
        fine: the part that each element belongs to, broadcastable to the events.
        coarse: the players.
        events: shapes of the explained tensors.

    Raises:
        InvalidInput: a part would be cut in two.
    """
    pairs = []
    for mine, owner, event in zip(fine, coarse.index, events, strict=True):
        theirs = align(owner, len(event), left=coarse.from_left)
        whole = torch.stack([mine.expand(event).reshape(-1), theirs.expand(event).reshape(-1)])
        pairs.append(torch.unique(whole[:, whole[0] >= 0], dim=1))
    every = torch.unique(torch.cat(pairs, 1), dim=1)
    count = int(every[0].max()) + 1
    if (every[0].bincount(minlength=count) > 1).any():
        raise InvalidInput(f"its map has one value for places that belong to several {coarse.kind}: they cannot be told apart")
    owner = torch.full((count,), BYSTANDER)
    owner[every[0]] = every[1]
    return owner


def _upsample_parts(fine: Players, events: Sequence[tuple[int, ...]]) -> list[Int[Tensor, "..."]]:
    """A map's parts at the elements of the explained tensors: as they are, or positions of a layer as blocks of pixels or steps.

    Raises:
        InvalidInput: positions that do not divide the pixels or steps evenly.
    """
    parts = [align(part, len(event), left=fine.from_left) for part, event in zip(fine.index, events, strict=False)]
    if len(fine.index) == len(events) and all(_broadcasts(part.shape, event) for part, event in zip(parts, events, strict=True)):
        return parts
    event, sides = events[0], tuple(fine.shape)
    spatial = event[-2:] if len(sides) == 2 and len(event) >= 3 else event[:1] if len(sides) == 1 and len(event) <= 2 else ()
    if len(events) != 1 or not spatial or any(large % small for large, small in zip(spatial, sides, strict=True)):
        offer = "; GradCAM(upsample=True) gives pixels" if len(event) >= 3 else ""
        raise InvalidInput(f"its map has {list(sides)} positions, which do not divide an input of shape {list(event)} evenly{offer}")
    place = [torch.arange(large) * small // large for large, small in zip(spatial, sides, strict=True)]
    return [place[0][:, None] * sides[1] + place[1]] if len(sides) == 2 else [place[0].reshape(-1, *[1] * (len(event) - 1))]


def _broadcasts(shape: Sequence[int], event: Sequence[int]) -> bool:
    return len(shape) <= len(event) and all(a in (1, b) for a, b in zip(reversed(shape), reversed(event), strict=False))


def map_per_player(values: Tensor | np.ndarray[Any, np.dtype[Any]], problem: AuditProblem) -> Float[Tensor, " P"]:
    """A foreign map as one value per player.

    Raises:
        InvalidInput: neither elements nor players, or NaN.
    """
    who = problem.players
    given = to_tensor(values).detach().cpu()
    if given.is_complex() or given.dtype == torch.bool:
        raise WrongType(f"a map holds real numbers, not {given.dtype}")
    given = given.double()
    if not bool(given.isfinite().all()):
        raise InvalidInput("the map holds NaN or infinity")
    events: Sequence[tuple[int, ...]] = [tuple(tensor.shape) for tensor in problem.sample]
    one = given[0] if given.ndim and tuple(given.shape[1:]) == events[0] and len(given) == 1 else given
    if len(events) == 1 and who.parts is None:
        if tuple(one.shape) == events[0]:
            return who.gather([one[None]])[0]
        if (
            tuple(one.shape) == events[0][1:]
            and tuple(one.shape) == tuple(who.index[0].shape[-one.ndim :])
            and who.index[0].ndim == one.ndim
        ):
            return who.gather([one[None]])[0]
    if tuple(one.shape) in (who.shape, (who.n,)):
        return one.reshape(-1)
    raise InvalidInput(
        f"a map of shape {list(given.shape)} fits neither the explained tensor {list(events[0])} nor the {who.n} {who.kind}"
        f" {list(who.shape)}"
    )
