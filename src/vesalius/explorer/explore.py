"""The verb that opens the explorer: a model and data in any form as a page on the loopback."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.names import name_list
from vesalius.core.numbers import POSITIVE, Limit
from vesalius.core.options import Options
from vesalius.explorer.answer import AnswerPart, ExplorerAnswer, ModelAnswer, answer_question
from vesalius.explorer.computation import ComputationStopped, ExplorerBusy, SingleComputation
from vesalius.explorer.question import MAX_BUDGET, ExplorerQuestion, read_question
from vesalius.explorer.row_subject import RowSubject
from vesalius.explorer.server import LoopbackServer, ServedApp
from vesalius.explorer.subject import Subject
from vesalius.explorer.text_subject import TextSubject
from vesalius.methods import METHODS
from vesalius.trace import Network
from vesalius.trace.receive import receive
from vesalius.trace.texts import class_names, read_texts
from vesalius.views.explorer import explorer_page, picture_html, result_html, scores_html
from vesalius.workflow.explain import receive_labelled
from vesalius.workflow.samples import RowSelection, Samples, select_samples
from vesalius.workflow.texts import read_labels

MAX_ROWS = 1_000
"""Rows that an explorer holds."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplorerOptions(Options):
    """The options of :func:`explore` that few calls need.

    Attributes:
        labels: one per row, words or numbers, or the name of the column of a table that holds them.
        classes: names of the classes in the model's order.
        names: of the elements of a row, where the data has none.
        port: to listen on; 0 for any that is free.
        seconds: after which a computation is stopped, > 0.
        titles: what the models are called on the page, by default their own names.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"port": Limit(least=0, most=65_535), "seconds": POSITIVE}
    labels: Any = None
    classes: Sequence[str] = ()
    names: Sequence[str] = ()
    port: int = 0
    seconds: float = 60.0
    titles: Sequence[str] = ()


@final
class Explorer:
    """A page that is being served. Close it with :meth:`close`, or use it in a ``with`` statement.

    Args:
        subject: what is explored.
        titles: of the models.
        options: of the server.
    """

    def __init__(self, subject: Subject, titles: Sequence[str], options: ExplorerOptions) -> None:
        self._subject, self._titles = subject, tuple(titles)
        self._computation = SingleComputation(options.seconds)
        app = ServedApp(page=self._page, posts={"answer": self._answer, "cancel": self._cancel})
        try:
            self._server = LoopbackServer(app, options.port)
        except OSError as error:
            raise InvalidInput(f"port {options.port} cannot be listened on ({error}); leave port= out for one that is free") from error
        self._thread = self._server.serve_in_background()

    @property
    def address(self) -> str:
        """Where the page is. It holds a random token: whoever knows it may ask the model, so keep it to yourself."""
        return self._server.address

    def ask(self, question: ExplorerQuestion) -> ExplorerAnswer:
        """The answer to a question, as the page gets it.

        Raises:
            InvalidInput, UnknownName, WrongType: of a question about no sample.
            ExplorerBusy, ComputationStopped: as :class:`vesalius.explorer.computation.SingleComputation`.
        """
        found: ExplorerAnswer = self._computation.run(lambda: answer_question(self._subject, question), question.asker)
        return found

    def wait(self) -> None:
        """Until it is closed, or stopped with Ctrl-C."""
        while self._thread.is_alive():
            self._thread.join(0.2)

    def close(self) -> None:
        """Stop what is computed, and listen no more."""
        self._computation.cancel()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Explorer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Explorer({', '.join(self._titles)}; {self.address})"

    # ---- what is served -----------------------------------------------------------------------------------------------------------

    def _page(self, nonce: str) -> str:
        choices = {**self._subject.choices(), "methods": list(METHODS), "most_budget": MAX_BUDGET, "models": list(self._titles)}
        return explorer_page(choices, nonce)

    def _answer(self, body: bytes) -> dict[str, Any]:
        began = time.monotonic()
        try:
            found = self.ask(read_question(body))
        except ComputationStopped as stopped:  # answers like any other, and no failures of the request
            return {"stopped": str(stopped)}
        except ExplorerBusy as busy:
            return {"busy": str(busy)}
        shown = found.sample
        return {
            "sample": {
                "name": shown.name,
                "values": list(shown.values),
                "text": shown.text,
                "picture": "" if shown.picture is None else picture_html(shown.picture, shown.name),
            },
            "models": [_model(one, self._subject.classes) for one in found.models],
            "seconds": time.monotonic() - began,
        }

    def _cancel(self, body: bytes) -> dict[str, Any]:
        return {"cancelled": self._computation.cancel(read_question(body).asker)}


HEADINGS = {"map": "Map", "effects": "Effects", "audit": "Audit"}


def _model(found: ModelAnswer, classes: Sequence[str]) -> dict[str, Any]:
    """What a model says, as the page shows it: HTML that views have made, and text."""
    scores = found.scores
    return {
        "scores": "" if scores is None else scores_html(scores.names, scores.now, scores.before),
        "refusal": found.refusal,
        "parts": [_part(part, classes) for part in found.parts],
    }


def _part(part: AnswerPart, classes: Sequence[str]) -> dict[str, Any]:
    return {
        "what": part.what,
        "heading": HEADINGS[part.what],
        "html": "" if part.result is None else result_html(part.result, classes),
        "code": part.code,
        "refusal": part.refusal,
        "seconds": part.seconds,
    }


@verb
def explore(
    model: Any,
    data: Any,
    *,
    beside: Any = None,
    tokenizer: Any = None,
    options: ExplorerOptions | None = None,
) -> Explorer:
    """Serve a page on which samples can be changed, and a model, or two side by side, asked about them.

    The page is served on the loopback of this machine, at an address with a random token; it fetches nothing from elsewhere. One
    computation runs at a time, is stopped when it takes too long, and can be cancelled. Every number is that of a verb, whose call is
    shown.

    Args:
        model: as every verb takes it: a Network, an ``nn.Module``, a function, an estimator of scikit-learn. It is loaded once.
        data: rows of one input in any form, with labels or without, or :class:`~vesalius.workflow.samples.Samples`; with a tokenizer, a
            text or several. The first 1,000 are held.
        beside: another model of the same input, to be seen beside the first.
        tokenizer: then ``data`` is texts, as for :func:`vesalius.attribute`. A pipeline brings its own.
        options: labels, names, port and the like.

    Returns:
        The explorer, which listens already: ``.address``, ``.wait()``, ``.close()``.

    Raises:
        InvalidInput, WrongType, UnknownName: each with what to do.
    """
    options = options or ExplorerOptions()
    models = (model,) if beside is None else (model, beside)
    if (texts := read_texts(model, data, tokenizer)) is not None:
        others = () if beside is None else (beside,)
        for other in others:
            read_texts(other, [text.text for text in texts.texts], texts.tokenizer)
        subject: Subject = TextSubject(
            models=(texts.model, *others),
            tokenizer=texts.tokenizer,
            texts=tuple(text.text for text in texts.texts[:MAX_ROWS]),
            classes=name_list("classes", options.classes) or class_names(texts.model),
            labels=tuple(read_labels(options.labels, len(texts.texts))),
        )
        titles = [type(one).__name__ for one in subject.models]
    else:
        networks, samples = _open_rows(models, data, options)
        subject = RowSubject(networks, samples)
        titles = [network.name for network in networks]
    return Explorer(subject, name_list("titles", options.titles, count=len(models), distinct=False) or titles, options)


def _open_rows(models: Sequence[Any], data: Any, options: ExplorerOptions) -> tuple[tuple[Network, ...], Samples]:
    """Networks, and the rows they are asked about.

    Raises:
        InvalidInput: rows that do not fit a model; labels and names beside Samples.
    """
    if isinstance(data, Samples):
        if options.labels is not None or len(options.classes) or len(options.names):
            raise InvalidInput("Samples have labels and names already; leave labels=, classes= and names= out")
        network, samples = receive(models[0], data.x, random=True).network, data
    else:
        network, rows = receive_labelled(models[0], data, labels=options.labels, classes=options.classes, names=options.names)
        samples = select_samples(rows, RowSelection(rows=slice(0, MAX_ROWS)))
    networks = (network, *(receive(other, samples.x, random=True).network for other in models[1:]))
    for one in networks:
        if len(one.inputs) != 1:
            known = ", ".join(value.name for value in one.inputs)
            raise InvalidInput(f"rows of one input are explored, and {one.name} has {known}; use vesalius.attribute and vesalius.report")
        one.bind(samples.x[:1])
    return networks, samples
