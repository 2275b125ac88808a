"""From what a verb is given to what is asked of every row: a network, a task and a stream of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from vesalius.core.arguments import read_argument
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.core.names import name_list
from vesalius.core.rows import is_table
from vesalius.games.absence import Baseline
from vesalius.methods import Method
from vesalius.scale.aggregate import Aggregate
from vesalius.scale.baseline import settle_baseline
from vesalius.scale.method import resolve_survey_method
from vesalius.scale.options import SurveyOptions
from vesalius.scale.stream import RowStream, check_loader, expected_rows, read_column
from vesalius.scale.task import TARGET_COLUMN, TRUE_CLASS, SurveyTask
from vesalius.scale.texts import expected_texts, first_texts
from vesalius.trace.network import Network
from vesalius.trace.receive import Received, receive_data, resolve_classes
from vesalius.trace.text_questions import TextPlayers, require_players
from vesalius.trace.texts import class_names, open_pipeline, read_texts

RESERVED = ("row", "id", "text", "label", "predicted", "error", "margin", "target", TARGET_COLUMN)
"""Columns that a survey makes itself."""
SHARD_BYTES = 64_000_000
MOST_SHARD_ROWS = 1024


@dataclass(frozen=True, eq=False, kw_only=True)
class AskedOfRows:
    """What a survey is asked, as it was given.

    Attributes:
        target, baseline, players, labels, columns, classes, options, tokenizer: see :func:`vesalius.scale.survey`.
    """

    target: Any = None
    baseline: Baseline = None
    players: TextPlayers = None
    labels: Any = None
    columns: Mapping[str, Any] | None = None
    classes: Sequence[str] = ()
    options: SurveyOptions = field(default_factory=SurveyOptions)
    tokenizer: Any = None


def prepare_survey(model: Any, data: Any, method: Any, asked: AskedOfRows) -> tuple[Network, SurveyTask, RowStream]:
    """Everything that is known before the first row is computed.

    Raises: as :func:`vesalius.scale.survey`.
    """
    check_loader(data)
    model, tokenizer = open_pipeline(model, asked.tokenizer)
    asked = replace(asked, tokenizer=tokenizer)
    texts = tokenizer is not None
    if not texts:
        _refuse_texts(data)
        require_players(asked.players)
    data, given = _split_label_column(data, asked.labels)
    received = _receive_texts(model, data, tokenizer) if texts else receive_data(model, data)
    task = _make_task(method, received, asked)
    rows = received.x if isinstance(data, Iterator) or texts else data  # of what is read once, some has been looked at
    most = task.method.shard_rows if isinstance(task.method, Aggregate) else MOST_SHARD_ROWS
    stream = replace(_make_stream(received, rows, given, asked, most), texts=texts)
    stream = replace(stream, expected=expected_texts(rows) if texts else expected_rows(rows))
    return received.network, replace(task, baseline=settle_baseline(asked.baseline, task, stream)), stream


def _receive_texts(model: Any, data: Any, tokenizer: Any) -> Received:
    """A network for texts, and these with the first still among them."""
    first, data = first_texts(data)
    given = read_texts(model, list(first), tokenizer)
    assert given is not None
    network = given.network(given.rows(torch.tensor([given.texts[0].ids])))
    return Received(network=network, x=data, features=(), classes=class_names(model))


def _make_task(method: Any, received: Received, asked: AskedOfRows) -> SurveyTask:
    method, target, options = resolve_survey_method(method), asked.target, asked.options
    if asked.tokenizer is not None and not isinstance(method, Method):
        raise InvalidInput("texts are surveyed by an attribution; interactions, sums over rows and own functions are of rows of ids")
    known = name_list("classes", asked.classes) or received.classes
    names = name_list("names", options.names) or received.columns(options.at)
    resolved = None if _is_per_row(target) else target
    if asked.tokenizer is None and not (isinstance(resolved, str) and resolved == TRUE_CLASS):
        resolved = resolve_classes(resolved, known, received.outputs)
    return SurveyTask(
        method=method,
        target=resolved,
        at=options.at,
        names=names,
        classes=known,
        batch_rows=options.batch_rows,
        keep_inputs=options.keep_inputs,
        players=asked.players,
        tokenizer=asked.tokenizer,
    )


def _is_per_row(target: Any) -> bool:
    """Whether there is a class for each row."""
    return isinstance(target, list) or (isinstance(target, Tensor) and target.ndim > 0) or is_table(target)


def _make_stream(received: Received, data: Any, labels: Any, asked: AskedOfRows, most: int) -> RowStream:
    known = {
        read_argument("the name of a column", name, "str"): read_column(name, values) for name, values in (asked.columns or {}).items()
    }
    if taken := [name for name in known if name in RESERVED]:
        raise InvalidInput(f"a survey has a column {taken[0]!r} of its own; call yours otherwise")
    if _is_per_row(asked.target):
        known[TARGET_COLUMN] = read_column("targets", resolve_classes(asked.target, received.classes))
    per_row = sum(2 * 8 * prod(side or 1 for side in value.shape[1:]) for value in received.network.inputs)
    fitting = max(1, min(most, SHARD_BYTES // max(per_row, 1)))
    return RowStream(
        network=received.network,
        data=data,
        labels=None if labels is None else read_column("labels", labels),
        columns=known,
        block_rows=asked.options.shard_rows or 1 << (fitting.bit_length() - 1),
        expected=None,
    )


def _refuse_texts(data: Any) -> None:
    """Say what is surveyed in the place of texts, which have players of their own each."""
    first = next(iter(data), None) if isinstance(data, (list, tuple)) else data
    if isinstance(first, (list, tuple)):
        first = next(iter(first), None)
    if isinstance(first, str):
        raise InvalidInput(
            f"texts came ({first[:40]!r}), and no tokenizer that makes ids of them; give tokenizer=, or a pipeline in place of the model;"
            " or what the tokenizer makes of them, of one length: input_ids and attention_mask as a mapping, with the model alone"
        )


def _split_label_column(data: Any, labels: Any) -> tuple[Any, Any]:
    """A table without the column of labels, and these; other data as it is."""
    if not isinstance(labels, str):
        return data, labels
    known = list(map(str, getattr(data, "columns", ())))
    if not is_table(data) or labels not in known:
        raise UnknownName("column of labels", labels, known)
    return data[[name for name in data.columns if str(name) != labels]], data[labels]
