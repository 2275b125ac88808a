"""What an estimator of interactions says of its estimate, and the order in which it lists coalitions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.core.numbers import whole_number
from vesalius.games.estimators.estimate import GameLike


@runtime_checkable
class InteractionEstimator(Protocol):
    """A way to estimate interactions within a budget of evaluations.

    Its allocation is as that of a :class:`vesalius.games.estimators.ShapleyEstimator`, with a value and a standard error per listed
    coalition, and in its provenance besides

    - ``index``: what is estimated: ``k_sii`` (for pairs the Shapley interaction index; for a single player its Shapley value less half of
      its pairs), ``fsii`` (Faith-Shap) or ``dividend`` (Harsanyi);
    - ``explained``: 1 - mean square error / variance of the values of held-out coalitions, as the estimator's own model predicts them; 1
      where all coalitions were asked, below 0 where the mean predicts better. With ``auto``, ``surrogate`` and ``sparse`` these coalitions
      are uniform ones, drawn whatever else was asked.
    """

    def least(self, players: int, max_order: int | None) -> int: ...

    def estimate(
        self, game: GameLike, budget: int, *, max_order: int | None = 2, generator: torch.Generator | None = None
    ) -> Allocation: ...


def interaction_facts(index: str, explained: float) -> dict[str, Any]:
    """What the provenance of interactions says besides that of every estimate."""
    return {"method": "interactions", "index": index, "explained": explained}


def index_of_order(max_order: int | None) -> str:
    """What is estimated where an order is asked for: k-SII of singles and pairs, dividends of all orders, and Faith-Shap of any other."""
    return "dividend" if max_order is None else "k_sii" if max_order == 2 else "fsii"


def coalitions_up_to(players: int, order: int) -> list[tuple[int, ...]]:
    """All coalitions of 1 to ``order`` players, small ones first, each size in lexicographic order."""
    return [members for size in range(1, order + 1) for members in combinations(range(players), size)]


def membership_rows(coalitions: Sequence[tuple[int, ...]], players: int) -> Bool[Tensor, "K P"]:
    """Rows of members for coalitions given by their players."""
    rows = torch.zeros(len(coalitions), players, dtype=torch.bool)
    for row, members in zip(rows, coalitions, strict=True):
        row[list(members)] = True
    return rows


def pair_indices(players: int) -> Tensor:
    """The first and the second member of every pair, in the order of :func:`coalitions_up_to`."""
    return torch.triu_indices(players, players, 1)


def sum_over_pairs(pairs: Float[Tensor, "Q *out"], players: int) -> Float[Tensor, "P *out"]:
    """For every player, the sum over the pairs it is in."""
    first, second = pair_indices(players)
    return pairs.new_zeros(players, *pairs.shape[1:]).index_add(0, first, pairs).index_add(0, second, pairs)


def k_sii_from_sii(shapley: Float[Tensor, "P *out"], pairs: Float[Tensor, "Q *out"]) -> Float[Tensor, "K *out"]:
    """k-SII of order 2 from Shapley values and the Shapley interaction index of pairs; sums to what the Shapley values sum to.

    Reference: Bordt2023 (n-Shapley values), for order 2.
    """
    return torch.cat([shapley - sum_over_pairs(pairs, len(shapley)) / 2, pairs])


def require_order_two(max_order: int | None, estimator: str) -> None:
    """Refuse another order than pairs and singles.

    Raises:
        InvalidInput: naming the estimators that can.
    """
    if max_order is None or whole_number("max_order", max_order) != 2:
        raise InvalidInput(
            f"{estimator!r} estimates interactions of order 2, not {max_order}; 'sparse' and 'least_squares' take any order, and 'sparse'"
            " finds dividends of all orders (max_order=None); Shapley values alone: vesalius.games.estimators.shapley"
        )


def unexplained_note(explained: float, trusted_from: float) -> str:
    """Why errors are not to be trusted where a model leaves much unexplained; empty where it does not."""
    if explained >= trusted_from:
        return ""
    return f"the model explains {explained:.3f} of the variance; unless the rest is noise, the error does not cover what it misses"


def explained_variance(error: Float[Tensor, " B"], values: Float[Tensor, " B"]) -> float:
    """1 - mean square error / variance; 1 where nothing varies and nothing is missed."""
    spread = float((values - values.mean()).square().mean())
    missed = float(error.square().mean())
    if spread <= 1e-28 * float(values.square().mean()):
        return 1.0 if missed <= 1e-24 * float(values.square().mean()) else 0.0
    return 1 - missed / spread
