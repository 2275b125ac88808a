"""What is measured about one architecture, and in which words it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import permutations
from typing import Any

import torch
from torch import Tensor, nn

import vesalius as vs
from benchmarks.zoo.entry import Entry
from benchmarks.zoo.peers import peers
from benchmarks.zoo.subject import BATCHES, Subject, in_words, read_output, shorten
from vesalius.games.absence import Marginal

Found = dict[str, Any]
Gap = float | str
"""A share, or why there is none."""

COMPLETE = ("deeplift_rescale", "deeplift_revealcancel", "deep_shap", "integrated_gradients", "expected_gradients")
OF_A_BACKGROUND = ("deep_shap", "expected_gradients")
ACCOUNT = "lrp_epsilon"
PRECISIONS = {torch.float32: 1e-5, torch.float64: 1e-10}
"""Largest share of the change that may be missed."""
LEAST_CHANGE = 1e-6
"""Share of the output that a change counts for at least, since some outputs do not change at all."""
ROUNDS = 3
PARTS = 4
"""Players of a black box: so few that all their orders can be gone through."""


def examine(entry: Entry) -> Found:
    """Trace a model in both precisions, compare it with itself, and ask every method about one sample and about three."""
    found: Found = {"name": entry.name, "family": entry.family}
    for dtype in PRECISIONS:
        try:
            subject = Subject.of(entry, dtype)
        except Exception as error:
            if "trace" in found:  # some models are written for single precision alone
                return {**found, "double": in_words(error)}
            return {**found, "fails": in_words(error)}
        network, seconds = _trace(subject)
        if network.opaque:
            return {**found, "black_box": shorten(str(network.reason)), **_examine_black_box(subject, network)}
        if dtype == torch.float32:
            found |= {"trace": seconds, "export": _export_seconds(subject), "differs": {}, "methods": {}}
        found["differs"][_name(dtype)] = _difference(subject, network)
        for method in (*COMPLETE, ACCOUNT):
            gaps, seconds = zip(*(_gap(subject, network, method, rows) for rows in BATCHES), strict=True)
            found["methods"].setdefault(method, {})[_name(dtype)] = list(gaps)
            if dtype == torch.float32:
                found.setdefault("seconds", {})[method] = seconds[-1]
        if dtype == torch.float32:
            found |= {"pass": _forward_backward_seconds(subject), **peers(subject)}
    return found


def _trace(subject: Subject) -> tuple[Any, float]:
    args, kwargs = subject.split(tuple(x[:1] for x in subject.inputs))
    start = time.process_time()
    network = vs.trace(subject.model, *args, kwargs=kwargs, output=subject.entry.output)
    return network, time.process_time() - start


def _export_seconds(subject: Subject) -> Gap:
    args, kwargs = subject.split(subject.inputs)
    start = time.process_time()
    try:
        torch.export.export(_Selected(subject), args, kwargs, strict=False)
    except Exception as error:
        return in_words(error)
    return time.process_time() - start


class _Selected(nn.Module):
    """The model with the explained output alone, since export takes no result of a class that it does not know."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.model, self.output = subject.model, subject.entry.output

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
        return read_output(self.model(*args, **kwargs), self.output)


def _difference(subject: Subject, network: Any) -> float:
    with torch.no_grad():
        return float((network(*subject.inputs) - subject.scores).abs().max() / subject.scores.abs().max())


def _options(subject: Subject, network: Any, method: str) -> dict[str, Any]:
    """Where and from which baseline: zero, or a background of two samples."""
    options: dict[str, Any] = {"target": subject.target}
    if subject.entry.embedded:
        options["at"] = _embedding(network, subject.model)
    if method in OF_A_BACKGROUND:
        options["baseline"] = Marginal(background=subject.background if len(subject.background) > 1 else subject.background[0])
    return options


def _embedding(network: Any, model: nn.Module) -> str:
    """The first embedding that is called; others share its table under another name."""
    known = () if network.opaque else network.layers
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Embedding)]
    return next((name for name in names if name in known), names[0])


