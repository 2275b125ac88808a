"""Texts that are explored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.core.numbers import Limit, whole_number
from vesalius.core.tokenization import token_text
from vesalius.explorer.question import ExplorerQuestion
from vesalius.explorer.subject import ModelScores, ShownSample, Subject
from vesalius.explorer.verb_calls import CallArgument, names_argument
from vesalius.trace.texts import GivenTexts, read_texts

MOST_CLASSES = 64
"""Scores above which they are those of a vocabulary."""
DIVISIONS: Mapping[str, str] = {"auto": "token", "tokens": "token", "words": "word", "sentences": "sentence"}
TEXT_BASELINES = ("default", "pad", "mask", "unk", "delete")


@final
@dataclass(frozen=True, eq=False)
class TextSubject(Subject):
    """Texts.

    Attributes:
        models: that take ids of the tokenizer.
        tokenizer: that makes them.
        texts: as they came.
        classes: names of the classes, or empty.
        labels: one per text, or none.
    """

    models: tuple[Any, ...]
    tokenizer: Any
    texts: tuple[str, ...]
    classes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def choices(self) -> dict[str, Any]:
        return {
            "kind": "text",
            "rows": len(self.texts),
            "targets": ["predicted", *self.classes],
            "places": [""],
            "baselines": list(TEXT_BASELINES),
            "method": "integrated_gradients",
            "players": list(DIVISIONS),
            "names": [],
            "elements": 0,
            "size": [],
        }

    def show(self, question: ExplorerQuestion) -> ShownSample:
        label = f", label {self.labels[question.row]}" if self.labels else ""
        return ShownSample(name=f"text {self._row(question)}{label}", text=self._text(question))

    def _row(self, question: ExplorerQuestion) -> int:
        return whole_number("row", question.row, Limit(least=0, most=len(self.texts) - 1))

    def _text(self, question: ExplorerQuestion) -> str:
        if question.edits or question.masks:
            raise InvalidInput("values and regions are changed on rows of numbers; change the text itself")
        text = self.texts[self._row(question)] if question.text is None else question.text
        if not text.strip():
            raise InvalidInput("an empty text has no parts to explain; write one")
        return text

    def scores(self, place: int, question: ExplorerQuestion) -> ModelScores:
        now, before = (self._output(self.models[place], text) for text in (self._text(question), self.texts[self._row(question)]))
        if now.numel() == 1:
            names: Sequence[str] = ("output",)
        elif len(self.classes) == now.numel():
            names = self.classes
        elif now.numel() > MOST_CLASSES:
            names = _TokenNames(self.tokenizer, now.numel())
        else:
            names = [f"class {number}" for number in range(now.numel())]
        return ModelScores(names=names, now=now, before=before)

    def _output(self, model: Any, text: str) -> Tensor:
        """Scores of the classes, or of the next token."""
        given = read_texts(model, text, self.tokenizer)
        assert isinstance(given, GivenTexts)
        output = given.logits(torch.tensor([given.texts[0].ids]))
        return (output[0, -1] if output.ndim == 3 else output.reshape(-1)).double().cpu()

    def _shared(self, question: ExplorerQuestion) -> tuple[CallArgument, dict[str, CallArgument], tuple[str, ...]]:
        if question.at:
            raise InvalidInput("a text is explained at its tokens here; call vesalius.attribute(model, text, at=..., tokenizer=...)")
        require_known("baseline", question.baseline, TEXT_BASELINES)
        require_known("kind of players", question.players, DIVISIONS)
        options = {"target": self._target(question)}
        if question.baseline != "default":
            options["baseline"] = CallArgument.plain(question.baseline)
        if question.players != "auto":
            options["players"] = CallArgument.plain(DIVISIONS[question.players])
        if self.classes:
            options["classes"] = names_argument(self.classes, "classes")
        options["tokenizer"] = CallArgument(self.tokenizer, "tokenizer")
        text = self._text(question)
        line = f"text = texts[{question.row}]" if text == self.texts[question.row] else f"text = {text!r}"
        return CallArgument(text, "text"), options, (line,)

    def _target(self, question: ExplorerQuestion) -> CallArgument:
        if question.target in ("", "predicted"):
            return CallArgument(None, "None")
        number = question.target.isascii() and question.target.isdigit() and len(question.target) < 10
        return CallArgument.plain(int(question.target) if number and question.target not in self.classes else question.target)


class _TokenNames(Sequence[str]):
    """What the tokens of a vocabulary are called, looked up when they are asked for."""

    def __init__(self, tokenizer: Any, count: int) -> None:
        self.tokenizer, self.length = tokenizer, count

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: Any) -> Any:
        return repr(token_text(self.tokenizer, int(place)))
