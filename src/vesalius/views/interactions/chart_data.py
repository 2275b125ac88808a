"""What there is to draw in interactions: the largest effects, how much sits at each size of coalition, who acts with whom.

Axes: P players, K coalitions listed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.core.interaction_indices import DIVIDENDS
from vesalius.core.players import Players
from vesalius.views.chart_data import NamedValue, divides_image, ranked_values, require_single_sample, values_of

MOST_EDGES = 40
"""Pairs drawn, the largest first."""


@dataclass(frozen=True, kw_only=True)
class CoalitionEffect:
    """One coalition's value.

    Attributes:
        row: its name and value.
        members: its players; empty for a sum of others.
    """

    row: NamedValue
    members: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SizeSum:
    """All coalitions of one size.

    Attributes:
        size: players in each.
        count: how many are listed.
        raises: sum of their positive values, in the output's unit.
        lowers: sum of their negative values.
    """

    size: int
    count: int
    raises: float
    lowers: float

    @property
    def net(self) -> float:
        """What they add up to."""
        return self.raises + self.lowers

    @property
    def strength(self) -> float:
        """Sum of their absolute values."""
        return self.raises - self.lowers


@dataclass(frozen=True, kw_only=True)
class PlayerNode:
    """A player on a drawing of 1 by 1, the vertical axis downwards.

    Attributes:
        value: its own, without partners, in the output's unit.
    """

    name: str
    across: float
    down: float
    value: float


@dataclass(frozen=True, kw_only=True)
class PairEdge:
    """What two players do together."""

    first: int
    second: int
    value: float


@dataclass(frozen=True, kw_only=True)
class PairGraph:
    """Players and pairs.

    Attributes:
        placed: whether nodes stand where players are on an image; else they stand on a circle.
        left_out: pairs with a value that are not among the edges.
        index: what the values are.
    """

    nodes: tuple[PlayerNode, ...]
    edges: tuple[PairEdge, ...]
    placed: bool
    left_out: int
    index: str


def require_coalitions(allocation: Allocation, what: str) -> None:
    """Refuse what is not one sample's allocation to coalitions.

    Raises:
        WrongType, InvalidInput.
    """
    require_single_sample(allocation, what)
    if allocation.coalitions is None:
        raise InvalidInput(
            f"{what} shows values of coalitions, and this allocation has one per player; make one with vesalius.interactions"
        )


def interaction_index(allocation: Allocation) -> str:
    """What the values of coalitions are: ``dividend``, ``k_sii``, ..."""
    return str(allocation.provenance.get("index", DIVIDENDS))


def largest_effects(allocation: Allocation, *, most: int) -> list[CoalitionEffect]:
    """The largest values by size, and the sum of the others."""
    found = []
    for row in ranked_values(allocation, most=most):
        inside = () if row.position is None else tuple(_coalitions(allocation)[row.position].nonzero().flatten().tolist())
        found.append(CoalitionEffect(row=row, members=inside))
    return found


def sums_by_size(allocation: Allocation) -> list[SizeSum]:
    """All coalitions by size, from single players up."""
    values, size = values_of(allocation), _coalitions(allocation).sum(1).cpu().numpy()
    table = []
    for count in range(1, int(size.max()) + 1):
        here = values[size == count]
        table.append(SizeSum(size=count, count=len(here), raises=float(here[here > 0].sum()), lowers=float(here[here < 0].sum())))
    return table


@dataclass(frozen=True, eq=False, kw_only=True)
class PairValues:
    """Players one by one and two by two, larger coalitions shared out among them.

    Attributes:
        single: own values, in the output's unit.
        together: values of pairs, symmetric, 0 on the diagonal.
        index: what the values are.
    """

    single: Float[ndarray, " P"]
    together: Float[ndarray, "P P"]
    index: str

    @property
    def involvement(self) -> Float[ndarray, " P"]:
        """Sum of the absolute values of the pairs that each player is in."""
        return np.asarray(np.abs(self.together).sum(1))


def pair_values(allocation: Allocation) -> PairValues:
    """Pairs and single players, as k-SII of order 2 where there are dividends of larger coalitions: its values still add up.

    There are so many coalitions of middle size that their absolute values, added up, are much the same for all players; shared out with
    their signs among pairs, they say who acts with whom. Of any other index, pairs are taken as they are.
    """
    if interaction_index(allocation) == DIVIDENDS and allocation.order > 2:
        allocation = allocation.reduce("k_sii", order=2)
    values, members = values_of(allocation), _coalitions(allocation).cpu()
    size, players = members.sum(1).numpy(), allocation.players.n
    single, together = np.zeros(players), np.zeros((players, players))
    single[members[size == 1].int().argmax(1).numpy()] = values[size == 1]
    first, second = members[size == 2].nonzero()[:, 1].reshape(-1, 2).T.numpy()
    together[first, second] = together[second, first] = values[size == 2]
    return PairValues(single=single, together=together, index=interaction_index(allocation))


def pair_graph(allocation: Allocation, *, most: int = MOST_EDGES) -> PairGraph:
    """Players where they are, and the strongest of :func:`pair_values` between them."""
    players, found = allocation.players, pair_values(allocation)
    first, second = np.triu_indices(players.n, 1)
    values = found.together[first, second]
    ranked = [place for place in np.argsort(-np.abs(values), kind="stable") if values[place]]
    nodes = [
        PlayerNode(name=name, across=float(across), down=float(down), value=float(value))
        for name, (across, down), value in zip(players.names, node_positions(players), found.single, strict=True)
    ]
    return PairGraph(
        nodes=tuple(nodes),
        edges=tuple(PairEdge(first=int(first[place]), second=int(second[place]), value=float(values[place])) for place in ranked[:most]),
        placed=divides_image(players),
        left_out=max(len(ranked) - most, 0),
        index=found.index,
    )


def node_positions(players: Players) -> Float[ndarray, "P 2"]:
    """Where to draw players, across and down in 0..1: at their middle on an image, on a circle from the top otherwise."""
    if divides_image(players):
        return np.array([_region_centre(players.index[0].cpu() == player) for player in range(players.n)])
    angle = 2 * np.pi * np.arange(players.n) / players.n
    return np.stack([0.5 + 0.5 * np.sin(angle), 0.5 - 0.5 * np.cos(angle)], 1)


def _region_centre(here: Tensor) -> tuple[float, float]:
    """Middle of a region, across and down, as shares of the image's longer side; the shorter is centred."""
    region = here if here.ndim == 2 else here.any(0)
    high, wide = region.shape
    side = max(high, wide)
    down, across = (float(spot) + 0.5 for spot in region.nonzero().double().mean(0))
    return (across + (side - wide) / 2) / side, (down + (side - high) / 2) / side


def _coalitions(allocation: Allocation) -> Tensor:
    assert allocation.coalitions is not None
    return allocation.coalitions
