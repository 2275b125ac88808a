"""The coalitions that estimators of interactions ask, and what of them is independent of all others.

A third of a budget is drawn at random, each player present with probability one half: values of such coalitions are what a model of the
game is judged by. The rest is for the ends of a game, where few players, or all but a few, are present.

Axes: M coalitions, B further ones, P players.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.games import moebius
from vesalius.games.estimators import coalition_sampling
from vesalius.games.estimators.estimate import GameLike, evaluate

UNIFORM_SHARE = 1 / 3
BALANCED_MOST = 4000  # coalitions of all sizes alike; drawing them evenly takes time, and more of them tell little
LISTED_UP_TO = 12  # players up to which the coalitions not yet asked are listed
FEWEST_UNIFORM = 3  # coalitions below which nothing can be said of how well a model predicts


@dataclass(frozen=True, eq=False)
class Observations:
    """Coalitions that were asked; the empty and the full one come first.

    Attributes:
        rows: who is present.
        values: of the game.
        uniform: whether a coalition was drawn with all coalitions equally likely, whatever else was asked.
    """

    rows: Bool[Tensor, "M P"]
    values: Float[Tensor, " M"]
    uniform: Bool[Tensor, " M"]

    @property
    def base(self) -> float:
        return float(self.values[0])

    @property
    def total(self) -> float:
        return float(self.values[1])

    @property
    def spread(self) -> float:
        """Variance of the values of uniform coalitions, or of all where there are none."""
        chosen = self.values[self.uniform] if int(self.uniform.sum()) >= FEWEST_UNIFORM else self.values
        return float(chosen.var(correction=0))

    def with_more(self, game: GameLike, rows: Bool[Tensor, "B P"], *, uniform: bool) -> Observations:
        """These and others, which are asked now."""
        marks = torch.full((len(rows),), uniform)
        return Observations(torch.cat([self.rows, rows]), torch.cat([self.values, evaluate(game, rows)]), torch.cat([self.uniform, marks]))


def observe(game: GameLike, budget: int, *, generator: torch.Generator | None) -> Observations:
    """The ends, uniform coalitions, and then every player alone and left out and pairs of complements of all sizes alike.

    Args:
        game: the game.
        budget: how many coalitions, at least 2 and below 2**n.
    """
    seen = observe_uniform(game, budget, generator=generator)
    n = seen.rows.shape[1]
    wanted = min(budget - len(seen.rows), BALANCED_MOST)
    half = coalition_sampling.singles_first_pairs(n, min(wanted // 2 + len(seen.rows), 2 ** (n - 1) - 1), generator=generator)
    pairs = torch.stack([half, ~half], 1).reshape(-1, n)
    seen = seen.with_more(game, without_known(pairs, seen.rows)[:wanted], uniform=False)
    return seen.with_more(game, draw_uniform(seen.rows, budget - len(seen.rows), generator=generator), uniform=True)


def observe_uniform(game: GameLike, budget: int, *, generator: torch.Generator | None) -> Observations:
    """The ends, and the uniform share of a budget."""
    n = game.players.n
    ends = torch.tensor([[False], [True]]).expand(2, n).contiguous()
    seen = Observations(ends, evaluate(game, ends), torch.zeros(2, dtype=torch.bool))
    rows = draw_uniform(ends, int((budget - 2) * UNIFORM_SHARE), generator=generator)
    return seen.with_more(game, rows, uniform=True)


def draw_uniform(known: Bool[Tensor, "M P"], count: int, *, generator: torch.Generator | None) -> Bool[Tensor, "B P"]:
    """Coalitions drawn at random from those that are not known, none twice; fewer where fewer are left."""
    n = known.shape[1]
    if n <= LISTED_UP_TO:
        every = moebius.membership(n)
        left = without_known(every, known)
        return left[torch.rand(len(left), generator=generator, dtype=torch.float32).argsort(stable=True)[:count]]
    rows = known
    while len(rows) < len(known) + count:
        draw = torch.rand(len(known) + count - len(rows), n, generator=generator, dtype=torch.float32) < 0.5
        rows = torch.cat([rows, without_known(draw, rows)])
    return rows[len(known) :]


def without_known(rows: Bool[Tensor, "B P"], known: Bool[Tensor, "M P"]) -> Bool[Tensor, "C P"]:
    """The rows that are neither known nor a repetition of one before them."""
    met = {row.tobytes() for row in known.numpy()}
    fresh = []
    for at, row in enumerate(rows.numpy()):
        key = row.tobytes()
        if key not in met:
            fresh.append(at)
            met.add(key)
    return rows[torch.tensor(fresh, dtype=torch.long)]
