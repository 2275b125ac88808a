"""Two networks trained in seconds, some of their decisions, right and wrong, an autoencoder made small, and one page.

The demo writes its networks and data to files, and shows the commands that make its numbers again from these: two of ``vesalius explain``
and one of ``vesalius sparsify``.
"""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import Tensor

from vesalius.core import store
from vesalius.core.entry import verb
from vesalius.core.progress import progress_bar
from vesalius.data.datasets import Dataset, load
from vesalius.data.models import TrainedNetwork, trained
from vesalius.models import fit
from vesalius.models.examples import DIGITS_TRAINING, digits_autoencoder, recipe_digest
from vesalius.trace import trace
from vesalius.views.report import Report, report
from vesalius.views.style import percent
from vesalius.workflow.complexity import MOST_ROWS
from vesalius.workflow.explain import PAGE, ExplainOptions, ExplainQuestion, ExplainResult, explain_samples
from vesalius.workflow.folder import output_folder
from vesalius.workflow.samples import LabelledRows, RowSelection, Samples, select_samples
from vesalius.workflow.sparsify import PruningQuestion, SparsifyOptions, SparsifyResult, sparsify_samples
from vesalius.workflow.summary import count_decisions, describe_network, run_cost

INK_THRESHOLD = 0.5
"""Pixels at least this dark, out of 1, are ink."""

WRONG_SHOWN, RIGHT_SHOWN = 2, 4
"""Decisions shown of each network, if it has as many."""

SPARSITY = 0.8
"""Share of the autoencoder's connections that is pruned."""


@dataclass(frozen=True, eq=False)
class Explained:
    """One network of the demo.

    Attributes:
        network: and its data.
        found: about some of its decisions.
        command: that makes the same again.
    """

    network: TrainedNetwork
    found: ExplainResult
    command: str


@verb
def demo(out: str | Path, *, cache: Path | None = None) -> Report:
    """Train three small networks, explain some decisions of two, make the third smaller: one page. Needs no connection.

    Args:
        out: folder to write to. What is finished there is not computed again.
        cache: folder in which trained networks are kept; the user's cache by default.

    Raises:
        InvalidInput: ``out`` is a file.
    """
    with output_folder(out) as folder:
        with _one_thread():
            digits, iris = _train_network("digits_cnn", cache), _train_network("iris_mlp", cache)
            first, second = _explain_digits(digits, folder / "digits"), _explain_iris(iris, folder / "iris")
            third, command = _sparsify_autoencoder(folder / "autoencoder")
        title, lead, numbers = ink_finding(first.found)
        seconds = first.found.seconds + second.found.seconds
        facts = {
            "digits": f"{_describe(first)} ({len(digits.data.test_x)} images)",
            "iris": f"{_describe(second)} ({len(iris.data.test_x)} flowers)",
            "explained": count_decisions((*first.found.decisions.items, *second.found.decisions.items)),
            "autoencoder": f"{describe_network(third.network)}; {percent(third.pruned.sparsity)} of the connections pruned",
            "baseline": "mean of the test samples",
            "made in": run_cost(seconds, (*first.found.done, *second.found.done)),
        }
        sections = [*first.found.sections, *second.found.sections, *third.sections]
        reproduce = "\n".join((first.command, second.command, command))
        page = report(sections, title=title, lead=lead, facts=facts, reproduce=reproduce)
        accuracy = {"digits": digits.accuracy, "iris": iris.accuracy}
        whole = {"finding": title, "lead": lead, **numbers, "accuracy": accuracy, "links": third.facts, "seconds": seconds}
        store.write_text(folder / "summary.json", json.dumps(whole, indent=1) + "\n")
        page.save(folder / PAGE)
    return page


def _describe(one: Explained) -> str:
    return f"{describe_network(one.found.job.network)}; test accuracy {percent(one.network.accuracy)}"


def _train_network(name: str, cache: Path | None) -> TrainedNetwork:
    with progress_bar(f"training {name}") as step:
        return trained(name, cache=cache, report=step)


