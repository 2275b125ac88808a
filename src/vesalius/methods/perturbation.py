"""Methods that play games: they only evaluate the network, so they work on anything that can be called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.default_players import default_players
from vesalius.core.errors import InvalidInput
from vesalius.core.names import resolve_choice
from vesalius.core.numbers import POSITIVE, POSITIVE_COUNT, Limit, numbers_per_axis
from vesalius.core.players import Players
from vesalius.games.absence import Absence
from vesalius.games.estimators import ESTIMATORS, AutoShapley, ShapleyEstimator, shapley
from vesalius.games.game import Game
from vesalius.games.network_game import coalition_functions, share_outputs
from vesalius.methods.base import Method, register
from vesalius.trace.question import Question

DEFAULT_WINDOW = 4
"""Pixels, steps or columns along a side of a window whose size was not named."""


@register
@final
@dataclass(frozen=True, kw_only=True)
class Occlusion(Method):
    """What is lost when one player alone is absent: f(x) - f(x without i).

    Attributes:
        players: who may be absent; by default columns of a table, patches of an image, positions of a sequence.

    Reference: Zeiler2014. Every interaction is handed to each of its members in full (Deng2024), so the values do not add up unless players
    act alone; the gap says by how much.
    """

    name: ClassVar[str] = "occlusion"
    plays: ClassVar[bool] = True
    claims: ClassVar[frozenset[str]] = frozenset({"dummy", "symmetric", "linear"})

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        players = self.players or _default_players(question)

        def play(game: Game) -> Allocation:
            ends = torch.tensor([[False], [True]]).expand(2, game.players.n)
            values = game(torch.cat([ends, ~torch.eye(game.players.n, dtype=torch.bool)]))
            base, total, rest = values[0], values[1], values[2:]
            return _lost(game, total - rest, base, total)

        return _play_samples(question, players, absence, play)


@register
@final
@dataclass(frozen=True, kw_only=True)
class ShapleyValue(Method):
    """The mean contribution of a player over all orders of arrival.

    Attributes:
        players: who plays; by default columns of a table, patches of an image, positions of a sequence.
        budget: most coalitions evaluated per sample; by default all of them up to 12 players, else 100 per player (10,000 with ``tol``).
        tol: the largest standard error that is asked for, as a share of ``|total - base|``: more and more coalitions are evaluated until no
            player's is larger, or the budget spent; ``converged`` tells, for each sample.
        estimator: ``auto``, ``exact``, ``permutation``, ``kernel``, ``polynomial``, ``surrogate`` or ``adaptive``.
        seed: of the coalitions drawn; every sample gets the same ones, so that its values do not depend on the samples beside it. Errors of
            different samples are therefore not independent: a mean over samples is not more precise than ``stderr / sqrt(B)`` would say.

    Reference: Shapley1953; Lundberg2017 for its use here.
    """

    name: ClassVar[str] = "shapley_value"
    plays: ClassVar[bool] = True
    claims: ClassVar[frozenset[str]] = frozenset({"complete", "dummy", "symmetric", "linear"})
    limits: ClassVar[Mapping[str, Limit]] = {"budget": POSITIVE_COUNT, "tol": POSITIVE}
    budget: int | None = None
    tol: float | None = None
    estimator: str | ShapleyEstimator = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        resolve_choice("Shapley estimator", self.estimator, ESTIMATORS, ShapleyEstimator)

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        players = self.players or _default_players(question)
        estimator = resolve_choice("Shapley estimator", self.estimator, ESTIMATORS, ShapleyEstimator)

        def play(game: Game) -> Allocation:
            nonlocal estimator
            if isinstance(estimator, AutoShapley):
                estimator = estimator.for_games_like(game)
            generator = torch.Generator().manual_seed(self.seed)
            return shapley(game, budget=self.budget, tol=self.tol, estimator=estimator, generator=generator)

        return _play_samples(question, players, absence, play)


@register
@final
@dataclass(frozen=True, kw_only=True)
class OcclusionPatch(Method):
    """What is lost when a whole window is absent, given in full to every position of the window; the mean over windows that hold a
    position.

    Attributes:
        size: of the window, in pixels (a number, or height and width), steps or columns; by default 4, or all there are if fewer.
        stride: of the window, at most its size; by default half of it.
        patches: windows of any shape instead, one per player.

    Reference: Zeiler2014. Effects go to positions that took no part in them, and to each position in full (Deng2024), so the values do not
    add up.
    """

    name: ClassVar[str] = "occlusion_patch"
    claims: ClassVar[frozenset[str]] = frozenset({"linear"})
    size: int | tuple[int, int] | None = None
    stride: int | tuple[int, int] | None = None
    patches: Players | None = None

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        players = position_players([tensor[0] for tensor in question.present])
        if self.patches is not None:
            self.patches.check([tensor[0] for tensor in question.present])
        windows = self._windows(players)
        share = windows.double() / windows.sum(0).clamp_min(1)

        def play(game: Game) -> Allocation:
            ends = torch.tensor([[False], [True]]).expand(2, players.n)
            values = game(torch.cat([ends, ~windows]))
            base, total, rest = values[0], values[1], values[2:]
            return _lost(game, (total - rest) @ share, base, total)

        return _play_samples(question, players, absence, play)

    def _windows(self, players: Players) -> Bool[Tensor, "W P"]:
        """Members of each window."""
        if self.patches is not None:
            if len(self.patches.index) != 1:
                raise InvalidInput(f"patches are parts of one explained tensor, such as Players.patches(x, 4), not {self.patches}")
            owner = players.within(self.patches)
            return owner == torch.arange(self.patches.n)[:, None]
        sides, steps = self._sides_and_steps(players.shape)
        along = [_window_starts(extent, side, step) for extent, side, step in zip(players.shape, sides, steps, strict=True)]
        rows = []
        for corner in product(*along):
            window = torch.zeros(players.shape, dtype=torch.bool)
            window[tuple(slice(start, start + side) for start, side in zip(corner, sides, strict=True))] = True
            rows.append(window.flatten())
        return torch.stack(rows)

    def _sides_and_steps(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Size and stride of the window along each axis."""
        if self.size is None:
            sides = tuple(min(DEFAULT_WINDOW, extent) for extent in shape)
        else:
            sides = numbers_per_axis("size", self.size, len(shape), POSITIVE_COUNT)
        if any(side > extent for side, extent in zip(sides, shape, strict=True)):
            raise InvalidInput(f"a window of {list(sides)} is larger than what it slides over, {list(shape)}; take a smaller size")
        if self.stride is None:
            return sides, tuple(max(1, side // 2) for side in sides)
        steps = numbers_per_axis("stride", self.stride, len(shape), POSITIVE_COUNT)
        if any(step > side for step, side in zip(steps, sides, strict=True)):
            raise InvalidInput(f"a stride of {list(steps)} leaves out positions between windows of {list(sides)}; take at most their size")
        return sides, steps


@register
@final
@dataclass(frozen=True, kw_only=True)
class PredictionDifference(Method):
    """f(x) minus its mean when one player's values are drawn from a background: ``baseline=Marginal(background=...)``.

    Attributes:
        players: who may be replaced; by default columns of a table, patches of an image, positions of a sequence.
        evidence: number of training samples; then the output must be a probability, and values are differences of its log2 odds, each with
            Laplace's correction for that many samples.

    Reference: Robnik2008; Zintgraf2017 for images. Differs from the papers: the background is used row by row, not cell by cell, and the
    plain difference is the default, which is in the output's unit.
    """

    name: ClassVar[str] = "prediction_difference"
    plays: ClassVar[bool] = True
    claims: ClassVar[frozenset[str]] = frozenset({"dummy", "symmetric", "linear"})
    limits: ClassVar[Mapping[str, Limit]] = {"evidence": POSITIVE_COUNT}
    evidence: int | None = None

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        if self.evidence is None:
            return Occlusion(players=self.players).allocate(question, absence)
        found = Occlusion(players=self.players).allocate(question, absence)
        shape = (-1, *[1] * (found.values.ndim - 1))
        total = found.total.reshape(shape)
        classes = question.network.values[question.end].shape[-1] if not question.network.opaque else None
        odds = [_log_odds(part, self.evidence, classes or 2) for part in (total, total - found.values, found.base, found.total)]
        return replace(found, values=odds[0] - odds[1], base=odds[2], total=odds[3])


def _log_odds(probability: Tensor, samples: int, classes: int) -> Tensor:
    """log2 p / (1 - p) with Laplace's correction."""
    if bool((probability < -1e-6).any()) or bool((probability > 1 + 1e-6).any()):
        raise InvalidInput("evidence= needs a network whose output is a probability; end it with softmax, or leave evidence out")
    corrected = (probability.clamp(0, 1) * samples + 1) / (samples + classes)
    return torch.log2(corrected / (1 - corrected))


def _window_starts(extent: int, side: int, step: int) -> list[int]:
    """Where windows begin along an axis; the last reaches the end."""
    starts = list(range(0, max(extent - side, 0) + 1, step))
    return starts if starts[-1] + side >= extent else [*starts, starts[-1] + step]


def position_players(samples: Sequence[Tensor]) -> Players:
    """The finest parts that are next to each other: pixels over all channels, steps of a sequence, columns."""
    if len(samples) == 1 and samples[0].ndim >= 3:
        return Players.patches(samples[0], 1)
    if len(samples) == 1 and samples[0].ndim == 2:
        return Players.tokens(samples[0])
    flat = Players.features(*samples)
    return Players(flat.index, (flat.n,), flat.kind)


def _default_players(question: Question) -> Players:
    return default_players([tensor[0] for tensor in question.present])


def _lost(game: Game, values: Float[Tensor, " P"], base: Tensor, total: Tensor) -> Allocation:
    """What was lost without each player, of one sample."""
    return Allocation(
        players=game.players,
        values=values.reshape(game.players.shape),
        base=base,
        total=total,
        evaluations=torch.tensor(game.evaluations),
        provenance={"estimator": "occlusion"},
    )


def _play_samples(question: Question, players: Players, absence: Absence, play: Callable[[Game], Allocation]) -> Allocation:
    """One game per sample, as one allocation."""
    characteristic = coalition_functions(share_outputs(question), absence)
    found = []
    for sample in range(question.batch):
        own = players.of(sample)
        masked = characteristic(own, sample)
        found.append(play(Game(masked.value, own, batch=masked.batch, runs_torch=masked.runs_torch)))
    here = question.present[0]
    dtype = here.dtype if here.is_floating_point() else question.total.dtype

    def stack(rows: Sequence[Tensor]) -> Tensor:
        if players.samples and rows[0].ndim:
            rows = [torch.cat([row, row.new_zeros(players.n - len(row))]) for row in rows]
        return torch.stack(list(rows)).to(here.device, torch.float64 if dtype == torch.float64 else torch.float32)

    reached = [estimate.converged for estimate in found if estimate.converged is not None]
    errors = [estimate.stderr for estimate in found if estimate.stderr is not None]
    return Allocation(
        players=players,
        values=stack([estimate.values for estimate in found]),
        base=stack([estimate.base for estimate in found]),
        total=stack([estimate.total for estimate in found]),
        stderr=stack(errors) if len(errors) == len(found) else None,
        stderr_note=next((estimate.stderr_note for estimate in found if estimate.stderr_note), ""),
        evaluations=torch.stack([estimate.evaluations for estimate in found]),
        converged=torch.stack(reached) if reached else None,
        provenance={"estimator": found[0].provenance["estimator"]},
    )
