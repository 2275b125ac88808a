"""How disentanglers are trained: all orders at once in one trunk, each alone, or one grown from the other as in the paper.

Axes: B batch, P positions, D channels of the feature, E exits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vesalius.complexity.features import CachedRows
from vesalius.complexity.networks import RowShapes, Trunk
from vesalius.complexity.readout import Disentangler
from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.core.numbers import POSITIVE, POSITIVE_COUNT, Limit
from vesalius.core.options import Options

MODES = ("shared", "separate", "paper")
VALIDATIONS_PER_RUN = 20
"""How often the held-out rows are looked at, in a full run."""
UNRECORDED_OPTIONS = ("report", "checkpoint", "limit")


@dataclass(frozen=True, kw_only=True)
class Training(Options):
    """How disentanglers are trained.

    Attributes:
        width: units, or channels, of a block; by default 64, or 16 where the input has positions, doubled for as long as that makes the
            error on rows to choose by significantly less and a run affordable.
        seeds: independent runs, with other weights and another order of batches; at least 1, and 2 to tell chance from what comes again.
        epochs: passes over the training rows; by default as many as make 1,000 steps, at least 20, or as fit into a fixed number of
            operations.
        mode: ``"shared"``: one trunk with an exit after every order, all trained at once; where a deeper order is better, the one before is
            trained alone for as long again, and the better of its two nets stands; ``"separate"``: a net per order;
            ``"paper"``: each order starts as the one before with new blocks that do nothing yet, and the one before is trained on for as
            long, to tell depth from time.
        pre_activation: take the value before its activation where ``at`` is the output of one, as the paper does.
        rates: learning rate of Adam at the start and the end; it falls exponentially.
        batch: rows per step; by default 32 to 256, by how many rows there are.
        ridge: of the exits' closed form, in units of the mean variance of what they read; a hundredth and a hundred times it are tried too.
        patience: an exit is done when it got no better in so many of the looks at held-out rows, of which a full run has 20.
        held_out: share of the rows not trained on, half of them to stop and choose by, half for the numbers reported; in
            (0, 0.8], by default 0.4 of few rows and less of many.
        seed: of the split, and the first of the runs.
        report: told how many hundredths of a run are done, of how many at most; starts at 0 and ends with all.
        checkpoint: file in which finished runs are kept; called again with the same settings, they are not trained again.
        limit: bytes above which rows go to a temporary file that is mapped into memory.

    Raises:
        UnknownName, InvalidInput: a mode or a number that is none of these.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "width": POSITIVE_COUNT,
        "seeds": POSITIVE_COUNT,
        "epochs": POSITIVE_COUNT,
        "rates": POSITIVE,
        "batch": Limit(least=2),
        "ridge": POSITIVE,
        "patience": POSITIVE_COUNT,
        "held_out": Limit(above=0, most=0.8),
        "limit": POSITIVE_COUNT,
    }
    width: int | None = None
    seeds: int = 2
    epochs: int | None = None
    mode: str = "shared"
    pre_activation: bool = True
    rates: tuple[float, float] = (3e-3, 3e-5)
    batch: int | None = None
    ridge: float = 1e-3
    patience: int = 5
    held_out: float | None = None
    seed: int = 0
    report: Callable[[int, int], None] | None = None
    checkpoint: str | Path | None = None
    limit: int = 1 << 30

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known("mode of training", self.mode, MODES)

    def facts(self) -> dict[str, Any]:
        """What a result depends on, as JSON holds it."""
        found = {part.name: getattr(self, part.name) for part in fields(self) if part.name not in UNRECORDED_OPTIONS}
        return found | {"rates": list(self.rates)}


@dataclass(frozen=True, eq=False, kw_only=True)
class RowSplits:
    """Rows with their parts: to train, to choose by, and to report on.

    Attributes:
        rows: all of them.
        shape: of one.
        train, select, held: positions of the parts.
        device: where computing is done.
        batch: rows computed at once.
    """

    rows: CachedRows
    shape: RowShapes
    train: Int[Tensor, " _"]
    select: Int[Tensor, " _"]
    held: Int[Tensor, " _"]
    device: torch.device
    batch: int

    @classmethod
    def split(cls, rows: CachedRows, shape: RowShapes, how: Training, device: torch.device, *, most: int | None = None) -> RowSplits:
        """Rows in three parts, drawn by the seed; at most so many to train.

        Raises:
            InvalidInput: too few rows.
        """
        assert how.held_out is not None and how.batch is not None
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(how.seed))
        half = int(len(rows) * how.held_out / 2)
        if half < 8 or len(rows) - 2 * half < 16:
            raise InvalidInput(
                f"{len(rows)} rows with a share of {how.held_out} held out leave {len(rows) - 2 * half} to train, {half} to choose by and"
                f" {half} to report on; at least 16, 8 and 8 are needed: give more rows"
            )
        train = order[2 * half :]
        parts = train if most is None else train[: max(most, 16)], order[:half].sort().values, order[half : 2 * half].sort().values
        return cls(rows=rows, shape=shape, train=parts[0], select=parts[1], held=parts[2], device=device, batch=how.batch)

    def batches(self, part: Int[Tensor, " _"]) -> Iterator[tuple[Float[Tensor, "B ..."], Float[Tensor, "B P D"]]]:
        """What the disentanglers see, and the feature by position."""
        for places in part.split(self.batch):
            yield self.at(places)

    def at(self, places: Int[Tensor, " B"]) -> tuple[Float[Tensor, "B ..."], Float[Tensor, "B P D"]]:
        """Some rows."""
        x, f = self.rows.x[places].to(self.device), self.rows.f[places].to(self.device)
        return x, self.shape.rows(f)


