"""Which methods add up on which architectures: a zoo of small models, each in a process of its own.

Claim: at least 97 % of the models that run at all are complete to 1e-5 of the change in float32 with DeepLIFT (both rules), Deep SHAP, and
integrated gradients where they converged, at one sample and at three; LRP's account closes to 1e-4.

``python benchmarks/architectures.py`` runs what the file of results does not hold yet and prints the table; with names it runs those.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import captum.attr
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from benchmarks.timing import print_table
from benchmarks.zoo import ENTRIES
from benchmarks.zoo.entry import Entry, enliven

RESULTS = Path(os.environ.get("VESALIUS_ZOO", "zoo.jsonl"))
LIMIT = 300
"""Seconds that one model may take."""
COMPLETE = ("deeplift_rescale", "deeplift_revealcancel", "integrated_gradients")
PRECISIONS = {torch.float32: 1e-5, torch.float64: 1e-10}
"""Largest share of the change that may be missed."""
ACCOUNT = 1e-4

Found = Mapping[str, Any]


def examine(entry: Entry) -> Found:
    """Trace a model in both precisions, compare it with itself, and ask every method about one sample and about three."""
    found: dict[str, Any] = {}
    for dtype in PRECISIONS:
        torch.manual_seed(0)
        try:
            model = enliven(entry.build()).eval().to(dtype)
            args, kwargs = entry.example(3)
            inputs = [_cast(x, dtype) for x in (*args, *kwargs.values())]
            given = inputs[: len(args)], dict(zip(kwargs, inputs[len(args) :], strict=True))
            with torch.no_grad():
                output = _output(model(*given[0], **given[1]), entry.output)
        except Exception as error:
            return found or {"model": f"does not run in {_name(dtype)}: {_line(error)}"}
        start = time.perf_counter()
        one = [x[:1] for x in inputs]
        network = vs.trace(model, *one[: len(args)], kwargs=dict(zip(kwargs, one[len(args) :], strict=True)), output=entry.output)
        found.setdefault("trace", time.perf_counter() - start)
        if network.opaque:
            return {**found, "opaque": str(network.reason)}
        with torch.no_grad():
            found.setdefault("differs", float((network(*inputs) - output).abs().max() / output.abs().max()))
        for method in (*COMPLETE, "lrp_epsilon"):
            gaps = {rows: _gap(network, model, entry, [x[:rows] for x in inputs], output, method) for rows in (1, 3)}
            found.setdefault(method, {})[_name(dtype)] = gaps
        if dtype == torch.float32 and not entry.embedded and len(inputs) == 1 and entry.output is None:
            found["captum"] = _captum_gap(model, inputs[0], output)
    return found


def _captum_gap(model: nn.Module, x: torch.Tensor, output: torch.Tensor) -> float | str:
    """The same share for captum's DeepLIFT; or why it could not be had."""
    target = None if output.ndim == 1 else 1 if output.ndim == 2 else (0,) * (output.ndim - 2) + (1,)
    try:
        values = captum.attr.DeepLift(model).attribute(x.clone(), torch.zeros_like(x), target=target).flatten(1).sum(1)
        with torch.no_grad():
            ends = [
                model(end) if target is None else model(end)[(slice(None), *target) if isinstance(target, tuple) else (slice(None), target)]
                for end in (x, torch.zeros_like(x))
            ]
    except Exception as error:
        return _line(error)
    return float(((ends[0] - ends[1] - values).abs() / (ends[0] - ends[1]).abs()).max())


