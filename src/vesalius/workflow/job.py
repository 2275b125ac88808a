"""What is asked of every method about some rows: which class, compared with what, of which parts."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.core.players import Players
from vesalius.games.absence import Absence, Baseline, Blur, Constant, Marginal, as_absence
from vesalius.methods import Method
from vesalius.trace import Network
from vesalius.trace.question import ask
from vesalius.trace.target import predicted_classes
from vesalius.workflow.samples import Samples

TARGET_WORDS = ("predicted", "true")
BASELINE_WORDS = ("zero", "mean", "blur")
ROWS_AT_ONCE = 64
"""Rows of a batch when the model is asked for its output."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """What is asked of every method.

    Attributes:
        network: what to explain.
        x: rows [rows *event].
        output: the network's output for them [rows classes] or [rows].
        target: class of each row to explain, or ``None`` for a single output.
        absence: what absent parts are replaced by.
        baseline: the same in words.
        at: a value to explain instead of the input.
        features: names of the elements of a row, or empty.
        unit: of the output.
    """

    network: Network
    x: Tensor
    output: Float[Tensor, "rows *classes"]
    target: Int[Tensor, " rows"] | None
    absence: Absence
    baseline: str
    at: str | None
    features: tuple[str, ...]
    unit: str

    def of(self, place: int) -> Job:
        """The same about one of the rows."""
        row = slice(place, place + 1)
        return replace(self, x=self.x[row], output=self.output[row], target=None if self.target is None else self.target[row])


def make_job(network: Network, samples: Samples, *, target: Any = None, baseline: Baseline = None, at: str | None = None) -> Job:
    """A job about some samples.

    Args:
        network: what to explain.
        samples: with their mean or a background, where the baseline is one of these.
        target: ``None`` or ``"predicted"``; ``"true"``: the label; a class by number or name; or one of these for each row.
        baseline: ``None``: the background of the samples, if they have one, else zero; ``"mean"``: that of the samples; ``"blur"``; or
            whatever :func:`vesalius.attribute` takes.
        at: a value to explain instead of the input.

    Raises:
        InvalidInput: an output that is no row of numbers, or NaN; classes or labels that do not fit it; a class out of range.
        UnknownName: no such class or baseline.
        WrongType: a target that is no class.
    """
    if len(network.inputs) != 1:
        names = ", ".join(value.name for value in network.inputs)
        raise InvalidInput(f"rows of one input are explained here, and {network.name} takes {names}; use vesalius.attribute and report")
    x = network.bind(samples.x)[0]
    output = _output(network, x, samples.rows)
    classes = output.shape[1] if output.ndim == 2 else 1
    _check_classes(samples, classes)
    words, absence = _absence(network, samples, x, baseline=baseline, at=at)
    return Job(
        network=network,
        x=x,
        output=output,
        target=_classes_of_rows(target, samples, output),
        absence=absence,
        baseline=words,
        at=at,
        features=samples.features,
        unit=_unit(output),
    )


def check_method(job: Job, method: Method) -> None:
    """Refuse a method that needs a graph or a gradient where there is none, before any method has run.

    Raises:
        NotTraceable, WrongType: with what to do.
    """
    if "graph" in method.claims:
        job.network.graph(method.name)
    if "sensitive" not in method.claims:
        return
    try:
        ask(job.network, job.x[:1], at=job.at or method.place(job.network)).require_differentiable(method.name)
    except WrongType as error:
        raise WrongType(f"{error} (on the command line: --at NAME, --methods NAME)") from error


def resolve_players(players: Players | str | None, job: Job) -> Players | None:
    """Players as they are, or of a kind: ``features``, ``channels``, ``tokens``, ``patches:4``; ``auto`` or ``None``: the methods' own.

    Raises:
        UnknownName: no such kind.
        InvalidInput: they do not fit the rows, or an inner value is explained.
    """
    if players is None or players == "auto":
        return None
    if job.at is not None:
        raise InvalidInput("players divide the input, and at= explains another value; leave --players or --at (players=, at=) out")
    if isinstance(players, Players):
        players.check([job.x[0]])
        return players
    kind, _, size = players.partition(":")
    makers: dict[str, Callable[[Any], Players]] = {"features": Players.features, "channels": Players.channels, "tokens": Players.tokens}
    if kind == "patches" and size.isdigit():
        return Players.patches(job.x[0], int(size))
    if kind not in makers or size:
        raise UnknownName("kind of players", players, ["auto", *makers, "patches:2"])
    return makers[kind](job.x[0])


# ---- output -------------------------------------------------------------------------------------------------------------------------


def _output(network: Network, x: Tensor, rows: Sequence[int]) -> Float[Tensor, "rows *classes"]:
    """The network's output for all rows, refused where it is not one number or one row of classes each."""
    with torch.no_grad():
        parts = [network(part) for part in x.split(ROWS_AT_ONCE)]
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
        what = "there are names of" if samples.ordered else "the labels are words, and there are"
        raise InvalidInput(
            f"{what} {len(samples.classes)} classes; the model has {classes}: name them in the model's order with classes="
            " (on the command line: --names)"
        )
    if samples.y is not None and int(samples.y.max()) >= classes:
        raise InvalidInput(f"there is a label {int(samples.y.max())}; the model has {classes} classes, 0 to {classes - 1}")


