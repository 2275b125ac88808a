"""The front door for texts: a model with a tokenizer, or a pipeline, and strings, as a network and its ids.

Axes: B texts of one length, T positions.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.rows import read_rows
from vesalius.core.tokenization import TokenizedText, is_one_text, special_id, tokenize, vocabulary_size
from vesalius.inputs.models import as_model, module_device
from vesalius.language.generation import generate
from vesalius.trace.network import Network
from vesalius.trace.signature import bind_call
from vesalius.trace.trace import trace_rows

IDS, MASK = "input_ids", "attention_mask"
"""What Hugging Face calls the ids, and which of them are no padding."""
TASKS_OF_PAIRS = ("zero-shot-classification", "question-answering", "table-question-answering", "document-question-answering")
"""Pipelines whose model reads more than the text."""
LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx")
"""Where a configuration says how many positions a model has."""


@dataclass(frozen=True, eq=False)
class GivenTexts:
    """A model and texts for it.

    Attributes:
        model: a module, a function or a Network.
        tokenizer: that made the ids.
        texts: in the order they came.
        single: whether one came, rather than a list of them.
    """

    model: Any
    tokenizer: Any
    texts: tuple[TokenizedText, ...]
    single: bool

    def rows(self, ids: Int[Tensor, "B T"], mask: Int[Tensor, "B T"] | None = None) -> Tensor | dict[str, Tensor]:
        """Ids as the model takes them, with a mask where it must have one.

        Raises:
            InvalidInput: some ids are padding, and the model takes no mask.
        """
        names = _input_names(self.model)
        if names is None or IDS not in names:
            if mask is not None:
                raise InvalidInput(
                    f"texts of unlike length are padded to one, and {_name(self.model)} takes no {MASK}, so that it would read the padding"
                    " as text; give texts of one length, or one at a time"
                )
            return ids
        if mask is None and names.get(MASK):
            mask = torch.ones_like(ids)
        return {IDS: ids} if mask is None else {IDS: ids, MASK: mask}

    def network(self, rows: Tensor | dict[str, Tensor]) -> Network:
        """The network at the length of rows: of the one that was given, else a trace that is remembered.

        Raises:
            InvalidInput: longer than the model allows.
        """
        try:
            if isinstance(self.model, Network):
                return self.model.at_lengths_of(rows)
            return trace_rows(self.model, read_rows(rows), remember=True)
        except Exception as error:
            self._refuse_length(rows, error)
            raise

    def logits(self, ids: Int[Tensor, "1 T"]) -> Tensor:
        """What the model puts out for ids of any length, without a trace; the model is left as it is."""
        rows = self.rows(ids)
        tensors = (rows,) if isinstance(rows, Tensor) else tuple(rows.values())
        if isinstance(self.model, Network):
            network = self.network(rows)
            return network.run(network.bind(rows))
        named = {} if isinstance(rows, Tensor) else rows
        call, _ = bind_call(self.model, () if named else tensors, named, None)
        with torch.no_grad():
            return call.evaluate(tensors)

    def generate(self, count: int) -> tuple[int, ...]:
        """The likeliest continuation of the one text.

        Raises:
            InvalidInput: longer than the model allows.
        """
        (text,) = self.texts
        check_length(self.model, len(text) + count, f" with {count} generated ones")
        ids = torch.tensor(text.ids, device=_device(self.model))
        return tuple(generate(self.logits, ids, count, special_id(self.tokenizer, "eos")))

    def _refuse_length(self, rows: Tensor | dict[str, Tensor], error: Exception) -> None:
        """Say so where a model fails on a text, and works on the beginning of it."""
        ids = (rows if isinstance(rows, Tensor) else rows[IDS])[:1]
        if self._works(ids):
            return
        low, high = 0, ids.shape[1]
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._works(ids[:, :middle]) else (low, middle)
        if low:
            raise InvalidInput(
                f"{_name(self.model)} fails on a text of {ids.shape[1]} tokens and works on the first {low} of them: it is longer than the"
                f" model allows; shorten it ({' '.join(str(error).split())[:120]})"
            ) from error

    def _works(self, ids: Tensor) -> bool:
        try:
            self.logits(ids)
        except Exception:  # a user's model may raise anything
            return False
        return True


def open_pipeline(model: Any, tokenizer: Any = None) -> tuple[Any, Any]:
    """The model and the tokenizer of a pipeline; anything else as it is.

    Raises:
        InvalidInput: a pipeline that reads texts in pairs.
    """
    inside = getattr(model, "model", None)
    if isinstance(model, nn.Module | Network) or not isinstance(inside, nn.Module) or not hasattr(model, "tokenizer"):
        return model, tokenizer
    if (task := getattr(model, "task", "")) in TASKS_OF_PAIRS:
        raise InvalidInput(
            f"a pipeline for {task} puts a question or a hypothesis beside every text; give its model (pipeline.model) and what the"
            " tokenizer makes of both, tokenizer(text, other, return_tensors='pt'), without tokenizer="
        )
    return inside, tokenizer or model.tokenizer


def read_texts(model: Any, x: Any, tokenizer: Any = None) -> GivenTexts | None:
    """A model and what was given to it as texts; ``None`` where that is no text.

    Args:
        model: as :func:`vesalius.trace` takes it, or a pipeline of ``transformers``.
        x: a string, or several; where there is a tokenizer also ids [T] or [B T], a list of lists of them, or what the tokenizer made.
        tokenizer: of the model; that of the pipeline by default.

    Raises:
        WrongType, InvalidInput: a text without a tokenizer; as :func:`vesalius.core.tokenization.tokenize`; a tokenizer of another
            vocabulary; a text longer than the model allows.
    """
    if isinstance(x, GivenTexts):
        return x
    model, tokenizer = open_pipeline(model, tokenizer)
    words = isinstance(x, str) or (isinstance(x, (list, tuple)) and bool(x) and all(isinstance(one, str) for one in x))
    if not words and tokenizer is None:
        return None
    if tokenizer is None:
        raise InvalidInput("a text came, and no tokenizer that makes ids of it; give tokenizer=, or a pipeline in place of the model")
    check_inputs(model, x)
    rows = _plain_rows(x)
    single = is_one_text(rows)
    texts = tuple(tokenize(one, tokenizer) for one in ([rows] if single else rows))
    if not texts:
        raise InvalidInput("there are no texts; give at least one")
    check_vocabulary(model, tokenizer)
    for text in texts:
        check_length(model, len(text))
    return GivenTexts(model, tokenizer, texts, single)


def _plain_rows(x: Any) -> Any:
    """Texts or ids, without what the mask of a tokenizer's output says is padding."""
    if isinstance(x, str | Tensor | list | tuple) or not isinstance(x, Mapping):
        if isinstance(x, Tensor) and (x.is_floating_point() or x.ndim > 2):
            raise WrongType(f"with a tokenizer, texts or ids [T] or [B, T] are taken, not {x.dtype} {list(x.shape)}")
        return x.tolist() if isinstance(x, Tensor) else list(x) if isinstance(x, tuple) else x
    if IDS not in x:
        raise InvalidInput(f"a mapping of a tokenizer holds {IDS!r}, and this one has {', '.join(map(repr, x))}")
    ids, mask = x[IDS], x.get(MASK)
    ids = ids.tolist() if isinstance(ids, Tensor) else list(ids)
    if mask is None or not ids or isinstance(ids[0], int):
        return ids
    kept = mask.tolist() if isinstance(mask, Tensor) else mask
    return [[one for one, here in zip(row, own, strict=True) if here] for row, own in zip(ids, kept, strict=True)]


