"""Running methods over rows: in pieces that show progress, each method kept in a file so that a run can be taken up again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from vesalius.audit.result import Audit
from vesalius.complexity import Complexity
from vesalius.core.allocation import Allocation
from vesalius.core.concatenation import join_allocations
from vesalius.core.errors import ForeignFile
from vesalius.core.fingerprint import json_description
from vesalius.core.progress import progress_bar, say
from vesalius.core.version import VERSION
from vesalius.information import FlowGraph
from vesalius.methods import Method, attribute
from vesalius.workflow.job import Job

Kind = TypeVar("Kind", Allocation, Audit, Complexity, FlowGraph)

BATCH_ROWS = 16
"""Rows given to a gradient method at once; a game is played row by row."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MethodResult:
    """One method's answer for all rows.

    Attributes:
        allocation: over all rows, on the CPU.
        file: where it is kept.
        kept: whether it was there already.
    """

    allocation: Allocation
    file: Path
    kept: bool


def run_methods(job: Job, methods: Sequence[Method], folder: Path) -> list[MethodResult]:
    """Run every method, or take its answer from the folder if it is there and everything that matters is as it was."""
    return [_run_method(job, method, folder / f"{method.name}.safetensors") for method in methods]


def _run_method(job: Job, method: Method, file: Path) -> MethodResult:
    key = fingerprint(job, method)
    kept = _load_allocation(file)
    if kept is not None and kept.provenance.get("run") == key:
        say(f"{method.name}: kept from {file}")
        return MethodResult(allocation=kept, file=file, kept=True)
    allocation = _allocate(job, method)
    facts = {**allocation.provenance, "baseline": job.baseline, "unit": job.unit, "run": key}
    allocation = replace(allocation, provenance=facts)
    allocation.save(file)
    return MethodResult(allocation=allocation, file=file, kept=False)


def _load_allocation(file: Path) -> Allocation | None:
    try:
        return Allocation.load(file)
    except (FileNotFoundError, ForeignFile):
        return None


def load_cached(kind: type[Kind], file: Path, key: str) -> Kind | None:
    """What a file holds, if it is the answer to the same question."""
    try:
        found = kind.load(file)
    except (FileNotFoundError, ForeignFile):
        return None
    if found.provenance.get("run") != key:
        return None
    say(f"kept from {file}")
    return found


def _allocate(job: Job, method: Method) -> Allocation:
    count = len(job.x)
    size = 1 if method.plays else BATCH_ROWS
    parts = []
    with progress_bar(method.name.replace("_", " ")) as step:
        for start in range(0, count, size):
            step(start, count)
            rows = slice(start, start + size)
            target = None if job.target is None else job.target[rows]
            parts.append(attribute(job.network, job.x[rows], method, target=target, baseline=job.absence, at=job.at))
    joined = join_allocations(parts)
    return joined if job.at is not None else replace(joined, players=joined.players.named(job.features, strict=False))


def options_of(method: Method | type[Method]) -> set[str]:
    """Names of a method's options."""
    return {field.name for field in fields(method)}


def fingerprint(job: Job, method: Method) -> str:
    """Digest of everything a method's answer depends on."""
    return cache_key(job, [method.name, {name: json_description(getattr(method, name)) for name in sorted(options_of(method))}])


def cache_key(job: Job, work: object) -> str:
    """Digest of all that the answer to some work, described as JSON, depends on; the output on the rows stands for the model's code."""
    facts: dict[str, Any] = {
        "versions": [VERSION, torch.__version__],
        "method": work,
        "model": job.network.digest(),
        "names": [job.baseline, job.at, job.unit, list(job.features)],
    }
    absence = {name: json_description(value) for name, value in sorted(vars(job.absence).items())}
    facts["tensors"] = [
        json_description(job.x),
        json_description(job.output),
        json_description(job.target),
        type(job.absence).__name__,
        absence,
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
