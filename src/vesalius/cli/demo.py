"""``vesalius demo``: two networks trained in seconds, some of their decisions, right and wrong, an autoencoder made small, and one page.

The demo is two runs of ``vesalius explain`` and one of ``vesalius sparsify`` on files that it writes, so that the commands on the page make
its numbers again.
"""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from safetensors.torch import save
from torch import Tensor

from vesalius.cli.explain import Explain, ExplainResult, explain_rows
from vesalius.cli.sparsify import SparsifyOptions, prune_and_measure
from vesalius.core import store
from vesalius.data.datasets import Dataset, load
from vesalius.data.models import TrainedNetwork, trained
from vesalius.models import fit
from vesalius.models.examples import DIGITS_TRAINING, digits_autoencoder, recipe_digest
from vesalius.views.report import report
from vesalius.views.style import percent
from vesalius.workflow.progress import progress_bar
from vesalius.workflow.summary import count_decisions, describe_network, run_cost

INK_THRESHOLD = 0.5
"""Pixels at least this dark, out of 1, are ink."""

WRONG_SHOWN, RIGHT_SHOWN = 2, 4
"""Decisions shown of each network, if it has as many."""


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Train three small networks, explain some decisions of two, make the third smaller, and write a page. Needs no connection."""

    out: Path = Path("vesalius-demo")
    """Folder to write to. What is finished there is not computed again."""
    cache: Path | None = None
    """Folder in which trained networks are kept; the user's cache by default."""


def demo(options: DemoOptions) -> Path:
    """Run the command; returns the page."""
    with _one_thread():
        digits, iris = _train_network("digits_cnn", options.cache), _train_network("iris_mlp", options.cache)
        commands = [
            _digits_command(digits, options.out / "digits"),
            _iris_command(iris, options.out / "iris"),
            _autoencoder_command(options.out / "autoencoder"),
        ]
        first = explain_rows(tyro.cli(Explain, args=commands[0]), heading="Digits", anchor="digits")
        second = explain_rows(tyro.cli(Explain, args=commands[1]), heading="Iris", anchor="iris")
        third = prune_and_measure(tyro.cli(SparsifyOptions, args=commands[2]))
    title, lead, numbers = ink_finding(first)
    seconds = first.seconds + second.seconds
    facts = {
        "digits": f"{describe_network(first.job.network)}; test accuracy {percent(digits.accuracy)} ({len(digits.data.test_x)} images)",
        "iris": f"{describe_network(second.job.network)}; test accuracy {percent(iris.accuracy)} ({len(iris.data.test_x)} flowers)",
        "explained": count_decisions((*first.decisions.items, *second.decisions.items)),
        "autoencoder": f"{describe_network(third.network)}; {percent(third.pruned.sparsity)} of the connections pruned",
        "baseline": "mean of the test samples",
        "made in": run_cost(seconds, (*first.done, *second.done)),
    }
    verbs = ("explain", "explain", "sparsify")
    reproduce = "\n".join(shlex.join(["vesalius", verb, *words]) for verb, words in zip(verbs, commands, strict=True))
    page = report([*first.sections, *second.sections, *third.sections], title=title, lead=lead, facts=facts, reproduce=reproduce)
    accuracy = {"digits": digits.accuracy, "iris": iris.accuracy}
    whole = {"finding": title, "lead": lead, **numbers, "accuracy": accuracy, "links": third.facts, "seconds": seconds}
    store.write_text(options.out / "summary.json", json.dumps(whole, indent=1) + "\n")
    return page.save(options.out / "report.html")


def _train_network(name: str, cache: Path | None) -> TrainedNetwork:
    with progress_bar(f"training {name}") as step:
        return trained(name, cache=cache, report=step)


def _digits_command(found: TrainedNetwork, folder: Path) -> list[str]:
    """Files for the digits, and the command that explains them; 16 patches, so that Shapley values are exact."""
    held = io.BytesIO()
    np.savez(held, x=found.data.test_x.numpy(), y=found.data.test_y.numpy())
    store.write_bytes(folder / "test.npz", held.getvalue())
    held = io.BytesIO()
    np.savez(held, x=found.data.train_x.numpy(), y=found.data.train_y.numpy())
    store.write_bytes(folder / "train.npz", held.getvalue())
    words = _explain_command("digits_cnn", found, folder, folder / "test.npz")
    words += ["--players", "patches:2", "--budget", str(1 << 16), "--audit", _first_row(words), "--flow", ":"]
    return [*words, "--complexity", "conv2", "--train", str(folder / "train.npz")]


