"""Orthogonal least squares on dividends with candidates that grow from what was found.

Axes: M coalitions (pairs of complements, first members first), P players, C candidates, T terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vesalius.interactions.estimators.estimate import coalitions_up_to, membership_rows

ROUNDING = 1e-22  # of the values' sum of squares: nothing is left to explain
DEPENDENT_SHARE = 1e-8  # of a column's sum of squares left beside the terms: it says nothing new
RIDGE = 1e-12  # of the mean diagonal, for resamples in which two terms look alike


@dataclass(frozen=True, eq=False)
class RegressionPairs:
    """Pairs of complements and their values above that of the empty coalition."""

    rows: Bool[Tensor, "2 N P"]
    values: Float[Tensor, "2 N"]

    @property
    def pairs(self) -> int:
        return self.values.shape[1]

    @property
    def flat(self) -> Float[Tensor, " M"]:
        return self.values.reshape(-1)

    def part(self, pairs: Int[Tensor, " N"]) -> RegressionPairs:
        """Some of the pairs."""
        return RegressionPairs(self.rows[:, pairs], self.values[:, pairs])

    def columns(self, members: Bool[Tensor, "C P"]) -> Float[Tensor, "M C"]:
        """Whether all members of a candidate are present."""
        absent = (~self.rows.reshape(-1, self.rows.shape[2])).float() @ members.float().T
        return (absent == 0).double()


def solve_least_squares(columns: Float[Tensor, "M T"], y: Float[Tensor, " M"], gain: float | None) -> Float[Tensor, " T"]:
    """Least squares; the coefficients sum to the gain, if one is given."""
    gram = columns.T @ columns
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    factor = torch.linalg.cholesky(gram)
    ones = torch.ones_like(gram[:, :1])
    both = torch.cholesky_solve(torch.cat([(columns.T @ y)[:, None], ones], 1), factor)
    # One step of refinement: the normal equations alone lose half of the digits.
    both[:, :1] += torch.cholesky_solve(columns.T @ (y[:, None] - columns @ both[:, :1]), factor)
    found, along = both[:, 0], both[:, 1]
    return found if gain is None else found + along * (gain - found.sum()) / along.sum()


def find_terms(train: RegressionPairs, check: RegressionPairs, *, most: int, patience: int, rounds: int) -> Bool[Tensor, "T P"]:
    """Terms found by adding and dropping in turn, until a round ends where it began.

    Returns:
        Members of at least one term.
    """
    players = train.rows.shape[2]
    pool = CandidatePool(train, membership_rows(coalitions_up_to(players, 2), players))
    terms: list[int] = []
    for _ in range(rounds):
        before = sorted(terms)
        terms = forward_selection(train, check, pool, terms, most=most, patience=patience)
        terms = backward_elimination(train, pool, terms)
        if sorted(terms) == before:
            break
    return pool.members[terms or [0]]


class CandidatePool:
    """Candidates and their columns, none twice.

    Args:
        data: on which the columns are.
        members: of the first candidates.
    """

    def __init__(self, data: RegressionPairs, members: Bool[Tensor, "C P"]) -> None:
        self.data = data
        self.members = members
        self._rows = data.columns(members).T.contiguous()  # with room at the end, so that growing is not copying
        self._known = {row.tobytes() for row in members.numpy()}

    @property
    def columns(self) -> Float[Tensor, "M C"]:
        return self._rows[: len(self.members)].T

    def extend(self, term: int) -> int:
        """Add the term's coalition with every further player; how many were new."""
        players = self.members.shape[1]
        longer = (self.members[term] | torch.eye(players, dtype=torch.bool))[~self.members[term]]
        fresh = [row for row in longer if row.numpy().tobytes() not in self._known]
        if not fresh:
            return 0
        more = torch.stack(fresh)
        self._known |= {row.tobytes() for row in more.numpy()}
        start, end = len(self.members), len(self.members) + len(more)
        if end > len(self._rows):
            self._rows = torch.cat([self._rows, self._rows.new_empty(end, self._rows.shape[1])])
        self._rows[start:end] = self.data.columns(more).T
        self.members = torch.cat([self.members, more])
        return len(fresh)


