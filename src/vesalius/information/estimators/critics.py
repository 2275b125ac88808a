"""Many small critics trained at once: perceptrons in stacked tensors, whose products run as one batch.

Axes: P critics, N rows, B rows of a batch, D coordinates that all critics share, E that each has its own, K others per row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vesalius.information.estimators.bounds import VariationalBound

MOVING_MEAN_DECAY = 0.9
"""Weight of the old value in the moving mean of exp(T)."""
CHECKS = 20
"""How often critics are judged while they are trained."""
BLOCK = 256
"""Rows that are scored at a time."""


@dataclass(frozen=True, eq=False)
class CriticInputs:
    """What critics see of the same rows.

    Attributes:
        own: of each critic its x, if it is one unit, then its y, then 1, for the biases.
        shared: an x of many units that all critics have in common; without any unit if each has its own.
    """

    own: Float[Tensor, "P E N"]
    shared: Float[Tensor, "D N"]

    def at(self, rows: Int64[Tensor, " B"]) -> CriticInputs:
        """Some of the rows."""
        own = self.own.flatten(0, 1).index_select(1, rows)  # over two axes it is three times as fast as over three
        return CriticInputs(own.view(*self.own.shape[:2], -1), self.shared.index_select(1, rows))

    def shift_y(self, by: int) -> CriticInputs:
        """Every x with the y of another row."""
        own = self.own.clone()
        own[:, -2] = own[:, -2].roll(by, 1)
        return CriticInputs(own, self.shared)


@dataclass(frozen=True, eq=False)
class CriticPairs:
    """What each critic is about.

    Attributes:
        x: units of one side.
        y: units of the other side.
        first: unit of x of each critic; None if every critic sees all of x.
        second: unit of y of each critic.
        summary: what all of x says of each unit of y, to be seen besides; none if not given.
    """

    x: Float[Tensor, "A N"]
    y: Float[Tensor, "B N"]
    first: Int64[Tensor, " P"] | None
    second: Int64[Tensor, " P"]
    summary: Float[Tensor, "B N"] | None = None

    def rows(self, critics: slice) -> CriticInputs:
        """What some of the critics see; of all of them at once it would not fit into memory."""
        y = self.y[self.second[critics]]
        alone = [y, torch.ones_like(y)]
        if self.first is None:
            summary = [] if self.summary is None else [self.summary[self.second[critics]]]
            return CriticInputs(torch.stack([*summary, *alone], 1), self.x)
        return CriticInputs(torch.stack([self.x[self.first[critics]], *alone], 1), self.x[:0])


@dataclass(eq=False)
class Critics:
    """P perceptrons with two hidden layers.

    Attributes:
        weights: first layer (own and shared part), second layer and its bias, output.
    """

    weights: list[Float[Tensor, "P _ _"]]

    @classmethod
    def initialize(cls, asked: CriticPairs, widths: tuple[int, int], generator: torch.Generator | None) -> Critics:
        """Fresh critics."""
        (first, second), critics = widths, len(asked.second)
        own, shared = (3, 0) if asked.first is not None else (2 + (asked.summary is not None), len(asked.x))
        wide = own - 1 + shared
        sizes = [(first, own, wide), (first, shared, wide), (second, first, first), (second, 1, first), (1, second, second)]
        return cls([torch.randn(critics, out, into, generator=generator, dtype=torch.float32) / fan**0.5 for out, into, fan in sizes])

    def part(self, critics: slice) -> Critics:
        """Copies of some of the critics, to be trained."""
        return Critics([weight[critics].clone().requires_grad_() for weight in self.weights])

    def __call__(self, rows: CriticInputs) -> Float[Tensor, "P N"]:
        """Scores of the rows as they are."""
        own, shared, second, bias, output = self.weights
        hidden = own @ rows.own
        if len(rows.shared):
            hidden = hidden + (shared.flatten(0, 1) @ rows.shared).view(len(shared), -1, rows.shared.shape[1])
        hidden = torch.baddbmm(bias, second, hidden.relu_()).relu_()
        return (output @ hidden)[:, 0]

    def score_with_shifts(self, rows: CriticInputs, shifts: list[int]) -> tuple[Float[Tensor, "P N"], Float[Tensor, "P K N"]]:
        """Scores of the rows as they are, and of each x with the y of K other rows."""
        every = [rows.own, *(rows.shift_y(by).own for by in shifts)]
        found = self(CriticInputs(torch.cat(every, 2), rows.shared.repeat(1, len(every)))).unflatten(1, (len(every), -1))
        return found[:, 0], found[:, 1:]

    def score_in_blocks(self, rows: CriticInputs) -> Float[Tensor, "P N"]:
        """Scores of many rows, a few at a time: what is hidden then stays in the processor's cache."""
        blocks = torch.arange(rows.own.shape[2]).split(BLOCK)
        return torch.cat([self(rows.at(block)) for block in blocks], 1)


