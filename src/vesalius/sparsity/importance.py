"""What every link of a network is worth to the unit it leads to, by its Shapley value.

Axes: U units, P players (links, or kernel slices of K weights), F links into a unit, N rows, G groups.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.core.version import VERSION
from vesalius.sparsity.activations import Activation
from vesalius.sparsity.coverage import weight_coverage
from vesalius.sparsity.elementwise_function import UnitFunction
from vesalius.sparsity.estimators import enumeration, gaussian, permutation
from vesalius.sparsity.estimators.permutation import SampledSums
from vesalius.sparsity.estimators.unit_games import BASELINES, UnitGames, sums_by_chunks
from vesalius.sparsity.importance_options import ImportanceOptions
from vesalius.sparsity.importance_result import LayerImportance, LinkImportance
from vesalius.sparsity.link_sums import LayerSums, LinkSums
from vesalius.sparsity.links import Links, links_of, read_link_inputs
from vesalius.trace.batches import Data
from vesalius.trace.network import Network
from vesalius.trace.receive import receive_data

ESTIMATORS = ("auto", "exact", "gaussian", "permutation", "rescale")
MAX_ENUMERATIONS = 1 << 24
"""Evaluations of an activation up to which ``auto`` enumerates a layer."""
SORTED_COST = 4
"""What a sorted background costs, in evaluations."""
MAX_FULL_FORM = 1 << 21
"""Rows times links up to which ``auto`` does without an expansion where the baseline is the data."""
CHECK_ROWS, CHECK_ORDERS = 256, 64
MAX_TRUSTED_ERROR = 0.1
"""Relative error from which a layer's importance is not to be trusted."""
SAMPLED_ROWS = 1000
MAX_SAMPLED_STEPS = 1 << 32
"""Rows that ``auto`` samples orders for where the Gaussian form is not to be trusted, and steps up to which it does."""


@verb
def link_importance(
    model: Any,
    data: Data,
    *,
    layers: Sequence[str] | None = None,
    baseline: str = "data",
    estimator: str = "auto",
    weighing: ImportanceOptions | None = None,
) -> LinkImportance:
    """Importance of every link: the mean size of its Shapley value for the output of the unit that it leads to.

    The game is that of one unit: its players are its incoming links. Data is read once, all layers together; at most ``weighing.rows``
    inputs are kept per layer.

    Args:
        model: a Network, or any model that :func:`vesalius.trace` takes.
        data: rows of its inputs in any form, or batches of them, with or without labels. Every token of a sequence is a row, padding too.
        layers: names; by default all linear layers and convolutions, see :func:`vesalius.sparsity.links.links_of`.
        baseline: what an absent link adds to the sum: ``"data"``, what it adds in another row (the paper's background), so that constant
            inputs are worth nothing; ``"zero"``, nothing, as if it were pruned.
        estimator: ``"exact"`` enumerates up to 20 links per unit; ``"gaussian"`` is a closed form for many links; ``"permutation"`` samples
            orders, with standard errors; ``"rescale"`` is DeepLIFT's rule; ``"auto"`` enumerates where that is quick, and else takes the
            Gaussian form, which for a unit without activation is exact, or orders where it is off by more than a tenth.
        weighing: all other options.

    Returns:
        Values in the shape of each weight, with errors where they are estimated.

    Raises:
        UnknownName: no such layer, baseline or estimator.
        InvalidInput: no rows, NaN or infinite weights or activations, a layer without links, options that exclude each other.
        TooManyPlayers: ``"exact"`` with more than 20 links.
        NotTraceable: an opaque network.
        WrongType: not a Network.

    Reference: Rhee2023. Differs from the paper: closed forms and unbiased sampling instead of Kernel SHAP; the value function, which it
    leaves open, is the unit's output after its activation.
    """
    how = weighing or ImportanceOptions()
    for what, word, known in (("baseline", baseline, BASELINES), ("estimator", estimator, ESTIMATORS)):
        if word not in known:
            raise UnknownName(what, word, known)
    if how.order is not None:
        gaussian.check_order(how.order, baseline)
    received = receive_data(model, data)
    links = links_of(received.network, layers)
    rows = read_link_inputs(links, received.x, rows=how.rows, positions=how.positions, seed=how.seed)
    questions = {name: settle_layer(one, rows[name], baseline, estimator, how) for name, one in links.items()}
    sums = LinkSums({name: one.described() for name, one in questions.items()}, how.aggregate)
    sums.add({name: one.sums(one.known, how.seed) for name, one in questions.items()})
    return LinkImportance(
        layers=sums.result(), provenance=link_provenance(received.network, links, received.features, baseline, estimator, how)
    )


