"""``sparsify``: the links a network needs, and the network that is left."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.core.numbers import Limit, real_number
from vesalius.core.version import VERSION
from vesalius.sparsity.parametrizations import bounds_of, plain_network
from vesalius.sparsity.pruning.allocation import LinkCount, counts_from_importance_level, counts_from_sparsity
from vesalius.sparsity.pruning.calibration import collect_samples
from vesalius.sparsity.pruning.finetune import finetune
from vesalius.sparsity.pruning.masked_copy import build_masked_model
from vesalius.sparsity.pruning.prune import PRUNE_BY_MODE, NetworkAndWeights, PrunedWeight, PruningProblem
from vesalius.sparsity.pruning.training_mode import measure_batch_norms
from vesalius.sparsity.pruning_options import MODES, Pruning
from vesalius.sparsity.scores import Score
from vesalius.sparsity.sparsified import Sparsified
from vesalius.trace.batches import Data, row_labels
from vesalius.trace.network import Network
from vesalius.trace.receive import receive_data

OWN_SCORES = frozenset({"sparse_gpt", "alps"})
"""Modes that rank links by themselves."""
MIN_SAMPLES = 16
"""Samples below which a refit would only learn them by heart."""

Amount = float | Mapping[str, float]

ALTERNATING = {"alps": "alternating directions", "refit": "alternating directions, or rounds where they left clearly less error"}
"""How links were chosen where no score decides alone, by mode; as the provenance says it."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """How much is pruned.

    Attributes:
        kind: ``sparsity`` or ``importance_level``.
        amount: for all layers, or by layer.
    """

    kind: str
    amount: Amount

    @classmethod
    def of(cls, sparsity: Amount | None, importance_level: Amount | None) -> Goal:
        """The one of two that was given, checked.

        Raises:
            InvalidInput: both or neither; out of range.
        """
        if (sparsity is None) == (importance_level is None):
            came = "neither came" if sparsity is None else "both came"
            raise InvalidInput(
                f"give either sparsity (share of the links that is pruned) or importance_level (share of importance kept); {came}"
            )
        kind, amount = ("sparsity", sparsity) if sparsity is not None else ("importance_level", importance_level)
        assert amount is not None
        limit = Limit(least=0, below=1) if kind == "sparsity" else Limit(above=0, most=1)
        if isinstance(amount, Mapping):
            amount = {name: real_number(f"{kind} of layer {name!r}", value, limit) for name, value in amount.items()}
        else:
            amount = real_number(kind, amount, limit)
        if isinstance(amount, Mapping) and not amount:
            raise InvalidInput(f"{kind} by layer names no layer; give at least one")
        return cls(kind=kind, amount=amount)


@verb
def sparsify(
    model: Any,
    data: Data,
    *,
    sparsity: Amount | None = None,
    importance_level: Amount | None = None,
    mode: str = "refit",
    pruning: Pruning | None = None,
) -> Sparsified:
    """Cut the links a network does not need; the model is never changed.

    ``mode="refit"`` cuts and refits the links of one layer after the other: chosen by alternating directions (Meng2024) or, by a score or
    under a pattern that is asked for, in rounds; refitted in closed form. ``mode="paper"`` scores once on the dense network and
    cuts. ``"sparse_gpt"`` and ``"alps"`` are what others do, for comparison.

    Args:
        model: a Network, or any model that :func:`vesalius.trace` takes.
        data: samples in any form, see :func:`vesalius.trace.receive.receive_data`; some 2,000 to 8,000 are used. Labels reach
            a loss that asks for them.
        sparsity: share of the links of all layers that is cut, in [0, 1); or of each layer named.
        importance_level: share of each layer's importance that is kept, in (0, 1], by the fewest links; or of each layer named.
        mode: ``"refit"``, ``"paper"``, ``"sparse_gpt"`` (Frantar2023) or ``"alps"`` (Meng2024).
        pruning: the options, grouped to keep this signature short.

    Returns:
        The pruned model with its masks and scores.

    Raises:
        UnknownName: no such mode, layer or score.
        InvalidInput: an amount out of range, options that exclude each other, too few samples, NaN.
        NotTraceable: an opaque network.
        WrongType: neither a network nor a model.

    Reference: Rhee2023. Differs from the paper: refitting is not in it, and is the default, since a mask alone is of no use beyond 70 %.
    """
    goal = Goal.of(sparsity, importance_level)
    return _PruningRun.of(model, data, (goal,), mode, pruning or Pruning()).to(goal)


@verb
def sweep(
    model: Any,
    data: Data,
    *,
    sparsity: Sequence[float] | None = None,
    importance_level: Sequence[float] | None = None,
    mode: str = "refit",
    pruning: Pruning | None = None,
) -> list[Sparsified]:
    """:func:`sparsify` at several amounts; what is measured of the dense network is measured once.

    Args and Raises: as there, with a sequence of amounts.
    """
    levels = sparsity if sparsity is not None else importance_level
    if levels is None or (sparsity is not None and importance_level is not None):
        raise InvalidInput("give either a sequence of sparsities or one of importance levels")
    if not levels:
        raise InvalidInput("a sweep needs at least one amount")
    goals = tuple(Goal.of(*((level, None) if sparsity is not None else (None, level))) for level in levels)
    run = _PruningRun.of(model, data, goals, mode, pruning or Pruning())
    return [run.to(goal) for goal in goals]


@verb
def sparsify_gradually(
    model: Any, data: Data, *, sparsity: Sequence[float], mode: str = "refit", pruning: Pruning | None = None
) -> Sparsified:
    """Prune in steps, with fine-tuning after each of them; what was cut stays cut.

    Args:
        model, data, mode: as of :func:`sparsify`.
        sparsity: of all layers after each step, rising, in [0, 1); :func:`vesalius.sparsity.cubic_schedule` makes some.
        pruning: options; ``finetune`` is what happens between the steps, and after the last.

    Returns:
        The model after the last step.

    Raises:
        InvalidInput: no step, or one below the one before it; otherwise as :func:`sparsify`.

    Reference: Zhu2017. Differs from the paper: links are refitted in closed form too, unless ``mode="paper"``.
    """
    if not sparsity or list(sparsity) != sorted(sparsity):
        raise InvalidInput(f"sparsity is the share that is cut after each step, one or more that rise, not {list(sparsity)}")
    if mode in OWN_SCORES:
        raise InvalidInput(f"mode={mode!r} prunes at once, and may bring back what was cut; prune in steps by mode='refit' or 'paper'")
    began, goals = time.monotonic(), [Goal.of(amount, None) for amount in sparsity]
    first = run = _PruningRun.of(model, data, goals, mode, pruning or Pruning())
    for done, goal in enumerate(goals):
        pruned, cuts = run.prune(goal)
        run = run.continued(pruned, cuts) if done + 1 < len(goals) else run
    found = first.result(goals[-1], pruned, cuts, began)
    return replace(found, provenance={**found.provenance, "steps": [float(amount) for amount in sparsity]})


@dataclass(frozen=True, eq=False)
class _PruningRun:
    """A network that is to be pruned, the data it came with, and how it is pruned."""

    bench: PruningProblem
    data: Data
    labels: Tensor | None
    mode: str

    @classmethod
    def of(cls, model: Any, data: Data, goals: Sequence[Goal], mode: str, how: Pruning) -> _PruningRun:
        score = _score_for_mode(mode, how)
        names = None if how.layers is None else list(how.layers)
        for goal in goals:
            _check_goal(goal, how)
            names = list(goal.amount) if isinstance(goal.amount, Mapping) else names
        received = receive_data(model, data)
        network, labels = received.network, row_labels(received.network, data)
        network.graph("pruning")
        samples = collect_samples(network, received.x, how.rows, how.seed, labels)
        if mode != "paper" and len(samples.inputs[0]) < MIN_SAMPLES:
            raise InvalidInput(
                f"{len(samples.inputs[0])} samples came; a refit needs at least {MIN_SAMPLES}, and some 2,000 to be any good: give more"
            )
        bench = PruningProblem.of(plain_network(network, samples.inputs), names, samples, score, how, bounds_of(network))
        _warn_uncompensated(bench, mode)
        return cls(bench, received.x, labels, mode)

    def to(self, goal: Goal) -> Sparsified:
        """Prune."""
        began = time.monotonic()
        pruned, cuts = self.prune(goal)
        return self.result(goal, pruned, cuts, began)

    def prune(self, goal: Goal) -> NetworkAndWeights:
        """A pruned copy of the network, tuned, and what was cut."""
        how = self.bench.how
        counts = _link_counts(self.bench, goal, how.allocation_in(self.mode), how.scope)
        pruned, cuts = PRUNE_BY_MODE[self.mode](self.bench, counts)
        if how.batch_norm:
            measure_batch_norms(pruned, self.bench.samples.inputs)
        if how.finetune is not None:
            finetune(pruned, [self.bench.links[name] for name in cuts], self.masks(cuts), self.data, how.finetune, self.labels)
        return pruned, cuts

    def continued(self, pruned: Network, cuts: Mapping[str, PrunedWeight]) -> _PruningRun:
        """The same from a network that is pruned already: what was cut stays cut."""
        bench = self.bench
        return replace(self, bench=PruningProblem.of(pruned, list(cuts), bench.samples, bench.score, bench.how, self.masks(cuts)))

    def masks(self, cuts: Mapping[str, PrunedWeight]) -> dict[str, Bool[Tensor, "..."]]:
        """Masks by the name of the weight, those of before among them."""
        return {**self.bench.bounds, **{self.bench.links[name].layer.weight: cut.mask for name, cut in cuts.items()}}

    def result(self, goal: Goal, pruned: Network, cuts: Mapping[str, PrunedWeight], began: float) -> Sparsified:
        """What was pruned, beside this run's dense network."""
        model, network = build_masked_model(pruned, self.masks(cuts))
        return Sparsified(
            masked=model,
            pruned=network,
            dense=self.bench.dense,
            masks={name: cut.mask for name, cut in cuts.items()},
            importance={name: cut.importance for name, cut in cuts.items()},
            provenance=self._facts(goal) | {"seconds": time.monotonic() - began},
        )

    def _facts(self, goal: Goal) -> dict[str, Any]:
        how = self.bench.how
        score = how.score if isinstance(how.score, str) else getattr(self.bench.score.function, "__name__", "own")
        amount = dict(goal.amount) if isinstance(goal.amount, Mapping) else goal.amount
        return {
            "network": self.bench.dense.digest(),
            "mode": self.mode,
            goal.kind: amount,
            "score": score,
            "scope": how.scope,
            "allocation": how.allocation_in(self.mode),
            "compensate": how.compensate,
            "rounds": 1 if self.mode == "refit" and how.alternating else how.rounds,
            "choice": ALTERNATING[self.mode] if self.mode in ALTERNATING and (self.mode == "alps" or how.alternating) else "score",
            "ridge": how.ridge,
            "samples": len(self.bench.samples.inputs[0]),
            "seed": how.seed,
            "version": VERSION,
        }


