"""``vesalius explain``: what a model's decisions on some rows rest on, as a page and as files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.cli.complexity import ComplexityOptions, ComplexityResult, check_complexity, measure_complexity
from vesalius.cli.data_loading import DataOptions, load_samples
from vesalius.cli.model_loading import ModelOptions, open_network
from vesalius.core import store
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.core.players import Players
from vesalius.games.absence import Absence, Blur, Constant, Marginal
from vesalius.information import FlowGraph
from vesalius.methods import METHODS, Method
from vesalius.trace import Network
from vesalius.trace.question import ask
from vesalius.views.decisions import Decisions
from vesalius.views.report import report
from vesalius.workflow.flow import measure_flow
from vesalius.workflow.method_runs import Job, MethodResult, options_of, run_methods
from vesalius.workflow.row_audit import RowAudit, audit_row, parse_audit_rows
from vesalius.workflow.samples import Samples, to_model_dtype
from vesalius.workflow.summary import completeness_summary, count_decisions, decision, describe_network, run_cost, summary

BASELINES = ("zero", "mean", "blur")
BACKGROUND_PREFIX = "rows:"


@dataclass(frozen=True, kw_only=True)
class Explain:
    """Explain decisions of a model: a page (report.html), one file per method, and summary.json."""

    model: tyro.conf.Positional[str]
    """file.py:factory or package.module:factory, a function that returns a torch.nn.Module; a *.safetensors written by Network.save; or an
    exported *.pt2."""
    data: tyro.conf.Positional[Path]
    """*.npz or *.safetensors (arrays x and, if known, y), *.npy, *.csv or *.parquet with named columns, or a folder of pictures."""
    out: Path
    """Folder to write to. What is finished there is not computed again."""
    methods: tuple[str, ...] = ("integrated_gradients", "shapley_value", "occlusion", "gradient_x_input")
    """Methods to run, in the order they are shown."""
    rows: str = "0:8"
    """Rows to explain: 0:8, 5, -3: or 1,4,9."""
    target: str = "predicted"
    """Class to explain: predicted, true (the label), a number, or a name."""
    baseline: str = "zero"
    """What masked features are replaced by: zero, the mean of DATA, a background of rows of DATA that is averaged over (rows:0:20), or
    (pictures) a blur of the row itself.
    """
    players: str = "auto"
    """What is masked as a whole (the players of the game): auto, features, channels, tokens or patches:N (N x N pixels)."""
    weights: Path | None = None
    """Parameters for the factory's module: *.safetensors, or *.pt (read without running code)."""
    output: str | None = None
    """Which part of the model's result to explain, where it is not a single tensor: a key or a position."""
    at: str | None = None
    """An inner value to explain instead of the input, such as an embedding."""
    label: str | None = None
    """Column (csv, parquet) or array (npz, safetensors) of labels."""
    audit: str = ""
    """Rows to audit, among those explained: 3 or 0,4. Interactions (Harsanyi dividends) of such a row are computed, and every method is
    tested on masked versions of it: completeness, null players, over-counting; of more than 12 patches of a picture, by 3 x 3 larger ones.
    """
    flow: str = ""
    """Rows of DATA on which information flow is measured, the mutual information between units of one layer and the next: some hundreds,
    or : for all.
    """
    complexity: str = ""
    """A value of the model, such as a layer, whose feature is disentangled into components by the number of nonlinear layers that they
    take to compute: half a minute or so for a small model. With labels, also the effectiveness and over-fitting of each component.
    """
    train: Path | None = None
    """Rows the model was trained on, in the form of DATA, with their labels: they are then disentangled, and DATA shows over-fitting."""
    labels: Path | None = None
    """File of labels, one per row of DATA: *.npy or text."""
    names: str | None = None
    """Names of the classes in the model's order: a,b,c or a file with one per line."""
    features: str | None = None
    """Names of the elements of a row, likewise."""
    size: int | None = None
    """Resize pictures to SIZE x SIZE pixels."""
    tol: float = 1e-2
    """Relative error of the map of integrated and expected gradients at which they stop (of an untraced model: completeness error)."""
    budget: int | None = None
    """Evaluations of the model per row for Shapley values. Up to 12 players, all coalitions are evaluated by default."""
    seed: int = 0
    """Seed of whatever is drawn at random."""
    device: str = "cpu"
    """Where to run: cpu, cuda, mps."""
    trust: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Read a *.pt2 file although it can run code."""


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
        facts: rows and numbers, as summary.json holds them.
        seconds: that the methods took.
    """

    job: Job
    samples: Samples
    done: tuple[MethodResult, ...]
    decisions: Decisions
    judged: tuple[RowAudit, ...]
    flow: FlowGraph | None
    complexity: ComplexityResult | None
    facts: Mapping[str, Any]
    seconds: float

    @property
    def sections(self) -> list[object]:
        """All there is to show."""
        audits = [section for each in self.judged for section in each.sections]
        flow = [] if self.flow is None else [self.flow]
        return [self.decisions, *audits, *flow, *([] if self.complexity is None else [self.complexity.section])]


