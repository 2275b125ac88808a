"""Whole units removed by their importance, and what is left refitted: a structured pruning, which is faster on any machine.

Axes: U units, F links into a unit, N rows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.names import require_known
from vesalius.core.numbers import Limit, real_number, whole_number
from vesalius.core.version import VERSION
from vesalius.sparsity.compression.dependencies import UnitDependencies, find_dependencies
from vesalius.sparsity.links import Links, links_of
from vesalius.sparsity.pruning.calibration import LinkScorer, Samples, collect_samples, make_scorer
from vesalius.sparsity.pruning.finetune import finetune
from vesalius.sparsity.pruning.layer_inputs import LayerInputs
from vesalius.sparsity.pruning.masked_copy import build_masked_model, copy_network, write_weights
from vesalius.sparsity.pruning.refit import RegressionMoments, solve_ridge
from vesalius.sparsity.pruning_options import Pruning
from vesalius.sparsity.sparsified import Sparsified
from vesalius.trace.batches import Data, row_labels
from vesalius.trace.network import Network
from vesalius.trace.receive import receive_data

HELD_OUT_EVERY = 8
"""Of so many samples one is held out, to measure what was lost."""
MIN_SAMPLES = 32
"""Samples below which a refit would only learn them by heart."""

UnitCounts = Mapping[str, int]
Alive = dict[str, Bool[Tensor, " _"]]


@verb
def remove_units(
    model: Any,
    data: Data,
    *,
    share: float | Mapping[str, float] = 0.5,
    keep: UnitCounts | None = None,
    pruning: Pruning | None = None,
) -> Sparsified:
    """Remove the least important units of hidden layers, and refit what reads them; the model is never changed.

    A unit's importance is the mean importance of its outgoing links. In rounds, as in :func:`vesalius.sparsity.sparsify`, units are
    scored, some are cut, and all later layers are refitted by least squares to the sums they had. ``compact()`` of the result gives the
    smaller model.

    Args:
        model: a Network, or any model that :func:`vesalius.trace` takes.
        data: samples in any form, see :func:`vesalius.trace.receive.receive_data`; some 2,000 to 8,000 are used. Labels are passed over.
        share: of the units of each hidden layer that is removed, in [0, 1); or of each layer named.
        keep: instead, how many units each layer named keeps.
        pruning: score, layers, rows, rounds, ridge, seed, loss and finetune are heeded; the other options are of links.

    Returns:
        The model with its units masked. ``provenance["lost"]`` is the mean squared change of the output on held-out samples, as a share of
        the output's variance.

    Raises:
        UnknownName: no such layer or score.
        InvalidInput: a share or number out of range; a layer whose units cannot be removed, with the reason; too few samples.
        NotTraceable: an opaque network.
        WrongType: neither a network nor a model.

    Reference: Rhee2023 defines the importance of a unit. Differs from the paper: it does not remove units, nor refit.
    """
    began, how = time.monotonic(), pruning or Pruning()
    received = receive_data(model, data)
    network, labels = received.network, row_labels(received.network, data)
    network.graph("removing units")
    left = _units_to_keep(network, how.layers, share, keep)
    found = collect_samples(network, received.x, how.rows, how.seed, labels)
    samples = found.inputs
    if len(samples[0]) < MIN_SAMPLES:
        raise InvalidInput(
            f"{len(samples[0])} samples came; refitting units needs at least {MIN_SAMPLES}, and some 2,000 to be any good: give more"
        )
    held = torch.arange(len(samples[0]), device=samples[0].device) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    learnt = Samples(tuple(part[~held] for part in samples), None if found.labels is None else found.labels[~held])
    table = _UnitPruning.of(network, learnt, left, how)
    copied, alive, scores = _prune_units(table, left)
    masks = {name: (one, one.to_weight_shape(_link_mask(table, one, alive))) for name, one in table.links.items()}
    if how.finetune is not None:
        finetune(copied, network, masks, received.x, how.finetune, labels)
    masked, traced = build_masked_model(copied, masks)
    facts = {
        "network": network.digest(),
        "mode": "units",
        "units": {name: [left[name], network.layers[name].units] for name in left},
        "score": how.score_in("refit").function.__name__,
        "rounds": how.rounds,
        "ridge": how.ridge,
        "samples": len(samples[0]),
        "seed": how.seed,
        "lost": _output_error(network, copied, tuple(part[held] for part in samples)),
        "version": VERSION,
        "seconds": time.monotonic() - began,
    }
    return Sparsified(
        masked=masked,
        network=traced,
        dense=network,
        masks={name: mask for name, (_, mask) in masks.items()},
        importance={name: table.links[name].to_weight_shape(one) for name, one in scores.items()},
        provenance=facts,
    )


def _units_to_keep(
    network: Network, layers: Sequence[str] | None, share: float | Mapping[str, float], keep: UnitCounts | None
) -> dict[str, int]:
    """How many units each layer keeps."""
    if (keep is not None and not isinstance(keep, Mapping)) or (isinstance(share, Mapping) and not share):
        raise WrongType(f"keep is how many units each layer keeps, and share a number or one of each layer, not {keep!r} and {share!r}")
    found = find_dependencies(network)
    named = list(keep or (share if isinstance(share, Mapping) else None) or layers or [])
    for name in named:
        require_known("layer", name, found)
        if found[name].why:
            raise InvalidInput(f"the units of layer {name!r} cannot be removed: {found[name].why}; name other layers")
    names = named or [name for name, one in found.items() if not one.why]
    if not names:
        raise InvalidInput(f"no layer of {network.name} has units that can be removed: {_format_reasons(found)}")
    units = {name: found[name].layer.units for name in names}
    if keep:
        return {name: whole_number(f"keep of layer {name!r}", one, Limit(least=1, most=units[name])) for name, one in keep.items()}
    shares = share if isinstance(share, Mapping) else dict.fromkeys(names, share)
    cut = {name: real_number(f"share of layer {name!r}", part, Limit(least=0, below=1)) for name, part in shares.items()}
    return {name: max(1, units[name] - int(cut[name] * units[name])) for name in names}


def _format_reasons(found: Mapping[str, UnitDependencies]) -> str:
    return "; ".join(f"{name}: {one.why}" for name, one in found.items())


@dataclass(frozen=True, eq=False, kw_only=True)
class _UnitPruning:
    """A network whose units are removed.

    Attributes:
        links: of all layers whose weight is used once, in order of computation.
        channels: of the layers whose units are removed.
        samples: inputs.
        judge: scores of links.
        how: options.
    """

    network: Network
    links: Mapping[str, Links]
    channels: Mapping[str, UnitDependencies]
    samples: Samples
    judge: LinkScorer
    how: Pruning

    @classmethod
    def of(cls, network: Network, samples: Samples, left: UnitCounts, how: Pruning) -> _UnitPruning:
        links = {name: one for name, one in links_of(network).items() if len(one.layers) == 1 and not one.tied}
        found = find_dependencies(network)
        scored = make_scorer(how.score_in("refit"), links, samples, how.loss, how.seed)
        return cls(network=network, links=links, channels={name: found[name] for name in left}, samples=samples, judge=scored, how=how)

    def rows(self, links: Links) -> Float[Tensor, "N GF"]:
        return LayerInputs(links.network, self.samples.inputs, rows=self.how.rows, seed=self.how.seed).read(links)

    def reads(self, links: Links, alive: Alive) -> Bool[Tensor, " F"]:
        """Which links into a layer come from units that are left."""
        kept = torch.ones(links.fan_in, dtype=torch.bool)
        for name, one in self.channels.items():
            for reader in one.readers:
                if reader.layer.name == links.layer.name:
                    kept = alive[name].repeat_interleave(reader.block * links.kernel)
        return kept


def _link_mask(table: _UnitPruning, links: Links, alive: Alive) -> Bool[Tensor, "U F"]:
    """Links between units that are left."""
    own = alive.get(links.name, torch.ones(links.units, dtype=torch.bool))
    return (own[:, None] & table.reads(links, alive)[None]).to(links.weight.device)


def _prune_units(table: _UnitPruning, left: UnitCounts) -> tuple[Network, Alive, dict[str, Tensor]]:
    """Rounds of scoring, cutting and refitting; the network, the units that are left and the scores of the first round."""
    copied, how = copy_network(table.network), table.how
    alive = {name: torch.ones(one.layer.units, dtype=torch.bool) for name, one in table.channels.items()}
    first: dict[str, Tensor] = {}
    with torch.no_grad():
        targets = {name: _unit_sums(one, table.rows(one)) for name, one in table.links.items()}
        for step in range(1, how.rounds + 1):
            here = links_of(copied)
            scores = {name: table.judge(here[name], table.rows(here[name]), here[name].weight, here[name].bias) for name in table.links}
            first = first or scores
            for name, one in table.channels.items():
                count = round(one.layer.units * (left[name] / one.layer.units) ** (step / how.rounds))
                alive[name] &= _top_units(unit_importance(one, here, scores), alive[name], max(left[name], count))
            _refit_layers(table, copied, alive, targets)
            if how.report is not None:
                how.report(step, how.rounds)
    return copied, alive, first


def unit_importance(
    channels: UnitDependencies, links: Mapping[str, Links], scores: Mapping[str, Float[Tensor, "_ _"]]
) -> Float[Tensor, " U"]:
    """Mean importance of each unit's outgoing links, summed over the weights of a link and over readers.

    Args:
        channels: the units.
        links: of their readers, by the layer's name.
        scores: of these links.

    Reference: Rhee2023, UI.
    """
    total = torch.zeros(channels.layer.units, dtype=torch.float64)
    for reader in channels.readers:
        mean = scores[reader.layer.name].double().mean(0).cpu()
        total += mean.reshape(channels.layer.units, reader.block * links[reader.layer.name].kernel).sum(1)
    return total


def _top_units(importance: Float[Tensor, " U"], alive: Bool[Tensor, " U"], count: int) -> Bool[Tensor, " U"]:
    order = torch.where(alive, importance, -torch.inf).argsort(dim=0, descending=True, stable=True)
    found = torch.zeros_like(alive)
    found[order[:count]] = True
    return found


def _refit_layers(table: _UnitPruning, copied: Network, alive: Alive, targets: Mapping[str, Float[Tensor, "N U"]]) -> None:
    """Layer by layer, on what the layers before now give."""
    moved = False
    for name, dense in table.links.items():
        here = links_of(copied, [name])[name]
        mask = _link_mask(table, dense, alive)
        kept = mask.any(1)
        if moved:
            found = here.split(table.rows(here))
            parts = [_solve_units(rows, targets[name][:, units], mask[units], dense, units, table.how) for units, rows in found]
            weight, bias = (torch.cat(column).to(dense.weight) for column in zip(*parts, strict=True))
        else:
            weight, bias = dense.weight, dense.bias
        write_weights(here, torch.where(mask, weight, 0), torch.where(kept, bias, 0))
        moved = moved or not bool(mask.all())


def _solve_units(rows: Tensor, targets: Tensor, mask: Tensor, dense: Links, units: slice, how: Pruning) -> tuple[Tensor, Tensor]:
    moments = RegressionMoments.of(rows, targets, bias=bool(dense.layer.bias))
    columns = mask.any(0)
    small = RegressionMoments(
        square=moments.square[columns][:, columns], cross=moments.cross[:, columns], mean=moments.mean[columns], target=moments.target
    )
    found, bias = solve_ridge(small, torch.ones_like(small.cross, dtype=torch.bool), dense.weight[units][:, columns], how.ridge)
    weight = torch.zeros_like(moments.cross)
    weight[:, columns] = found
    return weight, bias


def _unit_sums(links: Links, rows: Float[Tensor, "N GF"]) -> Float[Tensor, "N U"]:
    """Sums of units in the dense network."""
    return torch.cat([part @ links.weight[units].T + links.bias[units] for units, part in links.split(rows)], 1)


def _output_error(dense: Network, pruned: Network, held: tuple[Tensor, ...]) -> float:
    """Mean squared change of the output, as a share of its variance."""
    with torch.no_grad():
        before, after = dense.run(held).double(), pruned.run(held).double()
    spread = (before - before.mean(0)).square().mean()
    return float((after - before).square().mean() / spread.clamp_min(1e-30))
