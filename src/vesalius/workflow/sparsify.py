"""The connections a model needs, the smaller model in a file, and a page about both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from vesalius.core import store
from vesalius.core.entry import verb
from vesalius.core.names import require_known
from vesalius.core.options import Options
from vesalius.core.progress import progress_bar
from vesalius.sparsity import Compact, Pruning, Sparsified
from vesalius.sparsity import sparsify as prune
from vesalius.sparsity.metrics import apply_in_batches
from vesalius.trace import Network
from vesalius.trace.receive import receive
from vesalius.views.html import Section
from vesalius.views.report import Report, report
from vesalius.views.sparsity.chart_data import image_shape, output_errors
from vesalius.views.sparsity.compact import compact_section
from vesalius.views.sparsity.section import sparsified_section
from vesalius.views.style import number, percent, pluralize
from vesalius.workflow.explain import PAGE, receive_labelled
from vesalius.workflow.folder import output_folder
from vesalius.workflow.samples import RowSelection, Samples, select_samples
from vesalius.workflow.summary import describe_network

FILES = {"weights": "pruned.safetensors", "program": "pruned.pt2", "onnx": "pruned.onnx"}
MOST_ROWS = 8000
"""Rows that a network is evaluated on."""
DEFAULT_SPARSITY = 0.9


@dataclass(frozen=True, kw_only=True)
class SparsifyOptions(Options):
    """The options of :func:`sparsify` that few calls need, together so that its signature stays short.

    Attributes:
        pruning: how connections are scored, pruned and refitted.
        shape: (height, width) or (channels, height, width) of the picture that a flat row is.
        write: what the smaller model is written as, a name of ``FILES``.
        reproduce: the command that makes the page again, shown on it.
    """

    pruning: Pruning = field(default_factory=Pruning)
    shape: tuple[int, ...] | None = None
    write: str = "weights"
    reproduce: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class PruningQuestion:
    """What :func:`sparsify_samples` is asked.

    Attributes:
        sparsity, importance_level: how much is pruned; one of them is ``None``.
        mode: ``"refit"`` or ``"paper"``.
        options: the rest.
    """

    sparsity: float | None = DEFAULT_SPARSITY
    importance_level: float | None = None
    mode: str = "refit"
    options: SparsifyOptions = field(default_factory=SparsifyOptions)


@dataclass(frozen=True, eq=False, kw_only=True)
class SparsifyResult:
    """What a run found.

    Attributes:
        network: before.
        pruned: after.
        compact: its forms.
        sections: all there is to show.
        facts: numbers, as summary.json holds them.
    """

    network: Network
    pruned: Sparsified
    compact: Compact
    sections: tuple[Section, ...]
    facts: Mapping[str, Any]


@verb
def sparsify(  # noqa: PLR0913 - a verb that users call
    model: Any,
    data: Any,
    *,
    sparsity: float | None = None,
    importance_level: float | None = None,
    mode: str = "refit",
    test: Any = None,
    labels: Any = None,
    out: str | Path | None = None,
    options: SparsifyOptions | None = None,
) -> Report:
    """Prune the connections a model does not need, measure what is left, and show both on a page; the model is never changed.

    Args:
        model: as every verb takes it.
        data: rows of one input to prune by, some thousands, in any form, with labels or without; or
            :class:`~vesalius.workflow.samples.Samples`.
        sparsity: share of the connections that is pruned, in [0, 1); 0.9 by default.
        importance_level: instead, the share of each layer's importance that is kept by the fewest connections.
        mode: ``"refit"``: layer by layer, refitting the rest; ``"paper"``: once.
        test: rows to evaluate on, likewise with labels or without; those of the data by default.
        labels: of ``data``, where it has none: one per row, or the name of a column.
        out: folder to write to: the smaller model, ``summary.json`` and ``report.html``. ``None``: nothing is written.
        options: layers, scores, fine-tuning and the like.

    Returns:
        The page.

    Raises:
        InvalidInput, UnknownName, WrongType: each with what to do.
    """
    options = options or SparsifyOptions()
    if sparsity is None and importance_level is None:
        sparsity = DEFAULT_SPARSITY
    question = PruningQuestion(sparsity=sparsity, importance_level=importance_level, mode=mode, options=options)
    with output_folder(out) as folder:
        network, samples = _receive_all(model, data, labels)
        tested = samples if test is None else _receive_all(network, test, None)[1]
        found = sparsify_samples(network, samples, tested, question, folder)
        page = _page(found, options)
        page.save(folder / PAGE)
    return page


def sparsify_samples(network: Network, samples: Samples, test: Samples, question: PruningQuestion, folder: Path) -> SparsifyResult:
    """Everything but the page: the smaller model and summary.json are written.

    Raises:
        As :func:`sparsify`.
    """
    options = question.options
    require_known("form to write the model in (write=, on the command line --write)", options.write, FILES)
    x = network.bind(samples.x)[0]
    judged = network.bind(test.x)[0][:MOST_ROWS]
    with progress_bar("pruning") as step:
        pruning = options.pruning if options.pruning.report is not None else replace(options.pruning, report=step)
        amount = {"sparsity": question.sparsity, "importance_level": question.importance_level}
        pruned = prune(network, x, mode=question.mode, pruning=pruning, **amount)
    image_shape(pruned, options.shape)
    with progress_bar("measuring the pruned network"):
        compact = pruned.compact(rows=judged)
    compact.export(folder / FILES[options.write])
    facts = _facts(pruned, compact, test, judged)
    store.write_text(folder / "summary.json", json.dumps(facts, indent=1) + "\n")
    drawn = judged if judged.is_floating_point() else None
    sections = (sparsified_section(pruned, x=drawn, shape=options.shape), compact_section(compact))
    return SparsifyResult(network=network, pruned=pruned, compact=compact, sections=sections, facts=facts)


def _receive_all(model: Any, data: Any, labels: Any) -> tuple[Network, Samples]:
    """A model, and all rows of the data."""
    if isinstance(data, Samples):
        return receive(model, data.x).network, data
    network, rows = receive_labelled(model, data, labels=labels)
    return network, select_samples(rows, RowSelection(rows=slice(None)))


def _page(found: SparsifyResult, options: SparsifyOptions) -> Report:
    facts = {
        "model": describe_network(found.network),
        "connections left": f"{found.pruned.kept:,} of {found.pruned.links:,}",
        **_quality_facts(found.facts),
        "written": FILES[options.write],
    }
    title = f"{found.network.name} without {percent(found.pruned.sparsity)} of its connections"
    return report(found.sections, title=title, facts=facts, reproduce=options.reproduce)


def _facts(pruned: Sparsified, compact: Compact, test: Samples, x: Tensor) -> dict[str, Any]:
    """Numbers of a run."""
    found: dict[str, Any] = {
        "links": pruned.links,
        "kept": pruned.kept,
        "sparsity": pruned.sparsity,
        "by layer": pruned.sparsities,
        "evaluated on": len(x),
        **output_errors(pruned, x),
        "form": compact.chosen,
        "bytes": {row.form: row.file for row in compact.table},
        "seconds": {row.form: {str(batch): time for batch, time in row.seconds.items()} for row in compact.table},
        "removed": {name: len(units) for name, units in compact.removed.items()},
    }
    if test.y is not None and "error, dense" not in found:
        found |= _accuracy(pruned, x, test.y[: len(x)])
    return found


def _accuracy(pruned: Sparsified, x: Tensor, y: Tensor) -> dict[str, float]:
    """Of a classifier, before and after; of networks without an output for each class nothing."""
    found = {}
    for name, network in (("before", pruned.dense), ("after", pruned.network)):
        output = apply_in_batches(network, x).cpu()
        if output.ndim != 2 or int(y.max()) >= output.shape[1]:
            return {}
        found[f"accuracy {name}"] = float((output.argmax(1) == y).double().mean())
    return found


def _quality_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    """What the facts say of quality, in words."""
    rows = f"on {pluralize(facts['evaluated on'], 'row')}"
    if "accuracy before" in facts:
        return {"accuracy": f"{percent(facts['accuracy before'])} before, {percent(facts['accuracy after'])} after, {rows}"}
    if "error, dense" in facts:
        return {"error": f"{number(facts['error, dense'])} before, {number(facts['error, pruned'])} after, {rows}"}
    return {}
