"""Whole units removed by their importance, and what is left refitted: a structured pruning, which is faster on any machine.

Axes: U units, F links into a unit, N rows, G groups of joined units.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.version import VERSION
from vesalius.sparsity.compression.dependencies import UnitGroups, find_units
from vesalius.sparsity.links import Links, links_of
from vesalius.sparsity.parametrizations import bounds_of, plain_network
from vesalius.sparsity.pruning.calibration import LinkScorer, PruningSamples, collect_samples, make_scorer
from vesalius.sparsity.pruning.finetune import finetune
from vesalius.sparsity.pruning.group_importance import group_importance, unlinked_importance
from vesalius.sparsity.pruning.latency import LatencyRatio, flops_for_latency, latency_facts
from vesalius.sparsity.pruning.layer_inputs import LayerInputs
from vesalius.sparsity.pruning.masked_copy import build_masked_model, copy_network, write_weights
from vesalius.sparsity.pruning.refit import RegressionMoments, solve_ridge
from vesalius.sparsity.pruning.unit_budget import UnitBudget, UnitGoal
from vesalius.sparsity.pruning_options import Pruning
from vesalius.sparsity.sparsified import Sparsified
from vesalius.trace.all_outputs import with_all_outputs
from vesalius.trace.batches import Data, row_labels
from vesalius.trace.layers import Layer
from vesalius.trace.network import Network
from vesalius.trace.receive import receive_data

HELD_OUT_EVERY = 8
"""Of so many samples one is held out, to measure what was lost."""
ROUNDING = 1e-5
"""Spread of an output, as a share of its size, below which it is constant."""
MIN_SAMPLES = 32
"""Samples below which a refit would only learn them by heart."""

Gone = Bool[Tensor, " G"]


@verb
def remove_units(  # noqa: PLR0913 - a verb that users call
    model: Any,
    data: Data,
    *,
    share: float | Mapping[str, float] | None = None,
    keep: Mapping[str, int] | None = None,
    parameters: float | None = None,
    flops: float | None = None,
    latency: float | Mapping[int, float] | None = None,
    round_to: int = 1,
    pruning: Pruning | None = None,
) -> Sparsified:
    """Remove the least important units of hidden layers, and refit what reads them; the model is never changed.

    Units that can only go together, as those of layers whose outputs are added, do: heads of attention, channels of a residual stream or
    of a depthwise convolution, gates. A group's importance is the mean Shapley importance, for the units that read it, of all it gives
    them. In rounds, as in :func:`vesalius.sparsity.sparsify`, groups are scored, some are cut, and all layers are refitted by least
    squares to the sums they had. ``compact()`` of the result gives the smaller model.

    Args:
        model: a Network, or any model that :func:`vesalius.trace` takes. Of one with several outputs, all are kept.
        data: samples in any form, see :func:`vesalius.trace.receive.receive_data`; some 2,000 to 8,000 are used. Labels are passed over.
        share: of the units of each hidden layer that is removed, in [0, 1), half of them if nothing else is asked; or of each layer named.
        keep: instead, how many units each layer named keeps.
        parameters: instead, share of the model's parameters that goes, in (0, 1): of all layers the units whose squared importance is the
            least for what they cost.
        flops: instead, share of the operations that goes, likewise.
        latency: instead, share of the time of a call with one sample that goes, or of a batch, as ``{64: 0.5}``: smaller models are
            built and timed on this machine until as many operations are found that must go. ``provenance["latency"]`` is what was reached.
        round_to: units that layers keep are a multiple of this.
        pruning: score, layers, rows, rounds, ridge, seed, loss and finetune are heeded; the other options are of links.

    Returns:
        The model with its units masked. ``provenance["lost"]`` is the mean squared change of the output on held-out samples, as a share of
        the output's variance; ``coverage`` says which share of the weights belongs to units that can go, which layers have units that
        stay, how many weights lead to these, and why.

    Raises:
        UnknownName: no such layer or score.
        InvalidInput: a share or number out of range; two amounts; a layer whose units cannot be removed, with the reason; too few samples;
            an amount that cannot be reached.
        NotTraceable: an opaque network.
        WrongType: neither a network nor a model.

    Reference: Rhee2023 defines the importance of a unit. Differs from the paper: it does not remove units, nor refit.
    """
    began, how = time.monotonic(), pruning or Pruning()
    received = receive_data(model, data)
    network, labels = received.network, row_labels(received.network, data)
    network.graph("removing units")
    amounts = {"share": share, "keep": keep, "parameters": parameters, "flops": flops, "latency": latency}
    goal = UnitGoal.of(amounts, round_to)
    found = collect_samples(network, received.x, how.rows, how.seed, labels)
    samples = found.inputs
    plain = plain_network(network, samples)
    whole = with_all_outputs(plain, samples)
    units = find_units(whole)
    UnitBudget.of(units, goal, how.layers).require_reachable()
    _require_samples(len(samples[0]))
    held = torch.arange(len(samples[0]), device=samples[0].device) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    learnt = PruningSamples(tuple(part[~held] for part in samples), None if found.labels is None else found.labels[~held])
    table = _UnitPruning.of(whole, units, learnt, how, bounds_of(network))
    budget, timed = _budget(table, goal)
    copied, gone, scores = _prune_units(table, budget)
    lasting = {**table.bounds, **{name: table.kept(name, gone) for name in units.touched(gone)}}
    if how.finetune is not None:
        finetune(copied, list(table.links.values()), lasting, received.x, how.finetune, labels)
    lost = _output_error(whole, copied, tuple(part[held] for part in samples))
    masked, traced = build_masked_model(_with_graph_of(copied, plain), lasting)
    shown = {name: one for name, one in table.links.items() if name in network.layers}
    return Sparsified(
        masked=masked,
        pruned=traced,
        dense=plain,
        masks={name: one.to_weight_shape(_link_mask(table, one, gone)) for name, one in shown.items()},
        importance={name: one.to_weight_shape(scores[name]) for name, one in shown.items()},
        provenance={
            "network": network.digest(),
            "units": budget.counts(gone),
            **_facts(units, how),
            "samples": len(samples[0]),
            "lost": lost,
            **({} if timed is None else {"latency": latency_facts(timed, build_masked_model(copied, {})[1], goal.amount)}),
            "seconds": time.monotonic() - began,
        },
    )


def _require_samples(count: int) -> None:
    """Refuse to refit on next to nothing."""
    if count < MIN_SAMPLES:
        raise InvalidInput(f"{count} samples came; refitting units needs at least {MIN_SAMPLES}, and some 2,000 to be any good: give more")


def _facts(units: UnitGroups, how: Pruning) -> dict[str, Any]:
    """How units were removed, and what was left alone."""
    return {
        "mode": "units",
        "coverage": units.coverage.to_facts(),
        "score": how.score_in("refit").function.__name__,
        "rounds": how.rounds,
        "ridge": how.ridge,
        "seed": how.seed,
        "version": VERSION,
    }


def _with_graph_of(copied: Network, network: Network) -> Network:
    """The tensors of a pruned copy under the graph of the output that was asked for."""
    if list(copied.values) == list(network.values):
        return copied
    model_graph = network.graph("pruning")
    tensors = {name: copied.parameters.get(name, tensor) for name, tensor in model_graph.tensors.items()}
    rest = {name: tensor for name, tensor in copied.parameters.items() if name not in tensors}
    return Network(network.name, network.inputs, replace(model_graph, tensors={**tensors, **rest}), network.reason, network.call)


@dataclass(frozen=True, eq=False, kw_only=True)
class _UnitPruning:
    """A network whose units are removed.

    Attributes:
        units: in groups.
        links: of all layers whose weight is a parameter that is used once, in order of computation.
        samples: inputs.
        judge: scores of links.
        how: options.
        bounds: masks that the model had before, by the name of the weight.
    """

    network: Network
    units: UnitGroups
    links: Mapping[str, Links]
    samples: PruningSamples
    judge: LinkScorer
    how: Pruning
    bounds: Mapping[str, Bool[Tensor, "..."]]

    @classmethod
    def of(
        cls, network: Network, units: UnitGroups, samples: PruningSamples, how: Pruning, bounds: Mapping[str, Bool[Tensor, "..."]]
    ) -> _UnitPruning:
        plain = {name: one for name, one in links_of(network).items() if name in network.layers and not one.layer.computed}
        links = {name: one for name, one in plain.items() if len(one.layers) == 1 and not one.tied}
        scored = make_scorer(how.score_in("refit"), links, samples, how.loss, how.seed)
        return cls(network=network, units=units, links=links, samples=samples, judge=scored, how=how, bounds=bounds)

    def inputs_of(self, network: Network) -> LayerInputs:
        """What links carry, in the dense network or in a copy of it, layer by layer."""
        return LayerInputs(network, self.samples.inputs, rows=self.how.rows, seed=self.how.seed)

    def kept(self, name: str, gone: Gone) -> Bool[Tensor, "..."]:
        """Elements of a tensor that stay; what was cut before stays so."""
        found = self.units.mask(name, gone)
        return found & self.bounds[name].to(found.device) if name in self.bounds else found


def _link_mask(table: _UnitPruning, links: Links, gone: Gone) -> Bool[Tensor, "U F"]:
    """Links between units that are left; a link that was cut before stays so."""
    return links.matrix(table.kept(links.layer.weight, gone)).to(links.weight.device)


@torch.no_grad()
def _budget(table: _UnitPruning, goal: UnitGoal) -> tuple[UnitBudget, LatencyRatio | None]:
    """What may go; of a share of the time, the share of the operations that must go for it, found by timing smaller models."""
    layers = table.how.layers
    if goal.kind != "latency":
        return UnitBudget.of(table.units, goal, layers), None
    timed = LatencyRatio(dense=table.network, samples=table.samples.inputs, batch=goal.batch)
    here, inputs = links_of(table.network, list(table.links)) if table.links else {}, table.inputs_of(table.network)
    worth = _worth(table, table.network, here, {name: inputs.read(one) for name, one in here.items()})

    def ratio_without(flops: float) -> float:
        budget = UnitBudget.of(table.units, replace(goal, kind="flops", amount=flops), layers)
        cleared = copy_network(table.network)
        _clear(table, cleared, budget.cut(worth, torch.zeros(table.units.count, dtype=torch.bool), 1.0))
        return timed.measure(build_masked_model(cleared, {})[1])

    flops = flops_for_latency(ratio_without, goal.amount, goal.batch)
    return UnitBudget.of(table.units, replace(goal, kind="flops", amount=flops), layers), timed


def _worth(table: _UnitPruning, network: Network, here: Mapping[str, Links], rows: Mapping[str, Tensor]) -> Tensor:
    """Importance of groups in a network, by what the links of its layers carry."""
    found = group_importance(table.units, here, rows, table.judge)
    return found + unlinked_importance(table.units, network, here, table.samples.inputs)


def _prune_units(table: _UnitPruning, budget: UnitBudget) -> tuple[Network, Gone, dict[str, Tensor]]:
    """Rounds of scoring, cutting and refitting; the network, the groups that are gone and the scores of the first round."""
    copied, how = copy_network(table.network), table.how
    gone = torch.zeros(table.units.count, dtype=torch.bool)
    first: dict[str, Tensor] = {}
    with torch.no_grad():
        dense = table.inputs_of(table.network)
        targets = {name: _unit_sums(one, dense.read(one)) for name, one in table.links.items()}
        for step in range(1, how.rounds + 1):
            here = links_of(copied, list(table.links)) if table.links else {}
            inputs = table.inputs_of(copied)
            rows = {name: inputs.read(one) for name, one in here.items()}
            first = first or {name: table.judge(here[name], rows[name], here[name].weight, here[name].bias) for name in table.links}
            gone = budget.cut(_worth(table, copied, here, rows), gone, step / how.rounds)
            _clear(table, copied, gone)
            _refit_layers(table, copied, gone, targets)
            if how.report is not None:
                how.report(step, how.rounds)
    return copied, gone, first


def _clear(table: _UnitPruning, copied: Network, gone: Gone) -> None:
    """Whatever belongs to units that are gone becomes 0, where it is a parameter."""
    assert table.network.call is not None
    own = {name for name, _ in table.network.call.model.named_parameters(remove_duplicate=False)}
    for name in own & {*table.units.touched(gone), *table.bounds} & set(table.units.axes):
        copied.parameters[name].mul_(table.kept(name, gone).to(copied.parameters[name]))


def _match_means(table: _UnitPruning, copied: Network, layer: Layer, gone: Gone) -> None:
    """Let the units of a layer that is not refitted have the means they had, by its bias."""
    kept = table.units.mask(layer.bias, gone).to(copied.parameters[layer.bias].device)
    samples = table.samples.inputs
    shift = _unit_means(table.network, layer, samples) - _unit_means(copied, layer, samples)
    copied.parameters[layer.bias].add_(torch.where(kept, shift, 0))


def _unit_means(network: Network, layer: Layer, samples: Sequence[Tensor]) -> Float[Tensor, " U"]:
    value: Tensor = network.program([one.name for one in network.inputs], [layer.value])(*samples)[0]
    return value.movedim(layer.unit_axis, 0).flatten(1).mean(1)


def _refit_layers(table: _UnitPruning, copied: Network, gone: Gone, targets: Mapping[str, Float[Tensor, "N U"]]) -> None:
    """Layer by layer, on what the layers before now give."""
    moved = any(_is_touched_elsewhere(table, name, gone) for name in table.units.touched(gone))
    shared, inputs = Counter(layer.bias for layer in table.network.layers.values()), table.inputs_of(copied)
    for name, layer in table.network.layers.items():
        if name not in table.links:
            if layer.bias and shared[layer.bias] == 1:
                _match_means(table, copied, layer, gone)
            continue
        dense = table.links[name]
        here = links_of(copied, [name])[name]
        mask = _link_mask(table, dense, gone)
        if moved:
            found = here.split(inputs.read(here))
            parts = [_solve_units(rows, targets[name][:, units], mask[units], dense, units, table.how) for units, rows in found]
            weight, bias = (torch.cat(column).to(dense.weight) for column in zip(*parts, strict=True))
        else:
            weight, bias = dense.weight, dense.bias
        write_weights(here, torch.where(mask, weight, 0), torch.where(mask.any(1), bias, 0))
        moved = moved or not bool(mask.all())


def _is_touched_elsewhere(table: _UnitPruning, name: str, gone: Gone) -> bool:
    """Whether a tensor that lost slices is no weight that is refitted, so that what reads it must be."""
    return name not in {one.layer.weight for one in table.links.values()} | {one.layer.bias for one in table.links.values()}


def _solve_units(rows: Tensor, targets: Tensor, mask: Tensor, dense: Links, units: slice, how: Pruning) -> tuple[Tensor, Tensor]:
    moments = RegressionMoments.of(rows, targets, bias=bool(dense.layer.bias))
    columns = mask.any(0)
    small = RegressionMoments(
        square=moments.square[columns][:, columns], cross=moments.cross[:, columns], mean=moments.mean[columns], target=moments.target
    )
    if not bool(columns.any()):
        return torch.zeros_like(moments.cross), moments.target
    found, bias = solve_ridge(small, mask[:, columns], dense.weight[units][:, columns], how.ridge)
    weight = torch.zeros_like(moments.cross)
    weight[:, columns] = found
    return weight, bias


def _unit_sums(links: Links, rows: Float[Tensor, "N GF"]) -> Float[Tensor, "N U"]:
    """Sums of units in the dense network."""
    return torch.cat([part @ links.weight[units].T + links.bias[units] for units, part in links.split(rows)], 1)


def _output_error(dense: Network, pruned: Network, held: tuple[Tensor, ...]) -> float:
    """Mean squared change of the output, as a share of its variance; infinite where an output that was constant changes."""
    with torch.no_grad():
        before, after = dense.run(held).double(), pruned.run(held).double()
    spread, floor = (before - before.mean(0)).square().mean(), (ROUNDING * before).square().mean()
    changed = (after - before).square().mean()
    if bool(spread > floor):
        return float(changed / spread)
    return 0.0 if bool(changed <= floor.clamp_min(torch.finfo(torch.float32).tiny)) else float("inf")
