"""A sparse model of a game: terms and their weights, how well they predict what had no say in them, and what they are as interactions.

Axes: M coalitions, B coalitions left out, P players, W weights (a constant, then the terms), D dividends, K coalitions with a value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import comb, log

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vesalius.core.interaction_indices import index_weights
from vesalius.interactions.estimators.estimate import coalitions_up_to, explained_variance, membership_rows
from vesalius.interactions.estimators.matching_pursuit import invert
from vesalius.interactions.estimators.observations import Observations
from vesalius.interactions.estimators.terms import Terms

FOLDS = 3
EXACT = 1e-18  # mean square error over variance below which left-out coalitions are predicted to rounding
ROUNDING = 1e-11  # of the root mean square value: no weight is known better
LISTED_MOST = 40_000  # coalitions up to the order asked for, above which only those within a term are listed

FindTerms = Callable[[Bool[Tensor, "M P"], Float[Tensor, " M"]], Terms]


@dataclass(frozen=True, eq=False)
class SparseModel:
    """Terms refitted together.

    Attributes:
        terms: of the model.
        weights: a constant, then one per term.
        covariance: of the weights.
    """

    terms: Terms
    weights: Float[Tensor, " W"]
    covariance: Float[Tensor, "W W"]

    @classmethod
    def fit(cls, terms: Terms, rows: Bool[Tensor, "M P"], values: Float[Tensor, " M"]) -> SparseModel:
        """Least squares, with the covariance of the leave-one-out jackknife (HC3)."""
        columns = _design(terms, rows)
        inverse = invert(columns.T @ columns)
        weights = inverse @ (columns.T @ values)
        for _ in range(2):  # the normal equations alone lose half of the digits
            weights = weights + inverse @ (columns.T @ (values - columns @ weights))
        leverage = ((columns @ inverse) * columns).sum(1).clamp_max(1 - 1e-9)
        influence = (columns @ inverse) * ((values - columns @ weights) / (1 - leverage))[:, None]
        return cls(terms, weights, influence.T @ influence)

    def predict(self, rows: Bool[Tensor, "B P"]) -> Float[Tensor, " B"]:
        return _design(self.terms, rows) @ self.weights


def _design(terms: Terms, rows: Bool[Tensor, "M P"]) -> Float[Tensor, "M W"]:
    columns = terms.values(rows.T.contiguous()).double().T
    return torch.cat([columns.new_ones(len(columns), 1), columns], 1)


@dataclass(frozen=True, eq=False)
class JudgedModel:
    """A model of all coalitions that were asked, and errors of models like it on uniform ones that were left out.

    Attributes:
        model: fitted to everything.
        others: models that have not seen a part of the uniform coalitions each.
        errors: of what they predict for these.
        explained: share of their variance that is predicted.
    """

    model: SparseModel
    others: list[SparseModel]
    errors: Float[Tensor, " B"]
    explained: float

    def predict(self, rows: Bool[Tensor, "B P"]) -> Float[Tensor, " B"]:
        """Values that are expected of coalitions."""
        return self.model.predict(rows)

    @property
    def exact(self) -> bool:
        return 1 - self.explained <= EXACT


def fit_and_judge(seen: Observations, find: FindTerms, *, generator: torch.Generator | None) -> JudgedModel:
    """Search and fit without each part of the uniform coalitions in turn, and then with all.

    Where the first part is predicted to rounding its terms are all there is, and no other search is made.
    """
    uniform = seen.uniform.nonzero().flatten()
    values = seen.values[uniform]
    errors, others = torch.zeros(len(uniform), dtype=torch.float64), []
    for fold in torch.randperm(len(uniform), generator=generator).tensor_split(FOLDS):
        known = torch.ones(len(seen.rows), dtype=torch.bool)
        known[uniform[fold]] = False
        terms = find(seen.rows[known], seen.values[known])
        others.append(SparseModel.fit(terms, seen.rows[known], seen.values[known]))
        errors[fold] = values[fold] - others[-1].predict(seen.rows[uniform[fold]])
        if float(errors[fold].square().sum()) <= EXACT * seen.spread * len(fold):
            model = SparseModel.fit(terms, seen.rows, seen.values)
            rest = seen.values - model.predict(seen.rows)
            if float(rest.square().mean()) <= EXACT * seen.spread:
                return JudgedModel(model, [], rest[uniform], 1.0)
    model = SparseModel.fit(find(seen.rows, seen.values), seen.rows, seen.values)
    return JudgedModel(model, others, errors, explained_variance(errors, values))


def read_interactions(
    judged: JudgedModel, seen: Observations, index: str, order: int | None
) -> tuple[Bool[Tensor, "K P"], Float[Tensor, " K"], Float[Tensor, " K"]]:
    """An index of the model, with standard errors.

    The error of a coalition that has a term is that of the weights, scaled to the errors of coalitions left out, and how far models are
    apart that have not seen them; that of any other is how large an interaction would have been noticed. What the values do not add up to
    is shared out by their variances, and counted as an error.

    Args:
        judged: the model.
        seen: what it was fitted to.
        index: ``"dividend"``, or an index with an order.
        order: most players of a coalition listed; None for the dividends.
    """
    dividends, shares = judged.model.terms.dividends()
    listed = dividends if order is None else list_coalitions(dividends, order)
    linear = weigh_dividends(listed, dividends, index, order) @ shares
    values = linear @ judged.model.weights[1:]
    variance = ((linear @ judged.model.covariance[1:, 1:]) * linear).sum(1) * _inflation(judged, seen)
    for other in judged.others:
        variance += (read_values(other, listed, index, order) - values).square() / len(judged.others)
    variance += (ROUNDING * seen.values.square().mean().sqrt()).square()
    without = ~linear.any(1)
    variance[without] += _unnoticed(judged, seen, listed[without].sum(1))
    share = (seen.total - seen.base - values.sum()) * variance / variance.sum().clamp_min(1e-300)
    return listed, values + share, (variance + share.square()).sqrt()


def read_values(model: SparseModel, listed: Bool[Tensor, "K P"], index: str, order: int | None) -> Float[Tensor, " K"]:
    """An index of some coalitions, as a model has it."""
    dividends, shares = model.terms.dividends()
    return weigh_dividends(listed, dividends, index, order) @ (shares @ model.weights[1:])


def _inflation(judged: JudgedModel, seen: Observations) -> float:
    """How much larger the errors of coalitions left out are, as mean squares, than the model's own at the same ones."""
    if not judged.others:
        return 1.0
    own = seen.values[seen.uniform] - judged.predict(seen.rows[seen.uniform])
    freedom = max(0.1, 1 - len(judged.model.weights) / len(seen.rows))
    return max(1.0, float(judged.errors.square().mean()) * freedom**2 / max(float(own.square().mean()), 1e-300))