def explain(options: Explain, command: str) -> Path:
    """Run the command.

    Args:
        options: from the command line.
        command: that line, to be shown on the page.

    Returns:
        The page.
    """
    found = explain_rows(options, heading="Decisions", anchor="decisions")
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
    page = report(found.sections, title=title, lead=completeness_summary(found.done), facts=facts, reproduce=command)
    return page.save(options.out / "report.html")


def explain_rows(options: Explain, *, heading: str, anchor: str) -> ExplainResult:
    """Everything but the page: the methods' files and summary.json are written."""
    methods = parse_methods(options.methods)
    if options.baseline not in BASELINES and not options.baseline.startswith(BACKGROUND_PREFIX):
        raise UnknownName("baseline", options.baseline, (*BASELINES, f"{BACKGROUND_PREFIX}0:20"))
    samples = load_samples(options.data, _data_options(options))
    opening = ModelOptions(weights=options.weights, output=options.output, trust=options.trust, device=options.device)
    network = open_network(options.model, samples.x, opening)
    job = _make_job(options, samples, network)
    for name in methods:
        _check_fit(network, job.x[:1], options.at, name)
    places = parse_audit_rows(options.audit, samples, options.at)
    if samples.flow is not None:
        network.graph("information flow")
    check_complexity(network, asked := _complexity_options(options), labelled=samples.y is not None and job.target is not None)
    began = time.monotonic()
    done = run_methods(job, [_make_method(name, options, job) for name in methods], options.out)
    found = tuple(audit_row(job, samples, place, _parse_players(options, job), options.out, seed=options.seed) for place in places)
    flow = None if samples.flow is None else measure_flow(job, samples, options.out, seed=options.seed)
    parted = None if not options.complexity else measure_complexity(job, asked, options.out)
    seconds = time.monotonic() - began
    decisions = tuple(decision(job, samples, done, place) for place in range(len(samples.x)))
    facts = summary(job, samples, done, decisions) | ({"audits": [each.facts() for each in found]} if found else {})
    store.write_text(options.out / "summary.json", json.dumps(facts, indent=1) + "\n")
    section = Decisions(items=decisions, unit=job.unit, baseline=job.baseline, heading=heading, anchor=anchor)
    return ExplainResult(
        job=job,
        samples=samples,
        done=tuple(done),
        decisions=section,
        judged=found,
        flow=flow,
        complexity=parted,
        facts=facts,
        seconds=seconds,
    )


def parse_methods(words: Sequence[str]) -> list[str]:
    """Names of methods, separated by spaces or commas; unknown ones, none, and one twice are refused."""
    names = [name for word in words for name in word.split(",") if name]
    for name in names:
        if name not in METHODS:
            raise UnknownName("method", name, METHODS)
    if not names or len(set(names)) < len(names):
        raise InvalidInput(f"--methods names {'one method twice' if names else 'no method'}; known: {', '.join(METHODS)}")
    return names


def _data_options(options: Explain) -> DataOptions:
    return DataOptions(
        rows=options.rows,
        label=options.label,
        labels=options.labels,
        names=options.names,
        features=options.features,
        size=options.size,
        mean=options.baseline == "mean",
        flow=options.flow,
        background=options.baseline.removeprefix(BACKGROUND_PREFIX) if options.baseline.startswith(BACKGROUND_PREFIX) else "",
    )


def _complexity_options(options: Explain) -> ComplexityOptions:
    return ComplexityOptions(
        at=options.complexity, data=options.data, train=options.train, wanted=_data_options(options), seed=options.seed
    )


def _make_job(options: Explain, samples: Samples, network: Network) -> Job:
    x = to_model_dtype(network, samples.x).to(options.device)
    output = _output(network, x, samples.rows)
    classes = output.shape[1] if output.ndim == 2 else 1
    _check_classes(samples, classes)
    baseline, absence = _parse_baseline(options, samples, x)
    return Job(
        network=network,
        x=x,
        output=output,
        target=_parse_target(options.target, samples, output) if classes > 1 else None,
        absence=absence,
        baseline=baseline,
        at=options.at,
        features=samples.features,
        unit=_unit(output),
    )