def check_inputs(model: Any, x: Any) -> None:
    """Refuse what is more than one text: chats, and further inputs beside the ids; and models that read two texts.

    Raises:
        InvalidInput: it is.
    """
    if type(model).__name__.endswith("ForConditionalGeneration") and "decoder_input_ids" in (_input_names(model) or ()):
        raise InvalidInput(
            f"{_name(model)} reads two texts, one in its encoder and one in its decoder; fix the decoder's in a module of the encoder's"
            " ids, forward(self, input_ids): return self.model(input_ids=input_ids, decoder_input_ids=self.answer).logits, and give that"
        )
    messages = x if isinstance(x, (list, tuple)) else [x]
    if any(isinstance(one, Mapping) and "role" in one for one in messages):
        raise InvalidInput(
            "a chat came, and a text is explained; give what its template makes of it, with the same tokenizer=:"
            " tokenizer.apply_chat_template(messages, add_generation_prompt=True)"
        )
    for name, value in x.items() if isinstance(x, Mapping) and IDS in x else ():
        if name not in (IDS, MASK) and name in (_input_names(model) or ()) and bool(torch.as_tensor(value).any()):
            raise InvalidInput(
                f"beside the ids came {name!r}, which the model reads and a text does not say; leave tokenizer= out, so that all inputs are"
                f" taken as they are, or leave {name!r} out"
            )


