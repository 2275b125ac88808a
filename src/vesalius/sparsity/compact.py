"""A pruned network made small: candidate forms, checked and measured on the machine at hand; the fastest or smallest is kept."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from vesalius.core.display import load_view
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.sparsity.compression.candidates import Form, build_forms
from vesalius.sparsity.compression.codec import size_on_disk
from vesalius.sparsity.compression.cost import FormCost, count_flop, format_table, memory_bytes, stored_parameters
from vesalius.sparsity.compression.exporting import export
from vesalius.sparsity.compression.timing import NOISE, Clock, Times, choose_form, measure_times
from vesalius.sparsity.parametrizations import copy_with_plain_weights, plain_network
from vesalius.trace.all_outputs import with_all_outputs
from vesalius.trace.copying import computed_attributes
from vesalius.trace.network import Inputs, Network
from vesalius.trace.signature import ModelCall

TOLERANCE = 1e-5
"""How far from the masked model's output a form may be, as a share of its largest value; more where the precision has fewer digits."""
COMPARED_ROWS = 256
"""Rows that outputs are compared on."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Compact:
    """A pruned network in the form that is fastest here, or that has the fewest parameters of those that are as fast within noise.

    Attributes:
        model: called as the user's model is.
        chosen: its form: ``permanent`` (masks turned into zeros), ``smaller`` (without dead and unused units), ``picked`` (which
            reads only the inputs that a link is left of), ``csr`` or ``block`` (sparse layouts of the linear layers).
        table: all forms measured, with the network before as ``dense`` and the one under masks as ``masked``.
        removed: units that the smaller forms do without, by layer.
        why: layers whose units were left alone, and why.
        left_out: forms that were not measured, and why.
        network: the pruned network, traced.
        smallest: the model without dead and unused units, in dense matrices; this is what is exported.
    """

    model: nn.Module
    chosen: str
    table: tuple[FormCost, ...]
    removed: Mapping[str, Int[Tensor, " _"]]
    why: Mapping[str, str]
    left_out: Mapping[str, str]
    network: Network
    smallest: nn.Module

    @property
    def verdict(self) -> str:
        """What the times say of the chosen form, over all batch sizes."""
        best = min(self.table, key=lambda row: prod(row.ratio.values()))
        chosen = self.row(self.chosen)
        if best is chosen:
            return "is the fastest here"
        if all(chosen.ratio[batch] <= best.ratio[batch] * (1 + NOISE) for batch in chosen.ratio):
            return f"is as fast as {best.form!r} within noise"
        return f"is the choice, though {best.form!r} was faster here"

    def row(self, form: str) -> FormCost:
        """The row of the table of a form.

        Raises:
            InvalidInput: it was not measured, with the reason.
        """
        found = {row.form: row for row in self.table}
        if form not in found:
            raise InvalidInput(f"form {form!r} was not measured: {self.left_out.get(form, f'there are {sorted(found)}')}")
        return found[form]

    def export(self, path: str | Path) -> Path:
        """Write the network without dead and unused units; see :func:`vesalius.sparsity.compression.exporting.export`."""
        return export(path, self.smallest, self.network)

    def __deepcopy__(self, memo: dict[int, Any]) -> Compact:
        for model in (self.model, self.smallest):
            memo.update(computed_attributes(model))
        return Compact(**{known.name: copy.deepcopy(getattr(self, known.name), memo) for known in fields(self)})

    def _repr_html_(self) -> str:
        return str(load_view("compact_html")(self))

    def __repr__(self) -> str:
        gone = ", ".join(f"{name} {len(units)}" for name, units in self.removed.items()) or "none"
        said = [
            f"Compact({self.network.name}: {self.chosen!r} {self.verdict})",
            *format_table(self.table, self.chosen, self.table[0].form),
        ]
        said += [f"  units removed: {gone}"]
        said += [f"  left alone: {name}: {reason}" for name, reason in self.why.items()]
        said += [f"  left out: {name}: {reason}" for name, reason in self.left_out.items()]
        return "\n".join(said)


@verb
def compact(
    network: Network,
    *,
    dense: Network | None = None,
    rows: Inputs | None = None,
    batches: Sequence[int] = (1, 256),
    clock: Clock = time.perf_counter,
) -> Compact:
    """Remove what does nothing, build sparse forms, check all of them, measure, and keep the fastest, or the smallest within noise.

    Unstructured sparsity mostly saves memory: sparse layouts pay off in time from about 90 % and in large batches. What is chosen is no
    slower than the dense network at any batch size, beyond noise.

    Args:
        network: pruned, and traced from a live model: under masks of ``torch.nn.utils.prune``, or with zeros in its weights.
        dense: the network before, for comparison.
        rows: inputs that outputs are compared on and times are measured with; standard normal by default.
        batches: batch sizes to measure.
        clock: seconds.

    Returns:
        The chosen model and the table.

    Raises:
        NotTraceable: an opaque network.
        InvalidInput: a network loaded from a file; batch sizes out of range; rows that do not fit, or none for inputs that are integers.
    """
    network.graph("making it small")
    masked = _model_call(network)
    if not batches or min(batches) < 1:
        raise InvalidInput(f"batches are batch sizes to measure, 1 or more each, not {list(batches)}")
    given = _example_rows(network, rows)
    some = tuple(tensor[:COMPARED_ROWS] for tensor in given)
    plain = with_all_outputs(plain_network(network, some), some)
    call = replace(_model_call(plain), model=masked.model)
    with torch.no_grad():
        expected = call.evaluate(some)
    found = build_forms(plain, lambda model: _difference(replace(call, model=model), some, expected), _tolerance(expected))
    base = found.forms["permanent"].model
    smallest = found.forms["smaller"].model if "smaller" in found.forms else base
    yardsticks = {"masked": Form(name="masked", model=call.model, difference=0.0)}
    if dense is not None:
        before = replace(_model_call(dense), output=call.output)
        yardsticks = {"dense": Form(name="dense", model=before.model, difference=_difference(before, some, expected)), **yardsticks}
    every = {**yardsticks, **found.forms}
    reference = next(iter(yardsticks)) if dense is not None else "permanent"
    times = _measure_forms(call, every, given, batches, clock)
    stored = {name: sum(tensor.numel() for tensor in stored_parameters(form.model)) for name, form in found.forms.items()}
    chosen = choose_form(times, stored, reference)
    return Compact(
        model=every[chosen].model,
        chosen=chosen,
        table=tuple(_table_row(network, form, times, reference, smallest) for form in every.values()),
        removed=found.removed,
        why=found.why,
        left_out=found.left_out,
        network=network,
        smallest=smallest,
    )


def _model_call(network: Network) -> ModelCall:
    if network.call is None:
        raise InvalidInput(
            f"{network.name} was loaded from a file, and there is no model to make small; load the weights into the model, and trace it"
        )
    return network.call


def _example_rows(network: Network, rows: Inputs | None) -> tuple[Tensor, ...]:
    """Rows to compare and to measure on.

    Raises:
        InvalidInput.
    """
    if rows is not None:
        return network.bind(rows)
    if any(not value.is_floating for value in network.inputs):
        raise InvalidInput(f"{network.name} takes integers, and made up ones may mean nothing to it; give rows=")
    home = next((tensor.device for tensor in network.parameters.values()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    drawn = [
        torch.randn(COMPARED_ROWS, *(int(side or 1) for side in value.event), generator=generator, dtype=torch.float32)
        for value in network.inputs
    ]
    return tuple(tensor.to(home, getattr(torch, value.dtype)) for tensor, value in zip(drawn, network.inputs, strict=True))


def _difference(call: ModelCall, rows: Sequence[Tensor], expected: Tensor) -> float:
    with torch.no_grad():
        found = call.evaluate(rows)
    if found.shape != expected.shape:
        return float("inf")
    scale = max(1.0, float(expected.abs().max()))
    return float((found - expected).abs().max()) / scale


def _tolerance(expected: Tensor) -> float:
    return max(TOLERANCE, 4 * torch.finfo(expected.dtype).eps)


def _measure_forms(
    call: ModelCall, forms: Mapping[str, Form], rows: Sequence[Tensor], batches: Sequence[int], clock: Clock
) -> dict[int, Times]:
    """Times by batch size."""
    found = {}
    calls = {name: replace(call, model=form.model).isolated() for name, form in forms.items()}
    with torch.no_grad():
        for batch in batches:
            inputs = [tensor[torch.arange(batch, device=tensor.device) % len(tensor)] for tensor in rows]
            runs: dict[str, Callable[[], object]] = {name: partial(form.run, inputs) for name, form in calls.items()}
            found[batch] = measure_times(runs, clock)
    return found


def _table_row(network: Network, form: Form, times: Mapping[int, Times], reference: str, smallest: nn.Module) -> FormCost:
    given = form.name in ("dense", "masked")
    held = stored_parameters(form.model)
    plain = copy_with_plain_weights(form.model) if form.name == "masked" else form.model
    written = size_on_disk(plain, sparse=False) if given else size_on_disk(form.model if form.name == "permanent" else smallest)
    return FormCost(
        form=form.name,
        parameters=sum(tensor.numel() for tensor in held),
        nonzeros=sum(int(tensor.count_nonzero()) for tensor in stored_parameters(plain)),
        memory=memory_bytes(form.model),
        file=written,
        flop=count_flop(network, form.model),
        seconds={batch: one.seconds(form.name) for batch, one in times.items()},
        least={batch: one.least(form.name) for batch, one in times.items()},
        ratio={batch: one.ratio(form.name, reference) for batch, one in times.items()},
        difference=form.difference,
    )
