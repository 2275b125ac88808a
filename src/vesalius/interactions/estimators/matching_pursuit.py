"""Orthogonal least squares on terms of a game, with candidates that grow from what was found.

Axes: M coalitions, of which the first m are fitted to and the others check, P players, C candidates, T terms.
"""

from __future__ import annotations

from math import log

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.interactions.estimators.terms import MAX_DISJUNCTION, Terms

ROUNDING = 1e-20  # of the values' sum of squares: nothing is left to explain
DEPENDENT_SHARE = 1e-5  # of a column's sum of squares left beside the terms: it says nothing new
RIDGE = 1e-12  # of the mean diagonal, for coalitions on which two terms look alike
PAIRS_MOST = 2500  # pairs that are candidates at once
EXTENSIONS_MOST = 1000  # longer terms, likewise
EXTENSIONS_PER_TERM = 32  # extensions of a term just found that become candidates at once
BEST_OF_CHECK = 1.05  # errors of the checked coalitions that are taken for the same


def find_terms(rows: Bool[Tensor, "M P"], values: Float[Tensor, " M"], train: int, *, most: int, patience: int, rounds: int) -> Terms:
    """Terms found by adding and dropping in turn, until a round ends where it began.

    Args:
        rows, values: the first ``train`` coalitions are fitted to; those behind them say when to stop.
        most: terms.
        patience: terms that may be added without gain before a search ends.
        rounds: of adding and dropping.
    """
    search = Search(rows, values, train)
    chosen = Terms.conjunctions(rows[:0])
    best, best_error = chosen, search.check_error(chosen)
    for _ in range(rounds):
        added = search.add_terms(chosen, most=most, patience=patience)
        dropped = search.drop_terms(added)
        errors = search.check_error(dropped), search.check_error(added)
        found, error = (dropped, errors[0]) if errors[0] <= BEST_OF_CHECK * errors[1] + search.rounding else (added, errors[1])
        if error < best_error:
            best, best_error = found, error
        if sorted(found.keys()) == sorted(chosen.keys()) or error <= search.rounding:
            break
        chosen = found
    return best


class Search:
    """The coalitions, seen by players, and how often a candidate was looked at."""

    def __init__(self, rows: Bool[Tensor, "M P"], values: Float[Tensor, " M"], train: int) -> None:
        self.by_player = rows.T.contiguous()
        self.train = train
        self.values = values - values[:train].mean()
        self.rounding = ROUNDING * float(self.values.square().mean())
        players = rows.shape[1]
        self.candidates = players * (players + 1) // 2

    def add_terms(self, chosen: Terms, *, most: int, patience: int) -> Terms:
        """Terms added one by one, each the one that lowers the error most; as many as predict the checked coalitions best."""
        fit = Projection.on(self, chosen)
        pool = Pool(self, fit, chosen)
        best, best_error = chosen, fit.check_error()
        while len(chosen) < most and fit.train_error() > self.rounding:
            at = pool.strongest(fit)
            if at is None:
                break
            term = pool.terms[torch.tensor([at])]
            direction = fit.add(pool.column(at))
            pool.remove(at, direction)
            if direction is None:
                continue
            chosen = chosen + term
            self.candidates += pool.extend(self, term, fit)
            if fit.check_error() < best_error:
                best, best_error = chosen, fit.check_error()
            elif len(chosen) - len(best) >= patience:
                break
        return best

    def drop_terms(self, terms: Terms) -> Terms:
        """Terms without those that do not stand out: the weakest goes while its square over its variance is below 2 log(candidates)."""
        columns, y = self.design(terms)[: self.train], self.values[: self.train]
        kept, bar = torch.arange(columns.shape[1]), 2 * log(self.candidates)
        inverse, right = invert(columns.T @ columns), columns.T @ y
        while len(kept) > 1:
            found = inverse @ right[kept]
            rest = y - columns[:, kept] @ found
            noise = max(float(rest.square().sum()) / max(1, len(y) - len(kept)), self.rounding)
            strength = (found.square() / (noise * inverse.diagonal().clamp_min(1e-300)))[1:]
            weakest = 1 + int(strength.argmin())
            if float(strength[weakest - 1]) >= bar:
                break
            others = torch.arange(len(kept)) != weakest
            gone = inverse[others, weakest]
            inverse = inverse[others][:, others] - torch.outer(gone, gone) / inverse[weakest, weakest]
            kept = kept[others]
        return terms[kept[1:] - 1]

    def design(self, terms: Terms) -> Float[Tensor, "M T"]:
        """Columns of a constant and of the terms."""
        columns = terms.values(self.by_player).double().T
        return torch.cat([columns.new_ones(len(columns), 1), columns], 1)

    def check_error(self, terms: Terms) -> float:
        """Mean square error on the checked coalitions."""
        return Projection.on(self, terms).check_error()


