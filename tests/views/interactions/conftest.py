"""Interactions with values that are easy to find again."""

from collections.abc import Callable

import pytest
import torch

from vesalius.core.allocation import Allocation
from vesalius.core.players import Players
from vesalius.games.moebius import membership


@pytest.fixture
def together() -> Callable[..., Allocation]:
    """All dividends of a few players, 0 but for those given by their members."""

    def build(players: Players, worth: dict[tuple[int, ...], float], **rest: object) -> Allocation:
        members = membership(players.n)[1:]
        values = torch.zeros(len(members), dtype=torch.float64)
        for inside, value in worth.items():
            values[sum(1 << player for player in inside) - 1] = value
        base = torch.tensor(1.0, dtype=torch.float64)
        facts = {"method": "interactions", "index": "dividend", "target": "class 2", **rest.pop("provenance", {})}
        return Allocation(
            players=players, values=values, base=base, total=base + values.sum(), coalitions=members, provenance=facts, **rest
        )

    return build


@pytest.fixture
def named(together) -> Allocation:
    """Four columns: a alone 3, a with b -2, b with c and d 0.6, all but d 0.3."""
    players = Players.features(torch.zeros(4), names=("a", "b", "c", "d"))
    return together(players, {(0,): 3.0, (0, 1): -2.0, (1, 2, 3): 0.6, (0, 1, 2): 0.3})


@pytest.fixture
def tiles(together) -> Allocation:
    """Four patches of an image of 4 by 4: the upper two add 2 together, the left two -1."""
    return together(Players.patches(torch.zeros(1, 4, 4), 2), {(0, 1): 2.0, (0, 2): -1.0, (3,): 0.5})
