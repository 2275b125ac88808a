"""The inputs of the gallery: two digits, two small pictures, a photograph, a sentence, a row of a table; each with its network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from vesalius.core.players import Players
from vesalius.core.progress import progress_bar
from vesalius.data import text
from vesalius.data.datasets import Dataset, load
from vesalius.data.download import fetch
from vesalius.data.models import TrainedNetwork, trained
from vesalius.data.pretrained import PHOTOS, pretrained
from vesalius.games.absence import Constant
from vesalius.trace import Network, trace
from vesalius.views.style import Verdict, number, percent
from vesalius.workflow.job import Job
from vesalius.workflow.summary import describe_network

SENTENCE = "no matter how good this film may have looked , it fails to deliver ."
"""Of a test review that advises against its film; chosen because its words pull both ways."""

PHOTO_BLOCK = 8
"""Pixels of a photograph along either side of which values are shown added up: single ones are too small to be seen."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Example:
    """One input of the gallery, ready to be explained.

    Attributes:
        heading: of its section.
        model: its network, in words.
        job: what is asked, of this one row.
        outcome: what the network predicted, and whether it is right.
        target: what is explained, in words.
        picture, words, columns, parts: as in :class:`vesalius.views.gallery.Exhibit`.
        options: of methods, by name, for those methods that have them.
    """

    heading: str
    model: str
    job: Job
    outcome: Verdict
    target: str
    picture: Float[Tensor, "channels height width"] | None = None
    words: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    parts: Players | None = None
    options: Mapping[str, object]


def _digit_right(cache: Path | None) -> Example:
    found = _train_network("digits_cnn", cache)
    return _digit("A digit", found, _first_correct(found, label=4))


def _digit_wrong(cache: Path | None) -> Example:
    found = _train_network("digits_cnn", cache)
    return _digit("A misclassified digit", found, _surest_mistake(found.model(found.data.test_x).detach(), found.data))


def _digit(heading: str, found: TrainedNetwork, row: int) -> Example:
    x = found.data.test_x[row]
    job = _make_job(trace(found.model, x[None]), x, found.data.train_x.mean(0), "mean of the training digits")
    outcome, target = _outcome(job, found.data.class_names, int(found.data.test_y[row]))
    model = _describe_model(job.network, found.accuracy, found.data)
    return Example(heading=heading, model=model, job=job, outcome=outcome, target=target, picture=x, options={})


def _cifar_right(cache: Path | None) -> Example:
    return _cifar("A small picture", "horse", False, cache)


def _cifar_wrong(cache: Path | None) -> Example:
    return _cifar("A misclassified picture", "cat", True, cache)


def _cifar(heading: str, label: str, wrong: bool, cache: Path | None) -> Example:
    """The first picture of a class that is classified rightly and surely, or of those that are not the surest."""
    found, data = pretrained("resnet20", cache=cache), load("cifar10_subset", cache=cache)
    with torch.no_grad():
        output = torch.cat([found.model(part) for part in torch.split(data.test_x, 250)])
    of_class = data.test_y == data.class_names.index(label)
    sure, predicted = output.softmax(1).max(1)
    right = predicted == data.test_y
    row = int(torch.where(of_class & ~right, sure, 0).argmax() if wrong else (of_class & right & (sure > 0.99)).nonzero()[0])
    x = data.test_x[row]
    job = _make_job(trace(found.model, x[None]), x, data.train_x.mean((0, 2, 3))[:, None, None].expand_as(x), "mean colour of CIFAR-10")
    outcome, target = _outcome(job, data.class_names, int(data.test_y[row]))
    model = _describe_model(job.network, float(right.float().mean()), data)
    return Example(heading=heading, model=model, job=job, outcome=outcome, target=target, picture=x, options={})


