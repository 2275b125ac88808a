"""Take a feature apart by the number of nonlinear layers that it takes to compute.

Axes: S seeds, L orders.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from vesalius.complexity.checkpoint import Checkpoint, fingerprint
from vesalius.complexity.components import Complexity, moments
from vesalius.complexity.cost import estimate_cost
from vesalius.complexity.features import CachedRows, FeatureSource, cache_rows, feature_source, parameter_device
from vesalius.complexity.networks import DEFAULT_WIDTHS, Trunk, fit_standardisation
from vesalius.complexity.readout import Disentangler, fit_readout, mean_predictor
from vesalius.complexity.training import MultiExitTrunk, RowSplits, Training, check_orders, train_exits
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.version import VERSION
from vesalius.trace.batches import Data
from vesalius.trace.receive import receive_data

MIN_STANDARD_ERRORS = 2.0
"""Standard errors by which a deeper net must be better, on rows to choose by, to have a component of its own."""


@verb
def complexity(model: Any, data: Data, *, at: str, orders: Sequence[int] = (0, 1, 2, 4), training: Training | None = None) -> Complexity:
    """Disentangle a feature into components of rising complexity.

    A component of order l is what nets with l nonlinear layers predict of the feature beyond nets with fewer. Where a deeper net is not
    better by two standard errors on rows that neither was trained on, its component is nothing, for the shallower net is one of the deeper
    ones too.

    Args:
        model: a Network, or any model that :func:`vesalius.trace` takes.
        data: rows of its inputs in any form, or batches of them, with or without labels; some thousands.
        at: the feature: a value or module of the network.
        orders: numbers of nonlinear layers, rising; 0 is linear.
        training: how; the default takes minutes for a small picture network.

    Raises:
        UnknownName: no such value.
        NotTraceable: an opaque network.
        InvalidInput: orders that do not rise, a feature that is no table of numbers or does not vary, too few rows, NaN or infinite values,
            a checkpoint of other settings.
        WrongType: not a Network; data of another kind.

    Reference: Ren2021. Differs from the paper: an order 0, the input in every exit, exits in closed form, one trunk for all orders, more
    seeds than one, numbers on rows not trained on, and no component where a deeper net is no better; ``Training(mode="paper")`` grows each
    net from the one before.
    """
    received = receive_data(model, data)
    network, data = received.network, received.x
    wanted = check_orders(orders)
    how = training or Training()
    where = feature_source(network, at, pre_activation=how.pre_activation)
    started = time.perf_counter()
    with cache_rows(where, data, limit=how.limit) as rows:
        table = RowSplits.split(rows, where.shape, how, parameter_device(network))
        study = Disentanglement.prepare(table, wanted, how, _settings(where, wanted, how, rows))
        seeds = [study.seed(s) for s in range(how.seeds)]
        nets, found = tuple(nets for nets, _, _ in seeds), torch.tensor([own for _, own, _ in seeds])
        listed = [net for row in nets for net in row]
        return Complexity(
            at=where.at,
            orders=wanted,
            nets=nets,
            kept=found,
            moments=moments(listed, table.batches(table.held)),
            shape=where.shape,
            time_matched_gain=_time_matched_gain(table, [controls for _, _, controls in seeds], nets) if how.mode == "paper" else None,
            source=where,
            provenance=_provenance(where, table, how, {"seconds": time.perf_counter() - started, "mapped": rows.mapped, "orders": wanted}),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Disentanglement:
    """What all seeds share.

    Attributes:
        table: rows.
        orders: wanted.
        how: to train.
        width: of a block.
        floor: the constant net, and its errors on rows to choose by.
        linear: the net of order 0, and its errors.
        unit: standard deviation of the feature.
        checkpoint: finished runs.
    """

    table: RowSplits
    orders: tuple[int, ...]
    how: Training
    width: int
    floor: tuple[Disentangler, Tensor]
    linear: tuple[Disentangler, Tensor]
    unit: float
    checkpoint: Checkpoint

    @classmethod
    def prepare(cls, table: RowSplits, orders: tuple[int, ...], how: Training, settings: dict[str, Any]) -> Disentanglement:
        """Fit what needs no training.

        Raises:
            InvalidInput: the feature does not vary, or the checkpoint is of other settings.
        """
        width = how.width or DEFAULT_WIDTHS[table.shape.kind]
        trunk = Trunk(table.shape, width, 0).to(table.device)
        fit_standardisation(trunk, (x for x, _ in table.batches(table.train)))
        trunk.eval()
        floor = mean_predictor(trunk, partial(table.batches, table.train))
        unit = float(moments([], table.batches(table.train))[-1, -1] / (table.shape.positions * table.shape.channels)) ** 0.5
        if not unit > 1e-7 * (1e-30 + float(floor.bias.abs().max())):
            raise InvalidInput(
                "the feature does not vary over these rows, so there is nothing to disentangle; give more rows or another layer"
            )
        errors = torch.cat([(f - floor(x)).square().sum((1, 2)).double() for x, f in table.batches(table.select)])
        linear = fit_readout(trunk, partial(table.batches, table.train), partial(table.batches, table.select), how.ridge)
        checkpoint = Checkpoint.open(how.checkpoint, settings, table.shape, table.device)
        return cls(table=table, orders=orders, how=how, width=width, floor=(floor, errors), linear=linear, unit=unit, checkpoint=checkpoint)

    @property
    def deep(self) -> tuple[int, ...]:
        """Orders that are trained."""
        return tuple(order for order in self.orders if order)

    def seed(self, s: int) -> tuple[tuple[Disentangler, ...], list[bool], dict[int, Disentangler]]:
        """The nets of one seed, whether each order has its own, and (``mode="paper"``) controls by place of the order.

        A control is the net of the order before, trained on for as long as the order was.
        """
        if self.how.mode == "paper":
            fits, controls = self._grow_chain(s)
        else:
            runs = [self.deep] if self.how.mode == "shared" else [(order,) for order in self.deep]
            trunks = {order: trunk for run in runs if run for order, trunk in self._train_run(s, run).items()}
            fits, controls = {order: self._fit_readout(trunk) for order, trunk in trunks.items()}, {}
        net, errors = self.floor
        nets, own = [], []
        for order in self.orders:
            candidate, theirs = fits[order] if order else self.linear
            better = _is_significantly_less(theirs, errors)
            net, errors = (candidate, theirs) if better else (net, errors)
            nets.append(net)
            own.append(better)
        return tuple(nets), own, controls

    def _fit_readout(self, trunk: Trunk) -> tuple[Disentangler, Tensor]:
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

    def _grow_chain(self, s: int) -> tuple[dict[int, tuple[Disentangler, Tensor]], dict[int, Disentangler]]:
        """Each order grown from the one before."""
        fits: dict[int, tuple[Disentangler, Tensor]] = {}
        controls: dict[int, Disentangler] = {}
        for before, order in zip((0, *self.deep), self.deep, strict=False):
            if not before:
                fits[order] = self._fit_readout(self._train_run(s, (order,))[order])
                continue
            net = fits[before][0]
            generator = torch.Generator().manual_seed(self._run_seed(s, order))
            grown = MultiExitTrunk(net.trunk.deepen(order, generator), (order,), net, self.unit)
            fits[order] = self._fit_readout(self._run(f"{s}-{order}", grown, generator)[order])
            again = MultiExitTrunk(net.trunk.prefix(before), (before,), net, self.unit)
            generator.manual_seed(self._run_seed(s, order))
            control = self._run(f"{s}-{before}-instead-of-{order}", again, generator)[before]
            controls[self.orders.index(order)] = self._fit_readout(control)[0]
        return fits, controls

    def _run_seed(self, s: int, order: int) -> int:
        return 10_000 * (self.how.seed + s) + order

    def _run(self, name: str, exits: MultiExitTrunk, generator: torch.Generator) -> dict[int, Trunk]:
        """Train, unless that was done before."""
        each = {"shared": 1, "separate": len(self.deep), "paper": 2 * len(self.deep) - 1}[self.how.mode]
        done, total = len(self.checkpoint.runs) * self.how.epochs, each * self.how.seeds * self.how.epochs

        def tell(epochs: int) -> None:
            if self.how.report is not None:
                self.how.report(min(done + epochs, total), total)

        if name not in self.checkpoint.runs:
            tell(0)
            self.checkpoint.keep(name, train_exits(exits, self.table, self.how, generator, tell))
            tell(self.how.epochs)
        return self.checkpoint.runs[name]


def _is_significantly_less(errors: Float64[Tensor, " N"], than: Float64[Tensor, " N"]) -> bool:
    """Whether the mean of paired differences is above 0 by more than chance."""
    fall = than - errors
    return bool(fall.mean() > MIN_STANDARD_ERRORS * fall.std() / len(fall) ** 0.5)


def _time_matched_gain(
    table: RowSplits, controls: Sequence[dict[int, Disentangler]], nets: Sequence[Sequence[Disentangler]]
) -> Float64[Tensor, "S L"]:
    """Variance explained by each order beyond its control; NaN where there is none."""
    seeds, orders = len(nets), len(nets[0])
    found = torch.full((seeds, orders), torch.nan, dtype=torch.float64)
    for s, by_place in enumerate(controls):
        for place, control in by_place.items():
            both = moments([nets[s][place], control], table.batches(table.held))
            left = both.diagonal()[:2] - 2 * both[:2, 2] + both[2, 2]
            found[s, place] = (left[1] - left[0]) / both[2, 2]
    return found


def _settings(where: FeatureSource, orders: Sequence[int], how: Training, rows: CachedRows) -> dict[str, Any]:
    """Everything the trained trunks depend on, as a file holds it."""
    options = {name: value for name, value in how.facts().items() if name != "seeds"}
    return {"digest": where.network.digest(), "at": where.at, "orders": list(orders), "data": fingerprint(rows), **options}


def _provenance(where: FeatureSource, table: RowSplits, how: Training, spent: dict[str, Any]) -> dict[str, Any]:
    expected = estimate_cost(where.network, len(table.rows), at=where.at, orders=spent["orders"], training=how)
    tokens = not any(value.is_floating for value in where.network.inputs)
    return {
        "model": where.network.name,
        "digest": where.network.digest(),
        "input": f"embedding {where.inputs[0]}" if tokens else ", ".join(where.inputs),
        "kind": table.shape.kind,
        "rows": {"all": len(table.rows), "train": len(table.train), "select": len(table.select), "held": len(table.held)},
        "options": how.facts(),
        "seed": how.seed,
        "cost": {"flop": expected.flop, "expected_seconds": expected.seconds, "seconds": spent["seconds"], "mapped": spent["mapped"]},
        "versions": {"vesalius": VERSION, "torch": torch.__version__},
    }
