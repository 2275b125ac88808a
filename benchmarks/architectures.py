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
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from benchmarks.timing import print_table
from benchmarks.zoo import ENTRIES
from benchmarks.zoo.entry import Entry

RESULTS = Path(os.environ.get("VESALIUS_ZOO", "zoo.jsonl"))
LIMIT = 300
"""Seconds that one model may take."""
COMPLETE = ("deeplift_rescale", "deeplift_revealcancel", "deep_shap", "integrated_gradients")
GAP, ACCOUNT = 1e-5, 1e-4

Found = Mapping[str, Any]


def examine(entry: Entry) -> Found:
    """Trace a model, compare it with itself, and ask every method about one sample and about three."""
    torch.manual_seed(0)
    try:
        model = entry.build().eval()
        args, kwargs = entry.example(3)
        with torch.no_grad():
            output = _output(model(*args, **kwargs), entry.output)
    except Exception as error:
        return {"model": f"does not run: {_line(error)}"}
    start = time.perf_counter()
    one, named = entry.example(1)
    network = vs.trace(model, *one, kwargs=dict(named), output=entry.output)
    found: dict[str, Any] = {"trace": time.perf_counter() - start}
    if network.opaque:
        return {**found, "opaque": str(network.reason)}
    inputs = [*args, *kwargs.values()]
    with torch.no_grad():
        found["differs"] = float((network(*inputs) - output).abs().max() / output.abs().max())
    for method in (*COMPLETE, "lrp_epsilon"):
        found[method] = {rows: _gap(network, model, entry, [x[:rows] for x in inputs], output, method) for rows in (1, 3)}
    return found


def _gap(network: Any, model: nn.Module, entry: Entry, inputs: list[Any], output: torch.Tensor, method: str) -> float | str:
    """By how much the values miss the change of the output, as a share of it; or why they could not be had."""
    target: Any = 1 if output.ndim == 2 else (0,) * (output.ndim - 2) + (1,)
    try:
        found = vs.attribute(
            network, tuple(inputs), method, target=target, **({"at": _embedding(network, model)} if entry.embedded else {})
        )
    except Exception as error:
        return _line(error)
    if method.startswith("lrp"):
        return float((found.unaccounted.abs() / found.total.abs()).max())
    settled = found.converged if found.converged is not None else torch.ones(len(inputs[0]), dtype=torch.bool)
    return float(torch.where(settled.to(found.gap.device), found.relative_gap, torch.zeros_like(found.relative_gap)).max())


def _embedding(network: Any, model: nn.Module) -> str:
    """The first embedding that is called; others share its table under another name."""
    return next(name for name, module in model.named_modules() if isinstance(module, nn.Embedding) and name in network.layers)


def _output(found: Any, name: str | None) -> torch.Tensor:
    tensor: torch.Tensor = found if name is None else getattr(found, name)
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


def print_results(entries: Mapping[str, Entry], found: Mapping[str, Found]) -> None:
    """Families and how many of their models are right, then each that is not."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    failures = []
    for name, one in found.items():
        row = counts[entries[name].family]
        if "model" in one:
            failures.append((name, one["model"]))
            continue
        bad = {method: gap for method in COMPLETE for gap in one.get(method, {}).values() if isinstance(gap, str) or not gap <= GAP}
        open_account = [gap for gap in one.get("lrp_epsilon", {}).values() if isinstance(gap, str) or not gap <= ACCOUNT]
        row[0] += 1
        row[1] += "opaque" not in one
        row[2] += "opaque" not in one and not bad and one["differs"] <= GAP
        row[3] += "opaque" not in one and not open_account
        if "opaque" in one or bad or open_account:
            failures.append((name, one.get("opaque") or str(bad or {"lrp_epsilon": open_account})))
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