def _iris_command(found: TrainedNetwork, folder: Path) -> list[str]:
    """Files for iris, and the command that explains them."""
    data = found.data
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([*data.feature_names, "species"])
    for x, y in zip(data.test_x.tolist(), data.test_y.tolist(), strict=True):
        lines.writerow([*(f"{value:.6g}" for value in x), data.class_names[y]])
    store.write_bytes(folder / "test.csv", text.getvalue().encode())
    words = _explain_command("iris_mlp", found, folder, folder / "test.csv")
    return [*words, "--label", "species", "--names", ",".join(data.class_names), "--audit", _first_row(words), "--flow", ":"]


def _autoencoder_command(folder: Path) -> list[str]:
    """Files for an autoencoder of digits, trained here unless it was before, and the command that cuts its links."""
    data, weights = load("digits"), folder / f"autoencoder-{recipe_digest()}.safetensors"
    if not weights.exists():
        with progress_bar("training digits_autoencoder") as step:
            found = fit(digits_autoencoder(), data.train_x.flatten(1), training=replace(DIGITS_TRAINING, report=step))
        store.write_bytes(weights, save(found.model.state_dict()))
    for name, x in (("train", data.train_x), ("test", data.test_x)):
        held = io.BytesIO()
        np.savez(held, x=x.flatten(1).numpy())
        store.write_bytes(folder / f"{name}.npz", held.getvalue())
    words = ["vesalius.models.examples:digits_autoencoder", str(folder / "train.npz"), "--test", str(folder / "test.npz")]
    words += ["--weights", str(weights), "--shape", "8,8", "--sparsity", "0.8"]
    return [*words, "--out", str(folder)]


def _first_row(words: Sequence[str]) -> str:
    """The first of the rows that a command explains."""
    return words[list(words).index("--rows") + 1].split(",")[0]


def _explain_command(name: str, found: TrainedNetwork, folder: Path, data: Path) -> list[str]:
    weights = folder / f"{name}.safetensors"
    store.write_bytes(weights, found.weights.read_bytes())
    rows = ",".join(map(str, pick_rows(found.model(found.data.test_x).detach(), found.data)))
    words = [f"vesalius.data.models:{name}", str(data), "--weights", str(weights), "--rows", rows]
    return [*words, "--baseline", "mean", "--out", str(folder)]


def pick_rows(output: Tensor, data: Dataset) -> list[int]:
    """Test samples to show: right ones of different classes, then the wrong ones of which the network is surest."""
    sure, predicted = output.softmax(1).max(1)
    wrong = (predicted != data.test_y).nonzero().flatten()
    worst = wrong[sure[wrong].argsort(descending=True, stable=True)][:WRONG_SHOWN].tolist()
    members = [((predicted == data.test_y) & (predicted == label)).nonzero().flatten() for label in range(len(data.class_names))]
    right = [int(rows[0]) for rows in members if len(rows)]
    spread = np.linspace(0, len(right) - 1, min(RIGHT_SHOWN, len(right))).round().astype(int)
    return [*(right[place] for place in spread), *worst]


def ink_finding(found: ExplainResult) -> tuple[str, str, dict[str, Any]]:
    """What the digits network looks at: title, lead and numbers, from integrated gradients."""
    first = next(one.allocation for one in found.done if one.allocation.method == "integrated_gradients")
    size = first.values.abs()
    ink = found.samples.x >= INK_THRESHOLD
    share, area = float(size[ink].sum() / size.sum()), float(ink.float().mean())
    ratio = (share / area) / ((1 - share) / (1 - area))
    title = f"The digits network gives a pixel of ink {ratio:.1f} times the weight of a pixel of background"
    lead = (
        f"Ink covers {percent(area)} of these {len(first)} images and carries {percent(share)} of the relevance "
        f"(integrated gradients, absolute values, against the mean image)."
    )
    return title, lead, {"ink": {"relevance": share, "area": area, "ratio": ratio}}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Networks as small as these run several times faster on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