def forward_selection(
    train: RegressionPairs, check: RegressionPairs, pool: CandidatePool, terms: list[int], *, most: int, patience: int
) -> list[int]:
    """Terms added one by one, each the one that lowers the error most; as many as predict the checked coalitions best."""
    chosen = list(terms)
    fit = Projection.of(train.flat, pool, chosen)
    best, best_error = list(terms), _validation_error(train, check, pool, terms)
    while len(chosen) < most and float(fit.rest.square().sum()) > ROUNDING * float(train.flat.square().sum()):
        at = fit.strongest(chosen)
        if at is None:
            break
        chosen.append(at)
        fit.add(pool, at)
        error = _validation_error(train, check, pool, chosen)
        if error < best_error:
            best, best_error = list(chosen), error
        elif len(chosen) - len(best) >= patience:
            break
    return best


@dataclass(eq=False)
class Projection:
    """The values less what the terms explain, and how every candidate stands to that.

    Attributes:
        basis: orthonormal, of the terms' columns.
        rest: the values beside it.
        power, left: square norm of every candidate's column, and of its part beside the basis.
        match: product of every candidate's column with the rest.
    """

    basis: Float[Tensor, "M T"]
    rest: Float[Tensor, " M"]
    power: Float[Tensor, " C"]
    left: Float[Tensor, " C"]
    match: Float[Tensor, " C"]

    @classmethod
    def of(cls, y: Float[Tensor, " M"], pool: CandidatePool, terms: list[int]) -> Projection:
        basis = torch.linalg.qr(pool.columns[:, terms]).Q if terms else y.new_empty(len(y), 0)
        rest = y - basis @ (basis.T @ y)
        power = pool.columns.square().sum(0)
        return cls(basis, rest, power, power - (basis.T @ pool.columns).square().sum(0), rest @ pool.columns)

    def strongest(self, terms: list[int]) -> int | None:
        """The candidate that would lower the error most; None where none would."""
        usable = self.left > DEPENDENT_SHARE * self.power.clamp_min(1)
        score = torch.where(usable, self.match.square() / self.left.clamp_min(1e-12), -torch.ones_like(self.left))
        score[terms] = -1
        at = int(score.argmax())
        return at if float(score[at]) > 0 else None

    def add(self, pool: CandidatePool, term: int) -> None:
        """Take a candidate in, and its extensions to the candidates."""
        direction = pool.columns[:, term]
        for _ in range(2):  # once is not enough in floating point
            direction = direction - self.basis @ (self.basis.T @ direction)
        direction = direction / direction.norm()
        along = direction @ pool.columns
        step = direction @ self.rest
        self.basis = torch.cat([self.basis, direction[:, None]], 1)
        self.rest = self.rest - direction * step
        added = pool.extend(term)
        new = pool.columns[:, len(along) : len(along) + added]
        power = new.square().sum(0)
        self.power = torch.cat([self.power, power])
        self.left = torch.cat([self.left - along.square(), power - (self.basis.T @ new).square().sum(0)])
        self.match = torch.cat([self.match - along * step, self.rest @ new])


def _validation_error(train: RegressionPairs, check: RegressionPairs, pool: CandidatePool, terms: list[int]) -> float:
    """Mean square error on the checked coalitions."""
    if not terms:
        return float(check.flat.square().mean())
    found = solve_least_squares(pool.columns[:, terms], train.flat, None)
    return float((check.flat - check.columns(pool.members[terms]) @ found).square().mean())


def backward_elimination(train: RegressionPairs, pool: CandidatePool, terms: list[int]) -> list[int]:
    """Terms without those that do not stand out: the weakest goes while its square over its variance is below 2 log(candidates)."""
    kept = list(terms)
    bar = 2 * log(len(pool.members))
    while len(kept) > 1:
        columns = pool.columns[:, kept]
        found = solve_least_squares(columns, train.flat, None)
        noise = float((train.flat - columns @ found).square().sum()) / max(1, len(columns) - len(kept))
        noise = max(noise, ROUNDING * float(train.flat.square().mean()))
        gram = columns.T @ columns
        inverse = torch.linalg.inv(gram + RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype))
        strength = found.square() / (noise * inverse.diagonal().clamp_min(1e-300))
        weakest = int(strength.argmin())
        if float(strength[weakest]) >= bar:
            break
        kept.pop(weakest)
    return kept