def _score_for_mode(mode: str, how: Pruning) -> Score:
    require_known("mode", mode, MODES)
    if mode in ("refit", "alps") and not how.compensate:
        raise InvalidInput(f"compensate=False has no meaning in mode={mode!r}, which sets the biases anew; use mode='paper'")
    if mode in OWN_SCORES and (how.score is not None or how.scope == "row" or how.pattern.block != (1, 1)):
        raise InvalidInput(
            f"mode={mode!r} ranks the links of a layer by itself, all together or by n:m; leave score=, scope='row' and blocks to others"
        )
    return how.score_in(mode)


def _check_goal(goal: Goal, how: Pruning) -> None:
    """Whether amount and options go together."""
    by_layer = isinstance(goal.amount, Mapping)
    _check_pattern(goal, how)
    if by_layer and how.layers is not None:
        raise InvalidInput(f"{goal.kind} by layer names the layers, and so does Pruning(layers=...); give one")
    if by_layer and how.scope == "global":
        raise InvalidInput(f"{goal.kind} by layer and scope='global' both decide what each layer keeps; give one")
    if how.allocation is not None and (by_layer or goal.kind == "importance_level"):
        raise InvalidInput(
            f"allocation={how.allocation!r} shares one sparsity out over layers; {goal.kind} {'by layer ' * by_layer}does so itself"
        )


