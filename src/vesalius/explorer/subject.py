"""What is explored: models and the samples they are asked about, and how a question becomes calls of verbs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from vesalius.audit import audit
from vesalius.core.errors import InvalidInput
from vesalius.explorer.question import ExplorerQuestion
from vesalius.explorer.verb_calls import CallArgument, VerbCall
from vesalius.interactions import interactions
from vesalius.methods import attribute
from vesalius.methods.base import resolve_method

MODEL_NAMES = ("model", "beside")
"""What the two models are called in the code that is shown."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ShownSample:
    """The sample of a question, to be shown.

    Attributes:
        name: of the row.
        values: its elements as they are in the data, where they are few; else none.
        picture: the changed sample as a picture, from 0 to 1, if it is one.
        text: the changed sample as a text, if it is one.
    """

    name: str
    values: tuple[float, ...] = ()
    picture: Tensor | None = None
    text: str | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelScores:
    """What a model puts out for one sample, of a vector of scores or a single one.

    Attributes:
        names: of the scores.
        now: the scores of the changed sample.
        before: those of the sample as it is in the data.
    """

    names: Sequence[str]
    now: Tensor
    before: Tensor


class Subject(ABC):
    """Models and samples, and what may be asked of them.

    Attributes:
        models: one, or two to be seen side by side.
    """

    models: tuple[Any, ...]

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, or none."""

    @abstractmethod
    def choices(self) -> dict[str, Any]:
        """What the page offers to choose from."""

    @abstractmethod
    def show(self, question: ExplorerQuestion) -> ShownSample:
        """The sample of a question, with its changes."""

    @abstractmethod
    def scores(self, place: int, question: ExplorerQuestion) -> ModelScores:
        """What one of the models puts out for it."""

    @abstractmethod
    def _shared(self, question: ExplorerQuestion) -> tuple[CallArgument, dict[str, CallArgument], tuple[str, ...]]:
        """The sample, options that all verbs are given, and the lines that make the sample."""

    def attribution(self, place: int, question: ExplorerQuestion) -> VerbCall:
        """The call that makes the map."""
        method = resolve_method(question.method)
        sample, options, before = self._shared(question)
        own = {"budget": CallArgument.plain(question.budget)} if "budget" in {one.name for one in fields(method)} else {}
        given = {"budget": question.budget} if own else {}
        extra = {"options": CallArgument.plain(given)} if given else {}
        arguments = (self._model(place), sample, CallArgument.plain(question.method))
        return VerbCall(verb=attribute, name="attribute", arguments=arguments, options=options | extra, before=before)

    def effects(self, place: int, question: ExplorerQuestion) -> VerbCall:
        """The call that finds what parts do together."""
        sample, options, before = self._of_input(question)
        return VerbCall(verb=interactions, name="interactions", arguments=(self._model(place), sample), options=options, before=before)

    def judgement(self, place: int, question: ExplorerQuestion) -> VerbCall:
        """The call that audits the method, or all methods."""
        sample, options, before = self._of_input(question)
        methods = {} if question.audit == "all" else {"methods": CallArgument.plain([question.method])}
        resolve_method(question.method)
        return VerbCall(verb=audit, name="audit", arguments=(self._model(place), sample), options=options | methods, before=before)

    def _of_input(self, question: ExplorerQuestion) -> tuple[CallArgument, dict[str, CallArgument], tuple[str, ...]]:
        if question.at:
            raise InvalidInput(
                f"effects and audits mask the input here, and {question.at!r} is explained; choose the input, or call"
                " vesalius.interactions and vesalius.audit with at= and players of that value"
            )
        return self._shared(question)

    def _model(self, place: int) -> CallArgument:
        return CallArgument(self.models[place], MODEL_NAMES[place])