class MultiExitTrunk(nn.Module):
    """A trunk with a trainable exit after each of some orders; they start as a net that is there: the linear one, or one less deep."""

    def __init__(self, trunk: Trunk, orders: Sequence[int], start: Disentangler, unit: float) -> None:
        super().__init__()
        self.trunk, self.orders, self.unit = trunk, tuple(orders), unit
        columns = len(start.weight) - (trunk.read if start.trunk.blocks else 0)
        self.skip = nn.Parameter(start.weight[:columns] / unit)  # one for all: the closed form gives each exit its own afterwards
        self.bias = nn.Parameter((start.bias / unit).repeat(len(orders), 1, 1))
        units = start.weight[columns:] / unit if start.trunk.blocks else start.weight.new_zeros(trunk.read, start.bias.shape[1])
        self.weights = nn.ParameterList(units.clone() for _ in orders)

    def forward(self, x: Float[Tensor, "B ..."]) -> list[Float[Tensor, "B P D"]]:
        """Prediction of each order, in units of the feature's spread."""
        skip, found = self._parts(x)
        return [skip + part for part in found]

    def loss(self, x: Float[Tensor, "B ..."], target: Float[Tensor, "B P D"], going: Sequence[bool]) -> Float[Tensor, ""]:
        """Mean squared errors, summed over the exits that are not done. The skip is taken off the target once, not added to each exit."""
        skip, found = self._parts(x)
        left = target - skip
        return torch.stack([nn.functional.mse_loss(part, left) for part, on in zip(found, going, strict=True) if on]).sum()

    def _parts(self, x: Float[Tensor, "B ..."]) -> tuple[Float[Tensor, "B P D"], list[Float[Tensor, "B P D"]]]:
        """The input skip of all exits, and what each exit makes of its block."""
        ready = self.trunk.standardise_input(x)
        units = self.trunk(ready)
        exits = zip(self.orders, self.weights, self.bias, strict=True)
        return self.trunk.project(ready, self.skip), [units[order - 1] @ weight + bias for order, weight, bias in exits]


@dataclass(eq=False)
class EarlyStopping:
    """The best state of each exit, by its error on rows to choose by."""

    exits: MultiExitTrunk
    patience: int
    best: dict[int, float] = field(default_factory=dict)
    kept: dict[int, Trunk] = field(default_factory=dict)
    since: dict[int, int] = field(default_factory=dict)

    @torch.no_grad()
    def update(self, table: RowSplits) -> bool:
        """Whether an exit may still get better."""
        self.exits.eval()
        errors = torch.zeros(len(self.exits.orders), dtype=torch.float64)
        for x, f in table.batches(table.select):
            target = f / self.exits.unit
            errors += torch.tensor([float((found - target).square().sum()) for found in self.exits(x)], dtype=torch.float64)
        for order, error in zip(self.exits.orders, errors.tolist(), strict=True):
            if error < self.best.get(order, float("inf")):
                self.best[order], self.kept[order], self.since[order] = error, self.exits.trunk.prefix(order), 0
            else:
                self.since[order] = self.since.get(order, 0) + 1
        self.exits.train()
        return min(self.since.values()) < self.patience

    def active(self) -> list[bool]:
        """Which exits are not done."""
        return [self.since.get(order, 0) < self.patience for order in self.exits.orders]


def train_exits(
    exits: MultiExitTrunk, table: RowSplits, how: Training, generator: torch.Generator, tell: Callable[[int], None]
) -> dict[int, Trunk]:
    """Train all exits by the sum of their errors, and return the trunk of each at its best.

    Args:
        exits: trained in place.
        table: rows.
        how: epochs, rates, batch, patience.
        generator: of the order of batches.
        tell: told the number of epochs done.

    Raises:
        InvalidInput: it diverged.
    """
    assert how.epochs is not None
    size = min(table.batch, len(table.train))
    steps = how.epochs * (len(table.train) // size)
    optimiser = torch.optim.Adam(exits.parameters(), how.rates[0], fused=True)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, (how.rates[1] / how.rates[0]) ** (1 / max(steps - 1, 1)))
    watch = EarlyStopping(exits, how.patience)
    exits.train()
    for epoch in range(how.epochs):
        order = table.train[torch.randperm(len(table.train), generator=generator)]
        for places in order.split(size):
            if len(places) < size:
                break  # a last batch of a few rows would upset the batch norms
            _train_step(exits, table, places, watch.active(), optimiser)
            schedule.step()
        tell(epoch + 1)
        last = epoch + 1 == how.epochs
        if (last or (epoch + 1) % max(1, how.epochs // VALIDATIONS_PER_RUN) == 0) and not watch.update(table):
            break
    if len(watch.kept) < len(exits.orders):
        raise InvalidInput(f"training diverged: the error of some order was never a number; use lower rates than {how.rates}")
    return watch.kept


def _train_step(
    exits: MultiExitTrunk, table: RowSplits, places: Int[Tensor, " B"], going: Sequence[bool], optimiser: torch.optim.Optimizer
) -> None:
    x, f = table.at(places)
    loss = exits.loss(x, f / exits.unit, going)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
