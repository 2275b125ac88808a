"""What was asked in pairs of complements, and how more pairs join those that are known.

Axes: M pairs, P players, R rows of a process (pairs, or coalitions).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.games.estimators import coalition_sampling
from vesalius.games.estimators.coalition_sampling import drop_repeated_pairs
from vesalius.games.estimators.estimate import (
    SHAPLEY_FACTS,
    GameLike,
    empty_and_full_values,
    estimate_fields,
    evaluate,
    shapley_allocation,
)
from vesalius.games.estimators.kernel_regression import KernelRegression

Draw = Callable[..., Bool[Tensor, "M P"]]
DESIGNS: dict[str, Draw] = {
    "balanced": coalition_sampling.balanced_pairs,
    "independent": coalition_sampling.independent_pairs,
    "singles_first": coalition_sampling.singles_first_pairs,
    "chain": coalition_sampling.chain_pairs,
}
RESOLVED = 2e-7  # of the size of what was seen: the least error of a process, whose matrices are kept from being singular by as little
REMEMBERED = 4  # designs, for the samples of a batch and the maps of an audit, which share theirs
REMEMBERED_ELEMENTS = 1 << 22  # players times pairs above which a design is drawn anew each time


@dataclass(frozen=True, eq=False)
class PairDesign:
    """One member of each pair, and the regression on them, which is factorised once for all games that are asked there."""

    rows: Bool[Tensor, "M P"]

    @cached_property
    def regression(self) -> KernelRegression:
        return KernelRegression.of(self.rows)


@dataclass(frozen=True, eq=False)
class PairObservations:
    """What was asked: pairs of complements and the two ends."""

    design: PairDesign
    first: Float[Tensor, " M"]
    second: Float[Tensor, " M"]
    base: float
    total: float

    @property
    def rows(self) -> Bool[Tensor, "M P"]:
        return self.design.rows

    @property
    def gain(self) -> float:
        return self.total - self.base

    @property
    def evaluations(self) -> int:
        return 2 + 2 * len(self.rows)

    @property
    def odd(self) -> Float[Tensor, " M"]:
        """(v(S) - v(complement of S)) / 2, of which Shapley values are made."""
        return (self.first - self.second) / 2

    @property
    def flat(self) -> bool:
        """Whether complements have the same value, up to rounding: then so has everything that Shapley values are made of."""
        every = torch.cat([self.first, self.second, torch.tensor([self.base, self.total], dtype=torch.float64)])
        return bool(torch.cat([self.odd, torch.tensor([self.gain / 2], dtype=torch.float64)]).abs().max() <= 1e-14 * every.abs().max())

    def known_values(self) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]] | None:
        """Shapley values and errors where no process has to say anything: where complements have equal values, as those of a constant
        have, and where no three players act together.
        """
        n = self.rows.shape[1]
        if self.flat:  # nothing varies: there is no scale to fit
            return torch.full((n,), self.gain / n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        if len(self.rows) < n or not self.design.regression.fits(self.odd, self.gain):
            return None
        values, stderr = self.design.regression.estimate(self.odd, self.gain)
        return values, torch.zeros_like(values) if stderr is None else stderr

    def settle(
        self, values: Float[Tensor, " P"], stderr: Float[Tensor, " P"], widening: float
    ) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
        """What a process says, its errors widened for what was fitted; of n - 1 pairs their regression, where the process does not mind.

        The regression on n - 1 pairs fits any values, so nothing tells whether it is exact; those of an order and its reverse are then the
        mean contributions (antithetic permutations).

        Args:
            values: what it says.
            stderr: the errors of those.
            widening: of variances, in players per pair.
        """
        n, pairs = self.rows.shape[1], len(self.rows)
        stderr = stderr * (1 + widening * n / pairs) ** 0.5 + RESOLVED * self.odd.square().mean().sqrt()
        if pairs == n - 1:
            permuted, _ = self.design.regression.estimate(self.odd, self.gain)
            values = permuted if bool((permuted - values).square().sum() <= stderr.square().sum()) else values
        return values, stderr

    def seen(self, odd: bool) -> tuple[Float[Tensor, "R P"], Float[Tensor, " R"], float]:
        """Rows and standardised values for a process, with the unit they were divided by."""
        full, rows = torch.ones(1, self.rows.shape[1], dtype=torch.float64), self.rows.double()
        if odd:
            y = torch.cat([torch.tensor([self.gain / 2], dtype=torch.float64), self.odd])
            scale = y.square().mean().sqrt()
            return torch.cat([full, rows]), y / scale, float(scale)
        y = torch.cat([torch.tensor([self.total, self.base], dtype=torch.float64), self.first, self.second])
        y = y - y.mean()
        return torch.cat([full, 1 - full, rows, 1 - rows]), y / y.std(), float(y.std())

    def places(self, pairs: Int[Tensor, " K"], odd: bool) -> Tensor:
        """Where the ends and some pairs are in the rows of :meth:`seen`."""
        if odd:
            return torch.cat([torch.tensor([0]), 1 + pairs])
        return torch.cat([torch.tensor([0, 1]), 2 + pairs, 2 + len(self.rows) + pairs])


@dataclass(frozen=True, eq=False, kw_only=True)
class PairReader:
    """What Shapley values are read off the values of pairs by.

    Attributes:
        name: of the estimator.
        honest_from: evaluations per player from which its errors hold.
        read: values and standard errors from pairs.
    """

    name: str
    honest_from: int
    read: Callable[[PairObservations], tuple[Float[Tensor, " P"], Float[Tensor, " P"]]]


def read_pairs(
    game: GameLike, budget: int, known: PairObservations | None, by: PairReader, generator: torch.Generator | None
) -> tuple[Allocation, PairObservations]:
    """Shapley values from ``(budget - 2) // 2`` pairs, of which some may be known, and what is known then; n - 1 pairs are those of one
    order of arrival.
    """
    n, pairs = game.players.n, (budget - 2) // 2
    data = observe_pairs(game, pairs, known, design="chain" if pairs == n - 1 else "singles_first", generator=generator)
    values, stderr = by.read(data)
    honest = data.evaluations >= by.honest_from * n - 1
    fields = estimate_fields(game, (data.base, data.total), by.name, generator, SHAPLEY_FACTS)
    note = "" if honest else f"{data.evaluations} evaluations; the error is honest from {by.honest_from * n} on"
    return shapley_allocation(fields, values, stderr, data.evaluations, note), data


def observe_pairs(
    game: GameLike, pairs: int, known: PairObservations | None, *, design: str, generator: torch.Generator | None
) -> PairObservations:
    """The values of so many pairs, of which some may be known.

    Args:
        game: of two players or more.
        pairs: in all; fewer come back where fewer exist.
        known: pairs that were asked before, which come first.
        design: a name of ``DESIGNS``.
    """
    n = game.players.n
    if known is None:
        base, total = empty_and_full_values(game)
        found = _first_design(design, n, pairs, generator)
        values = evaluate(game, torch.cat([found.rows, ~found.rows])).view(2, -1)
        return PairObservations(found, values[0], values[1], base, total)
    rows = known.rows
    while len(rows) < pairs:
        drawn = drop_repeated_pairs(torch.cat([rows, DESIGNS[design](n, pairs, generator=generator)]))
        fresh = drawn[len(rows) :]
        if not len(fresh):
            break
        rows = torch.cat([rows, fresh[torch.randperm(len(fresh), generator=generator)[: pairs - len(rows)]]])
    more = rows[len(known.rows) :]
    values = evaluate(game, torch.cat([more, ~more])).view(2, -1)
    first, second = torch.cat([known.first, values[0]]), torch.cat([known.second, values[1]])
    return PairObservations(PairDesign(rows), first, second, known.base, known.total)


def _first_design(name: str, players: int, pairs: int, generator: torch.Generator | None) -> PairDesign:
    """A design, the same object for the same state of the generator, which is left as if the design had been drawn from it."""
    if generator is None or players * pairs > REMEMBERED_ELEMENTS:
        return PairDesign(DESIGNS[name](players, pairs, generator=generator))
    found, after = _remembered_design(name, players, pairs, generator.get_state().numpy().tobytes())
    generator.set_state(after.clone())
    return found


@lru_cache(maxsize=REMEMBERED)
def _remembered_design(name: str, players: int, pairs: int, state: bytes) -> tuple[PairDesign, Tensor]:
    generator = torch.Generator()
    generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    return PairDesign(DESIGNS[name](players, pairs, generator=generator)), generator.get_state()
