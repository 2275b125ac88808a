"""Methods that play games: they only evaluate the network, so they work on anything that can be called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.players import Players, default_players
from vesalius.games.absence import Absence
from vesalius.games.estimators import Estimate, shapley
from vesalius.games.game import Game
from vesalius.games.masked import masked_sample
from vesalius.methods.base import Method, register
from vesalius.trace.question import Question


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
    claims: ClassVar[frozenset[str]] = frozenset({"dummy", "symmetric", "linear"})
    players: Players | None = None

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        players = self.players or _default(question)
        without = torch.cat([torch.ones(1, players.n, dtype=torch.bool), ~torch.eye(players.n, dtype=torch.bool)])
        nobody = torch.zeros(1, players.n, dtype=torch.bool)

        def play(game: Game, sample: int) -> Estimate:
            values = game(torch.cat([nobody, without]))
            base, total, rest = values[0], values[1], values[2:]
            return Estimate(
                values=total - rest, stderr=None, base=float(base), total=float(total), evaluations=game.evaluations, estimator="occlusion"
            )

        return _gather(question, players, absence, play)


@register
@final
@dataclass(frozen=True, kw_only=True)
class ShapleyValue(Method):
    """The mean contribution of a player over all orders of arrival.

    Attributes:
        players: who plays; by default columns of a table, patches of an image, positions of a sequence.
        budget: coalitions evaluated per sample; by default all of them up to 12 players, else 100 per player.
        estimator: ``auto``, ``exact``, ``permutation``, ``kernel``, ``surrogate`` or ``adaptive``.
        seed: of the coalitions drawn; sample i uses seed + i.

    Reference: Shapley1953; Lundberg2017 for its use here.
    """

    name: ClassVar[str] = "shapley_value"
    claims: ClassVar[frozenset[str]] = frozenset({"complete", "dummy", "symmetric", "linear"})
    players: Players | None = None
    budget: int | None = None
    estimator: str = "auto"
    seed: int = 0

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        players = self.players or _default(question)

        def play(game: Game, sample: int) -> Estimate:
            generator = torch.Generator().manual_seed(self.seed + sample)
            return shapley(game, budget=self.budget, estimator=self.estimator, generator=generator)

        return _gather(question, players, absence, play)


def _default(question: Question) -> Players:
    return default_players([tensor[0] for tensor in question.present])


def _gather(question: Question, players: Players, absence: Absence, play: Callable[[Game, int], Estimate]) -> Allocation:
    """One game per sample, as one allocation."""
    fills = absence.fill(question)
    found = []
    for sample in range(question.batch):
        masked = masked_sample(question, players, fills, sample)
        found.append(play(Game(masked.value, players, batch=masked.batch), sample))
    here = question.present[0]
    dtype = here.dtype if here.is_floating_point() else torch.get_default_dtype()

    def stack(rows: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(rows)).to(here.device, torch.float64 if dtype == torch.float64 else torch.float32)

    errors = [estimate.stderr for estimate in found if estimate.stderr is not None]
    shape = (question.batch, *players.shape)
    return Allocation(
        players=players,
        values=stack([estimate.values for estimate in found]).reshape(shape),
        base=stack([torch.tensor(estimate.base) for estimate in found]),
        total=stack([torch.tensor(estimate.total) for estimate in found]),
        stderr=stack(errors).reshape(shape) if len(errors) == len(found) else None,
        stderr_note=next((estimate.stderr_note for estimate in found if estimate.stderr_note), ""),
        evaluations=torch.tensor([estimate.evaluations for estimate in found]),
        provenance={"estimator": found[0].estimator},
    )