def _unit(output: Float[Tensor, "rows *classes"]) -> str:
    """Probabilities if that is what the rows hold, else logits; one number is in a unit of its own."""
    if output.ndim == 1 or output.shape[1] == 1:
        return "units of the output"
    probabilities = bool((output >= 0).all()) and bool(((output.sum(1) - 1).abs() < 1e-3).all())
    return "probability" if probabilities else "logits"


# ---- target -------------------------------------------------------------------------------------------------------------------------


def _classes_of_rows(target: Any, samples: Samples, output: Float[Tensor, "rows *classes"]) -> Int[Tensor, " rows"] | None:
    """Class of each row that is explained; ``None`` where there is only one output."""
    single = output.ndim == 1 or output.shape[1] == 1
    if target is None or (isinstance(target, str) and target == "predicted"):
        return None if single else predicted_classes(output)
    if single:
        raise InvalidInput(f"the model has one output, which is what is explained; leave the target ({target!r}) out")
    if isinstance(target, str) and target == "true":
        if samples.y is None:
            raise InvalidInput("the target 'true' needs labels: y in the data, or labels= (on the command line: --label, --labels)")
        return samples.y.to(output.device)
    if isinstance(target, str) or not hasattr(target, "__len__") or getattr(target, "ndim", 1) == 0:
        number = _class_number(target, samples, output.shape[1])
        return torch.full((len(output),), number, device=output.device)
    if isinstance(target, tuple) or len(target) not in (len(output), samples.of):
        raise InvalidInput(f"the target is a class, or a list of one class for each of {len(output)} rows, not {target!r}")
    each = [_class_number(one, samples, output.shape[1]) for one in target]
    chosen = each if len(each) == len(output) else [each[row] for row in samples.rows]
    return torch.tensor(chosen, device=output.device)


def _class_number(target: Any, samples: Samples, count: int) -> int:
    if isinstance(target, str) and target in samples.classes:
        return samples.classes.index(target)
    try:
        place = int(target) if isinstance(target, str) else operator.index(target)
    except ValueError as error:
        raise UnknownName("target", target, [*TARGET_WORDS, *(samples.classes or map(str, range(count)))]) from error
    except TypeError as error:
        raise WrongType(
            f"decisions between classes are explained here, and {target!r} is no class; for other targets use vesalius.attribute"
        ) from error
    if not 0 <= place < count:
        raise InvalidInput(f"the target {place} is out of range: the model has {count} classes, 0 to {count - 1}")
    return place


# ---- baseline -----------------------------------------------------------------------------------------------------------------------


def _absence(network: Network, samples: Samples, x: Tensor, *, baseline: Baseline, at: str | None) -> tuple[str, Absence]:
    """What absent parts are replaced by, and the same in words."""
    if isinstance(baseline, str):
        if baseline not in BASELINE_WORDS:
            raise UnknownName("baseline", baseline, (*BASELINE_WORDS, "rows:0:20 (on the command line)"))
        if baseline == "blur":
            if x.ndim < 3 or not x.is_floating_point():
                raise InvalidInput(f"the baseline blur is for pictures; these rows have shape {list(x.shape[1:])} and are {x.dtype}")
            return "the row itself, blurred", Blur()
        if baseline == "mean":
            assert samples.mean is not None
            return f"mean of {samples.of:,} rows", Constant(samples.mean.to(x))
        return "zero", Constant()
    if baseline is None:
        if samples.background is None:
            return "zero", Constant()
        return f"background of {len(samples.background)} rows", Marginal(samples.background.to(x))
    absence = as_absence(baseline, ask(network, x[:1], at=at))
    return absence.describe(), absence
