"""What a method is, and the registry of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.core.names import name_list, require_known
from vesalius.core.options import Options
from vesalius.core.players import Players
from vesalius.core.samples import PER_SAMPLE
from vesalius.games.absence import Absence, Baseline, describe_absence
from vesalius.games.game import question_provenance, sample_targets
from vesalius.games.interior_question import ask_for_players
from vesalius.methods.random_models import allocate_random
from vesalius.methods.texts import attribute_texts, check_samples, keep_bystanders
from vesalius.methods.upcast import upcast_half_precision
from vesalius.trace.default_inputs import embedding_behind
from vesalius.trace.network import Inputs, Network
from vesalius.trace.question import Question
from vesalius.trace.receive import receive, resolve_classes, with_class_names
from vesalius.trace.target import Target
from vesalius.trace.text_questions import TextPlayers, TextWords, require_players
from vesalius.trace.texts import read_texts


@dataclass(frozen=True, kw_only=True)
class Method(Options, ABC):
    """An attribution method: options as fields, one function.

    A method declares what it claims, from these words: ``complete`` (values add up to total - base), ``dummy`` (a player without effect
    gets 0), ``symmetric`` (players of equal effect get equal values), ``linear`` (in the model), ``sensitive`` (depends on gradients),
    ``accounted`` (what the values lack is in ``absorbed``), ``graph`` (needs a traced network).
    The contract tests hold it to them. One that ``plays`` evaluates coalitions of its players.

    Attributes:
        players: who is paid; by default what the method takes for parts.
    """

    name: ClassVar[str]
    claims: ClassVar[frozenset[str]]
    plays: ClassVar[bool] = False
    players: Players | None = None

    def place(self, network: Network) -> str | None:
        """Where the method looks if nobody says so; ``None``: at the inputs."""
        return None

    @abstractmethod
    def allocate(self, question: Question, absence: Absence) -> Allocation:
        """Share out the target of every sample; always batched."""


METHODS: dict[str, type[Method]] = {}
"""Methods by name; a new one is added with :func:`register`."""


SYNONYMS = {
    "ig": "integrated_gradients",
    "integratedgradients": "integrated_gradients",
    "path_integrated_gradients": "integrated_gradients",
    "gradcam": "grad_cam",
    "guided_grad_cam": "grad_cam",
    "kernel_shap": "shapley_value",
    "kernelshap": "shapley_value",
    "shap": "shapley_value",
    "shapley": "shapley_value",
    "shapley_values": "shapley_value",
    "shapley_value_sampling": "shapley_value",
    "permutation_shap": "shapley_value",
    "gradient_shap": "expected_gradients",
    "gradientshap": "expected_gradients",
    "deepshap": "deep_shap",
    "deep_lift_shap": "deep_shap",
    "deeplift": "deeplift_rescale",
    "deep_lift": "deeplift_rescale",
    "saliency": "gradient_x_input",
    "gradient": "gradient_x_input",
    "gradients": "gradient_x_input",
    "vanilla_gradients": "gradient_x_input",
    "input_x_gradient": "gradient_x_input",
    "inputxgradient": "gradient_x_input",
    "smoothgrad": "smooth_grad",
    "noise_tunnel": "smooth_grad",
    "lrp": "lrp_epsilon",
    "epsilon_lrp": "lrp_epsilon",
    "alpha_beta": "lrp_alpha_beta",
    "deep_taylor_decomposition": "deep_taylor",
    "dtd": "deep_taylor",
    "feature_ablation": "occlusion",
    "leave_one_out": "occlusion",
    "perturbation": "occlusion",
    "sliding_window": "occlusion_patch",
}
"""What methods, or their nearest kin here, are called elsewhere; said in the error, and never taken in silence."""


def register(method: type[Method]) -> type[Method]:
    """Class decorator: make a method available by its name."""
    if method.name in METHODS:
        raise InvalidInput(f"there is a method {method.name!r} already")
    METHODS[method.name] = method
    return method


@verb
def attribute(  # noqa: PLR0913 - a verb that users call
    model: Any,
    x: Inputs,
    method: str | Method = "integrated_gradients",
    *,
    target: Target = None,
    baseline: Baseline = None,
    at: str | Sequence[str] | None = None,
    direct: bool = False,
    players: TextPlayers = None,
    names: Sequence[str] = (),
    classes: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
) -> Allocation:
    """Share an output's change from a baseline out among the parts of an input.

    Args:
        model: a Network; or anything :func:`vesalius.trace` takes (an ``nn.Module``, a function, an estimator of scikit-learn), which is
            traced on these samples and remembered while it is the same: weights are always the live ones.
            A pipeline of ``transformers`` is its model and its tokenizer.
        x: a text, or several, where there is a tokenizer. Samples [B *event] in any form, see :func:`vesalius.core.rows.read_rows`
            (several inputs as a tuple or mapping); or one sample without the batch axis.
        method: a registered name, or an instance with options: ``ShapleyValue(budget=2000)``.
        target: ``None``: the predicted class of each sample; a class, by number or name; classes of samples; a tuple of integers for larger
            outputs; ``("layer2", 5)``: a unit of an inner value; a function of the output. See :func:`vesalius.trace.question.ask`.
        baseline: zero by default; a number (where ids are explained, or a value computed from them, 4 is token 4 and 4.0 is a number:
            see :class:`vesalius.Constant`), a sample, ``"mean"`` of the samples, ``"blur"``; several rows, which are a background; or an
            absence (``Mean(data)``, ``Blur()``, ...). Methods that compare with one point compare with each row of a background and take
            the mean. Methods without a baseline measure the gap from it alone.
        at: a value or module to explain instead of the input, or several, in any order. By default all floating inputs; where there are
            none, the ids (never a mask of them).
        direct: where one value of ``at`` is computed from another (heads of two layers), what is absent is overwritten where it stands
            and everything behind it is computed anew; True: direct effects only, the later value stays as it is when the earlier changes.
        players: who is paid: methods that play games play with them, the values of others are added up over them. Parts of the network's
            inside (``Players.heads(net)``, ``Players.edges(net)``) know where they are, so ``at`` is left out. Of a text, by default its
            tokens; ``"word"``, ``"sentence"`` or a pattern divide it, see :meth:`vesalius.Players.text`.
        names: of the players; by default those of the columns, where the data has them.
        classes: names of the classes in the output's order, where neither the data nor the model has them.
        options: of a method given by name: ``options={"budget": 2000}``.
        tokenizer: of ``tokenizers`` or ``transformers``, or the tokens' names. Then ``x`` is texts; the target may be a token, or one of
            :mod:`vesalius.language` (log-probability, a continuation, each generated token); the baseline ``"pad"``, ``"mask"``, a token
            by its string, ``"delete"``, another text of as many tokens, or a list of other texts; and gradients are taken at the embedding.

    Returns:
        An allocation over the batch, or over the one sample. ``allocation.gap`` is its completeness error; ``allocation[i]`` is that of a
        sample, which comes along with its target.

    Raises:
        UnknownName, InvalidInput, WrongType, NotTraceable: each with what to do; see :func:`vesalius.trace.question.ask`.
    """
    chosen = resolve_method(method, options)
    if (texts := read_texts(model, x, tokenizer)) is not None:
        words = TextWords(target=target, baseline=baseline, players=chosen.players or players, at=at, classes=classes, of_ids=chosen.plays)
        return attribute_texts(texts, chosen, words, partial(attribute, direct=direct, names=names, classes=classes))
    players = require_players(players)
    if players is not None and chosen.players is None:
        chosen = replace(chosen, players=players)
    received = receive(model, x, random=True)
    network, x, baseline = upcast_half_precision(received.network, received.x, baseline)
    target = resolve_classes(target, name_list("classes", classes) or received.classes, received.outputs)
    where = at if at is not None or (chosen.players and chosen.players.sites) else _place(chosen, network)
    asked: dict[str, Any] = {"target": target, "baseline": baseline, "at": where, "direct": direct, "plays": chosen.plays}
    question, absence = ask_for_players(network, x, chosen.players, **asked)
    _check_players(chosen, question)
    if chosen.players is not None and not chosen.plays:
        absence = keep_bystanders(absence, chosen.players)
    allocation = allocate_random(chosen.allocate, question, absence) if network.random else chosen.allocate(question, absence)
    allocation = _paid_to(chosen.players, allocation, question)
    allocation = replace(allocation, players=allocation.players.named(names or received.columns(question.at), strict=bool(names)))
    settings = {field.name: _describe_option(getattr(chosen, field.name)) for field in fields(chosen)}
    posed = {"method": chosen.name, "options": settings, **question_provenance(question, describe_absence(absence, question))}
    each = {"target": sample_targets(question)} | ({"id": list(received.ids)} if len(received.ids) == question.batch else {})
    known = name_list("classes", classes) or received.classes
    facts = with_class_names({**posed, **allocation.provenance, PER_SAMPLE: each}, known, received.outputs)
    whole = replace(allocation, provenance=facts, explained=tuple(here.detach().clone() for here in question.present))
    return whole[0] if question.single else whole


def _place(method: Method, network: Network) -> str | None:
    """Where a method looks if nobody says so: for gradients of a text, at the embedding."""
    players = method.players
    of_text = players is not None and (players.samples[0] if players.samples else players).from_left
    return method.place(network) or (embedding_behind(network) if of_text and not method.plays else None)


def _check_players(method: Method, question: Question) -> None:
    """Refuse players that do not fit, and gates for a method that propagates relevance."""
    if question.gated and "graph" in method.claims:
        raise InvalidInput(
            f"{method.name} passes relevance back along the graph, which {question.at[0]} of several layers cannot be given at once;"
            " ask for direct effects (direct=True) where they are parts of values, or use gradient_x_input, integrated_gradients or"
            " shapley_value"
        )
    if method.players is not None and not (question.gated and not method.plays):
        check_samples(method.players, question)


def _paid_to(players: Players | None, allocation: Allocation, question: Question) -> Allocation:
    """Values of the players that were asked for: of the gates there is one for each; else they are added up."""
    if players is None or allocation.players is players:
        return allocation
    if not question.gated:
        return allocation.group(players)
    shape = (question.batch, *players.shape)
    stderr = None if allocation.stderr is None else allocation.stderr.reshape(shape)
    return replace(allocation, players=players, values=allocation.values.reshape(shape), stderr=stderr)


def resolve_method(method: str | type[Method] | Method, options: Mapping[str, Any] | None = None) -> Method:
    """An instance for a name or a class; an instance as it is.

    Raises:
        UnknownName: no such method, with those that are; or no such option.
        InvalidInput: options beside an instance, which has its own.
    """
    if isinstance(method, Method):
        if options:
            raise InvalidInput(f"options={dict(options)!r} beside an instance of a method; give them to it: {type(method).__name__}(...)")
        return method
    if options is not None and not isinstance(options, Mapping):
        raise WrongType(f"options are a mapping, {{'budget': 2000}}, not {type(options).__name__} {options!r}")
    kind = METHODS.get(method) if isinstance(method, str) else method
    if isinstance(method, str) and kind is None:
        raise UnknownName("method", method, METHODS, meant=SYNONYMS.get(method.lower().replace("-", "_").replace(" ", "_")), listed=True)
    if not (isinstance(kind, type) and issubclass(kind, Method)):
        raise WrongType(f"a method is a name, a class of vesalius.methods or an instance of one, not {method!r}")
    known = [field.name for field in fields(kind)]
    for option in options or {}:
        require_known(f"option of {kind.name}", option, known)
    return kind(**(options or {}))


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