def _check_pattern(goal: Goal, how: Pruning) -> None:
    """A pattern of neighbours says itself how much it prunes."""
    own = how.pattern.sparsity
    amounts = goal.amount.values() if isinstance(goal.amount, Mapping) else (goal.amount,)
    if own is not None and (goal.kind != "sparsity" or any(abs(amount - own) > 1e-6 for amount in amounts)):
        raise InvalidInput(f"scope={how.scope!r} prunes {own:.3g} of the links of every layer; give sparsity={own:.3g}, or another scope")
    if how.pattern.block != (1, 1) and goal.kind != "sparsity":
        raise InvalidInput(f"scope={how.scope!r} prunes whole blocks, whose importance is not added up; give sparsity instead")


def _warn_uncompensated(bench: PruningProblem, mode: str) -> None:
    """Masks that are worse than they need to be."""
    if mode != "paper" or not bench.score.centred:
        return
    if not bench.how.compensate:
        warnings.warn(
            "this score measures what is lost when a link carries its mean; without compensation, inputs that act as a bias are pruned."
            " Use compensate=True, or the score 'shapley_zero'",
            stacklevel=4,
        )
    elif unbiased := [name for name, one in bench.links.items() if not one.layer.bias]:
        warnings.warn(f"no bias to compensate in: {', '.join(unbiased)}; use mode='refit', or the score 'shapley_zero'", stacklevel=4)


