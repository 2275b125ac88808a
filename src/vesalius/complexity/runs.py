"""The runs that disentangle a feature: nets of each order for every seed, their controls, and the width they have.

Axes: S seeds, L orders, N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from vesalius.complexity.checkpoint import Checkpoint
from vesalius.complexity.held_out import group_moments
from vesalius.complexity.networks import Trunk, fit_standardisation
from vesalius.complexity.readout import Disentangler, fit_readout, mean_predictor
from vesalius.complexity.training import MultiExitTrunk, RowSplits, Training, train_exits
from vesalius.complexity.training_plan import MOST_WIDENINGS, first_width, is_worthwhile, with_epochs
from vesalius.core.errors import InvalidInput

MIN_STANDARD_ERRORS = 2.0
"""Standard errors by which a deeper net must be better, on rows to choose by, to have a component of its own."""
PARTS = 100
"""Parts of a run that its progress is told in."""

Fit = tuple[Disentangler, Tensor]
"""A net, and its squared error on each of the rows to choose by."""


@dataclass(eq=False)
class RunProgress:
    """How far all runs are, told in hundredths of a run; those that turn out not to be needed are skipped at the end."""

    report: Callable[[int, int], None] | None
    runs: int
    finished: set[str] = field(default_factory=set)

    def tell(self, done: int, epochs: int) -> None:
        """Say how many epochs of the run in hand are done."""
        self._say(len(self.finished) * PARTS + done * PARTS // epochs)

    def finish(self, name: str) -> None:
        """Count a run as done."""
        self.finished.add(name)
        self._say(len(self.finished) * PARTS)

    def end(self) -> None:
        """Say that all is done."""
        self._say(self.runs * PARTS)

    def _say(self, done: int) -> None:
        if self.report is not None:
            self.report(min(done, self.runs * PARTS), self.runs * PARTS)


def runs_per_seed(mode: str, deep: int) -> int:
    """Runs of one seed at most, its controls included, for so many orders that are trained."""
    return {"shared": deep, "separate": deep, "paper": 2 * deep - 1}[mode] if deep else 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Disentanglement:
    """What all seeds share.

    Attributes:
        table: rows.
        orders: wanted.
        how: to train.
        floor: the constant net, and its errors on rows to choose by.
        linear: the net of order 0, and its errors.
        unit: standard deviation of the feature.
        checkpoint: finished runs.
        progress: of all runs.
        asked_epochs: as they were given, ``None`` where they depend on the width.
        why_width: what ended the search for a width.
        fitted: nets of each width and seed, and the controls that came with them.
    """

    table: RowSplits
    orders: tuple[int, ...]
    how: Training
    floor: tuple[Disentangler, Tensor]
    linear: tuple[Disentangler, Tensor]
    unit: float
    checkpoint: Checkpoint
    progress: RunProgress
    asked_epochs: int | None = None
    why_width: str = "given"
    fitted: dict[tuple[int, int], tuple[dict[int, Fit], dict[int, Disentangler]]] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Units of a block."""
        assert self.how.width is not None
        return self.how.width

    @classmethod
    def prepare(cls, table: RowSplits, orders: tuple[int, ...], how: Training, settings: dict[str, Any]) -> Disentanglement:
        """Fit what needs no training.

        Raises:
            InvalidInput: the feature does not vary, or the checkpoint is of other settings.
        """
        asked = how
        how = with_epochs(how, table.shape, orders, len(table.train), how.width or first_width(table.shape))
        trunk = Trunk(table.shape, 1, 0).to(table.device)
        fit_standardisation(trunk, (x for x, _ in table.batches(table.train)))
        trunk.eval()
        floor = mean_predictor(trunk, partial(table.batches, table.train))
        unit = float(group_moments([], partial(table.batches, table.train)).sum() / (table.shape.positions * table.shape.channels)) ** 0.5
        if not unit > 1e-7 * (1e-30 + float(floor.bias.abs().max())):
            raise InvalidInput(
                "the feature does not vary over these rows, so there is nothing to disentangle; give more rows or another layer"
            )
        errors = torch.cat([(f - floor(x)).square().sum((1, 2)).double() for x, f in table.batches(table.select)])
        linear = fit_readout(trunk, partial(table.batches, table.train), partial(table.batches, table.select), how.ridge)
        checkpoint = Checkpoint.open(how.checkpoint, settings, table.shape, table.device)
        each = runs_per_seed(how.mode, len([order for order in orders if order]))
        return cls(
            table=table,
            orders=orders,
            how=how,
            floor=(floor, errors),
            linear=linear,
            unit=unit,
            checkpoint=checkpoint,
            progress=RunProgress(how.report, each * how.seeds + (0 if asked.width else MOST_WIDENINGS)),
            asked_epochs=asked.epochs,
            why_width="given" if asked.width else "the first",
        )

    def with_best_width(self) -> Disentanglement:
        """Twice as wide for as long as the nets of the first seed are then better on the rows to choose by, and a run is affordable."""
        found = self
        if self.why_width == "given" or not self.deep:
            return self
        for _ in range(MOST_WIDENINGS):
            asked = replace(self.how, epochs=self.asked_epochs)
            how = with_epochs(asked, self.table.shape, self.orders, len(self.table.train), 2 * found.width)
            if self.asked_epochs is None and not is_worthwhile(how, len(self.table.train)):
                return replace(found, why_width=f"{2 * found.width} would have taken too long")
            wider = replace(found, how=how)
            if not is_significantly_less(wider.first_errors(), found.first_errors()):
                return replace(found, why_width=f"{2 * found.width} was no better on rows it had not seen")
            found = wider
        return replace(found, why_width="no wider one was tried")

    def first_errors(self) -> Float64[Tensor, " N"]:
        """Squared errors of the nets of the first seed on rows to choose by, summed over the orders that are trained."""
        fits = self._fit_orders(0)[0]
        return torch.stack([errors for _, errors in fits.values()]).sum(0)

    @property
    def deep(self) -> tuple[int, ...]:
        """Orders that are trained."""
        return tuple(order for order in self.orders if order)

    def seed(self, s: int) -> tuple[tuple[Disentangler, ...], list[bool], dict[int, Disentangler]]:
        """The nets of one seed, whether each order has its own, and controls by place of the order.

        A control is the net of the order before, trained on for as long as the order was.
        """
        known, controls = self._fit_orders(s)
        fits = dict(known)
        if self.how.mode == "shared":
            controls = self._train_controls(s, fits)
        net, errors = self.floor
        nets, own = [], []
        for order in self.orders:
            candidate, theirs = fits[order] if order else self.linear
            better = is_significantly_less(theirs, errors)
            net, errors = (candidate, theirs) if better else (net, errors)
            nets.append(net)
            own.append(better)
        return tuple(nets), own, controls

    def _fit_orders(self, s: int) -> tuple[dict[int, Fit], dict[int, Disentangler]]:
        """A net for each order that is trained, and the controls that come with it."""
        if (self.width, s) not in self.fitted:
            self.fitted[self.width, s] = self._grow_chain(s) if self.how.mode == "paper" else self._fit_exits(s)
        return self.fitted[self.width, s]

    def _fit_exits(self, s: int) -> tuple[dict[int, Fit], dict[int, Disentangler]]:
        runs = [self.deep] if self.how.mode == "shared" else [(order,) for order in self.deep]
        trunks = {order: trunk for run in runs if run for order, trunk in self._train_run(s, run).items()}
        return {order: self._fit_readout(trunk) for order, trunk in trunks.items()}, {}

    def _train_controls(self, s: int, fits: dict[int, Fit]) -> dict[int, Disentangler]:
        """Train the order before one that is better alone, for as long again; the better of its two nets stands in ``fits``."""
        controls: dict[int, Disentangler] = {}
        for before, order in zip(self.deep, self.deep[1:], strict=False):
            if is_significantly_less(fits[order][1], fits[before][1]):
                control = self._train_again(s, before, order, fits[before][0])
                controls[self.orders.index(order)] = control[0]
                fits[before] = min(fits[before], control, key=lambda fit: float(fit[1].sum()))
        return controls

    def _train_again(self, s: int, before: int, order: int, net: Disentangler) -> Fit:
        """A net trained alone, for as long as it was trained already."""
        generator = torch.Generator().manual_seed(self._run_seed(s, order))
        again = MultiExitTrunk(net.trunk.prefix(before), (before,), net, self.unit)
        return self._fit_readout(self._run(f"{s}-{before}-instead-of-{order}", again, generator)[before])

    def _fit_readout(self, trunk: Trunk) -> Fit:
        return fit_readout(
            trunk, partial(self.table.batches, self.table.train), partial(self.table.batches, self.table.select), self.how.ridge
        )

    def _train_run(self, s: int, run: Sequence[int]) -> dict[int, Trunk]:
        """Trunks of some orders trained together, from new weights."""
        generator = torch.Generator().manual_seed(self._run_seed(s, run[-1]))
        trunk = Trunk(self.table.shape, self.width, run[-1], generator=generator).to(self.table.device)
        trunk.mean.copy_(self.linear[0].trunk.mean)
        trunk.spread.copy_(self.linear[0].trunk.spread)
        return self._run(f"{s}-{'-'.join(map(str, run))}", MultiExitTrunk(trunk, run, self.linear[0], self.unit), generator)

    def _grow_chain(self, s: int) -> tuple[dict[int, Fit], dict[int, Disentangler]]:
        """Each order grown from the one before."""
        fits: dict[int, Fit] = {}
        controls: dict[int, Disentangler] = {}
        for before, order in zip((0, *self.deep), self.deep, strict=False):
            if not before:
                fits[order] = self._fit_readout(self._train_run(s, (order,))[order])
                continue
            net = fits[before][0]
            generator = torch.Generator().manual_seed(self._run_seed(s, order))
            grown = MultiExitTrunk(net.trunk.deepen(order, generator), (order,), net, self.unit)
            fits[order] = self._fit_readout(self._run(f"{s}-{order}", grown, generator)[order])
            controls[self.orders.index(order)] = self._train_again(s, before, order, net)[0]
        return fits, controls

    def _run_seed(self, s: int, order: int) -> int:
        return 10_000 * (self.how.seed + s) + order

    def _run(self, name: str, exits: MultiExitTrunk, generator: torch.Generator) -> dict[int, Trunk]:
        """Train, unless that was done before."""
        epochs, name = self.how.epochs or 1, f"{self.width}-{name}"
        if name not in self.checkpoint.runs:
            self.progress.tell(0, epochs)
            self.checkpoint.keep(name, train_exits(exits, self.table, self.how, generator, lambda done: self.progress.tell(done, epochs)))
        self.progress.finish(name)
        return self.checkpoint.runs[name]


def is_significantly_less(errors: Float64[Tensor, " N"], than: Float64[Tensor, " N"]) -> bool:
    """Whether the mean of paired differences is above 0 by more than chance."""
    fall = than - errors
    return bool(fall.mean() > MIN_STANDARD_ERRORS * fall.std() / len(fall) ** 0.5)


def time_matched_gain(
    table: RowSplits, controls: Sequence[dict[int, Disentangler]], nets: Sequence[Sequence[Disentangler]]
) -> Float64[Tensor, "S L"]:
    """Variance explained by each order beyond its control; NaN where there is none."""
    seeds, orders = len(nets), len(nets[0])
    found = torch.full((seeds, orders), torch.nan, dtype=torch.float64)
    for s, by_place in enumerate(controls):
        for place, control in by_place.items():
            both = group_moments([nets[s][place], control], partial(table.batches, table.held)).sum(0)
            left = both.diagonal()[:2] - 2 * both[:2, 2] + both[2, 2]
            found[s, place] = (left[1] - left[0]) / both[2, 2]
    return found
