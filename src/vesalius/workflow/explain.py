"""What a model's decisions on some rows rest on, as a page and as files: the main job, from a model and data to the end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from vesalius.core import store
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.names import name_list
from vesalius.core.numbers import POSITIVE, POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.core.players import Players
from vesalius.games.absence import Baseline
from vesalius.information import FlowGraph
from vesalius.language.targets import PerToken
from vesalius.methods import METHODS, Method
from vesalius.methods.base import resolve_method
from vesalius.trace import Network
from vesalius.trace.receive import receive
from vesalius.trace.texts import GivenTexts, class_names, read_texts
from vesalius.views.decisions import Decisions
from vesalius.views.report import Report, report
from vesalius.workflow.complexity import MOST_ROWS, ComplexityQuestion, ComplexityResult, check_complexity, measure_complexity
from vesalius.workflow.flow import measure_flow
from vesalius.workflow.folder import output_folder
from vesalius.workflow.job import Job, check_method, make_job, resolve_players
from vesalius.workflow.method_runs import MethodResult, options_of, run_methods
from vesalius.workflow.row_audit import RowAudit, audit_row, find_audited
from vesalius.workflow.samples import FIRST_ROWS, LabelledRows, RowChoice, RowSelection, Samples, choose_rows, read_labelled, select_samples
from vesalius.workflow.summary import completeness_summary, count_decisions, decision, describe_network, run_cost, summary
from vesalius.workflow.texts import TextJob, explain_texts, read_labels, text_division

DEFAULT_METHODS = ("integrated_gradients", "shapley_value", "occlusion", "gradient_x_input")
PAGE = "report.html"
MethodChoice = str | type[Method] | Method
"""A method by name, by class, or with options."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplainOptions(Options):
    """The options of :func:`explain` that few calls need, together so that its signature stays short.

    Attributes:
        at: a value to explain instead of the input, such as an embedding.
        players: what is masked as a whole: ``Players``, or their kind: ``"features"``, ``"channels"``, ``"tokens"``, ``"patches:4"``.
        audit: rows of the data, among those explained, whose interactions are computed and on which every method is audited.
        flow: rows of the data on which information flow is measured; some hundreds. ``":"`` or ``slice(None)`` for all.
        complexity: a value of the model whose feature is disentangled; on up to 5,000 rows.
        train: rows the model was trained on, in any form, with their labels: they are then disentangled, and the data shows over-fitting.
        tol: relative error of the map of integrated and expected gradients at which they stop, > 0.
        budget: evaluations of the model per row for Shapley values; up to 12 players, all coalitions by default.
        seed: of whatever is drawn at random.
        reproduce: the command that makes the page again, shown on it.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"tol": POSITIVE, "budget": POSITIVE_COUNT}
    at: str | None = None
    players: Players | str | None = None
    audit: RowChoice = None
    flow: RowChoice = None
    complexity: str | None = None
    train: Any = None
    tol: float = 1e-2
    budget: int | None = None
    seed: int = 0
    reproduce: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplainQuestion:
    """What :func:`explain_samples` is asked.

    Attributes:
        methods: names, classes or instances.
        target: class to explain, see :func:`vesalius.workflow.job.make_job`.
        baseline: likewise.
        options: the rest.
        heading: of the section with the decisions.
    """

    methods: MethodChoice | Sequence[MethodChoice] = DEFAULT_METHODS
    target: Any = None
    baseline: Baseline = None
    options: ExplainOptions = field(default_factory=ExplainOptions)
    heading: str = "Decisions"


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplainResult:
    """What a run found.

    Attributes:
        job: what was asked.
        samples: of which rows.
        done: the answers, one per method.
        decisions: to be shown.
        judged: rows that were audited.
        flow: of information, if it was asked for.
        complexity: of one value, likewise.
        seconds: that the methods took.
    """

    job: Job
    samples: Samples
    done: tuple[MethodResult, ...]
    decisions: Decisions
    judged: tuple[RowAudit, ...]
    flow: FlowGraph | None
    complexity: ComplexityResult | None
    seconds: float

    @property
    def sections(self) -> list[object]:
        """All there is to show."""
        audits = [section for each in self.judged for section in each.sections]
        flow = [] if self.flow is None else [self.flow]
        return [self.decisions, *audits, *flow, *([] if self.complexity is None else [self.complexity.section])]


@verb
def explain(  # noqa: PLR0913 - a verb that users call
    model: Any,
    data: Any,
    *,
    methods: MethodChoice | Sequence[MethodChoice] = DEFAULT_METHODS,
    rows: RowChoice = FIRST_ROWS,
    target: Any = None,
    baseline: Baseline = None,
    labels: Any = None,
    classes: Sequence[str] = (),
    names: Sequence[str] = (),
    out: str | Path | None = None,
    options: ExplainOptions | None = None,
    tokenizer: Any = None,  # with the next beyond nine: what texts need is asked for by name
    generate: int | None = None,
) -> Report:
    """Explain decisions of a model by several methods: one page, a file per method, and a summary in numbers.

    Args:
        model: as every verb takes it: a Network, an ``nn.Module``, a function, an estimator of scikit-learn.
        data: rows of one input in any form, see :func:`vesalius.core.rows.read_rows`, with labels or without: (x, y), a mapping, a
            DataLoader, a Dataset; or :class:`~vesalius.workflow.samples.Samples`, whose rows are chosen already.
        methods: names, classes or instances with options, in the order they are shown.
        rows: of the data, to explain: ``5``, ``slice(0, 8)``, ``[1, 4, 9]``, a mask, or ``"0:8"``.
        target: the predicted class by default; ``"true"``: the label; a class by number or name; or one of these for each row.
        baseline: zero by default; ``"mean"`` of all rows of the data; ``"blur"``; or what :func:`vesalius.attribute` takes.
        labels: one per row of the data, words or numbers, or the name of the column of a table that holds them.
        classes: names of the classes in the model's order, where neither the data nor the model has them.
        names: of the elements of a row, where the data has none.
        out: folder to write to: a safetensors file per method, ``summary.json`` and ``report.html``. What is finished there is not computed
            again. ``None``: nothing is written.
        options: audits, information flow, complexity, seeds and the like.
        tokenizer: then ``data`` is a text or several, and target, baseline and players (``ExplainOptions(players="words")``; by default
            words, or sentences of longer texts) may be in their words, see :func:`vesalius.attribute`. A pipeline brings its own.
        generate: explain each of so many tokens that a language model puts behind the text.

    Returns:
        The page.

    Raises:
        UnknownName, InvalidInput, WrongType, NotTraceable: each with what to do, before any method has run.
    """
    options = options or ExplainOptions()
    if (texts := read_texts(model, data, tokenizer)) is not None:
        asked = ExplainQuestion(methods=methods, target=target, baseline=baseline, options=options)
        job = _text_job(texts, asked, rows=rows, labels=labels, classes=classes, generate=generate)
        with output_folder(out) as folder:
            page = explain_texts(job, folder)
            page.save(folder / PAGE)
        return page
    if generate is not None:
        raise InvalidInput("generate= is of a language model and a text; give the text, and tokenizer= or a pipeline")
    question = ExplainQuestion(methods=methods, target=target, baseline=baseline, options=options)
    with output_folder(out) as folder:
        if isinstance(data, Samples):
            if labels is not None or classes or names or rows is not FIRST_ROWS or options.flow is not None:
                raise InvalidInput("Samples have rows, labels and names already; leave rows=, labels=, classes=, names= and flow= out")
            network, samples = receive(model, data.x, random=True).network, data
        else:
            network, found = receive_labelled(model, data, labels=labels, classes=classes, names=names)
            mean = isinstance(baseline, str) and baseline == "mean"
            whole = MOST_ROWS if options.complexity else 0
            samples = select_samples(found, RowSelection(rows=rows, mean=mean, flow=options.flow, whole=whole))
        page = _page(explain_samples(network, samples, question, folder), options.reproduce)
        page.save(folder / PAGE)
    return page


def _text_job(
    given: GivenTexts, question: ExplainQuestion, *, rows: RowChoice, labels: Any, classes: Sequence[str], generate: int | None
) -> TextJob:
    """What is asked of every method about some texts.

    Raises:
        InvalidInput: what goes with rows of numbers alone; labels that do not fit; two targets.
    """
    options = question.options
    for name in ("audit", "flow", "complexity", "train"):
        if getattr(options, name):
            raise InvalidInput(f"{name}= is for rows of numbers here; for a text, use the verb: vesalius.audit(model, text, tokenizer=...)")
    if generate is not None and question.target is not None:
        raise InvalidInput("generate= says what is explained: each token that is generated; leave the target out")
    words = read_labels(labels, len(given.texts))
    chosen = choose_rows(rows, len(given.texts)) if rows is not FIRST_ROWS else range(min(8, len(given.texts)))
    given = replace(given, texts=tuple(given.texts[row] for row in chosen))
    target = PerToken(generate) if generate is not None else question.target
    if isinstance(target, PerToken):
        found = target.resolve(given.tokenizer)
        target = replace(found, tokens=given.generate(found.tokens)) if isinstance(found.tokens, int) else found
    if options.at is not None:
        raise InvalidInput("at= is for rows of numbers here; for a text, use vesalius.attribute(model, text, at=..., tokenizer=...)")
    return TextJob(
        given=given,
        methods=_resolve_methods(question, None),
        target=None if isinstance(target, str) and target == "predicted" else target,
        baseline=question.baseline,
        classes=name_list("classes", classes) or class_names(given.model),
        by=text_division(given, options.players),
        labels=[words[row] for row in chosen] if words else [],
        reproduce=options.reproduce,
    )


def receive_labelled(
    model: Any, data: Any, *, labels: Any = None, classes: Sequence[str] = (), names: Sequence[str] = ()
) -> tuple[Network, LabelledRows]:
    """A model and data in any form, as a network and rows of its one input with their labels.

    Raises:
        WrongType, InvalidInput, UnknownName: as :func:`vesalius.trace.receive.receive` and
            :func:`vesalius.workflow.samples.read_labelled`.
    """
    rows, found = read_labelled(data, labels)
    received = receive(model, rows, random=True)
    network = received.network
    if len(network.inputs) != 1:
        known = ", ".join(value.name for value in network.inputs)
        raise InvalidInput(f"rows of one input are taken here, and {network.name} has {known}; use vesalius.attribute and vesalius.report")
    given = received.x
    if given.single or given.parts[0].ndim == len(network.inputs[0].shape) - 1:
        given = given.map(lambda tensor: tensor[None])
    return network, LabelledRows(
        x=network.bind(given)[0].detach().cpu(),
        labels=found,
        classes=name_list("classes", classes) or received.classes,
        features=name_list("names", names) or received.features,
        ids=tuple(map(str, received.ids)),
    )


def explain_samples(network: Network, samples: Samples, question: ExplainQuestion, folder: Path) -> ExplainResult:
    """Everything but the page: the methods' files and summary.json are written.

    Raises:
        As :func:`explain`.
    """
    options = question.options
    job = make_job(network, samples, target=question.target, baseline=question.baseline, at=options.at)
    players = resolve_players(options.players, job)
    methods = _resolve_methods(question, players)
    for method in methods:
        check_method(job, method)
    places = find_audited(options.audit, samples, options.at)
    if samples.flow is not None:
        network.graph("information flow")
    asked = _complexity_question(network, samples, job, options)
    began = time.monotonic()
    done = tuple(run_methods(job, methods, folder))
    judged = tuple(audit_row(job, samples, place, players, folder, seed=options.seed) for place in places)
    flow = None if samples.flow is None else measure_flow(job, samples, folder, seed=options.seed)
    complexity = None if asked is None else measure_complexity(job, asked, folder)
    seconds = time.monotonic() - began
    decisions = tuple(decision(job, samples, done, place) for place in range(len(samples.x)))
    facts = summary(job, samples, done, decisions) | ({"audits": [each.facts() for each in judged]} if judged else {})
    store.write_text(folder / "summary.json", json.dumps(facts, indent=1) + "\n")
    return ExplainResult(
        job=job,
        samples=samples,
        done=done,
        decisions=Decisions(
            items=decisions, unit=job.unit, baseline=job.baseline, heading=question.heading, anchor=question.heading.lower()
        ),
        judged=judged,
        flow=flow,
        complexity=complexity,
        seconds=seconds,
    )


def _page(found: ExplainResult, reproduce: str) -> Report:
    first = found.decisions.items[0]
    facts = {
        "model": describe_network(found.job.network),
        "explained": count_decisions(found.decisions.items),
        "baseline": found.job.baseline,
        "made in": run_cost(found.seconds, found.done),
    }
    if any(shown.flat.numel() != one.allocation[0].flat.numel() for shown, one in zip(first.allocations, found.done, strict=True)):
        facts["maps"] = "summed over patches; the files hold single pixels"
    title = f"What {found.job.network.name} rests its decisions on"
    return report(found.sections, title=title, lead=completeness_summary(found.done), facts=facts, reproduce=reproduce)


def check_methods(methods: MethodChoice | Sequence[MethodChoice]) -> list[Method]:
    """Instances of methods; none at all, and one twice, are refused.

    Raises:
        UnknownName, WrongType, InvalidInput.
    """
    found = [resolve_method(method) for method in _as_list(methods)]
    names = [method.name for method in found]
    if not names or len(set(names)) < len(names):
        what = f"{next(name for name in names if names.count(name) > 1)} twice" if names else "no method"
        raise InvalidInput(f"there is {what} among the methods; known: {', '.join(METHODS)}")
    return found


def _resolve_methods(question: ExplainQuestion, players: Players | None) -> list[Method]:
    """Instances as they are, and names with those of the options that they have."""
    options = question.options
    given: Mapping[str, Any] = {"tol": options.tol, "budget": options.budget, "seed": options.seed, "players": players}
    found = []
    for asked, method in zip(_as_list(question.methods), check_methods(question.methods), strict=True):
        foreign = "tol" if method.plays else "players"  # a tolerance is of integrals here, and players are of games
        own = {name: value for name, value in given.items() if name in options_of(method) and name != foreign}
        found.append(method if isinstance(asked, Method) else replace(method, **own))
    return found


def _as_list(methods: MethodChoice | Sequence[MethodChoice]) -> list[MethodChoice]:
    if isinstance(methods, (Set, Mapping, bytes)) or not isinstance(methods, (str, Method, type, Iterable)):
        raise WrongType(f"methods are names or instances, in the order they are shown, not {methods!r}")
    return [methods] if isinstance(methods, (str, Method, type)) else list(methods)


def _complexity_question(network: Network, samples: Samples, job: Job, options: ExplainOptions) -> ComplexityQuestion | None:
    """What is to be disentangled, checked."""
    if not options.complexity:
        if options.train is not None:
            raise InvalidInput(
                "training rows (train=, on the command line --train) are for complexity= (--complexity NAME), the value that is"
                " disentangled; add it, or leave them out"
            )
        return None
    train = options.train
    if train is not None and not isinstance(train, Samples):
        classes = samples.classes if samples.ordered else ()
        _, rows = receive_labelled(network, train, classes=classes, names=samples.features)
        train = select_samples(rows, RowSelection(rows=slice(0, MOST_ROWS)))
    asked = ComplexityQuestion(at=options.complexity, data=samples.whole or samples, train=train, seed=options.seed)
    check_complexity(network, asked, labelled=samples.y is not None and job.target is not None)
    return asked