def _check_fit(network: Network, x: Tensor, at: str | None, method: str) -> None:
    """Refuse a method that needs a graph or a gradient where there is none, before any method has run."""
    claims = METHODS[method].claims
    if "graph" in claims:
        network.graph(method)
    if "sensitive" not in claims:
        return
    try:
        ask(network, x, at=at or METHODS[method]().place(network)).require_differentiable(method)
    except WrongType as error:
        raise WrongType(f"{error} (on the command line: --at NAME, --methods NAME)") from error


def _output(network: Network, x: Tensor, rows: Sequence[int]) -> Float[Tensor, "rows *classes"]:
    """The network's output for all rows, refused where it is not one number or one row of classes each."""
    with torch.no_grad():
        parts = [network(part) for part in x.split(64)]
    output = torch.cat(parts)
    if output.ndim not in (1, 2) or len(output) != len(x):
        raise InvalidInput(f"the output of one row has shape {list(output.shape[1:])}; expected one number or one per class")
    if not bool(output.isfinite().all()):
        row = int((~output.isfinite()).reshape(len(output), -1).any(1).nonzero()[0])
        raise InvalidInput(f"the model's output for row {rows[row]} is NaN or infinite")
    return output


def _check_classes(samples: Samples, classes: int) -> None:
    if classes == 1:
        return
    if samples.classes and len(samples.classes) != classes:
        what = "--names gives" if samples.ordered else "the labels are words, and there are"
        raise InvalidInput(f"{what} {len(samples.classes)} classes; the model has {classes}: name them with --names, in the model's order")
    if samples.y is not None and int(samples.y.max()) >= classes:
        raise InvalidInput(f"there is a label {int(samples.y.max())}; the model has {classes} classes, 0 to {classes - 1}")


def _parse_target(text: str, samples: Samples, output: Float[Tensor, "rows classes"]) -> Int[Tensor, " rows"]:
    """Class of each row that is explained."""
    if text == "predicted":
        return output.argmax(1)
    if text == "true":
        if samples.y is None:
            raise InvalidInput("--target true needs labels: y in the data, --label NAME or --labels FILE")
        return samples.y.to(output.device)
    if text in samples.classes:
        return torch.full((len(output),), samples.classes.index(text), device=output.device)
    try:
        place = int(text)
    except ValueError as error:
        raise UnknownName("target", text, ["predicted", "true", *(samples.classes or map(str, range(output.shape[1])))]) from error
    if not 0 <= place < output.shape[1]:
        raise InvalidInput(f"--target {place} is out of range: the model has {output.shape[1]} classes, 0 to {output.shape[1] - 1}")
    return torch.full((len(output),), place, device=output.device)


def _parse_baseline(options: Explain, samples: Samples, x: Tensor) -> tuple[str, Absence]:
    if options.baseline == "blur":
        if x.ndim < 3 or not x.is_floating_point():
            raise InvalidInput(f"--baseline blur is for pictures; these rows have shape {list(x.shape[1:])} and are {x.dtype}")
        return "the row itself, blurred", Blur()
    if options.baseline == "mean":
        assert samples.mean is not None
        return f"mean of {samples.of:,} rows", Constant(value=samples.mean.to(x))
    if samples.background is not None:
        return f"background of {len(samples.background)} rows", Marginal(background=samples.background.to(x))
    return "zero", Constant()


def _unit(output: Float[Tensor, "rows *classes"]) -> str:
    """Probabilities if that is what the rows hold, else logits; one number is in a unit of its own."""
    if output.ndim == 1 or output.shape[1] == 1:
        return "units of the output"
    return "probability" if _is_probability(output) else "logits"


def _is_probability(output: Float[Tensor, "rows classes"]) -> bool:
    return bool((output >= 0).all()) and bool(((output.sum(1) - 1).abs() < 1e-3).all())


def _make_method(name: str, options: Explain, job: Job) -> Method:
    """A method with those of the options that it has."""
    players = _parse_players(options, job)
    given: dict[str, Any] = {"tol": options.tol, "budget": options.budget, "seed": options.seed}
    given |= {"players": players} if METHODS[name].plays else {}
    return METHODS[name](**{option: value for option, value in given.items() if option in options_of(METHODS[name])})


def _parse_players(options: Explain, job: Job) -> Players | None:
    if options.players == "auto":
        return None
    if options.at is not None:
        raise InvalidInput("--players divides the input, and --at explains another value; leave one of them out")
    kind, _, size = options.players.partition(":")
    sample = job.x[0]
    makers: dict[str, Callable[[Any], Players]] = {"features": Players.features, "channels": Players.channels, "tokens": Players.tokens}
    if kind == "patches" and size.isdigit():
        return Players.patches(sample, int(size))
    if kind not in makers or size:
        raise UnknownName("kind of players", options.players, ["auto", *makers, "patches:2"])
    return makers[kind](sample)