def invert(gram: Float[Tensor, "T T"]) -> Float[Tensor, "T T"]:
    """Inverse of a matrix of products, with a ridge far below it."""
    ridge = RIDGE * gram.diagonal().mean()
    inverse: Tensor = torch.cholesky_inverse(torch.linalg.cholesky(gram + ridge * torch.eye(len(gram), dtype=gram.dtype)))
    return inverse


class Projection:
    """The values less what the terms explain.

    Attributes:
        rest: the values beside the terms.
    """

    def __init__(self, search: Search) -> None:
        self.train = search.train
        self.rest = search.values
        self._rows = torch.zeros(16, len(search.values), dtype=torch.float64)  # with room at the end, so that growing is not copying
        self._filled = 0
        self.add(torch.ones(len(search.values), dtype=torch.float32))

    @classmethod
    def on(cls, search: Search, terms: Terms) -> Projection:
        fit = cls(search)
        for column in terms.values(search.by_player):
            fit.add(column)
        return fit

    @property
    def basis(self) -> Float[Tensor, "T M"]:
        """Rows orthonormal on the coalitions fitted to, and continued to the others."""
        return self._rows[: self._filled]

    @property
    def train_basis(self) -> Float[Tensor, "T m"]:
        """Their part that is orthonormal."""
        rows: Tensor = self._rows[: self._filled, : self.train]
        return rows

    @property
    def direction_left(self) -> Float[Tensor, " m"]:
        """What is left of the values fitted to, as a unit vector."""
        rest = self.rest[: self.train]
        unit: Tensor = (rest / rest.norm().clamp_min(1e-300)).float()
        return unit

    def add(self, column: Tensor) -> Float[Tensor, " M"] | None:
        """Take a column in; its direction, or None where it says nothing new."""
        direction = column.double()
        power = float(direction[: self.train].square().sum())
        for _ in range(2):  # once is not enough in floating point
            direction = direction - (self.train_basis @ direction[: self.train]) @ self.basis
        norm = float(direction[: self.train].norm())
        if norm**2 <= DEPENDENT_SHARE * power:
            return None
        direction = direction / norm
        if self._filled == len(self._rows):
            self._rows = torch.cat([self._rows, torch.zeros_like(self._rows)])
        self._rows[self._filled] = direction
        self._filled += 1
        self.rest = self.rest - direction * (direction[: self.train] @ self.rest[: self.train])
        return direction

    def train_error(self) -> float:
        return float(self.rest[: self.train].square().mean())

    def check_error(self) -> float:
        return float(self.rest[self.train :].square().mean())