def link_provenance(
    network: Network, links: Mapping[str, Links], features: Sequence[Any], baseline: str, estimator: str, how: ImportanceOptions
) -> dict[str, Any]:
    """What importance of links depends on."""
    options = {option.name: getattr(how, option.name) for option in fields(how)}
    facts: dict[str, Any] = {"model": network.name, "digest": network.digest(), "baseline": baseline, "estimator": estimator}
    facts["coverage"] = weight_coverage(network, {one.layer.weight for one in links.values()}).to_facts()
    if features:
        facts["features"] = [str(one) for one in features]
    return facts | {"options": options, "versions": {"vesalius": VERSION, "torch": torch.__version__}}


def settle_layer(links: Links, rows: Float[Tensor, "N GF"], baseline: str, estimator: str, how: ImportanceOptions) -> LayerQuestion:
    """What is asked of a layer's links, settled on some rows of their inputs.

    Raises:
        InvalidInput: NaN or infinite weights.
        TooManyPlayers: too many links to enumerate.
    """
    weight, bias = links.argument()
    if not bool(weight.isfinite().all() and bias.isfinite().all()):
        raise InvalidInput(f"the weights of layer {links.name!r} hold NaN or infinity; importance needs numbers")
    if links.after.unread and how.output == "post":
        warnings.warn(
            f"layer {links.name!r} is followed by {links.after.unread}, which is no function of one unit alone, or not all that reads it;"
            " its links are scored before it",
            stacklevel=4,
        )
    question = LayerQuestion(links=links, known=rows, baseline=baseline, how=how, estimator=estimator, order=1, error=0.0)
    games = list(question.games(rows))
    chosen, order = _choose_estimator(games[0], estimator, how)
    linear = chosen == "gaussian" and question.activation.name == "identity"
    error = 0.0 if linear or chosen == "exact" else _gaussian_error(games, order, how) if chosen == "gaussian" else float("nan")
    if links.after.unread and how.output == "post":
        error = float("nan")  # of values that are not those of the unit's output
    if error > MAX_TRUSTED_ERROR and estimator == "auto" and _can_sample_orders(games, how):
        few = torch.randperm(len(rows), generator=torch.Generator().manual_seed(how.seed))[:SAMPLED_ROWS]
        return replace(question, known=rows[few.to(rows.device)], estimator="permutation", order=order, error=float("nan"))
    if error > MAX_TRUSTED_ERROR:
        warnings.warn(f"layer {links.name!r}: the Gaussian form is {error:.0%} off permutations; use estimator='permutation'", stacklevel=4)
    return replace(question, estimator=chosen, order=order, error=error)


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerQuestion:
    """What is asked of the links of one layer, with everything settled that depends on more rows than are at hand.

    Attributes:
        links: of the layer.
        known: rows that say what an absent link adds.
        baseline: ``data`` or ``zero``.
        how: they are scored.
        estimator: one of ``ESTIMATOR_FUNCTIONS``.
        order: of the Gaussian form.
        error: of the estimator, where it is known.
    """

    links: Links
    known: Float[Tensor, "R GF"]
    baseline: str
    how: ImportanceOptions
    estimator: str
    order: int | str
    error: float

    @property
    def activation(self) -> UnitFunction:
        """Whose output is shared out."""
        return self.links.activation if self.how.output == "post" else Activation()

    def games(self, rows: Float[Tensor, "N GF"]) -> Iterator[UnitGames]:
        """The units of every group, and their players, on some rows."""
        links, how = self.links, self.how
        weight, bias = links.argument()
        kernel = links.kernel if how.granularity == "channel" else 1
        for (units, part), (_, known) in zip(links.split(rows), links.split(self.known), strict=True):
            yield UnitGames(
                weight=weight[units].reshape(-1, links.fan_in // kernel, kernel),
                bias=bias[units],
                rows=part.reshape(len(part), -1, kernel),
                activation=self.activation.select(units),
                baseline=self.baseline,
                background=how.background,
                seed=how.seed,
                reference=None if rows is self.known else known.reshape(len(known), -1, kernel),
            )

    def sums(self, rows: Float[Tensor, "N GF"], seed: int) -> LayerSums:
        """Sums over some rows.

        Args:
            rows: inputs of the links.
            seed: of the orders that are sampled for these rows.
        """
        parts = [ESTIMATOR_FUNCTIONS[self.estimator](game, self.order, replace(self.how, seed=seed)) for game in self.games(rows)]
        gain, rms = _gain(self.links, self.how), self.how.aggregate == "rms"
        total = _to_weight_shape(self.links, torch.cat([part.total for part in parts]) * (gain.square() if rms else gain))
        spread = [part.variance for part in parts if part.variance is not None]
        variance = _to_weight_shape(self.links, torch.cat(spread) * gain.square()).double() if spread else None
        return LayerSums(total=total.double(), variance=variance, degrees=min(part.degrees for part in parts), rows=len(rows))

    def described(self) -> LayerImportance:
        """The layer's importance without any row."""
        links, linear = self.links, self.estimator == "gaussian" and self.activation.name == "identity"
        units, players = links.units, links.fan_in // (links.kernel if self.how.granularity == "channel" else 1)
        return LayerImportance(
            name=links.name,
            values=_to_weight_shape(links, links.weight.new_zeros(units, players)),
            stderr=None,
            axes=(links.layer.out_axis, links.layer.in_axis),
            groups=links.layer.groups,
            estimator="linear" if linear else self.estimator,
            activation=self.activation.name,
            error=self.error,
            rows=0,
        )


def _gain(links: Links, how: ImportanceOptions) -> Float[Tensor, "..."]:
    """What values are multiplied by where the activation is."""
    gain = links.after.gain
    if gain is None or how.output == "pre":
        return links.weight.new_ones(())
    return (gain if how.aggregate == "signed" else gain.abs()).to(links.weight)[:, None]


def _can_sample_orders(games: Sequence[UnitGames], how: ImportanceOptions) -> bool:
    """Whether orders can be sampled in a minute or so."""
    rows = min(len(games[0].rows), SAMPLED_ROWS)
    return 2 * rows * how.permutations * sum(game.weight[..., 0].numel() for game in games) <= MAX_SAMPLED_STEPS


def _to_weight_shape(links: Links, values: Float[Tensor, "U P"]) -> Float[Tensor, "..."]:
    """In the weight's shape; for kernel slices with sides of 1 in space, so that it broadcasts against the weight."""
    if values.shape[1] == links.fan_in:
        return links.to_weight_shape(values)
    return values.reshape(*values.shape, *[1] * (len(links.layer.shape) - 2))


def _choose_estimator(units: UnitGames, estimator: str, how: ImportanceOptions) -> tuple[str, int | str]:
    """The estimator, and the order of the Gaussian form."""
    sorts = units.activation.name in ("relu", "leaky_relu")
    worlds = 1 if units.baseline == "zero" else SORTED_COST if sorts else len(units.others)
    small = (
        units.players <= enumeration.MAX_PLAYERS and (units.weight.shape[0] * len(units.rows) * worlds << units.players) <= MAX_ENUMERATIONS
    )
    quick = len(units.rows) * units.weight[..., 0].numel() <= MAX_FULL_FORM
    order = how.order or ("full" if units.baseline == "data" and quick else gaussian.default_order(units.baseline))
    if units.activation.name == "identity":
        return ("gaussian", 1) if estimator in ("auto", "gaussian") else (estimator, 1)
    return ("exact" if small and how.order is None else "gaussian") if estimator == "auto" else estimator, order


def _exact(units: UnitGames, order: int | str, how: ImportanceOptions) -> SampledSums:
    if units.players > enumeration.MAX_PLAYERS:
        enumeration.exact_values(units, slice(0, 0), slice(0, 0))
    return _known_sums(sums_by_chunks(units, enumeration.exact_values, how.aggregate, enumeration.exact_elements(units)))


def _gaussian(units: UnitGames, order: int | str, how: ImportanceOptions) -> SampledSums:
    return _known_sums(gaussian.closed_form_sums(units, aggregate=how.aggregate, order=order))


def _permutation(units: UnitGames, order: int | str, how: ImportanceOptions) -> SampledSums:
    return permutation.sample_sums(units, how.aggregate, how.permutations, how.seed)


def _rescale(units: UnitGames, order: int | str, how: ImportanceOptions) -> SampledSums:
    elements = 4 if units.baseline == "zero" else 4 + len(units.others) // units.players
    return _known_sums(sums_by_chunks(units, enumeration.rescale_values, how.aggregate, elements))


def _known_sums(total: Float[Tensor, "U P"]) -> SampledSums:
    """Sums that nothing random is in."""
    return SampledSums(total=total, variance=None, degrees=0)


ESTIMATOR_FUNCTIONS: Mapping[str, Callable[[UnitGames, int | str, ImportanceOptions], SampledSums]] = {
    "exact": _exact,
    "gaussian": _gaussian,
    "permutation": _permutation,
    "rescale": _rescale,
}


def _gaussian_error(games: Sequence[UnitGames], order: int | str, how: ImportanceOptions) -> float:
    """Relative L2 error of the Gaussian form on a few units and rows, against two independent estimates by permutations, whose noise then
    does not count."""
    if not how.checked:
        return float("nan")
    draws = torch.Generator().manual_seed(how.seed)
    game = games[int(torch.randint(len(games), (), generator=draws))]
    units = torch.randperm(len(game.weight), generator=draws)[: how.checked].to(game.weight.device)
    rows = torch.randperm(len(game.rows), generator=draws)[:CHECK_ROWS].to(game.rows.device)
    small = replace(game.select(units), rows=game.rows[rows])
    ours = gaussian.closed_form_importance(small, aggregate=how.aggregate, order=order)
    one, two = (permutation.sample_importance(small, how.aggregate, CHECK_ORDERS // 2, how.seed + turn).values for turn in range(2))
    size = (one * two).sum()
    off = ((ours - one) * (ours - two)).sum().clamp_min(0)
    return float((off / size).sqrt()) if size > 0 else float(off > 0)