def _photo(cache: Path | None) -> Example:
    """A photograph, cut to its middle square; values of pixels are shown added up over blocks."""
    found = pretrained("squeezenet", cache=cache)
    with Image.open(fetch(PHOTOS["soccer"], cache=cache)) as file:
        side = min(file.size)
        left, top = ((whole - side) // 2 for whole in file.size)
        square = file.convert("RGB").crop((left, top, left + side, top + side))
        pixels = np.asarray(square.resize((found.size, found.size), Image.Resampling.BILINEAR))
    x = torch.tensor(pixels).permute(2, 0, 1).contiguous().float() / 255
    colour = dict(found.model.named_buffers())["mean"].expand_as(x)
    job = _make_job(trace(found.model, x[None]), x, colour, "mean colour of ImageNet")
    outcome, target = _outcome(job, found.class_names, None)
    return Example(
        heading="A photograph",
        model=f"{describe_network(job.network)}, trained on ImageNet",
        job=job,
        outcome=outcome,
        target=target,
        picture=x,
        parts=Players.patches(x, PHOTO_BLOCK),
        options={"players": Players.patches(x, 33), "budget": 1000, "size": 32},
    )


def _sentence(cache: Path | None) -> Example:
    found = _train_network("reviews_cnn", cache)
    words = tuple(SENTENCE.split())
    x = text.encode_texts([words], found.data.words, len(words))[0]
    network = trace(found.model, x[None])
    job = _make_job(network, x, None, "the zero vector for each word", at="embedding")
    outcome, target = _outcome(job, found.data.class_names, 0)
    return Example(
        heading="A sentence",
        model=_describe_model(network, found.accuracy, found.data),
        job=job,
        outcome=outcome,
        target=target,
        words=words,
        parts=Players.tokens(x[:, None]),
        options={},
    )


def _table_row(cache: Path | None) -> Example:
    """The first person of the test part whose income is told rightly as high, but not surely."""
    found = _train_network("adult_mlp", cache)
    data = found.data
    sure, predicted = found.model(data.test_x).detach().softmax(1).max(1)
    row = int(((predicted == 1) & (data.test_y == 1) & (sure > 0.6) & (sure < 0.9)).nonzero()[0])
    x = data.test_x[row]
    names = tuple(dict.fromkeys(data.columns))
    parts = Players.segments(torch.tensor([names.index(column) for column in data.columns]), names)
    job = _make_job(trace(found.model, x[None]), x, data.train_x.mean(0), "mean of the training rows", features=data.feature_names)
    outcome, target = _outcome(job, data.class_names, int(data.test_y[row]))
    columns = tuple((name, _cell_text(data, x, name)) for name in names)
    options = {"players": parts, "budget": 1 << parts.n}
    model = _describe_model(job.network, found.accuracy, data)
    return Example(
        heading="A table row", model=model, job=job, outcome=outcome, target=target, columns=columns, parts=parts, options=options
    )


EXAMPLES: Mapping[str, Callable[[Path | None], Example]] = {
    "digit": _digit_right,
    "misread": _digit_wrong,
    "picture": _cifar_right,
    "mistaken": _cifar_wrong,
    "photo": _photo,
    "sentence": _sentence,
    "row": _table_row,
}
"""Makers by name; each takes the folder downloads are kept in, and raises ``MissingData`` where its files are not here."""


def _train_network(name: str, cache: Path | None) -> TrainedNetwork:
    with progress_bar(f"training {name}") as step:
        return trained(name, cache=cache, report=step)


def _make_job(
    network: Network, x: Tensor, baseline: Tensor | None, words: str, *, at: str | None = None, features: tuple[str, ...] = ()
) -> Job:
    """What is asked: why the class that the network predicted."""
    with torch.no_grad():
        output = network(x[None])
    return Job(
        network=network,
        x=x[None],
        output=output,
        target=output.argmax(1),
        absence=Constant() if baseline is None else Constant(value=baseline),
        baseline=words,
        at=at,
        features=features,
        unit="logits",
    )


def _outcome(job: Job, classes: tuple[str, ...], label: int | None) -> tuple[Verdict, str]:
    """What the network predicts, and the explained class, in words."""
    chances = job.output[0].softmax(0)
    best = int(chances.argmax())
    predicted = f"predicted {classes[best]} ({float(chances[best]):.2f})"
    target = f"class {classes[best]}"
    if label is None:
        return Verdict("plain", predicted), target
    return Verdict("ok" if label == best else "bad", f"{predicted}, label {classes[label]}"), target


def _describe_model(network: Network, accuracy: float, data: Dataset) -> str:
    return f"{describe_network(network)}; test accuracy {percent(accuracy)} ({len(data.test_x):,} samples)"


def _first_correct(found: TrainedNetwork, label: int) -> int:
    """The first test sample of a class that is classified rightly."""
    predicted = found.model(found.data.test_x).detach().argmax(1)
    return int(((predicted == label) & (found.data.test_y == label)).nonzero()[0])


def _surest_mistake(output: Float[Tensor, "rows classes"], data: Dataset) -> int:
    sure, predicted = output.softmax(1).max(1)
    return int(torch.where(predicted != data.test_y, sure, 0).argmax())


def _cell_text(data: Dataset, x: Tensor, column: str) -> str:
    """What a row holds in a column: a number, or the name of a category."""
    members = [place for place, owner in enumerate(data.columns) if owner == column]
    if data.feature_names[members[0]] == column:
        return number(float(x[members[0]]))
    return next((data.feature_names[place].partition("=")[2] for place in members if x[place] > 0), "unknown")
