"""The two ways to prune: masks from one look at the dense network, and rounds of scoring, cutting and refitting, layer by layer.

Axes: U units, F links into a unit, G groups, N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from vesalius.sparsity.links import Links, links_of
from vesalius.sparsity.pruning.allocation import LinkCount
from vesalius.sparsity.pruning.alps import alps
from vesalius.sparsity.pruning.calibration import SCORE_ROWS, LinkScorer, PruningSamples, make_scorer
from vesalius.sparsity.pruning.layer_inputs import LayerInputs
from vesalius.sparsity.pruning.masked_copy import copy_network, require_parameters, write_weights
from vesalius.sparsity.pruning.refit import RegressionMoments, solve_ridge
from vesalius.sparsity.pruning.sparse_gpt import sparse_gpt
from vesalius.sparsity.pruning_options import Pruning
from vesalius.sparsity.scores import Score, ScoreInputs, gate_slopes
from vesalius.trace.network import Network

Matrix = Float[Tensor, "U F"]
MEAN_SAMPLES = 256
"""Samples that give the means of what links carry, where the score itself looks at none."""
SCHEDULE_POWER = 0.5
"""Below 1, more is cut in the first rounds, whose systems are the largest, and less in the last, which decide. On held-out rows of MNIST
and Fashion-MNIST, 12 rounds at this pace cost as much as 6 at pace 1, and leave 5 to 10 % less error."""
TINY, LEAST_STEEPNESS = 1e-30, 1e-3
"""What divides instead of 0; the least that a unit counts, beside the steepest, when links are chosen by alternating directions."""
CLEARLY_LESS = 0.9
"""Share of the error at which rounds are taken. On ResNet-20 the way with the least error of each layer is not the best for the network
(at 70 and 90 % it keeps 91.2 and 75.7 % where alternating directions keep 91.8 and 77.7, and this rule 91.8 and 77.8); on small decoders,
where rounds are better by a fifth, this rule takes most of it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PrunedWeight:
    """What pruning did to a weight.

    Attributes:
        mask: true where a link stayed, in the weight's shape.
        importance: scores in the weight's shape.
    """

    mask: Bool[Tensor, "..."]
    importance: Float[Tensor, "..."]


@dataclass(frozen=True, eq=False)
class PruningProblem:
    """A dense network that is to be pruned: its links, and what was measured of them.

    Attributes:
        dense: the network.
        links: of the layers that are pruned; each weight once.
        tied: other layers that use one of these weights the other way round, by the name in ``links``.
        samples: that everything is measured on.
        score: of links.
        how: options.
        bounds: masks of before, by the name of the weight: what they cut stays cut.
    """

    dense: Network
    links: dict[str, Links]
    tied: dict[str, list[Links]]
    samples: PruningSamples
    score: Score
    how: Pruning
    bounds: Mapping[str, Bool[Tensor, "..."]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        dense: Network,
        names: list[str] | None,
        samples: PruningSamples,
        score: Score,
        how: Pruning,
        bounds: Mapping[str, Bool[Tensor, "..."]],
    ) -> PruningProblem:
        """Links of layers, each weight under the layer that comes first; by default of those whose weight is a parameter."""
        links: dict[str, Links] = {}
        for name, one in links_of(dense, names).items():
            skipped = names is None and one.layer.computed
            if not skipped and one.layer.weight not in {other.layer.weight for other in links.values()}:
                links[name] = one
        require_parameters(links.values())
        tied = {name: list(links_of(dense, one.tied).values()) if one.tied else [] for name, one in links.items()}
        return cls(dense, links, tied, samples, score, how, bounds)

    def bound(self, links: Links) -> Bool[Tensor, "U F"]:
        """Links that may stay."""
        before = self.bounds.get(links.layer.weight)
        free = torch.ones_like(links.weight, dtype=torch.bool)
        return free if before is None else free & links.matrix(before).to(free.device)

    @cached_property
    def judge(self) -> LinkScorer:
        """The score, with what it needs of the dense network."""
        return make_scorer(self.score, self.links, self.samples, self.how.loss, self.how.seed)

    @cached_property
    def seen(self) -> dict[str, tuple[Matrix, dict[str, Float[Tensor, " GF"]]]]:
        """Of each weight the scores on the dense network, and what its links carry on average, by layer, in one pass over the data.

        A score that looks at no data reads none; where means are asked for all the same, they are of the first :data:`MEAN_SAMPLES`.
        """
        reads_all = self.score.data or self.score.gradient
        samples = self.samples.inputs if reads_all else tuple(part[:MEAN_SAMPLES] for part in self.samples.inputs)
        inputs = LayerInputs(self.dense, samples, rows=self.how.rows, seed=self.how.seed)
        reads = self.score.data or self.how.compensate
        total = {name: torch.zeros_like(one.weight) for name, one in self.links.items()}
        means: dict[str, dict[str, Tensor]] = {name: {} for name in self.links}
        for name, layer in self.in_order():
            rows = inputs.read(layer) if reads else layer.weight.new_zeros(0, layer.fan_in * layer.layer.groups)
            scores = layer.to_weight_shape(self.judge(layer, rows, layer.weight, layer.bias))
            total[name] += self.links[name].matrix(scores)
            means[name][layer.name] = rows.mean(0) if reads else rows.sum(0)
        return {name: (total[name], means[name]) for name in self.links}

    def in_order(self) -> list[tuple[str, Links]]:
        """All layers that use one of the weights, in order of computation, with the name that the weight has in ``links``."""
        owners = {layer.name: (name, layer) for name, one in self.links.items() for layer in (one, *self.tied[name])}
        return [owners[name] for name in links_of(self.dense) if name in owners]

    def scores(self) -> dict[str, Matrix]:
        """Scores on the dense network."""
        return {name: scores for name, (scores, _) in self.seen.items()}

    def inputs_of(self, network: Network) -> LayerInputs:
        """What links carry, in the dense network or in a copy of it, layer by layer."""
        return LayerInputs(network, self.samples.inputs, rows=self.how.rows, seed=self.how.seed)

    def report_progress(self, done: int) -> None:
        """Say how far the work has come."""
        if self.how.report is not None:
            self.how.report(done, len(self.links))


