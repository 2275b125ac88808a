"""What interactions say, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vesalius.core.allocation import Allocation
from vesalius.core.interaction_indices import DIVIDENDS
from vesalius.core.players import Players
from vesalius.views import style
from vesalius.views.interactions.chart_data import CoalitionEffect, SizeSum

INDEX_NAMES: Mapping[str, str] = {
    DIVIDENDS: "effect (Harsanyi dividend)",
    "sii": "Shapley interaction index",
    "k_sii": "k-SII",
    "stii": "Shapley-Taylor index",
    "fsii": "Faith-Shapley index",
}
"""How the values of coalitions are called."""

MOST_NAMES = 4
"""Members of a coalition that are all named."""

INDEX_MEANINGS: Mapping[str, str] = {
    DIVIDENDS: "What each coalition adds to the output beyond everything that its subsets add.",
    "sii": "What players do together, averaged over the coalitions of the others. These values are not complete: they do not add up.",
    "k_sii": "What players do together, with the effects of larger coalitions shared out among smaller ones: the values are complete.",
    "stii": "Effects of small coalitions as they are; those of larger ones in equal shares to their largest listed subsets.",
    "fsii": "The least-squares fit of the output by the values of small coalitions.",
}
"""What an index says, in a sentence."""


def heading_of(allocation: Allocation) -> str:
    """Interactions, and between whom."""
    return f"Interactions of {allocation.players.kind}"


def effect_name(players: Players, effect: CoalitionEffect) -> str:
    """An effect by its members, the first few of many."""
    if len(effect.members) <= MOST_NAMES:
        return effect.row.name
    first = " & ".join(players.name(player) for player in effect.members[: MOST_NAMES - 1])
    return f"{first} & {len(effect.members) - MOST_NAMES + 1} more"


def describe_sizes(sizes: Sequence[SizeSum], kind: str) -> str:
    """Which sizes the change of the output comes from, in a sentence."""
    net = [(_size_phrase(size, kind), size.net) for size in sizes[:2]]
    larger = sum(size.net for size in sizes[2:])
    if len(sizes) > 2:
        net.append(("larger coalitions", larger))
    parts = [f"{style.signed_number(value)} from {who}" for who, value in net]
    told = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    return f"Of the change of the output, {told}."


def _size_phrase(size: SizeSum, kind: str) -> str:
    return f"single {kind}" if size.size == 1 else "pairs"