def _cast(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return x.to(dtype) if x.is_floating_point() else x


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _gap(network: Any, model: nn.Module, entry: Entry, inputs: list[Any], output: torch.Tensor, method: str) -> float | str:
    """By how much the values miss the change of the output, as a share of it; or why they could not be had."""
    target: Any = None if output.ndim == 1 else 1 if output.ndim == 2 else (0,) * (output.ndim - 2) + (1,)
    try:
        found = vs.attribute(
            network, tuple(inputs), method, target=target, **({"at": _embedding(network, model)} if entry.embedded else {})
        )
    except Exception as error:
        return _line(error)
    if method.startswith("lrp"):
        return float((found.unaccounted.abs() / found.total.abs()).max())
    settled = found.converged if found.converged is not None else torch.ones(len(inputs[0]), dtype=torch.bool)
    if not bool(settled.any()):
        return "not converged"
    return float(torch.where(settled.to(found.gap.device), found.relative_gap, torch.zeros_like(found.relative_gap)).max())


def _embedding(network: Any, model: nn.Module) -> str:
    """The first embedding that is called; others share its table under another name."""
    return next(name for name, module in model.named_modules() if isinstance(module, nn.Embedding) and name in network.layers)


def _output(found: Any, name: str | None) -> torch.Tensor:
    tensor: torch.Tensor = found if name is None else found[name] if isinstance(found, Mapping) else getattr(found, name)
    return tensor


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def run_all(names: list[str]) -> None:
    """Examine models one after the other, each in a process that may crash, and keep what was found."""
    for name in names:
        command = [sys.executable, "-W", "ignore", __file__, "--one", name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
            line = next((line for line in done.stdout.splitlines() if line.startswith("{")), "") or json.dumps(
                {"name": name, "model": f"ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"}
            )
        except subprocess.TimeoutExpired:
            line = json.dumps({"name": name, "model": f"more than {LIMIT} seconds"})
        with RESULTS.open("a") as file:
            file.write(line + "\n")


@dataclass(frozen=True)
class Judged:
    """What was found about a model, in words.

    Attributes:
        traced: whether it has a graph.
        misses: of each precision, the largest share that a method misses, where it answered.
        refused: methods that did not answer, and why.
        account: the largest share that relevance leaves open.
        captum: its DeepLIFT's share, or nothing.
        adds_up: whether all methods answered, and all within their bounds.
    """

    traced: bool
    misses: Mapping[str, float]
    refused: Mapping[str, str]
    account: float | None
    captum: float | str | None
    adds_up: bool


def judge(found: Found) -> Judged:
    """Read one line of results."""
    misses: dict[str, float] = {}
    refused: dict[str, str] = {}
    for method in COMPLETE:
        for precision, gaps in found.get(method, {}).items():
            for gap in gaps.values():
                if isinstance(gap, str):
                    refused.setdefault(method, gap)
                else:
                    misses[precision] = max(misses.get(precision, 0.0), gap)
    accounts = [gap for gaps in found.get("lrp_epsilon", {}).values() for gap in gaps.values()]
    for gap in accounts:
        if isinstance(gap, str):
            refused.setdefault("lrp_epsilon", gap)
    numbers = [gap for gap in accounts if not isinstance(gap, str)]
    traced = "opaque" not in found
    bounds = {_name(dtype): bound for dtype, bound in PRECISIONS.items()}
    within = all(miss <= bounds[precision] for precision, miss in misses.items())
    adds_up = traced and within and not set(refused) & set(COMPLETE) and found["differs"] <= bounds["float32"]
    return Judged(traced, misses, refused, max(numbers) if numbers else None, found.get("captum"), adds_up)


def print_results(entries: Mapping[str, Entry], found: Mapping[str, Found]) -> None:
    """Families and how many of their models are right, then each that is not."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    failures = []
    for name, one in found.items():
        row = counts[entries[name].family]
        if "model" in one:
            failures.append((name, one["model"]))
            continue
        judged = judge(one)
        closed = judged.account is not None and judged.account <= ACCOUNT
        for place, holds in enumerate((True, judged.traced, judged.adds_up, closed)):
            row[place] += holds
        if not judged.adds_up or not closed:
            failures.append((name, one.get("opaque") or str(dict(judged.refused) or {**judged.misses, "lrp_epsilon": judged.account})))
    print_table([(family, *row) for family, row in counts.items()], ("family", "models", "traced", "complete", "LRP closes"))
    print_table([(name, why[:160]) for name, why in failures], ("left out, or not right", "why"))
    total = [sum(column) for column in zip(*counts.values(), strict=True)]
    print(f"{total[0]} models of {len(counts)} families: {total[1]} traced, {total[2]} complete, {total[3]} with closed LRP accounts")


def main() -> None:
    """Run what is missing, and print."""
    entries = {entry.name: entry for entry in ENTRIES}
    if sys.argv[1:2] == ["--one"]:
        warnings.filterwarnings("ignore")
        torch.set_num_threads(1)
        print(json.dumps({"name": sys.argv[2], **examine(entries[sys.argv[2]])}))
        return
    known = {line["name"] for line in map(json.loads, RESULTS.read_text().splitlines())} if RESULTS.exists() else set()
    run_all(sys.argv[1:] or [name for name in entries if name not in known])
    found = {line["name"]: line for line in map(json.loads, RESULTS.read_text().splitlines())}
    print_results(entries, {name: one for name, one in found.items() if name in entries})


if __name__ == "__main__":
    main()
