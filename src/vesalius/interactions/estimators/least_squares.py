"""The polynomial of bounded order that is nearest to a game, by regression on coalitions drawn without replacement.

Axes: M pairs of complements, P players, U monomials of one parity, K coalitions with a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.errors import BudgetTooSmall, InvalidInput
from vesalius.core.numbers import POSITIVE_COUNT, whole_number
from vesalius.games.estimators import coalition_sampling
from vesalius.games.estimators.estimate import GameLike, check_request, empty_and_full_values, estimate_fields, evaluate, require_budget
from vesalius.games.estimators.kernel_regression import kernel_weights
from vesalius.interactions.estimators.estimate import coalitions_up_to, explained_variance, interaction_facts, membership_rows
from vesalius.interactions.estimators.exact import ExactInteractions
from vesalius.interactions.estimators.polynomial import RANK_TOLERANCE, dividends_of_polynomial, monomial_columns

MAX_COLUMNS = 5000  # unknowns of one parity above which the regression would not fit into memory


@dataclass(frozen=True, kw_only=True)
class LeastSquaresInteractions:
    """Faith-Shap: the dividends of the polynomial that is nearest to the game under the Shapley kernel, exact at both ends.

    Coalitions come in pairs of complements, on which the regression falls apart into one for odd and one for even monomials. Weights are
    the Shapley kernel over the chance of being drawn. Consistent, exact for a polynomial of the order that is asked for, and exact for
    every game once all coalitions are drawn. The errors are those of a leave-one-pair-out jackknife (HC3 sandwich), reduced by the share of
    each size that was drawn.

    Reference: Tsai2023; paired sampling Covert2021; sizes by leverage and without replacement Musco2025.
    """

    def least(self, players: int, max_order: int | None) -> int:
        """Evaluations it needs: a pair for every unknown of either parity, and one per player to tell the error by."""
        free = max(len(part) - 1 for part in _monomials_by_parity(players, max_order))
        return min(2 + 2 * (free + players), 1 << players)

    @verb
    def estimate(self, game: GameLike, budget: int, *, max_order: int | None = 2, generator: torch.Generator | None = None) -> Allocation:
        """Faith-Shap of all coalitions of up to ``max_order`` players.

        Args:
            game: the game.
            budget: at most this many evaluations.
            max_order: 1 (Shapley values by regression) or more.

        Raises:
            BudgetTooSmall: fewer coalitions than it takes to tell the interactions apart.
            InvalidInput: no order, or more unknowns than fit into memory.
        """
        n = check_request(game, generator)
        unknown = _monomial_count(n, max_order)
        if unknown > MAX_COLUMNS:
            raise InvalidInput(f"{unknown} interactions of order {max_order} of {n} players are too many for 'least_squares'; use 'sparse'")
        budget = require_budget(budget, self.least(n, max_order), estimator="least_squares")
        if n == 1:
            return ExactInteractions().estimate(game, budget)
        order = min(_require_order(max_order), n)
        rows = coalition_sampling.singles_first_pairs(n, min((budget - 2) // 2, 2 ** (n - 1) - 1), generator=generator)
        odd, even = (_Regression.of(rows, part, budget) for part in _monomials_by_parity(n, max_order))
        base, total = empty_and_full_values(game)
        values = evaluate(game, torch.cat([rows, ~rows])).view(2, -1)
        found = [odd.solve((values[0] - values[1]) / 2, (total - base) / 2), even.solve((values[0] + values[1]) / 2, (total + base) / 2)]
        monomials = [*odd.monomials, *even.monomials]
        influence = dividends_of_polynomial(monomials, torch.cat([influence for _, influence, _ in found]), order)
        first, second = (error for _, _, error in found)
        return Allocation(
            **estimate_fields(
                game,
                (base, total),
                "least_squares",
                generator,
                interaction_facts("fsii", explained_variance(torch.cat([second + first, second - first]), values.flatten())),
            ),
            coalitions=membership_rows(coalitions_up_to(n, order), n),
            values=dividends_of_polynomial(monomials, torch.cat([coefficients for coefficients, _, _ in found]), order),
            stderr=influence.square().sum(1).sqrt(),
            evaluations=torch.tensor(2 + 2 * len(rows)),
        )


@dataclass(frozen=True, eq=False)
class _Regression:
    """One parity: weighted columns with the full coalition's value held fixed, factored.

    Attributes:
        monomials: of this parity.
        columns: their products at the pairs' first members.
        weight: of every pair.
        unseen: share of its size that was not drawn.
        free: directions of the coefficients that leave the full coalition's value alone.
        q, r: factors of the weighted columns along those directions.
    """

    monomials: list[tuple[int, ...]]
    columns: Float[Tensor, "M U"]
    weight: Float[Tensor, " M"]
    unseen: Float[Tensor, " M"]
    free: Float[Tensor, "U F"]
    q: Float[Tensor, "M F"]
    r: Float[Tensor, "F F"]

    @classmethod
    def of(cls, rows: Bool[Tensor, "M P"], monomials: list[tuple[int, ...]], budget: int) -> _Regression:
        """Factored, or refused where the coalitions cannot tell the monomials apart."""
        weight, unseen = kernel_weights(rows)
        matrix = monomial_columns(rows, monomials)
        free = torch.linalg.qr(_values_at_full(monomials)[:, None], mode="complete").Q[:, 1:]
        q, r = torch.linalg.qr(weight.sqrt()[:, None] * (matrix @ free))
        pivots = r.diagonal().abs()
        missing = len(monomials) - 1 - int((pivots > RANK_TOLERANCE * pivots.max()).sum()) if len(pivots) else 0
        if missing:
            raise BudgetTooSmall(budget, budget + 2 * missing, estimator="least_squares")
        return cls(monomials, matrix, weight, unseen, free, q, r)

    def solve(self, y: Float[Tensor, " M"], at_full: float) -> tuple[Float[Tensor, " U"], Float[Tensor, "U M"], Float[Tensor, " M"]]:
        """Coefficients, every pair's influence on them, and the error of every pair's value when it is left out."""
        fixed = _values_at_full(self.monomials)
        start = fixed * at_full / fixed.square().sum()
        right = self.weight.sqrt() * (y - self.columns @ start)
        inverse = self.free @ torch.linalg.solve_triangular(self.r, self.q.T, upper=True)
        residual = right - self.q @ (self.q.T @ right)
        error = residual / (1 - self.q.square().sum(1).clamp_max(1 - 1e-9))
        return start + inverse @ right, inverse * (error * self.unseen.sqrt()), error / self.weight.sqrt()


def _values_at_full(monomials: list[tuple[int, ...]]) -> Float[Tensor, " U"]:
    """Every monomial's value at the full coalition."""
    return torch.tensor([0.5 ** len(members) for members in monomials], dtype=torch.float64)


def _require_order(max_order: int | None) -> int:
    if max_order is None:
        raise InvalidInput("'least_squares' needs a largest order of 1 or more, not None; 'sparse' finds dividends of all orders")
    return whole_number("max_order", max_order, POSITIVE_COUNT)


def _monomial_count(players: int, max_order: int | None) -> int:
    return sum(comb(players, size) for size in range(min(_require_order(max_order), players) + 1))


def _monomials_by_parity(players: int, max_order: int | None) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The odd ones, and the even ones with the empty one."""
    every = [(), *coalitions_up_to(players, min(_require_order(max_order), players))]
    return [members for members in every if len(members) % 2], [members for members in every if len(members) % 2 == 0]
