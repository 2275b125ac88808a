"""What a run found, in words, as JSON and as sections of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.players import Players
from vesalius.core.version import VERSION
from vesalius.trace import Network
from vesalius.trace.target import predicted_classes
from vesalius.views.decisions import Decision
from vesalius.views.style import gap_verdict, join_words, method_name
from vesalius.workflow.job import Job
from vesalius.workflow.method_runs import MethodResult
from vesalius.workflow.samples import Samples

SMALL_PATCH_PIXELS = 4
"""Pixels of a patch up to which it is shown beside single pixels."""


def decision(job: Job, samples: Samples, done: Sequence[MethodResult], row: int) -> Decision:
    """One row: what the model predicts, and every method's answer."""
    output = job.output[row].reshape(-1)
    single = len(output) == 1
    best = 0 if single else int(predicted_classes(output[None]))
    names = samples.classes or tuple(map(str, range(len(output))))
    probability = None if single else float((output if job.unit == "probability" else output.softmax(0))[best])
    per_column = job.at is None and any(one.allocation[row].flat.numel() == len(samples.features) for one in done)
    per_column = job.at is None and any(one.allocation[row].flat.numel() == len(samples.features) for one in done)
    return Decision(
        sample=samples.x[row] if samples.x.is_floating_point() else samples.x[row].float(),
        picture=displayable_image(samples.x[row]) if job.at is None else None,
        predicted=f"{float(output[0]):.4g}" if single else names[best],
        label=samples.labels[row] if samples.labels and not single else None,
        probability=None if probability is None else min(max(probability, 0.0), 1.0),
        target="the output" if job.target is None else f"class {names[int(job.target[row])]}",
        allocations=sum_pixels_over_patches([one.allocation[row] for one in done]),
        features=samples.features if per_column else (),
        note=row_name(samples, row) + (f", label {samples.labels[row]}" if samples.labels and single else ""),
    )


def sum_pixels_over_patches(allocations: Sequence[Allocation]) -> tuple[Allocation, ...]:
    """Maps of one picture, as they are shown: values of single pixels are added up over the patches that other methods divide it into.

    On one scale for all, single pixels and large patches cannot both be seen. Small patches are left beside pixels.
    """
    patches = next((one.players for one in allocations if _has_large_patches(one.players)), None)
    if patches is None:
        return tuple(allocations)
    pixels = patches.index[0].shape
    return tuple(one.group(patches) if _is_per_pixel(one, pixels) else one for one in allocations)


def _has_large_patches(players: Players) -> bool:
    """Grad-CAM's, of one place of a layer each, are none."""
    return players.kind == "patches" and players.index[0].numel() > SMALL_PATCH_PIXELS * players.n


def _is_per_pixel(allocation: Allocation, pixels: Sequence[int]) -> bool:
    players = allocation.players
    return players.kind == "features" and len(players.index) == 1 and tuple(players.index[0].shape[-2:]) == tuple(pixels)


def row_name(samples: Samples, place: int) -> str:
    """What a chosen row is called: its file or index, or its position in the data."""
    return samples.ids[place] if samples.ids else f"row {samples.rows[place]}"


def summary(job: Job, samples: Samples, done: Sequence[MethodResult], decisions: Sequence[Decision]) -> dict[str, Any]:
    """Numbers per method and row, as JSON."""
    rows = [_row_facts(one, job, samples, place) for place, one in enumerate(decisions)]
    return {
        "vesalius": VERSION,
        "model": {"name": job.network.name, "digest": job.network.digest()},
        "baseline": job.baseline,
        "unit": job.unit,
        "methods": {
            one.allocation.method: {
                "file": one.file.name,
                "kept": one.kept,
                "rows": [{**row, **_allocation_numbers(one.allocation[place])} for place, row in enumerate(rows)],
            }
            for one in done
        },
    }


def _row_facts(shown: Decision, job: Job, samples: Samples, place: int) -> dict[str, Any]:
    return {
        "row": samples.rows[place],
        "name": row_name(samples, place),
        "target": None if job.target is None else int(job.target[place]),
        "explained": shown.target,
        "predicted": shown.predicted,
        "label": samples.labels[place] if samples.labels else None,
        "probability": shown.probability,
    }


def _allocation_numbers(sample: Allocation) -> dict[str, Any]:
    return {
        "base": float(sample.base),
        "total": float(sample.total),
        "sum": float(sample.flat.sum()),
        "gap": float(sample.gap),
        "relative_gap": float(sample.relative_gap) if bool(sample.relative_gap.isfinite()) else None,
        "evaluations": int(sample.evaluations),
        "converged": None if sample.converged is None else bool(sample.converged),
    }


def displayable_image(sample: Shaped[Tensor, "*event"]) -> Float[Tensor, "channels height width"] | None:
    """What to show of a picture, in 0..1: as it is, or stretched where it goes beyond; ``None`` for anything else."""
    if sample.ndim != 3 or sample.shape[0] not in (1, 3) or not sample.is_floating_point():
        return None
    sample = sample.float()
    low, high = float(sample.min()), float(sample.max())
    return sample if low >= 0 and high <= 1 else (sample - low) / ((high - low) or 1.0)


def describe_network(network: Network) -> str:
    """``DigitsCNN, 4 layers, 9,098 parameters``."""
    count = sum(tensor.numel() for tensor in network.parameters.values())
    layers = "" if network.opaque else f", {len(network.layers)} layers"
    return f"{network.name}{layers}, {count:,} parameters"


def count_decisions(items: Sequence[Decision]) -> str:
    """``8 decisions, 2 of them wrong``."""
    known = [item for item in items if item.label is not None]
    wrong = sum(item.label != item.predicted for item in known)
    words = f", {wrong} of them wrong" if wrong else ", all of them right"
    return f"{len(items)} decision{'s' * (len(items) != 1)}" + (words if known and len(items) > 1 else "")


def run_cost(seconds: float, done: Sequence[MethodResult]) -> str:
    """``41 s, 22,316 evaluations``, and what was not computed anew."""
    evaluations = sum(int(one.allocation.evaluations.sum()) for one in done)
    kept = sum(one.kept for one in done)
    if kept == len(done):
        return f"an earlier run, {evaluations:,} evaluations"
    return f"{seconds:.0f} s, {evaluations:,} evaluations" + (f", {kept} of {len(done)} methods kept from before" if kept else "")


def completeness_summary(done: Sequence[MethodResult]) -> str:
    """Which methods' values add up to the change of the output, in sentences made from the gaps."""
    count = len(done[0].allocation)
    short = {method_name(one.allocation.method): sum(gap_verdict(one.allocation[i]).level != "ok" for i in range(count)) for one in done}
    good = [name for name, rows in short.items() if not rows]
    bad = [f"{name} (in {rows} of {count})" for name, rows in short.items() if rows]
    sentences = []
    if good:
        sentences.append(f"Complete in every decision (values add up to the change of the output): {join_words(good)}.")
    if bad:
        sentences.append(f"Not complete: {join_words(bad)}.")
    return " ".join(sentences)
