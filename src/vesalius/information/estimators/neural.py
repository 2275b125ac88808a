"""Mutual information by trained critics, all pairs in one run, and of whole layers with single units.

Axes: N rows, A units of X, B units of Y, P critics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import torch
from jaxtyping import Bool, Float64, Shaped
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.lazy import LazyModule
from vesalius.core.names import require_known
from vesalius.core.numbers import POSITIVE, POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.information.estimators.binned import Binned
from vesalius.information.estimators.bounds import BOUNDS
from vesalius.information.estimators.critics import CriticInputs, CriticPairs, Critics, CriticTraining
from vesalius.information.estimators.estimate import PairwiseInformation, check_pair, exceeds_sample_limit, is_constant
from vesalius.information.estimators.mixed_variables import normal_scores

special = LazyModule("scipy.special")

CriticEstimates = tuple[Float64[Tensor, " P"], Float64[Tensor, " P"], Float64[Tensor, " P"]]
"""Value, standard error and p-value of each critic."""
CRITICS_AT_ONCE = 64
"""So many fit into a processor's cache; more would be slower."""
STDERR_NOTE = (
    "a lower bound on held-out rows: the error covers these rows and, with several, the seeds, but not what the critics failed to learn,"
    " such as quick oscillation"
)


@dataclass(frozen=True, kw_only=True)
class Neural(Options):
    """Bounds by critics: MINE, NWJ, InfoNCE and SMILE.

    Every pair has a critic of its own, a perceptron with two hidden layers. All of them are stacked and trained at once, on the same
    batches of one half of the rows, and read on the other half, where cyclic shifts make independent pairs. Units enter as normal scores.
    For single units this costs some eighty times what neighbours do and is less accurate (benchmarks/mutual_information.py); it is here
    because Davis2020 use it, and for vectors, where neighbours and tables fail. The test of a pair of units is that of
    :class:`~vesalius.information.estimators.binned.Binned`.

    Reference: Belghazi2018 (MINE, algorithm 1 with the bias-corrected gradient), Nguyen2010, Oord2018, Song2020. Davis2020 give no
    settings; these are ours.

    Args:
        bound: ``"mine"``, ``"nwj"``, ``"infonce"`` or ``"smile"``.
        widths: units of the two hidden layers.
        steps: batches to train on.
        batch: rows of a batch; all rows of the training half if there are fewer.
        rate: first learning rate of Adam, which falls to 0.
        shifts: cyclic shifts of the held-out rows; InfoNCE cannot exceed the log of their number plus 1.
        seeds: runs with other halves and other critics, to average.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "widths": POSITIVE_COUNT,
        "steps": POSITIVE_COUNT,
        "batch": Limit(least=2),
        "rate": POSITIVE,
        "shifts": Limit(least=2),
        "seeds": POSITIVE_COUNT,
    }
    bound: str = "mine"
    widths: tuple[int, int] = (32, 32)
    steps: int = 2000
    batch: int = 32
    rate: float = 2e-2
    shifts: int = 32
    seeds: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known("variational bound", self.bound, BOUNDS)

    @verb
    def estimate(
        self, X: Shaped[Tensor, "N A"], Y: Shaped[Tensor, "N B"], *, generator: torch.Generator | None = None
    ) -> PairwiseInformation:
        """Information of all pairs.

        Args:
            X: units of one side.
            Y: units of the other side, the same rows.
            generator: of halves, critics and batches.

        Raises: as :func:`~vesalius.information.estimators.estimate.check_pair`.
        """
        rows_x, rows_y = check_pair(X, Y)
        screened = Binned().estimate(X, Y, generator=generator)
        x, y = (normal_scores(rows).T.float() for rows in (rows_x, rows_y))
        alive = ~(screened.dead_x[:, None] | screened.dead_y)
        first, second = alive.nonzero().unbind(1)
        values, stderr, _ = self._runs(CriticPairs(x.contiguous(), y.contiguous(), first, second), generator)
        return _to_pairwise(self, screened.samples, (values, stderr, screened.p[alive]), (screened.dead_x, screened.dead_y))

    @verb
    def relevance(
        self, X: Shaped[Tensor, "N A"], Y: Shaped[Tensor, "N B"], *, generator: torch.Generator | None = None
    ) -> PairwiseInformation:
        """Information of all units of X together with each unit of Y.

        In a network without noise whose layer X determines the unit, the truth is infinite, or the entropy of the unit if that is discrete,
        and what comes back says how well a critic of this size can fit.

        Args:
            X: a layer, as one vector.
            Y: units, each on its own.
            generator: of halves, critics and batches.

        Returns:
            A table with one row. Its p-values compare the mean score of held-out rows with those of cyclic shifts, by a t distribution.

        Raises: as :meth:`estimate`.

        Reference: Davis2020, equation 3, first term.
        """
        rows_x, rows_y = check_pair(X, Y)
        x, y = (normal_scores(rows).T.float() for rows in (rows_x, rows_y))
        dead_x, dead_y = is_constant(rows_x), is_constant(rows_y)
        alive = ~(dead_x.all() | dead_y)
        found = self._runs(CriticPairs(x[~dead_x], y.contiguous(), None, alive.nonzero()[:, 0]), generator)
        return _to_pairwise(self, len(rows_x), found, (dead_x.all()[None], dead_y))

    def _runs(self, asked: CriticPairs, generator: torch.Generator | None) -> CriticEstimates:
        """Values, standard errors and p-values over all seeds. Seeds share rows, so only their critics' part of the error averages out."""
        runs = [self._run(asked, generator) for _ in range(self.seeds)]
        values, within, p = (torch.stack(part) for part in zip(*runs, strict=True))
        between = values.var(0) / self.seeds if self.seeds > 1 else torch.zeros_like(values[0])
        return values.mean(0), (within.square().mean(0) + between).sqrt(), (p.min(0).values * self.seeds).clamp_max(1)

    def _run(self, asked: CriticPairs, generator: torch.Generator | None) -> CriticEstimates:
        """Values, standard errors and p-values of one split and one draw of critics."""
        count = asked.y.shape[1]
        learnt, held = torch.randperm(count, generator=generator).tensor_split([count // 2])
        size = min(self.batch, len(learnt))
        batches = torch.stack([learnt[torch.randperm(len(learnt), generator=generator)[:size]] for _ in range(self.steps)])
        critics = Critics.initialize(asked, self.widths, generator)
        shifts = (1 + torch.randperm(len(held) - 1, generator=generator)[: self.shifts]).tolist()
        training = CriticTraining(steps=self.steps, batch=size, rate=self.rate)
        found = [(torch.empty(0, dtype=torch.float64),) * 3]
        for start in range(0, len(asked.second), CRITICS_AT_ONCE):
            part = slice(start, start + CRITICS_AT_ONCE)
            trained, seen = critics.part(part), asked.rows(part)
            training.run(trained, seen, BOUNDS[self.bound], batches)
            found.append(self._read(trained, seen.at(held), shifts))
        values, stderr, p = (torch.cat(part) for part in zip(*found, strict=True))
        return values, stderr, p

    @torch.no_grad()
    def _read(self, critics: Critics, held: CriticInputs, shifts: list[int]) -> CriticEstimates:
        """Bound, its standard error, and a p-value, from held-out rows."""
        joint = critics.score_in_blocks(held).double()
        apart = torch.stack([critics.score_in_blocks(held.shift_y(by)) for by in shifts], 1).double()
        local = BOUNDS[self.bound].local(joint, apart)
        independent = apart.mean(2)
        distance = (joint.mean(1) - independent.mean(1)) / (independent.std(1) * sqrt(1 + 1 / len(shifts))).clamp_min(1e-300)
        return local.mean(1), local.std(1) / sqrt(local.shape[1]), torch.from_numpy(special.stdtr(len(shifts) - 1, -distance.numpy()))


def _to_pairwise(
    neural: Neural, samples: int, found: CriticEstimates, dead: tuple[Bool[Tensor, " A"], Bool[Tensor, " B"]]
) -> PairwiseInformation:
    """A table from the numbers of the pairs in which both vary."""
    alive = ~(dead[0][:, None] | dead[1])
    values, stderr = torch.zeros(2, *alive.shape, dtype=torch.float64)
    p = torch.ones_like(values)
    for table, numbers in zip((values, stderr, p), found, strict=True):
        table[alive] = numbers
    return PairwiseInformation(
        values=values,
        stderr=stderr,
        null=torch.zeros_like(values),
        p=p,
        estimator=neural.bound,
        samples=samples,
        dead_x=dead[0],
        dead_y=dead[1],
        unreliable=exceeds_sample_limit(values, samples),
        refined=torch.ones_like(alive),
        stderr_note=STDERR_NOTE,
    )
