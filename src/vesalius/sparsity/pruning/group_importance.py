"""Importance of groups of units: what they give together to each unit that reads them.

Axes: U units that read, F links into a unit, P players, N rows, G groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.sparsity.compression.dependencies import STAYS, UnitGroups
from vesalius.sparsity.links import Links
from vesalius.sparsity.pruning.calibration import SCORE_ROWS, LinkScorer
from vesalius.sparsity.scores import SCORES, ScoreInputs, compute_scores, gate_slopes
from vesalius.trace.network import Network


def group_importance(
    units: UnitGroups, links: Mapping[str, Links], rows: Mapping[str, Float[Tensor, "_ _"]], judge: LinkScorer
) -> Float[Tensor, " G"]:
    """Importance of each group: of all its links into a unit as one player, mean over the units of a layer, summed over layers.

    Args:
        units: in groups.
        links: of the layers that read them, with their weights as they are now.
        rows: what these links carry.
        judge: score of links.

    Reference: Rhee2023, UI.
    """
    total = torch.zeros(units.count, dtype=torch.float64)
    for name, one in links.items():
        axes = units.axes.get(one.layer.weight)
        into = None if axes is None else axes[one.layer.in_axis]
        if into is None or (one.layer.groups == 1 and bool((into == STAYS).all())):
            continue
        for place, (part, seen) in enumerate(one.split(rows[name])):
            owners = into if one.layer.groups == 1 else axes[0].reshape(one.layer.groups, -1)[place, :1]  # type: ignore[index]
            players = _players(owners, one, seen.shape[1])
            worth = layer_importance(one, part, seen, players, judge).double().cpu()
            for player, value in enumerate(worth.tolist()):
                owner = int(_owner(players, player, owners, one))
                if owner != STAYS:
                    total[owner] += value
    return total


def unlinked_importance(units: UnitGroups, network: Network, links: Mapping[str, Links], samples: Sequence[Tensor]) -> Float[Tensor, " G"]:
    """The same for readers whose links are not scored, such as recurrent layers: ``|w| E|x - E x|``, mean over what reads.

    Args:
        units: in groups.
        network: with weights as they are now.
        links: of the layers that are scored.
        samples: inputs.
    """
    scored = {one.layer.weight for one in links.values()}
    total = torch.zeros(units.count, dtype=torch.float64)
    readers = [reader for reader in units.readers if reader.weight not in scored and reader.source]
    sources = list(dict.fromkeys(reader.source for reader in readers))
    if not readers:
        return total
    inputs = [value.name for value in network.inputs]
    values = dict(zip(sources, network.program(inputs, sources)(*samples), strict=True))
    for reader in readers:
        value, weight = values[reader.source], network.parameters[reader.weight]
        axis = reader.along if reader.along is not None else 1 if weight.ndim > 2 else value.ndim - 1
        moved = value.movedim(axis, 0).flatten(1).double()
        spread = (moved - moved.mean(1, keepdim=True)).abs().mean(1)
        size = weight.movedim(reader.axis, 0).reshape(len(spread), -1).abs().double().mean(1)
        groups = units.axes[reader.weight][reader.axis]
        taken = groups != STAYS
        total.index_add_(0, groups[taken], (spread * size).cpu()[taken])
    return total


def _players(into: Int[Tensor, " C"], links: Links, fan_in: int) -> Int[Tensor, " F"]:
    """The player of each link into a unit: one per group, and one per channel that stays."""
    if links.layer.groups > 1:
        return torch.zeros(fan_in, dtype=torch.long)
    channel = torch.where(into == STAYS, into.max() + 1 + torch.arange(len(into)), into)
    places: Tensor = channel.unique(return_inverse=True)[1]
    return places.repeat_interleave(links.kernel)


def _owner(players: Tensor, player: int, owners: Tensor, links: Links) -> Tensor:
    """The group that a player is."""
    first = int((players == player).nonzero()[0])
    return owners[0] if links.layer.groups > 1 else owners[first // links.kernel]


def layer_importance(
    links: Links, part: slice, rows: Float[Tensor, "N F"], players: Int[Tensor, " F"], judge: LinkScorer
) -> Float[Tensor, " P"]:
    """Importance of players that each own some links into the units of a layer, mean over these units.

    Args:
        links: of the layer.
        part: its units.
        rows: what the links into them carry.
        players: of each link, counted from 0.
        judge: score of links.
    """
    count = int(players.max()) + 1
    weight, bias = links.weight[part], links.bias[part]
    if not judge.score.joint or count == len(players):
        scores = judge.score_part(links, part, rows, weight, bias)
        summed: Tensor = scores.new_zeros(count).index_add(0, players.to(scores.device), scores.mean(0))
        return summed
    some = rows[:: -(-len(rows) // SCORE_ROWS)]
    if judge.score is SCORES["gate"]:
        return _gate(links, part, some, players, count)
    total: Tensor = rows.new_zeros(count)
    for unit in range(len(weight)):
        carried = rows.new_zeros(len(some), count).index_add(1, players.to(rows.device), some * weight[unit])
        after = links.after.select(slice(part.start + unit, part.start + unit + 1))
        seen = ScoreInputs(weight=torch.ones_like(carried[:1]), bias=bias[unit : unit + 1], rows=carried, after=after)
        total += compute_scores(judge.score, seen)[0]
    return total / len(weight)


def _gate(links: Links, part: slice, rows: Float[Tensor, "N F"], players: Int[Tensor, " F"], count: int) -> Float[Tensor, " P"]:
    """The gate score of all units at once: a product of matrices per player."""
    weight, bias = links.weight[part], links.bias[part]
    seen = ScoreInputs(weight=weight, bias=bias, rows=rows, after=links.after.select(part))
    scaled, slopes = gate_slopes(seen)
    found = []
    for player in range(count):
        own = (players == player).to(rows.device)
        carried = rows[:, own] @ scaled[:, own].T
        found.append(((carried - carried.mean(0)).abs() * slopes).mean())
    return torch.stack(found)