def _gap(subject: Subject, network: Any, method: str, rows: int) -> tuple[Gap, float]:
    """What a method leaves unsaid, and seconds of the call.

    The share of the output's change that the values miss; of LRP the share of the output that is in no account.
    """
    inputs = tuple(x[:rows] for x in subject.inputs)
    start = time.perf_counter()
    try:
        found = vs.attribute(network, inputs, method, **_options(subject, network, method))
    except Exception as error:
        return in_words(error), time.perf_counter() - start
    return _share(subject, found, inputs, method), time.perf_counter() - start


def _share(subject: Subject, found: vs.Allocation, inputs: tuple[Tensor, ...], method: str) -> Gap:
    if method == ACCOUNT:
        return float((found.unaccounted.abs() / found.total.abs()).max())
    if not bool((found.total - subject.scored(inputs)).abs().max() <= 1e-4 * subject.scores.abs().max()):
        return "its total is not the model's output"
    size = torch.maximum(found.total.abs(), found.base.abs())
    share = float((found.gap.abs() / torch.maximum((found.total - found.base).abs(), LEAST_CHANGE * size)).max())
    if found.converged is not None and not bool(found.converged.all()) and not share <= PRECISIONS[subject.scores.dtype]:
        return f"not converged, as it says; off by {share:.0e}"
    return share


def _forward_backward_seconds(subject: Subject) -> float:
    """The least of some rounds."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        _forward_backward(subject)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _forward_backward(subject: Subject) -> None:
    inputs = tuple(x.clone().requires_grad_() if x.is_floating_point() else x for x in subject.inputs)
    subject.scored(inputs).sum().backward()
    subject.model.zero_grad()


# ---- black boxes ------------------------------------------------------------------------------------------------------------------


def _examine_black_box(subject: Subject, network: Any) -> Found:
    """Shapley values and dividends of four parts of the input against all orders and all coalitions, and occlusion of the parts."""
    x = subject.inputs[0][:1]
    players = vs.Players.segments(_quarters(x[0]))
    values = {members: _value_of(subject, members) for members in _coalitions()}
    options: dict[str, Any] = {"target": subject.target, "baseline": 0}
    inputs = tuple(one[:1] for one in subject.inputs)
    size = max(abs(value) for value in values.values())

    def against(truth: Tensor, ask: Callable[[], Tensor]) -> Gap:
        try:
            return float((ask().double() - truth).abs().max() / size)
        except Exception as error:
            return in_words(error)

    full = frozenset(range(PARTS))
    alone = torch.tensor([values[full] - values[full - {player}] for player in range(PARTS)], dtype=torch.float64)
    top = sum((-1) ** (PARTS - len(members)) * value for members, value in values.items())
    return {
        "shapley_value": against(
            _shapley(values), lambda: vs.attribute(network, inputs, "shapley_value", players=players, **options).flat[0]
        ),
        "occlusion": against(alone, lambda: vs.attribute(network, inputs, "occlusion", players=players, **options).flat[0]),
        "interactions": against(
            torch.tensor(top, dtype=torch.float64), lambda: vs.interactions(network, inputs, players, **options).flat.flatten()[-1]
        ),
    }


def _quarters(x: Tensor) -> Tensor:
    """Labels of four parts along the first axis that is long enough, for every element."""
    axis = next((axis for axis, size in enumerate(x.shape) if size >= PARTS), 0)
    labels = (torch.arange(x.shape[axis]) * PARTS // x.shape[axis]).reshape([-1 if place == axis else 1 for place in range(x.ndim)])
    return labels.expand(x.shape).contiguous()


def _coalitions() -> list[frozenset[int]]:
    return [frozenset(player for player in range(PARTS) if code >> player & 1) for code in range(1 << PARTS)]


def _value_of(subject: Subject, members: frozenset[int]) -> float:
    x = subject.inputs[0][:1]
    kept = sum((_quarters(x[0]) == player for player in members), torch.zeros(x[0].shape, dtype=torch.bool))
    with torch.no_grad():
        return float(subject.scored((torch.where(kept, x, torch.zeros_like(x)), *(one[:1] for one in subject.inputs[1:])))[0])


def _shapley(values: Mapping[frozenset[int], float]) -> Tensor:
    """The mean over all orders of what a player adds."""
    found = torch.zeros(PARTS, dtype=torch.float64)
    orders = list(permutations(range(PARTS)))
    for order in orders:
        for place, player in enumerate(order):
            before = frozenset(order[:place])
            found[player] += values[before | {player}] - values[before]
    return found / len(orders)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