def _explain_digits(network: TrainedNetwork, folder: Path) -> Explained:
    """With 16 patches, so that Shapley values are exact."""
    data, rows = network.data, pick_rows(network.model(network.data.test_x).detach(), network.data)
    for name, x, y in (("test", data.test_x, data.test_y), ("train", data.train_x, data.train_y)):
        _write_npz(folder / f"{name}.npz", x=x, y=y)
    test = LabelledRows(x=data.test_x, labels=data.test_y.tolist())
    train = LabelledRows(x=data.train_x, labels=data.train_y.tolist())
    options = ExplainOptions(
        players="patches:2",
        budget=1 << 16,
        audit=rows[0],
        complexity="conv2",
        train=select_samples(train, RowSelection(rows=slice(0, MOST_ROWS))),
    )
    samples = select_samples(test, RowSelection(rows=rows, mean=True, flow=slice(None), whole=MOST_ROWS))
    question = ExplainQuestion(baseline="mean", options=options, heading="Digits")
    found = explain_samples(trace(network.model, data.test_x[:1]), samples, question, folder)
    words = _explain_words("digits_cnn", network, folder / "test.npz", rows)
    words += ["--players", "patches:2", "--budget", str(1 << 16), "--audit", str(rows[0]), "--flow", ":"]
    words += ["--complexity", "conv2", "--train", str(folder / "train.npz")]
    return Explained(network, found, shlex.join(words))


def _explain_iris(network: TrainedNetwork, folder: Path) -> Explained:
    data, rows = network.data, pick_rows(network.model(network.data.test_x).detach(), network.data)
    cells = [[f"{value:.6g}" for value in x] for x in data.test_x.tolist()]
    species = [data.class_names[y] for y in data.test_y.tolist()]
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([*data.feature_names, "species"])
    lines.writerows([*line, name] for line, name in zip(cells, species, strict=True))
    store.write_bytes(folder / "test.csv", text.getvalue().encode())
    x = torch.tensor([[float(cell) for cell in line] for line in cells], dtype=torch.float64)
    test = LabelledRows(x=x, labels=species, classes=tuple(data.class_names), features=tuple(data.feature_names))
    samples = select_samples(test, RowSelection(rows=rows, mean=True, flow=slice(None)))
    question = ExplainQuestion(baseline="mean", options=ExplainOptions(audit=rows[0]), heading="Iris")
    found = explain_samples(trace(network.model, data.test_x[:1]), samples, question, folder)
    words = _explain_words("iris_mlp", network, folder / "test.csv", rows)
    words += ["--label", "species", "--names", ",".join(data.class_names), "--audit", str(rows[0]), "--flow", ":"]
    return Explained(network, found, shlex.join(words))


def _explain_words(name: str, network: TrainedNetwork, data: Path, rows: list[int]) -> list[str]:
    weights = data.parent / f"{name}.safetensors"
    store.write_bytes(weights, network.weights.read_bytes())
    words = ["vesalius", "explain", f"vesalius.data.models:{name}", str(data), "--weights", str(weights)]
    return [*words, "--rows", ",".join(map(str, rows)), "--baseline", "mean", "--out", str(data.parent)]


def _sparsify_autoencoder(folder: Path) -> tuple[SparsifyResult, str]:
    """An autoencoder of digits, trained here unless it was before, made smaller; and the command that does so."""
    data, weights, model = load("digits"), folder / f"autoencoder-{recipe_digest()}.safetensors", digits_autoencoder()
    if not weights.exists():
        with progress_bar("training digits_autoencoder") as step:
            found = fit(model, data.train_x.flatten(1), training=replace(DIGITS_TRAINING, report=step))
        store.write_bytes(weights, save(found.model.state_dict()))
    model.load_state_dict(load_tensors(weights.read_bytes()))
    parts: dict[str, Samples] = {}
    for name, x in (("train", data.train_x.flatten(1)), ("test", data.test_x.flatten(1))):
        _write_npz(folder / f"{name}.npz", x=x)
        parts[name] = select_samples(LabelledRows(x=x), RowSelection(rows=slice(None)))
    question = PruningQuestion(sparsity=SPARSITY, options=SparsifyOptions(shape=(8, 8)))
    found_pruned = sparsify_samples(trace(model, parts["train"].x[:1]), parts["train"], parts["test"], question, folder)
    words = ["vesalius", "sparsify", "vesalius.models.examples:digits_autoencoder", str(folder / "train.npz")]
    words += ["--test", str(folder / "test.npz"), "--weights", str(weights), "--shape", "8,8", "--sparsity", str(SPARSITY)]
    return found_pruned, shlex.join([*words, "--out", str(folder)])


def _write_npz(path: Path, **arrays: Tensor) -> None:
    held = io.BytesIO()
    np.savez(held, **{name: tensor.numpy() for name, tensor in arrays.items()})  # type: ignore[arg-type] # numpy's stub has allow_pickle
    store.write_bytes(path, held.getvalue())


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
