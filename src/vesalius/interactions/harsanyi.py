"""What players do together and not in smaller groups: Harsanyi dividends of one sample, which are its Taylor interactions.

Axes: S all coalitions (2**n), K coalitions listed, P players.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, TooManyPlayers
from vesalius.core.interaction_indices import DIVIDENDS
from vesalius.core.names import name_list
from vesalius.core.numbers import POSITIVE_COUNT, whole_number
from vesalius.games.absence import Baseline
from vesalius.games.game import Game
from vesalius.games.moebius import coalition_sizes, dividends_, membership
from vesalius.interactions.estimators import interactions_of
from vesalius.trace.network import Inputs, Network
from vesalius.trace.precision import HALF_DTYPES
from vesalius.trace.receive import receive, resolve_classes
from vesalius.trace.target import Target
from vesalius.trace.text_questions import TextPlayers, TextWords, as_text_question, require_players

MAX_EXACT_PLAYERS = 20  # 2**20 evaluations, and a million coalitions to list
ESTIMATED_ORDER = 2  # what is estimated where that many players are too many, and no order is named
SEED = 0


@verb
def interactions(  # noqa: PLR0913 - a verb that users call
    model: Any,
    x: Inputs,
    players: TextPlayers = None,
    *,
    target: Target = None,
    baseline: Baseline = None,
    at: str | Sequence[str] | None = None,
    direct: bool = False,
    max_order: int | None = None,
    names: Sequence[str] = (),
    classes: Sequence[str] = (),
    tokenizer: Any = None,
) -> Allocation:
    """What each coalition of players adds to the output beyond its parts.

    Up to 20 players the network is run on all 2**n coalitions and nothing is estimated: v(S) is the sum of the dividends of the coalitions
    within S, for every S. A dividend of k players carries the rounding of 2**k outputs, so that of a float32 network of many players is
    noise where it is below about 1e-7 * 2**(k/2) of the output; trace the model in float64 where that matters.

    With more players, interactions of order 2 (or ``max_order``) are estimated by :func:`vesalius.interactions.interactions_of`, which also
    has the choice of estimator and budget, and dividends of all orders for games that have few.

    Args:
        model: a Network, or any model that :func:`vesalius.trace` takes.
        x: one sample in any form, with or without its batch axis.
        players: who may be absent; units and links bring their layer with them. By default columns of a table, patches of an image,
            positions of a sequence.
        target: what is explained, see :func:`vesalius.attribute`; by default the predicted class.
        baseline: what stands in for absent players: zero by default, a number, a tensor, or an absence (``Mean``, ``Blur``, ...).
        at: a value or module to explain instead of the input, or several.
        direct: where one value of ``at`` is computed from another (heads of two layers), what is absent is overwritten where it stands
            and everything behind it is computed anew; True: direct effects only, the later value stays as it is when the earlier changes.
        names: of the players; by default those of the columns, where the data has them.
        classes: names of the classes in the output's order, for a target by name.
        tokenizer: then ``x`` is a text, and target, baseline and players may be in its words, see :func:`vesalius.attribute`.
        max_order: list coalitions of up to so many players. Dividends that are listed keep their values: this is *not* the nearest game of
            that order (that is ``.reduce("fsii", order=k)``), and what the others are worth is in the gap. By default all are listed.

    Returns:
        Dividends in float64, in index order (bit i of an index: is player i a member?) without the empty coalition; ``base`` is the output
        with nobody present and ``total`` with everybody. ``.reduce("shapley")``, ``"k_sii"``, ``"fsii"``, ... make indices of it.
        Above 20 players an index with standard errors, which ``provenance["index"]`` names; its coalitions of seed 0.

    Raises:
        InvalidInput: more than one sample, players that do not fit, a network in half precision, a NaN or infinite input or output.
        WrongType: neither a Network nor a model.

    Reference: Deng2024, theorem 1; Harsanyi1959.
    """
    words = TextWords(target=target, baseline=baseline, players=players, at=at, classes=classes)
    if (posed := as_text_question(model, x, tokenizer, words)) is not None:
        model, x, players, target, baseline, at = posed.arguments
    players = require_players(players)
    received = receive(model, x)
    network = received.network
    _refuse_half_precision(network)
    known = name_list("classes", classes) or received.classes
    target = resolve_classes(target, known, received.outputs)
    asked: dict[str, Any] = {"target": target, "baseline": baseline, "at": at, "direct": direct, "classes": known}
    game = Game.on(network, received.x, players, names=names or received.features, **asked)
    if game.players.n <= MAX_EXACT_PLAYERS:
        return harsanyi_dividends(game, max_order=max_order)
    order = ESTIMATED_ORDER if max_order is None else max_order
    found = interactions_of(game, max_order=order, generator=torch.Generator().manual_seed(SEED))
    return replace(found, provenance={**found.provenance, "options": {"max_order": order, "seed": SEED}})


@verb
def harsanyi_dividends(game: Game, *, max_order: int | None = None) -> Allocation:
    """Dividends of a game from all its coalitions, as :func:`interactions` returns them.

    Args:
        game: of at most 20 players; each coalition is evaluated once and not remembered.
        max_order: as in :func:`interactions`.

    Raises:
        TooManyPlayers: above 20 players.
        InvalidInput: an order below 1, a value that is NaN or infinite.
    """
    n = game.players.n
    if n > MAX_EXACT_PLAYERS:
        raise TooManyPlayers(n, MAX_EXACT_PLAYERS, hint="group players, or estimate with vesalius.interactions.interactions_of")
    if max_order is not None:
        max_order = whole_number("max_order", max_order, POSITIVE_COUNT)
    before = game.evaluations
    table = game.table()
    base, total = table[0].clone(), table[-1].clone()
    listed, values = _select_up_to_order(dividends_(table), n, max_order)
    return Allocation(
        players=game.players,
        values=values,
        base=base,
        total=total,
        coalitions=listed,
        evaluations=torch.tensor(game.evaluations - before),
        explained=game.explained,
        provenance={"method": "interactions", "index": DIVIDENDS, "options": {"max_order": max_order}, **game.provenance},
    )


def _select_up_to_order(dividend: Tensor, players: int, max_order: int | None) -> tuple[Tensor, Tensor]:
    """Coalitions [K P] that are listed, and their dividends [K]."""
    member = membership(players)
    if max_order is None or max_order >= players:
        return member[1:], dividend[1:]
    size = coalition_sizes(players)
    rows = (size > 0) & (size <= max_order)
    return member[rows], dividend[rows]


def _refuse_half_precision(network: Network) -> None:
    """Differences of half-precision outputs are rounding."""
    held = {tensor.dtype for tensor in network.parameters.values()} | {getattr(torch, value.dtype) for value in network.inputs}
    if held & HALF_DTYPES:
        raise InvalidInput(
            f"the network is in {', '.join(sorted(str(dtype) for dtype in held & HALF_DTYPES))}, whose rounding is larger than most"
            " interactions; use network.cast(torch.float32) and x.float()"
        )
