"""Take a feature apart by the number of nonlinear layers that it takes to compute."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from vesalius.complexity.checkpoint import fingerprint
from vesalius.complexity.components import Complexity
from vesalius.complexity.cost import estimate_cost
from vesalius.complexity.features import CachedRows, FeatureSource, cache_rows, feature_source, parameter_device
from vesalius.complexity.held_out import group_moments
from vesalius.complexity.orders import check_orders
from vesalius.complexity.runs import Disentanglement, time_matched_gain
from vesalius.complexity.training import RowSplits, Training
from vesalius.complexity.training_plan import first_width, most_rows, with_batch
from vesalius.core.entry import verb
from vesalius.core.version import VERSION
from vesalius.trace.batches import Data
from vesalius.trace.receive import receive_data


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
        training: how; by default width, epochs and rows are chosen by held-out error, within half a minute to a minute of one CPU thread.

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
        settings = _settings(where, wanted, how, rows)
        how = with_batch(how, len(rows))
        most = most_rows(where.shape, wanted, how.width or first_width(where.shape)) if how.epochs is None else None
        table = RowSplits.split(rows, where.shape, how, parameter_device(network), most=most)
        study = Disentanglement.prepare(table, wanted, how, settings).with_best_width()
        seeds = [study.seed(s) for s in range(how.seeds)]
        study.progress.end()
        nets, found = tuple(nets for nets, _, _ in seeds), torch.tensor([own for _, own, _ in seeds])
        listed = [net for row in nets for net in row]
        return Complexity(
            at=where.at,
            orders=wanted,
            nets=nets,
            kept=found,
            moments=group_moments(listed, partial(table.batches, table.held)),
            shape=where.shape,
            time_matched_gain=None if how.mode == "separate" else time_matched_gain(table, [controls for _, _, controls in seeds], nets),
            source=where,
            provenance=_provenance(where, study, {"seconds": time.perf_counter() - started, "mapped": rows.mapped}),
        )


def _settings(where: FeatureSource, orders: Sequence[int], how: Training, rows: CachedRows) -> dict[str, Any]:
    """Everything the trained trunks depend on, as a file holds it."""
    options = {name: value for name, value in how.facts().items() if name != "seeds"}
    return {"digest": where.network.digest(), "at": where.at, "orders": list(orders), "data": fingerprint(rows), **options}


def _provenance(where: FeatureSource, study: Disentanglement, spent: dict[str, Any]) -> dict[str, Any]:
    table, how = study.table, study.how
    expected = estimate_cost(where.network, len(table.rows), at=where.at, orders=study.orders, training=how)
    tokens = not any(value.is_floating for value in where.network.inputs)
    return {
        "model": where.network.name,
        "digest": where.network.digest(),
        "input": f"embedding {where.inputs[0]}" if tokens else ", ".join(where.inputs),
        "kind": table.shape.kind,
        "rows": {"all": len(table.rows), "train": len(table.train), "select": len(table.select), "held": len(table.held)},
        "options": how.facts(),
        "width": study.why_width,
        "seed": how.seed,
        "cost": {"flop": expected.flop, "expected_seconds": expected.seconds, "seconds": spent["seconds"], "mapped": spent["mapped"]},
        "versions": {"vesalius": VERSION, "torch": torch.__version__},
    }
