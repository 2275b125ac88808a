"""What every estimator returns, and how it asks a game."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core.errors import BudgetTooSmall, InvalidInput


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


@dataclass(frozen=True, eq=False, kw_only=True)
class ShapleyEstimate:
    """Shapley values and how well they are known.

    Attributes:
        values: one per player, in the unit of the game; they sum to ``total - base``.
        stderr: standard error of each value; None where the method cannot give one.
        base: value of the empty coalition.
        total: value of the full coalition.
        evaluations: distinct coalitions asked; never above the budget.
        estimator: name of the method that was used.
        stderr_note: empty where ``values +- 1.96 stderr`` is meant to cover the truth 95 times in 100; otherwise says why it may not.
    """

    values: Float[Tensor, " P"]
    stderr: Float[Tensor, " P"] | None
    base: float
    total: float
    evaluations: int
    estimator: str
    stderr_note: str = ""


@runtime_checkable
class ShapleyEstimator(Protocol):
    """A way to estimate Shapley values within a budget of evaluations."""

    def estimate(self, game: GameLike, budget: int, *, generator: torch.Generator | None = None) -> ShapleyEstimate: ...


def evaluate(game: GameLike, masks: Bool[Tensor, "C P"]) -> Float[Tensor, " C"]:
    """Values of coalitions in float64.

    Raises:
        InvalidInput: a value is NaN or infinite, or there is not one value per coalition.
    """
    values = game(masks).detach().to("cpu", torch.float64)
    if values.shape != (len(masks),):
        raise InvalidInput(f"the game gave shape {tuple(values.shape)} for {len(masks)} coalitions; expected one value each")
    bad = (~values.isfinite()).nonzero().flatten()
    if len(bad):
        present = masks[bad[0]].nonzero().flatten().tolist()
        raise InvalidInput(f"the game is {float(values[bad[0]])} for the coalition of players {present}; Shapley values need finite values")
    return values


def empty_and_full_values(game: GameLike) -> tuple[float, float]:
    """Values of the empty and of the full coalition."""
    empty, full = evaluate(game, torch.tensor([[False], [True]]).expand(2, game.players.n).contiguous()).tolist()
    return empty, full


def require_budget(budget: int, least: int, *, estimator: str) -> None:
    """Refuse a budget that is too small, before anything is asked."""
    if budget < least:
        raise BudgetTooSmall(budget, least, estimator=estimator)


def make_efficient(values: Float[Tensor, " P"], gain: float) -> Float[Tensor, " P"]:
    """Values shifted alike so that they sum to the gain: the orthogonal projection on the efficient ones."""
    return values + (gain - values.sum()) / len(values)