NetworkAndWeights = tuple[Network, dict[str, PrunedWeight]]


@torch.no_grad()
def prune_one_shot(bench: PruningProblem, counts: Mapping[str, LinkCount]) -> NetworkAndWeights:
    """Masks from scores on the dense network; what cut links carried on average goes into the biases.

    Reference: Rhee2023. Differs from the paper: compensation by the bias, which the paper does not mention and which its score presumes.
    """
    copied = copy_network(bench.dense)
    cuts = {}
    for done, (name, one) in enumerate(bench.links.items()):
        scores, means = bench.seen[name]
        mask = bench.how.pattern.mask(one, scores, counts[name], bench.bound(one))
        cuts[name] = PrunedWeight(mask=one.to_weight_shape(mask), importance=one.to_weight_shape(scores))
        for layer in (one, *bench.tied[name]):
            kept = layer.matrix(cuts[name].mask)
            lost = _unit_sums(layer, layer.weight * ~kept, means[layer.name][None])[0]
            bias = layer.bias + lost if bench.how.compensate else layer.bias
            write_weights(_links_in(copied, layer), layer.weight * kept, bias)
        bench.report_progress(done + 1)
    return copied, cuts


LayerPruner = Callable[[PruningProblem, Links, Tensor, Tensor, LinkCount], PrunedWeight]
"""Prunes a layer of a copy in place: of the problem, the layer's links, what they carry, the sums of its units in the dense network, and
how many links stay."""


@torch.no_grad()
def prune_layer_by_layer(bench: PruningProblem, counts: Mapping[str, LinkCount], *, prune_layer: LayerPruner) -> NetworkAndWeights:
    """Layer by layer in order of computation, on what the layers before, already pruned, give.

    A weight that is used both ways round is cut once and not refitted; only its biases are.
    """
    copied = copy_network(bench.dense)
    cuts: dict[str, PrunedWeight] = {}
    before, after = bench.inputs_of(bench.dense), bench.inputs_of(copied)
    for name, dense in bench.in_order():
        here = _links_in(copied, dense)
        rows, targets = after.read(here), _unit_sums(dense, dense.weight, before.read(dense)) + dense.bias
        if name not in cuts and not bench.tied[name]:
            cuts[name] = prune_layer(bench, here, rows, targets, counts[name])
            bench.report_progress(len(cuts))
            continue
        if name not in cuts:
            cuts[name] = _prune_tied(bench, copied, name, counts[name])
            bench.report_progress(len(cuts))
        weight = here.weight * here.matrix(cuts[name].mask)
        write_weights(here, weight, targets.mean(0) - _unit_sums(here, weight, rows.mean(0)[None])[0])
    return copied, cuts


