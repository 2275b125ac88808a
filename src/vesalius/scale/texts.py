"""Data sets of texts: read in batches of any form, explained by their tokens or words.

Axes: B texts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vesalius.core.entry import without_history
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.rows import LABELS, as_batches, is_batches
from vesalius.core.tokenization import vocabulary
from vesalius.trace.network import Network
from vesalius.trace.texts import read_texts

TEXT_NAMES = ("text", "texts", "sentence", "sentences", "review", "content")
"""Under which mappings hold texts."""
TextBatch = tuple[tuple[str, ...], Any]
"""Texts, and their labels in any form or ``None``."""


def text_batches(data: Any, size: int) -> Iterator[TextBatch]:
    """Texts in any form, in batches of any size.

    Args:
        data: a list, array or column of strings; (texts, labels); a mapping with texts by a name of ``TEXT_NAMES``; or a Dataset, a
            DataLoader or an iterable of such, or of single texts with or without a label.
        size: of batches, where there are none.

    Raises:
        WrongType: something that is no text.
    """
    listed = _as_list(data)
    if listed is not None or isinstance(data, Mapping) or _is_pair(data):
        texts, labels = _split(data if listed is None else listed)
        for start in range(0, len(texts), size):
            rows = slice(start, start + size)
            yield texts[rows], None if labels is None else labels[rows]
        return
    if not is_batches(data) and not isinstance(data, Iterable):
        raise WrongType(
            f"with tokenizer=, data is texts, a list of them or batches, not {type(data).__name__}; ids are surveyed without it"
        )
    for batch in as_batches(data, size):
        yield _split(without_history(batch) if not isinstance(batch, str) else (batch,))


def first_texts(data: Any) -> tuple[tuple[str, ...], Any]:
    """Some texts to look at, and the data with them still in it.

    Raises:
        InvalidInput: no texts.
        WrongType: something that is no text.
    """
    if isinstance(data, Iterator):
        head = next(data, None)
        if head is None:
            raise InvalidInput("the data holds no texts")
        texts, _ = _split((head,) if isinstance(head, str) else head)
        return texts[:1], chain([head], data)
    texts, _ = next(text_batches(data, 1), ((), None))
    if not texts:
        raise InvalidInput("the data holds no texts")
    return texts[:1], data


def expected_texts(data: Any) -> int | None:
    """How many texts there are, where that can be known without reading them."""
    counted = data.dataset if isinstance(data, DataLoader) else data
    if isinstance(counted, Dataset):
        return len(counted) if hasattr(counted, "__len__") else None
    listed = _as_list(data)
    return None if listed is None else len(listed)


def _as_list(data: Any) -> list[Any] | None:
    """A sequence of strings as a list; ``None`` for anything else."""
    if isinstance(data, str):
        return [data]
    if hasattr(data, "tolist") and not isinstance(data, Tensor):
        data = data.tolist()
    return data if isinstance(data, list) and data and all(isinstance(one, str) for one in data) else None


def _is_pair(data: Any) -> bool:
    """Whether this is texts with labels behind them, rather than two texts."""
    return isinstance(data, tuple) and bool(data) and (_as_list(data[0]) is not None or isinstance(data[0], (tuple, list)))


def _split(batch: Any) -> TextBatch:
    """The texts of a batch, and their labels."""
    if isinstance(batch, Mapping):
        name = next((name for name in TEXT_NAMES if name in batch), None)
        if name is None:
            known = ", ".join(map(repr, batch))
            raise WrongType(f"a batch of texts holds them as one of {', '.join(map(repr, TEXT_NAMES))}; this one has {known}")
        label = next((batch[name] for name in LABELS if name in batch), None)
        return _texts(batch[name]), [label] if isinstance(batch[name], str) and label is not None else label
    if isinstance(batch, (tuple, list)) and len(batch) == 2 and not isinstance(batch[1], str):
        if isinstance(batch[0], str):
            return (batch[0],), [batch[1]]
        if _as_list(list(batch[0]) if isinstance(batch[0], tuple) else batch[0]) is not None and _as_list(batch[1]) is None:
            return _texts(batch[0]), batch[1]
    if isinstance(batch, (tuple, list)) and len(batch) == 2 and isinstance(batch[0], (tuple, list)):
        return _texts(batch[0]), batch[1]
    if isinstance(batch, (tuple, list)) and len(batch) == 1 and not isinstance(batch[0], str):
        return _texts(batch[0]), None
    return _texts(batch), None


def _texts(found: Any) -> tuple[str, ...]:
    listed = _as_list(list(found) if isinstance(found, tuple) else found)
    if listed is None:
        said = f"{type(found).__name__} {str(found)[:60]!r}"
        raise WrongType(f"with tokenizer=, data is texts, and {said} came; ids are surveyed without tokenizer=")
    return tuple(listed)


def text_outputs(network: Network, texts: Sequence[str], tokenizer: Any) -> Shaped[Tensor, "B ..."] | None:
    """What the network puts out for each text; ``None`` where that is not of one shape."""
    given = read_texts(network, list(texts), tokenizer)
    assert given is not None
    device = network.devices[0] if len(network.devices) == 1 else None
    found = [given.logits(torch.tensor([text.ids], device=device)) for text in given.texts]
    rows = [one.detach().cpu()[0] for one in found]
    return torch.stack(rows) if len({one.shape for one in rows}) == 1 else None


def describe_tokenizer(tokenizer: Any) -> list[str]:
    """A tokenizer as JSON, the same in every process: its kind, its vocabulary and what it makes of some characters."""
    if tokenizer is None:
        return []
    known = sorted((str(name), int(place)) for name, place in vocabulary(tokenizer).items())
    rules = tokenizer.to_str() if hasattr(tokenizer, "to_str") else ""
    if hasattr(tokenizer, "backend_tokenizer"):
        rules = tokenizer.backend_tokenizer.to_str()
    return [type(tokenizer).__name__, hashlib.sha256((json.dumps(known) + rules).encode()).hexdigest()[:32]]