def fills_masks(model: Any) -> bool:
    """Whether a model of transformers was made to say what stands at a mask."""
    return type(_module(model)).__name__.endswith("ForMaskedLM")


def padded_rows(given: GivenTexts) -> Tensor | dict[str, Tensor]:
    """All texts as rows of one length, with a mask where some are shorter; for verbs that take many rows at once."""
    longest, pad = max(map(len, given.texts)), special_id(given.tokenizer, "pad") or 0
    ids = torch.tensor([[*text.ids, *[pad] * (longest - len(text))] for text in given.texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in given.texts])
    return given.rows(ids, None if bool(mask.all()) else mask)


def check_length(model: Any, count: int, what: str = "") -> None:
    """Refuse more positions than a model says that it has.

    Raises:
        InvalidInput: there are more.
    """
    config = getattr(_module(model), "config", None)
    most = next((found for name in LENGTHS if isinstance(found := getattr(config, name, None), int) and found > 0), None)
    if most is not None and count > most:
        raise InvalidInput(f"the text has {count} tokens{what}, and {_name(model)} takes at most {most}; shorten it")


def check_vocabulary(model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer with more tokens than the model has rows for.

    Raises:
        InvalidInput: it has.
    """
    module = _module(model)
    tables = [part.num_embeddings for part in module.modules() if isinstance(part, nn.Embedding)] if module is not None else []
    size = vocabulary_size(tokenizer, added=False)
    if tables and size > max(tables):
        raise InvalidInput(
            f"the tokenizer has {size} tokens, and the largest embedding of {_name(model)} {max(tables)} rows: it is a tokenizer of another"
            " vocabulary; take the one that the model was trained with"
        )


def _module(model: Any) -> nn.Module | None:
    if isinstance(model, Network):
        model = None if model.call is None else model.call.model
    return model if isinstance(model, nn.Module) else None


def _name(model: Any) -> str:
    return str(model.name) if isinstance(model, Network) else type(model).__name__


def class_names(model: Any) -> tuple[str, ...]:
    """Names of classes, as the model has them."""
    if isinstance(model, Network):
        return model.classes
    return next(iter(as_model(model))).classes


def _device(model: Any) -> torch.device | None:
    module = _module(model)
    return None if module is None else module_device(module)


def _input_names(model: Any) -> dict[str, bool] | None:
    """Inputs by name, and whether they must be given; ``None`` where that cannot be known."""
    if isinstance(model, Network):
        return {value.name: True for value in model.inputs}
    try:
        found = inspect.signature(model.forward if isinstance(model, nn.Module) else model).parameters
    except (TypeError, ValueError):
        return None
    return {name: one.default is one.empty for name, one in found.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}


def device_ids(model: Any, texts: Sequence[Sequence[int]]) -> Int[Tensor, "B T"]:
    """Ids of texts of one length, where the model is."""
    return torch.tensor(texts, device=_device(model))