def _unnoticed(judged: JudgedModel, seen: Observations, size: Int[Tensor, " K"]) -> Float[Tensor, " K"]:
    """Variance at which 1.96 standard errors are the interaction that the search would just have dropped.

    A Fourier coefficient of a size has 1 / M of the variance of the errors, and 2**size makes it an interaction.
    """
    players = seen.rows.shape[1]
    bar = 2 * log(max(2, players * (players + 1) // 2))
    return 4.0**size * judged.errors.square().mean() / len(seen.rows) * bar / 1.96**2


def list_coalitions(dividends: Bool[Tensor, "D P"], order: int) -> Bool[Tensor, "K P"]:
    """All coalitions of up to ``order`` players where these are not too many; else those within a coalition with a dividend."""
    players = dividends.shape[1]
    if sum(comb(players, size) for size in range(1, min(order, players) + 1)) <= LISTED_MOST:
        return membership_rows(coalitions_up_to(players, min(order, players)), players)
    inside = {part for row in dividends for size in range(1, order + 1) for part in combinations(row.nonzero().flatten().tolist(), size)}
    return membership_rows(sorted(inside, key=lambda part: (len(part), part)), players)


def weigh_dividends(listed: Bool[Tensor, "K P"], dividends: Bool[Tensor, "D P"], index: str, order: int | None) -> Float[Tensor, "K D"]:
    """What a listed coalition gets of every dividend; of its own alone, where the index is that of dividends."""
    if not len(dividends) or not len(listed):
        return torch.zeros(len(listed), len(dividends), dtype=torch.float64)
    size, whole = listed.sum(1)[:, None], dividends.sum(1)
    within = listed.float() @ dividends.float().T == size
    if order is None:
        return (within & (size == whole)).double()
    scale = index_weights(index, min(order, listed.shape[1]), int(whole.max()))
    return scale[size, whole.expand_as(within)] * within