def _link_counts(bench: PruningProblem, goal: Goal, allocation: str, scope: str) -> dict[str, LinkCount]:
    """Links that each layer, or each of its units, keeps."""
    shapes = {name: (one.units, one.fan_in) for name, one in bench.links.items()}
    amounts = {name: _layer_amount(goal, name) for name in shapes}
    if goal.kind == "importance_level":
        scores = bench.scores()
        if any(float(one.min()) < 0 for one in scores.values()):
            raise InvalidInput("importance_level needs scores of 0 or more, and this score has negative ones; give sparsity instead")
        return counts_from_importance_level(scores, amounts, scope)
    if isinstance(goal.amount, Mapping):
        sizes = {name: units * links for name, (units, links) in shapes.items()}
        counts: dict[str, LinkCount] = {name: max(1, round((1 - amounts[name]) * size)) for name, size in sizes.items()}
    else:
        counts = counts_from_sparsity(shapes, goal.amount, allocation, bench.scores)
    return {name: _count_per_unit(count, shapes[name]) if scope == "row" else count for name, count in counts.items()}


def _layer_amount(goal: Goal, name: str) -> float:
    """How much of a layer is pruned."""
    if not isinstance(goal.amount, Mapping):
        return goal.amount
    if name not in goal.amount:
        raise InvalidInput(f"a weight that is used several times is listed as {name!r}, not as {', '.join(map(repr, goal.amount))}")
    return goal.amount[name]


def _count_per_unit(count: LinkCount, shape: tuple[int, int]) -> LinkCount:
    """The same number of links for each unit; at least one."""
    assert isinstance(count, int)
    return torch.full((shape[0],), max(1, round(count / shape[0])))