class Pool:
    """Candidates: all players, the pairs and the extensions of terms that go with what is left best.

    Attributes:
        terms: the candidates, none twice.
        left: square norms of the candidates' columns beside the terms.
        power: of the columns as they are.
    """

    def __init__(self, search: Search, fit: Projection, chosen: Terms) -> None:
        players = len(search.by_player)
        rest = fit.direction_left
        self._known: set[bytes] = set(chosen.keys())
        self.terms = Terms.conjunctions(search.by_player.new_zeros(0, players))
        self.left = self.power = torch.zeros(0, dtype=torch.float64)
        self._train = search.train
        self._columns = torch.zeros(0, len(search.values), dtype=torch.float32)
        singles = Terms.conjunctions(torch.eye(players, dtype=torch.bool))
        self._append(search, fit, singles + strongest_pairs(search, rest) + strongest_extensions(search, rest, chosen, EXTENSIONS_MOST))

    def column(self, at: int) -> Float[Tensor, " M"]:
        return self._columns[at]

    @property
    def _train_columns(self) -> Float[Tensor, "C m"]:
        return self._columns[: len(self.terms), : self._train]

    def _append(self, search: Search, fit: Projection, terms: Terms) -> None:
        fresh = []
        for at, key in enumerate(terms.keys()):
            if key not in self._known:
                self._known.add(key)
                fresh.append(at)
        new = terms[torch.tensor(fresh, dtype=torch.long)]
        start, end = len(self.terms), len(self.terms) + len(new)
        if end > len(self._columns):
            room = self._columns.new_empty(end + end // 4, self._columns.shape[1])
            room[:start] = self._columns[:start]
            self._columns = room
        self._columns[start:end] = new.values(search.by_player)
        self.terms = self.terms + new
        columns = self._columns[start:end, : self._train]
        power = columns.sum(1).double()
        self.power = torch.cat([self.power, power])
        self.left = torch.cat([self.left, power - (columns @ fit.train_basis.T.float()).square().sum(1).double()])

    def strongest(self, fit: Projection) -> int | None:
        """The candidate that would lower the error most; None where none would."""
        match = (self._train_columns @ fit.direction_left).double()
        usable = self.left > DEPENDENT_SHARE * self.power.clamp_min(1)
        score = torch.where(usable, match.square() / self.left.clamp_min(1e-12), torch.zeros_like(match))
        at = int(score.argmax())
        return at if float(score[at]) > 0 else None

    def remove(self, at: int, direction: Float[Tensor, " M"] | None) -> None:
        """No candidate any more; the others have less left beside the direction that it brought."""
        if direction is not None:
            self.left -= (self._train_columns @ direction[: self._train].float()).square().double()
        self.left[at] = 0

    def extend(self, search: Search, term: Terms, fit: Projection) -> int:
        """Add the extensions of a term that go best with what is left; how many there were to choose from."""
        if int(term.members.sum()) < 2:
            return 0  # pairs are candidates from the start
        self._append(search, fit, strongest_extensions(search, fit.direction_left, term, EXTENSIONS_PER_TERM))
        return 2 * int((~term.members).sum())


def strongest_pairs(search: Search, rest: Float[Tensor, " m"]) -> Terms:
    """All pairs of players where these are not too many; else those whose product goes best with what is left."""
    players = len(search.by_player)
    first, second = torch.triu_indices(players, players, 1)
    if len(first) > PAIRS_MOST:
        z = search.by_player[:, : search.train].float() - 0.5
        match = ((z * rest) @ z.T)[first, second].abs()
        chosen = match.topk(PAIRS_MOST).indices.sort().values
        first, second = first[chosen], second[chosen]
    members = torch.zeros(len(first), players, dtype=torch.bool)
    members[torch.arange(len(first)), first] = True
    members[torch.arange(len(first)), second] = True
    return Terms.conjunctions(members)


def strongest_extensions(search: Search, rest: Float[Tensor, " m"], terms: Terms, most: int) -> Terms:
    """Terms of two and more players with one more, those that go best with what is left."""
    terms = terms[terms.members.sum(1) > 1]
    if not len(terms):
        return terms
    members = terms.members.unique(dim=0)
    x = search.by_player[:, : search.train].float()
    scores = []
    for present in (x, 1 - x):
        inside = (members.float() @ present == members.sum(1)[:, None]).float()
        size = inside.sum(1, keepdim=True).clamp_min(1)
        both = inside @ present.T
        match = (inside * rest) @ present.T - (inside @ rest)[:, None] * both / size
        scores.append(match.square() / (both - both.square() / size).clamp_min(0.5))
    all_of, any_of = (score.masked_fill(members, -1) for score in scores)
    any_of = any_of.masked_fill((members.sum(1) >= MAX_DISJUNCTION)[:, None], -1)
    both = torch.stack([all_of, any_of]).flatten()
    chosen = both.topk(min(most, len(both))).indices
    chosen = chosen[both[chosen] >= 0].sort().values
    either, term, player = torch.unravel_index(chosen, (2, *members.shape))
    longer = members[term].clone()
    longer[torch.arange(len(longer)), player] = True
    return Terms(longer, either.bool())