def prune_and_refit(bench: PruningProblem, here: Links, rows: Tensor, targets: Tensor, count: LinkCount) -> PrunedWeight:
    """Links chosen by alternating directions, unless rounds leave clearly less error behind the activation; in rounds alone where a score
    or a pattern is asked for; refitted by least squares.
    """
    if not bench.how.alternating or here.layer.groups > 1:
        return _prune_in_rounds(bench, here, rows, targets, count)
    start, step = (here.weight.clone(), here.bias.clone()), -(-len(rows) // SCORE_ROWS)
    tries: list[tuple[float, PrunedWeight, Tensor, Tensor]] = []
    for way in (_prune_alternating, _prune_in_rounds):
        write_weights(here, *start)
        cut = way(bench, here, rows, targets, count)
        tries.append((_error_behind(here, rows[::step], targets[::step]), cut, here.weight.clone(), here.bias.clone()))
    _, cut, weight, bias = tries[tries[1][0] < CLEARLY_LESS * tries[0][0]]
    write_weights(here, weight, bias)
    return cut


def _error_behind(here: Links, rows: Float[Tensor, "N F"], targets: Float[Tensor, "N U"]) -> float:
    """Squared error of what follows the units, against what follows the dense ones."""
    sums = _unit_sums(here, here.weight, rows) + here.bias
    return float((here.after.value(sums) - here.after.value(targets)).double().square().sum())


def _prune_alternating(bench: PruningProblem, here: Links, rows: Tensor, targets: Tensor, count: LinkCount) -> PrunedWeight:
    """Links that stay by alternating directions on what the links carry about its mean, since biases are refitted too.

    Reference: Meng2024. Differs from the paper: moments about the mean, exact refit, and units of linear layers count by how steep what
    follows them is; on a convolutional network that loses accuracy (measured), so their units count alike.
    """
    start = here.weight
    moments = RegressionMoments.of(rows, targets, bias=bool(here.layer.bias))
    choose = partial(_largest_mask, bench, here, count=count, among=bench.bound(here))
    steepness = 1.0 if here.layer.op.startswith("conv") else _steepness(here, rows)
    mask = alps(start.double() * steepness, moments.square, choose)
    weight, bias = (one.to(start) for one in solve_ridge(moments, mask, start, bench.how.ridge))
    scores = bench.judge(here, rows, start, moments.bias(start.double()).to(start))
    write_weights(here, weight, bias)
    return PrunedWeight(mask=here.to_weight_shape(mask), importance=here.to_weight_shape(scores))


def _steepness(here: Links, rows: Float[Tensor, "N F"]) -> Float64[Tensor, "U 1"]:
    """By how much a change of each unit's sum changes what follows (root mean square), in units of the largest."""
    seen = ScoreInputs(weight=here.weight, bias=here.bias, rows=rows[:: -(-len(rows) // SCORE_ROWS)], after=here.after)
    folded, slopes = gate_slopes(seen)
    found = slopes.double().square().mean(0).sqrt() * folded.double().norm(dim=1) / here.weight.double().norm(dim=1).clamp_min(TINY)
    relative: Tensor = (found / found.max().clamp_min(TINY)).clamp_min(LEAST_STEEPNESS)[:, None]
    return relative


def _prune_in_rounds(bench: PruningProblem, here: Links, rows: Tensor, targets: Tensor, count: LinkCount) -> PrunedWeight:
    """Rounds of scoring, cutting and refitting: a layer's links are cut down to their number in equal proportions."""
    start, biased = here.weight, bool(here.layer.bias)
    parts = [(units, RegressionMoments.of(part, targets[:, units], bias=biased)) for units, part in here.split(rows)]
    weight, bias = start, torch.cat([found.bias(start[units].double()) for units, found in parts]).to(start)
    mask = bench.bound(here)
    first: Tensor | None = None
    for step in range(1, bench.how.rounds + 1):
        scores = bench.judge(here, rows, weight, bias)
        first = scores if first is None else first
        share = step / bench.how.rounds
        mask = bench.how.pattern.mask(here, scores, scheduled_count(count, start.shape, share), mask, share**SCHEDULE_POWER)
        solved = [solve_ridge(found, mask[units], start[units], bench.how.ridge) for units, found in parts]
        weight, bias = (torch.cat(column).to(start) for column in zip(*solved, strict=True))
    assert first is not None
    write_weights(here, weight, bias)
    return PrunedWeight(mask=here.to_weight_shape(mask), importance=here.to_weight_shape(first))


def scheduled_count(count: LinkCount, shape: tuple[int, ...], share: float) -> LinkCount:
    """Links kept after a share of the rounds: the logarithm of the density falls with a power of the share.

    Args:
        count: links kept in the end, in all or of each unit.
        shape: units and links into a unit.
        share: of the rounds, in (0, 1].
    """
    if share >= 1:
        return count
    part = share**SCHEDULE_POWER
    if isinstance(count, int):
        size = shape[0] * shape[1]
        kept: int = max(count, round(size * (count / size) ** part))
        return kept
    return torch.maximum(count, (shape[1] * (count.double() / shape[1]) ** part).round().long())


def _prune_tied(bench: PruningProblem, copied: Network, name: str, count: LinkCount) -> PrunedWeight:
    """The mask of a weight that is used both ways round, from scores of both."""
    here = _links_in(copied, bench.links[name])
    total = torch.zeros_like(here.weight)
    for dense in (bench.links[name], *bench.tied[name]):
        layer = _links_in(copied, dense)
        rows = bench.inputs_of(copied).read(layer)
        total += here.matrix(layer.to_weight_shape(bench.judge(layer, rows, layer.weight, layer.bias)))
    mask = bench.how.pattern.mask(here, total, count, bench.bound(here))
    return PrunedWeight(mask=here.to_weight_shape(mask), importance=here.to_weight_shape(total))


def _links_in(network: Network, links: Links) -> Links:
    """The same layer in a copy of the network."""
    return links_of(network, [links.name])[links.name]


def _unit_sums(links: Links, weight: Matrix, rows: Float[Tensor, "N GF"]) -> Float[Tensor, "N U"]:
    """Sums of units, without bias."""
    return torch.cat([part @ weight[units].T for units, part in links.split(rows)], 1)


def prune_by_sparse_gpt(bench: PruningProblem, here: Links, rows: Tensor, targets: Tensor, count: LinkCount) -> PrunedWeight:
    """SparseGPT, as it was published: second moments about 0, biases as they were. Reference: Frantar2023."""
    start, free = here.weight, bench.bound(here)
    parts = []
    order = torch.arange(here.fan_in).reshape(-1, here.kernel).T.flatten().to(start.device)
    for units, part in here.split(rows):
        square = RegressionMoments.of(part, targets[:, units], bias=False).square
        kept, groups = _group_count(here, count), bench.how.pattern.groups(here)
        among = free[units][:, order]
        weight, mask = sparse_gpt(start[units].double()[:, order], square[order][:, order], kept=kept, groups=groups, among=among)
        parts.append((weight[:, order.argsort(dim=0)], mask[:, order.argsort(dim=0)]))
    weight, mask = torch.cat([part[0] for part in parts]).to(start), torch.cat([part[1] for part in parts])
    write_weights(here, weight, None)
    return PrunedWeight(mask=here.to_weight_shape(mask), importance=here.to_weight_shape(start.abs()))


def prune_by_alps(bench: PruningProblem, here: Links, rows: Tensor, targets: Tensor, count: LinkCount) -> PrunedWeight:
    """ALPS: the mask by alternating directions, then weights and biases by least squares to the dense sums. Reference: Meng2024."""
    start, free = here.weight, bench.bound(here)
    parts, masks = [], []
    for units, part in here.split(rows):
        square = RegressionMoments.of(part, targets[:, units], bias=False).square
        choose = partial(_largest_mask, bench, here, count=_group_count(here, count), among=free[units])
        mask = alps(start[units].double(), square, choose)
        moments = RegressionMoments.of(part, targets[:, units], bias=bool(here.layer.bias))
        parts.append(solve_ridge(moments, mask, start[units], bench.how.ridge))
        masks.append(mask)
    weight, bias = (torch.cat(column).to(start) for column in zip(*parts, strict=True))
    write_weights(here, weight, bias)
    return PrunedWeight(mask=here.to_weight_shape(torch.cat(masks)), importance=here.to_weight_shape(start.abs()))


def _largest_mask(
    bench: PruningProblem, here: Links, sizes: Matrix, *, count: LinkCount, among: Bool[Tensor, "U F"]
) -> Bool[Tensor, "U F"]:
    """The pattern's mask of the largest."""
    return bench.how.pattern.mask(here, sizes, count, among)


def _group_count(here: Links, count: LinkCount) -> int:
    """Links that each group of a convolution keeps."""
    assert isinstance(count, int)
    return max(1, round(count / here.layer.groups))


PRUNE_BY_MODE: Mapping[str, Callable[[PruningProblem, Mapping[str, LinkCount]], NetworkAndWeights]] = {
    "paper": prune_one_shot,
    "refit": partial(prune_layer_by_layer, prune_layer=prune_and_refit),
    "sparse_gpt": partial(prune_layer_by_layer, prune_layer=prune_by_sparse_gpt),
    "alps": partial(prune_layer_by_layer, prune_layer=prune_by_alps),
}
"""The ways to prune, by mode."""
