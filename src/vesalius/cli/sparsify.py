"""``vesalius sparsify``: the links a model needs, the smaller model in a file, and a page about both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from torch import Tensor

from vesalius.cli.data_loading import DataOptions, load_samples
from vesalius.cli.model_loading import ModelOptions, open_network
from vesalius.core import store
from vesalius.core.errors import InvalidInput
from vesalius.sparsity import Compact, Finetune, Pruning, Sparsified, sparsify
from vesalius.sparsity.metrics import apply_in_batches
from vesalius.trace import Network
from vesalius.views.html import Section
from vesalius.views.report import report
from vesalius.views.sparsity.chart_data import image_shape, output_errors
from vesalius.views.sparsity.compact import compact_section
from vesalius.views.sparsity.section import sparsified_section
from vesalius.views.style import number, percent, pluralize
from vesalius.workflow.progress import progress_bar
from vesalius.workflow.samples import Samples, to_model_dtype
from vesalius.workflow.summary import describe_network

FILES = {"weights": "pruned.safetensors", "program": "pruned.pt2", "onnx": "pruned.onnx"}
MOST_ROWS = 8000
"""Rows that a network is evaluated on."""


@dataclass(frozen=True, kw_only=True)
class SparsifyOptions:
    """Prune the connections a model does not need: the smaller model, a page (report.html), and summary.json."""

    model: tyro.conf.Positional[str]
    """file.py:factory or package.module:factory, a function that returns a torch.nn.Module."""
    data: tyro.conf.Positional[Path]
    """Rows to prune by, some thousands: *.npz or *.safetensors (arrays x and, if known, y), *.npy, *.csv or *.parquet, or a folder of
    pictures."""
    out: Path
    """Folder to write to."""
    sparsity: float = 0.9
    """Share of the connections that is pruned."""
    level: float | None = None
    """Share of each layer's importance that is kept by the fewest connections, instead of --sparsity."""
    mode: str = "refit"
    """refit: prune in rounds, refitting the rest by least squares; paper: prune once (one-shot)."""
    score: str | None = None
    """shapley, shapley_zero, gate, magnitude, wanda, linear, taylor or random; by default gate to refit, shapley as in the paper."""
    layers: tuple[str, ...] = ()
    """Layers to prune; all linear ones and convolutions by default."""
    finetune: int = 0
    """Epochs of fine-tuning of what is left, towards the outputs of the dense model (distillation)."""
    test: Path | None = None
    """Rows to evaluate on, in the form of DATA; those of DATA by default."""
    shape: str | None = None
    """height,width or channels,height,width of the picture that a flat row is."""
    write: str = "weights"
    """What the smaller model is written as: weights (pruned.safetensors), program (pruned.pt2) or onnx (pruned.onnx)."""
    weights: Path | None = None
    """Parameters for the factory's module: *.safetensors, or *.pt (read without running code)."""
    output: str | None = None
    """Which part of the model's result is meant, where it is not a single tensor: a key or a position."""
    label: str | None = None
    """Column (csv, parquet) or array (npz, safetensors) of labels."""
    names: str | None = None
    """Names of the classes in the model's order: a,b,c or a file with one per line."""
    size: int | None = None
    """Resize pictures to SIZE x SIZE pixels."""
    seed: int = 0
    """Seed of whatever is drawn at random."""
    device: str = "cpu"
    """Where to run: cpu, cuda, mps."""
    trust: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Read a *.pt2 file although it can run code."""


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


def run_sparsify(options: SparsifyOptions, command: str) -> Path:
    """Run the command.

    Args:
        options: from the command line.
        command: that line, to be shown on the page.

    Returns:
        The page.
    """
    found = prune_and_measure(options)
    facts = {
        "model": describe_network(found.network),
        "connections left": f"{found.pruned.kept:,} of {found.pruned.links:,}",
        **_quality_facts(found.facts),
        "written": FILES[options.write],
    }
    title = f"{found.network.name} without {percent(found.pruned.sparsity)} of its connections"
    return report(found.sections, title=title, facts=facts, reproduce=command).save(options.out / "report.html")


def prune_and_measure(options: SparsifyOptions) -> SparsifyResult:
    """Everything but the page: the smaller model and summary.json are written."""
    if options.write not in FILES:
        raise InvalidInput(f"--write is one of {', '.join(FILES)}, not {options.write!r}")
    samples = load_samples(options.data, _data_options(options))
    opening = ModelOptions(weights=options.weights, output=options.output, trust=options.trust, device=options.device)
    network = open_network(options.model, samples.x, opening)
    x = to_model_dtype(network, samples.x).to(options.device)
    test = samples if options.test is None else load_samples(options.test, _data_options(options))
    judged = to_model_dtype(network, test.x).to(options.device)[:MOST_ROWS]
    pruned = _prune(options, network, x, _parse_shape(options))
    with progress_bar("measuring the pruned network"):
        compact = pruned.compact(rows=judged)
    compact.export(options.out / FILES[options.write])
    facts = _facts(pruned, compact, test, judged)
    store.write_text(options.out / "summary.json", json.dumps(facts, indent=1) + "\n")
    drawn = judged if judged.is_floating_point() else None
    sections = (sparsified_section(pruned, x=drawn, shape=_parse_shape(options)), compact_section(compact))
    return SparsifyResult(network=network, pruned=pruned, compact=compact, sections=sections, facts=facts)


def _prune(options: SparsifyOptions, network: Network, x: Tensor, shape: tuple[int, ...] | None) -> Sparsified:
    finetune = Finetune(epochs=options.finetune, seed=options.seed) if options.finetune else None
    with progress_bar("pruning") as step:
        how = Pruning(layers=options.layers or None, score=options.score, finetune=finetune, seed=options.seed, report=step)
        amount = {"sparsity": options.sparsity} if options.level is None else {"importance_level": options.level}
        found = sparsify(network, x, mode=options.mode, pruning=how, **amount)
    image_shape(found, shape)
    return found


def _data_options(options: SparsifyOptions) -> DataOptions:
    return DataOptions(rows=":", label=options.label, names=options.names, size=options.size)


def _parse_shape(options: SparsifyOptions) -> tuple[int, ...] | None:
    if options.shape is None:
        return None
    try:
        return tuple(int(side) for side in options.shape.split(","))
    except ValueError as error:
        raise InvalidInput(f"--shape {options.shape!r} is not height,width or channels,height,width") from error


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