@dataclass(frozen=True, kw_only=True)
class CriticTraining:
    """How critics are trained: Adam with a cosine schedule.

    Attributes:
        steps: batches.
        batch: rows of each.
        rate: first learning rate.
    """

    steps: int
    batch: int
    rate: float

    def run(
        self,
        critics: Critics,
        rows: CriticInputs,
        bound: VariationalBound,
        batches: Int64[Tensor, "T B"],
        judge: Callable[[Critics], Float[Tensor, " P"]] | None = None,
    ) -> None:
        """Train in place, on batches [steps, batch] of rows and the same shuffles for all critics: each trains as if it were alone.

        Args:
            critics: to be trained.
            rows: what they see.
            bound: what they are trained on.
            batches: rows of each step.
            judge: the larger, the better, of each critic, on rows that are in no batch: each ends as it was when it was best.
        """
        best = BestCritics.of(critics) if judge else None
        optimiser = torch.optim.Adam(critics.weights, lr=self.rate, fused=True)
        moving = None
        for step, batch in enumerate(batches):
            shifts = [1 + (step * bound.others + other) % (len(batch) - 1) for other in range(bound.others)]
            joint, apart = critics.score_with_shifts(rows.at(batch), shifts)
            mean = apart.detach().exp().mean((1, 2))
            moving = mean if moving is None else MOVING_MEAN_DECAY * moving + (1 - MOVING_MEAN_DECAY) * mean
            optimiser.param_groups[0]["lr"] = self.rate * (1 + cos(pi * step / self.steps)) / 2
            optimiser.zero_grad(set_to_none=True)
            bound.loss(joint, apart, moving).backward()
            optimiser.step()
            if best is not None and judge is not None and (step + 1) % max(1, self.steps // CHECKS) == 0:
                best.offer(critics, judge(critics))
        if best is not None:
            best.restore(critics)


@dataclass(eq=False)
class BestCritics:
    """Each critic as it was when it did best."""

    weights: list[Float[Tensor, "P _ _"]]
    score: Float[Tensor, " P"]

    @classmethod
    def of(cls, critics: Critics) -> BestCritics:
        """None has been judged yet."""
        weights = [weight.detach().clone() for weight in critics.weights]
        return cls(weights, torch.full((len(weights[0]),), -torch.inf, dtype=torch.float64))

    @torch.no_grad()
    def offer(self, critics: Critics, score: Float[Tensor, " P"]) -> None:
        """Keep those that are better now."""
        better = score > self.score
        self.score = torch.where(better, score, self.score)
        for kept, weight in zip(self.weights, critics.weights, strict=True):
            kept[better] = weight[better]

    @torch.no_grad()
    def restore(self, critics: Critics) -> None:
        """Make critics what they were at their best."""
        for kept, weight in zip(self.weights, critics.weights, strict=True):
            weight.copy_(kept)
