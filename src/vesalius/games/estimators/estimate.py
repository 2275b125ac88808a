"""How an estimator asks a game, and what every estimate says of where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.errors import BudgetTooSmall, InvalidInput, WrongType
from vesalius.core.numbers import random_source, whole_number
from vesalius.core.players import Players
from vesalius.core.rows import real_values
from vesalius.core.version import VERSION


@runtime_checkable
class PlayersLike(Protocol):
    """What an estimator asks of the players."""

    @property
    def n(self) -> int: ...


@runtime_checkable
class GameLike(Protocol):
    """What an estimator asks of a game: n players and a value for every coalition."""

    @property
    def players(self) -> PlayersLike: ...
    def __call__(self, masks: Bool[Tensor, "C P"]) -> Float[Tensor, " C"]: ...


@runtime_checkable
class ShapleyEstimator(Protocol):
    """A way to estimate Shapley values within a budget of evaluations.

    Its allocation is of a single sample, in float64, with values that sum to ``total - base``; ``evaluations`` counts the distinct
    coalitions asked, never more than the budget. ``stderr_note`` is empty where ``values +- 1.96 stderr`` is meant to cover the truth 95
    times in 100, and otherwise says why it may not; ``stderr`` is ``None`` where the method cannot give one. ``provenance`` names the
    ``estimator``.
    """

    def estimate(self, game: GameLike, budget: int, *, generator: torch.Generator | None = None) -> Allocation: ...


LARGEST_VALUE = 1e140  # beyond, squares of values overflow
SMALLEST_VALUE = 1e-140  # below, they vanish, and so would all errors: such a value is taken for 0
SHAPLEY_FACTS = {"method": "shapley_value", "index": "shapley"}


def estimate_fields(
    game: GameLike, ends: tuple[float, float], estimator: str, generator: torch.Generator | None, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """What every allocation that is estimated from a game has: players, base, total, and a provenance that begins with the game's.

    Args:
        game: the game.
        ends: values of the empty and of the full coalition.
        estimator: name of the method that was used.
        generator: source of its randomness; the seed it began with is kept.
        facts: more of the provenance, by name.
    """
    versions = {"vesalius": VERSION, "torch": torch.__version__}
    seed = None if generator is None else generator.initial_seed()
    known: Mapping[str, Any] = getattr(game, "provenance", {})
    return {
        "players": game.players if isinstance(game.players, Players) else Players.plain(game.players.n),
        "base": torch.tensor(ends[0], dtype=torch.float64),
        "total": torch.tensor(ends[1], dtype=torch.float64),
        "explained": getattr(game, "explained", ()),
        "provenance": {"versions": versions, **known, "estimator": estimator, "seed": seed, **facts},
    }


def shapley_allocation(
    fields: Mapping[str, Any], values: Float[Tensor, " P"], stderr: Float[Tensor, " P"] | None, evaluations: int, note: str = ""
) -> Allocation:
    """Shapley values as an allocation.

    Args:
        fields: from :func:`estimate_fields`.
        values: one per player.
        stderr: their standard errors, where the method can give them.
        evaluations: distinct coalitions asked.
        note: why the errors are not to be trusted, if so.
    """
    shape = fields["players"].shape
    errors = None if stderr is None else stderr.reshape(shape)
    return Allocation(**fields, values=values.reshape(shape), stderr=errors, stderr_note=note, evaluations=torch.tensor(evaluations))


def evaluate(game: GameLike, masks: Bool[Tensor, "C P"]) -> Float[Tensor, " C"]:
    """Values of coalitions in float64; those too small to be squared are 0.

    Raises:
        InvalidInput: a value is NaN or infinite, or there is not one value per coalition.
    """
    values = real_values(game(masks), len(masks), "the game")
    if not bool((values.abs() <= LARGEST_VALUE).all()):
        bad = (~(values.abs() <= LARGEST_VALUE)).nonzero().flatten()
        present = masks[bad[0]].nonzero().flatten().tolist()
        raise InvalidInput(
            f"the game is {float(values[bad[0]])} for the coalition of players {present}; Shapley values need finite values, of at most"
            f" {LARGEST_VALUE:g}"
        )
    return values * (values.abs() >= SMALLEST_VALUE)


def empty_and_full_values(game: GameLike) -> tuple[float, float]:
    """Values of the empty and of the full coalition."""
    empty, full = evaluate(game, torch.tensor([[False], [True]]).expand(2, game.players.n).contiguous()).tolist()
    return empty, full


def check_request(game: GameLike, generator: torch.Generator | None) -> int:
    """The number of players of a game, once it is known to be one and to be asked with a source of randomness.

    Raises:
        WrongType: a network or a function, which are asked by way of a game; no generator.
        InvalidInput: a generator of another device.
    """
    if not callable(game) or not hasattr(getattr(game, "players", None), "n"):  # GameLike, which takes Python 0.1 ms to check
        raise WrongType(f"expected a game, not {type(game).__name__}; make one: vesalius.Game.of(function, 5), vesalius.Game.on(model, x)")
    random_source(generator)
    return game.players.n


def require_budget(budget: int, least: int, *, estimator: str) -> int:
    """A budget as an int, before anything is asked.

    Raises:
        BudgetTooSmall: below the least.
        WrongType, InvalidInput: no whole number.
    """
    budget = whole_number("budget", budget)
    if budget < least:
        raise BudgetTooSmall(budget, least, estimator=estimator)
    return budget


def make_efficient(values: Float[Tensor, " P"], gain: float) -> Float[Tensor, " P"]:
    """Values shifted alike so that they sum to the gain: the orthogonal projection on the efficient ones."""
    return values + (gain - values.sum()) / len(values)
