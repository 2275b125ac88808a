"""Two models of a game, weighed by how well they predict together what had no say in either.

Axes: M coalitions, B coalitions left out, P players, K players and then pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.games.estimators.estimate import GameLike, estimate_fields, make_efficient
from vesalius.interactions.estimators.estimate import (
    explained_variance,
    interaction_facts,
    unexplained_note,
)
from vesalius.interactions.estimators.observations import Observations
from vesalius.interactions.estimators.sparse_model import JudgedModel, read_interactions
from vesalius.interactions.estimators.surrogate import SurrogateFit, few_evaluations_note

TRUSTED_FROM = 0.9  # share explained from which the coverage of the errors was measured and found right
NEGLIGIBLE = 0.1  # weight of the process below which it is left out


@dataclass(frozen=True, eq=False)
class Stack:
    """A Gaussian process and a sparse model that saw the same coalitions.

    Attributes:
        process, terms: the two.
        weight: of the process, between 0 and 1; the rest is that of the sparse model.
        explained: share of the variance of uniform coalitions, left out, that both predict together.
    """

    process: SurrogateFit
    terms: JudgedModel
    weight: float
    explained: float

    @classmethod
    def of(cls, process: SurrogateFit, terms: JudgedModel, seen: Observations) -> Stack:
        """Weighed by least squares on errors of left-out coalitions."""
        place = (seen.uniform.long().cumsum(0) - 1)[process.judged]
        one, other = process.errors, terms.errors[place]
        apart = one - other
        weight = float((-(other @ apart) / (apart @ apart).clamp_min(1e-300)).clamp(0, 1))
        weight = 0.0 if weight < NEGLIGIBLE else weight
        return cls(process, terms, weight, explained_variance(other + weight * apart, seen.values[process.judged]))

    def predict(self, rows: Bool[Tensor, "B P"]) -> Float[Tensor, " B"]:
        """Values that are expected of coalitions."""
        return self.weight * self.process.predict(rows) + (1 - self.weight) * self.terms.predict(rows)

    def read(self, game: GameLike, seen: Observations, generator: torch.Generator | None) -> Allocation:
        """k-SII of both; the errors of both, and how far they are apart."""
        n = seen.rows.shape[1]
        listed, few, few_error = read_interactions(self.terms, seen, "k_sii", 2)
        smooth, error = self.process.interactions()
        values = self.weight * smooth + (1 - self.weight) * few
        own = self.weight * error + (1 - self.weight) * few_error  # as if both were wrong together
        variance = own.square() + self.weight * (1 - self.weight) * (smooth - few).square()
        values = torch.cat([make_efficient(values[:n], seen.total - seen.base - float(values[n:].sum())), values[n:]])
        return Allocation(
            **estimate_fields(game, (seen.base, seen.total), "surrogate and sparse", generator, interaction_facts("k_sii", self.explained)),
            coalitions=listed,
            values=values,
            stderr=variance.sqrt(),
            evaluations=torch.tensor(len(seen.rows)),
            stderr_note=few_evaluations_note(len(seen.rows), n) or unexplained_note(self.explained, TRUSTED_FROM),
        )
