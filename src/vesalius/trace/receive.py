"""The front door: a model and data in any form, as a network and what it takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.names import name_list, require_known
from vesalius.core.rows import Rows, as_batches, is_batches, read_rows, split_labels
from vesalius.core.samples import PER_SAMPLE
from vesalius.trace.batches import Data
from vesalius.trace.network import Network
from vesalius.trace.sequence_axes import sequence_axes
from vesalius.trace.signature import SeveralOutputs
from vesalius.trace.target import Target
from vesalius.trace.texts import open_pipeline, padded_rows, read_texts
from vesalius.trace.trace import trace_rows

CLASS_NUMBER = re.compile(r"class (\d+)")

BATCH_ROWS = 256
"""Rows of a batch of a data set that has none."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Received:
    """A network and rows for it.

    Attributes:
        network: traced, or as it was given.
        x: the rows as tensors, in any of the forms :meth:`Network.bind` takes; or batches.
        features: names of the columns, where they are known, else empty.
        classes: names of the classes, likewise.
        labels: class of each row, where the data has them.
        ids: what the rows are called, likewise.
    """

    network: Network
    x: Any
    features: tuple[str, ...]
    classes: tuple[str, ...]
    labels: Tensor | None = None
    ids: tuple[Any, ...] = ()

    @property
    def outputs(self) -> int | None:
        """Number of classes, where the output is known to be a row of them."""
        if self.network.opaque:
            return None
        shape = self.network.values[self.network.graph("counting classes").output].shape
        return shape[1] if len(shape) == 2 else None

    def columns(self, at: str | Sequence[str] | None) -> tuple[str, ...]:
        """Names of the columns, where inputs are explained; an inner value of as many elements has none of them."""
        places = (at,) if isinstance(at, str) else tuple(at or ())
        return self.features if set(places) <= {value.name for value in self.network.inputs} else ()


def receive(model: Any, x: Any, *, random: bool = False, every_output: bool = False) -> Received:
    """A model and some samples, in any form.

    Args:
        model: a Network; or anything :func:`vesalius.trace` takes, which is traced on these rows, and remembered while it is the same; or a
            pipeline of ``transformers``, whose rows may be texts.
        x: samples, see :func:`vesalius.core.rows.read_rows`.
        random: whether a model will do whose output for an input differs from call to call.
        every_output: of a model that returns several tensors, take all that have a row for each sample, flat and side by side.

    Raises:
        WrongType, InvalidInput: no model, no rows, a random model; as :func:`vesalius.trace`.
    """
    model, x = _without_words(model, x)
    rows = read_rows(x)
    network = model.at_lengths_of(rows) if isinstance(model, Network) else _trace(model, rows, every_output)
    if not random:
        _refuse_random(network)
    return Received(
        network=network,
        x=rows,
        features=rows.features or network.features,
        classes=rows.classes or network.classes,
        labels=rows.labels,
        ids=rows.ids,
    )


def receive_data(model: Any, data: Any, *, every_output: bool = False) -> Received:
    """A model and a data set, in any form; batches stay batches, and all else becomes one tensor per input.

    Args and Raises: as :func:`receive`; besides a data set may be a DataLoader, a Dataset or an iterable of batches of any length.
    """
    model, data = _without_words(model, data)
    if not is_batches(data):
        given = receive(model, data, every_output=every_output)
        tensors = given.network.bind(given.x)
        return Received(network=given.network, x=tensors, features=given.features, classes=given.classes, labels=given.labels)
    batches: Data = as_batches(data, BATCH_ROWS)
    if isinstance(model, Network):
        network = model
        if any(sequence_axes(model.inputs)):
            first, batches = _peek(batches)
            network = model.at_lengths_of(split_labels(first, len(model.inputs))[0])
    else:
        first, batches = _peek(batches)
        network = _trace(model, read_rows(split_labels(first)[0]), every_output)
    _refuse_random(network)
    return Received(network=network, x=batches, features=network.features, classes=network.classes)


def _trace(model: Any, rows: Rows, every_output: bool) -> Network:
    """A network of the model's output, or of all of them side by side."""
    try:
        return trace_rows(model, rows, remember=True)
    except SeveralOutputs as error:
        if not every_output or not error.outputs:
            raise
        return trace_rows(model, rows, output=error.outputs if len(error.outputs) > 1 else error.outputs[0], remember=True)


def _without_words(model: Any, x: Any) -> tuple[Any, Any]:
    """A pipeline as its model, and texts as the ids that its tokenizer makes of them."""
    model, tokenizer = open_pipeline(model)
    texts = read_texts(model, x, tokenizer) if tokenizer is not None or isinstance(x, str) or _is_words(x) else None
    return (model, x) if texts is None else (model, padded_rows(texts))


def _is_words(x: Any) -> bool:
    return isinstance(x, (list, tuple)) and bool(x) and all(isinstance(one, str) for one in x)


def resolve_classes(target: Target, classes: Sequence[str], outputs: int | None = None) -> Target:
    """A target with names of classes as their numbers; any other as it is.

    Args:
        target: as it was given.
        classes: names of all classes in the output's order.
        outputs: how many there are, if that is known.

    Raises:
        InvalidInput: a name where no names are known; another number of names than classes; a name that comes twice.
        UnknownName: none of the classes.
    """
    classes = name_list("classes", classes)
    single = isinstance(target, str)
    if not single and not (isinstance(target, (list, tuple)) and target and all(isinstance(name, str) for name in target)):
        return target
    if classes and outputs is not None and len(classes) != outputs:
        raise InvalidInput(f"{len(classes)} names of classes, and the output has {outputs}; name all of them, in the output's order")
    return _class_number(target, classes) if single else [_class_number(name, classes) for name in target]


def with_class_names(facts: Mapping[str, Any], classes: Sequence[str], outputs: int | None = None) -> dict[str, Any]:
    """A provenance in which a class that was explained goes by its name: ``class versicolor`` for ``class 1``.

    Args:
        facts: with what was explained under ``target``, and under ``samples`` of each sample.
        classes: names of all classes in the output's order; of another number than there are outputs, they name something else.
        outputs: how many there are, if that is known.
    """
    names, each = name_list("classes", classes), facts.get(PER_SAMPLE) or {}
    if not names or (outputs is not None and len(names) != outputs):
        return dict(facts)

    def named(words: Any) -> Any:
        number = CLASS_NUMBER.fullmatch(str(words))
        return f"class {names[int(number[1])]}" if number and int(number[1]) < len(names) else words

    found = {**facts, "target": named(facts["target"])} if "target" in facts else dict(facts)
    return found | ({PER_SAMPLE: {**each, "target": [*map(named, each["target"])]}} if "target" in each else {})


def _class_number(name: str, classes: Sequence[str]) -> int:
    if not classes:
        raise InvalidInput(f"the target is {name!r}, and no names of classes are known; give them in the output's order: classes=[...]")
    require_known("class", name, classes)
    return classes.index(name)


def _refuse_random(network: Network) -> None:
    if network.random:
        raise InvalidInput(
            f"the output of {network.name} for an input differs from call to call (dropout that is always on, noise, sampling); switch that"
            " off for this, or use vesalius.attribute, which takes the mean over repeated calls"
        )


def _peek(batches: Iterable[Any]) -> tuple[Any, Data]:
    """The first batch, and all of them."""
    iterator: Iterator[Any] = iter(batches)
    first = next(iterator, None)
    if first is None:
        raise InvalidInput("the data holds no rows")
    return first, chain([first], iterator) if iterator is batches else batches
