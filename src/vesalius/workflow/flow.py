"""The flow of information through the network, measured on many rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vesalius.core.fingerprint import json_description
from vesalius.core.progress import progress_bar
from vesalius.information import FlowGraph, FlowLayer, MeasurementOptions, information_flow
from vesalius.workflow.job import Job
from vesalius.workflow.method_runs import cache_key, load_cached
from vesalius.workflow.samples import Samples

FILE = "flow.safetensors"


def measure_flow(job: Job, samples: Samples, folder: Path, *, seed: int) -> FlowGraph:
    """The flow graph, or what is kept of it in the folder if everything that matters is as it was.

    Raises:
        NotTraceable: a model without a graph.
        InvalidInput: too few rows.
    """
    assert samples.flow is not None
    rows = job.network.bind(samples.flow)[0]
    key = cache_key(job.of(0), ["flow", json_description(rows), list(samples.features), list(samples.classes), seed])
    found = load_cached(FlowGraph, folder / FILE, key)
    if found is not None:
        return found
    with progress_bar(f"information flow over {len(rows):,} rows") as step:
        found = information_flow(job.network, rows, measuring=MeasurementOptions(seed=seed, rows=max(len(rows), 16), report=step))
    ends = {0: samples.features, len(found.layers) - 1: samples.classes}
    layers = tuple(_name_units(layer, ends.get(at, ())) for at, layer in enumerate(found.layers))
    found = replace(found, layers=layers, provenance={**found.provenance, "run": key})
    found.save(folder / FILE)
    return found


def _name_units(layer: FlowLayer, names: Sequence[str]) -> FlowLayer:
    """A layer whose units are called by these names, where there are as many and all differ."""
    return replace(layer, units=tuple(names)) if len(set(names)) == len(layer) else layer
