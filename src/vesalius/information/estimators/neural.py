"""Mutual information by trained critics, all pairs in one run, and of whole layers with single units.

Axes: N rows, A units of X, B units of Y, P critics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
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
from vesalius.information.estimators.estimate import OVERFITTED, PairwiseInformation, check_pair, is_constant, sample_limit_doubts
from vesalius.information.estimators.linear_summary import linear_summary
from vesalius.information.estimators.mixed_variables import normal_scores

special = LazyModule("scipy.special")

CriticEstimates = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of each critic [P]: value, standard error, p-value, and the value on the rows that it learnt, where that was read."""
JUDGES = 3
"""One of so many parts of the rows that are not learnt judges critics of whole layers while they train."""
FEWEST_ROWS_PER_UNIT = 20
"""Rows for each unit of a layer, below which critics may miss all that is not linear."""
MOST_OVERFIT = 0.2
"""Nats by which a critic may do better on the rows it learnt than on others, for its bound to be taken as near."""
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
        values, stderr, _, _ = self._runs(CriticPairs(x.contiguous(), y.contiguous(), first, second), generator)
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
            A table with one row. Critics see a cross-fitted linear summary of the layer besides, or nothing else of it, and end as they
            were when they did best on a sixth of the rows, which they did not learn. Where they still do far better on those they learnt,
            or there are fewer than 20 rows to a unit, that is flagged. The p-values compare the mean score of held-out rows with those of
            cyclic shifts, by a t distribution.

        Raises: as :meth:`estimate`.

        Reference: Davis2020, equation 3, first term.
        """
        rows_x, rows_y = check_pair(X, Y)
        x, y = (normal_scores(rows).T.float() for rows in (rows_x, rows_y))
        dead_x, dead_y = is_constant(rows_x), is_constant(rows_y)
        alive = ~(dead_x.all() | dead_y)
        asked = CriticPairs(x[~dead_x], y.contiguous(), None, alive.nonzero()[:, 0])
        values, stderr, p, learnt = self._runs(asked, generator)
        found = _to_pairwise(self, len(rows_x), (values, stderr, p), (dead_x.all()[None], dead_y))
        doubts = torch.zeros_like(found.doubts)
        wide = int((~dead_x).sum()) * FEWEST_ROWS_PER_UNIT > len(rows_x)
        doubts[0, alive] = ((learnt - values > MOST_OVERFIT) | (values < -2 * stderr) | wide).long() * OVERFITTED
        return replace(found, doubts=torch.where(found.doubts > 0, found.doubts, doubts))

    def _runs(self, asked: CriticPairs, generator: torch.Generator | None) -> CriticEstimates:
        """Values, standard errors, p-values and values on the rows learnt, over all seeds. Seeds share rows, so only their critics' part of
        the error averages out."""
        runs = [self._run(asked, generator) for _ in range(self.seeds)]
        values, within, p, learnt = (torch.stack(part) for part in zip(*runs, strict=True))
        between = values.var(0) / self.seeds if self.seeds > 1 else torch.zeros_like(values[0])
        return values.mean(0), (within.square().mean(0) + between).sqrt(), (p.min(0).values * self.seeds).clamp_max(1), learnt.mean(0)

    def _run(self, asked: CriticPairs, generator: torch.Generator | None) -> CriticEstimates:
        """The same of one split and one draw of critics.

        Critics of a whole layer see a linear summary of it too, and others nothing else of it; both kinds are judged on rows of their own
        while they train, and the better one is read.
        """
        learnt, held = torch.randperm(asked.y.shape[1], generator=generator).tensor_split([asked.y.shape[1] // 2])
        judged, kinds = held[:0], [asked]
        if asked.first is None:
            judged, held = held.tensor_split([len(held) // JUDGES])
            wide = replace(asked, summary=linear_summary(asked.x, asked.y, learnt, judged))
            kinds = [wide, replace(wide, x=asked.x[:0])]
        size = min(self.batch, len(learnt))
        batches = torch.stack([learnt[torch.randperm(len(learnt), generator=generator)[:size]] for _ in range(self.steps)])
        shifts = (1 + torch.randperm(len(held) - 1, generator=generator)[: self.shifts]).tolist()
        found = torch.stack([self._trained(kind, (batches, learnt, judged, held), shifts, generator) for kind in kinds])
        values, stderr, p, known, _ = found[found[:, 4].argmax(0), :, torch.arange(found.shape[2])].unbind(1)
        return values, stderr, p, known

    def _trained(self, asked: CriticPairs, rows: tuple[Tensor, ...], shifts: list[int], generator: torch.Generator | None) -> Tensor:
        """Value, standard error, p-value, value on the rows learnt, and score by the rows that judge [5, P] of critics of one kind."""
        batches, learnt, judged, held = rows
        critics = Critics.initialize(asked, self.widths, generator)
        training = CriticTraining(steps=self.steps, batch=batches.shape[1], rate=self.rate)
        found = [torch.empty(5, 0, dtype=torch.float64)]
        for start in range(0, len(asked.second), CRITICS_AT_ONCE):
            part = slice(start, start + CRITICS_AT_ONCE)
            trained, seen = critics.part(part), asked.rows(part)
            score = partial(self._value, rows=seen.at(judged), shifts=shifts) if len(judged) else None
            training.run(trained, seen, BOUNDS[self.bound], batches, score)
            read = self._read(trained, seen.at(held), shifts)
            known = self._value(trained, seen.at(learnt), shifts) if score else torch.zeros_like(read[0])
            found.append(torch.stack([*read, known, score(trained) if score else known]))
        return torch.cat(found, 1)

    def _value(self, critics: Critics, rows: CriticInputs, shifts: list[int]) -> Float64[Tensor, " P"]:
        """The bound alone, by a few of the shifts."""
        few = sorted({1 + (shift - 1) % (rows.own.shape[2] - 1) for shift in shifts[:8]})
        return self._read(critics, rows, few)[0]

    @torch.no_grad()
    def _read(self, critics: Critics, held: CriticInputs, shifts: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Bound, its standard error, and a p-value, from held-out rows."""
        joint = critics.score_in_blocks(held).double()
        apart = torch.stack([critics.score_in_blocks(held.shift_y(by)) for by in shifts], 1).double()
        local = BOUNDS[self.bound].local(joint, apart)
        independent = apart.mean(2)
        distance = (joint.mean(1) - independent.mean(1)) / (independent.std(1) * sqrt(1 + 1 / len(shifts))).clamp_min(1e-300)
        return local.mean(1), local.std(1) / sqrt(local.shape[1]), torch.from_numpy(special.stdtr(len(shifts) - 1, -distance.numpy()))


def _to_pairwise(
    neural: Neural, samples: int, found: tuple[Tensor, Tensor, Tensor], dead: tuple[Bool[Tensor, " A"], Bool[Tensor, " B"]]
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
        doubts=sample_limit_doubts(values, samples),
        refined=torch.ones_like(alive),
        stderr_note=STDERR_NOTE,
    )
