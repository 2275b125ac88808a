"""What a method is, and the registry of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.core.players import Players
from vesalius.games.absence import Absence, Baseline, as_absence
from vesalius.games.game import question_provenance
from vesalius.methods.upcast import upcast_half_precision
from vesalius.trace.network import Inputs, Network
from vesalius.trace.question import Question, Target, ask


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """An attribution method: options as fields, one function.

    A method declares what it claims, from these words: ``complete`` (values add up to total - base), ``dummy`` (a player without effect
    gets 0), ``symmetric`` (players of equal effect get equal values), ``linear`` (in the model), ``sensitive`` (depends on gradients),
    ``accounted`` (what the values lack is in ``absorbed``), ``graph`` (needs a traced network).
    The contract tests hold it to them.
    """

    name: ClassVar[str]
    claims: ClassVar[frozenset[str]]

    def place(self, network: Network) -> str | None:
        """Where the method looks if nobody says so; ``None``: at the inputs."""
        return None

    @abstractmethod
    def allocate(self, question: Question, absence: Absence) -> Allocation:
        """Share out the target of every sample; always batched."""


METHODS: dict[str, type[Method]] = {}
"""Methods by name; a new one is added with :func:`register`."""


def register(method: type[Method]) -> type[Method]:
    """Class decorator: make a method available by its name."""
    if method.name in METHODS:
        raise InvalidInput(f"there is a method {method.name!r} already")
    METHODS[method.name] = method
    return method


def attribute(
    network: Network,
    x: Inputs,
    method: str | Method = "integrated_gradients",
    *,
    target: Target = None,
    baseline: Baseline = None,
    at: str | tuple[str, ...] | None = None,
) -> Allocation:
    """Share an output's change from a baseline out among the parts of an input.

    Args:
        network: from :func:`vesalius.trace`.
        x: a batch of inputs [B *event] (several inputs as a tuple or dict), or one sample without the batch axis.
        method: a registered name, or an instance with options: ``ShapleyValue(budget=2000)``.
        target: ``None``: the predicted class of each sample; a class; a tensor of classes [B]; a tuple of ints for larger outputs;
            ``("layer2", 5)``: a unit of an inner value.
        baseline: zero by default; a number, a tensor, or an absence (``Mean(data=x)``, ``Blur()``, ...). Methods that compare with one
            point compare with each of several (``Marginal``) and take the mean. Methods without a baseline measure the gap from it alone.
        at: a value or module to explain instead of the input.

    Returns:
        An allocation over the batch, or over the one sample. ``allocation.gap`` says what does not add up.

    Raises:
        UnknownName, InvalidInput, WrongType, NotTraceable: each with what to do; see :func:`vesalius.trace.question.ask`.
    """
    if not isinstance(network, Network):
        raise WrongType(f"expected a Network, not {type(network).__name__}; make one with vesalius.trace(model, x)")
    chosen = resolve_method(method)
    network, x, baseline = upcast_half_precision(network, x, baseline)
    absence = as_absence(baseline)
    question = ask(network, x, target=target, at=chosen.place(network) if at is None else at)
    allocation = chosen.allocate(question, absence)
    options = {field.name: _describe_option(getattr(chosen, field.name)) for field in fields(chosen)}
    asked = {"method": chosen.name, "options": options, **question_provenance(question, absence.describe())}
    whole = replace(allocation, provenance={**asked, **allocation.provenance})
    return whole[0] if question.single else whole


def resolve_method(method: str | Method) -> Method:
    """An instance for a name; an instance as it is.

    Raises:
        UnknownName: no such method.
    """
    if isinstance(method, Method):
        return method
    if not isinstance(method, str):
        raise WrongType(f"a method is a name or an instance of Method, not {method!r}")
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    return METHODS[method]()


def _describe_option(option: Any) -> Any:
    """An option as JSON; anything larger by its description."""
    if isinstance(option, (Players, Tensor)):
        return repr(option) if isinstance(option, Players) else f"tensor {list(option.shape)}"
    return option if option is None or isinstance(option, (bool, int, float, str)) else repr(option)


def base_and_total(question: Question, fills: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The target at the baselines (their mean, where there are several) and at the samples: [B] each."""
    with torch.no_grad():
        each = [_score_points(question, [fill[:, m] for fill in fills]) for m in range(fills[0].shape[1])]
    return torch.stack(each).mean(0), question.total


def _score_points(question: Question, points: Sequence[Tensor]) -> Tensor:
    """The target at one point per sample; the network is run once where all are the same and nothing else goes in."""
    rows = torch.arange(question.batch, device=points[0].device)
    alike = question.subgraph is not None and not question.subgraph.context and all(bool((point == point[:1]).all()) for point in points)
    if not alike:
        return question.score(points, rows)
    output = question.head([point[:1] for point in points], rows[:1])
    return question.pick(output.expand(question.batch, *output.shape[1:]), rows)
