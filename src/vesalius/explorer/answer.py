"""What is found for a question, by calls of the library's verbs alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from vesalius.core.errors import VesaliusError
from vesalius.explorer.question import ExplorerQuestion
from vesalius.explorer.subject import ModelScores, ShownSample, Subject
from vesalius.explorer.verb_calls import VerbCall


@dataclass(frozen=True, eq=False, kw_only=True)
class AnswerPart:
    """One result, or why there is none.

    Attributes:
        what: ``map``, ``effects`` or ``audit``.
        code: Python that makes it.
        result: as the verb gives it back; ``None`` where it refused.
        refusal: why, in a sentence; empty where it did not.
        seconds: that it took.
    """

    what: str
    code: str = ""
    result: Any = None
    refusal: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelAnswer:
    """What one model says to a question.

    Attributes:
        scores: of the sample; ``None`` where the model has none that can be shown.
        refusal: why, then.
        parts: the results, in order.
    """

    scores: ModelScores | None
    refusal: str
    parts: tuple[AnswerPart, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplorerAnswer:
    """What is found for a question.

    Attributes:
        sample: that was asked about.
        models: what each model says.
    """

    sample: ShownSample
    models: tuple[ModelAnswer, ...]


def answer_question(subject: Subject, question: ExplorerQuestion) -> ExplorerAnswer:
    """Ask every model.

    Raises:
        InvalidInput, UnknownName, WrongType: of a question about no sample. What a verb refuses is in its part of the answer.
    """
    sample = subject.show(question)
    return ExplorerAnswer(sample=sample, models=tuple(_ask_model(subject, place, question) for place in range(len(subject.models))))


def _ask_model(subject: Subject, place: int, question: ExplorerQuestion) -> ModelAnswer:
    scores, refusal = None, ""
    try:
        scores = subject.scores(place, question)
    except VesaliusError as error:
        refusal = str(error)
    asked = {"map": subject.attribution}
    asked |= {"effects": subject.effects} if question.effects else {}
    asked |= {"audit": subject.judgement} if question.audit != "none" else {}
    return ModelAnswer(scores=scores, refusal=refusal, parts=tuple(_run(what, call, place, question) for what, call in asked.items()))


def _run(what: str, make: Any, place: int, question: ExplorerQuestion) -> AnswerPart:
    began, code = time.monotonic(), ""
    try:
        call: VerbCall = make(place, question)
        code = call.code
        return AnswerPart(what=what, code=code, result=call.run(), seconds=time.monotonic() - began)
    except VesaliusError as error:
        return AnswerPart(what=what, code=code, refusal=str(error))
