"""What every link of a network is worth to the unit it leads to, by its Shapley value.

Axes: U units, P players (links, or kernel slices of K weights), F links into a unit, N rows, G groups.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
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
from vesalius.sparsity.estimators.unit_games import BASELINES, UnitGames, importance_by_chunks
from vesalius.sparsity.importance_options import ImportanceOptions
from vesalius.sparsity.importance_result import LayerImportance, LinkImportance
from vesalius.sparsity.links import Links, links_of, read_link_inputs
from vesalius.trace.batches import Data
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

ValuesAndStderr = tuple[Tensor, Tensor | None]


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
    network = received.network
    links = links_of(network, layers)
    rows = read_link_inputs(links, received.x, rows=how.rows, positions=how.positions, seed=how.seed)
    found = {name: _layer_importance(one, rows[name], baseline, estimator, how) for name, one in links.items()}
    options = {option.name: getattr(how, option.name) for option in fields(how)}
    facts: dict[str, Any] = {"model": network.name, "digest": network.digest(), "baseline": baseline, "estimator": estimator}
    facts["coverage"] = weight_coverage(network, {one.layer.weight for one in links.values()}).to_facts()
    if received.features:
        facts["features"] = [str(one) for one in received.features]
    versions = {"vesalius": VERSION, "torch": torch.__version__}
    return LinkImportance(layers=found, provenance=facts | {"options": options, "versions": versions})


def _layer_importance(links: Links, rows: Float[Tensor, "N GF"], baseline: str, estimator: str, how: ImportanceOptions) -> LayerImportance:
    weight, bias = links.argument()
    if not bool(weight.isfinite().all() and bias.isfinite().all()):
        raise InvalidInput(f"the weights of layer {links.name!r} hold NaN or infinity; importance needs numbers")
    if links.after.unread and how.output == "post":
        warnings.warn(
            f"layer {links.name!r} is followed by {links.after.unread}, which is no function of one unit alone, or not all that reads it;"
            " its links are scored before it",
            stacklevel=4,
        )
    activation: UnitFunction = links.activation if how.output == "post" else Activation()
    games = list(_unit_games(links, rows, activation, baseline, how))
    chosen, order = _choose_estimator(games[0], estimator, how)
    parts = [ESTIMATOR_FUNCTIONS[chosen](game, order, how) for game in games]
    linear = chosen == "gaussian" and activation.name == "identity"
    error = 0.0 if linear or chosen == "exact" else _gaussian_error(games, order, how) if chosen == "gaussian" else float("nan")
    if links.after.unread and how.output == "post":
        error = float("nan")  # of values that are not those of the unit's output
    if error > MAX_TRUSTED_ERROR and estimator == "auto" and _can_sample_orders(games, how):
        chosen, error = "permutation", float("nan")
        parts = [_permutation(_subsample_rows(game, SAMPLED_ROWS, how.seed), order, how) for game in games]
    elif error > MAX_TRUSTED_ERROR:
        warnings.warn(f"layer {links.name!r}: the Gaussian form is {error:.0%} off permutations; use estimator='permutation'", stacklevel=4)
    gain = _gain(links, how)
    errors = [part[1] for part in parts if part[1] is not None]
    return LayerImportance(
        name=links.name,
        values=_to_weight_shape(links, torch.cat([part[0] for part in parts]) * gain),
        stderr=_to_weight_shape(links, torch.cat(errors) * gain.abs()) if errors else None,
        axes=(links.layer.out_axis, links.layer.in_axis),
        groups=links.layer.groups,
        estimator="linear" if linear else chosen,
        activation=activation.name,
        error=error,
        rows=min(len(rows), SAMPLED_ROWS) if chosen == "permutation" and estimator == "auto" else len(rows),
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


def _subsample_rows(game: UnitGames, count: int, seed: int) -> UnitGames:
    """The game on a few of its rows."""
    chosen = torch.randperm(len(game.rows), generator=torch.Generator().manual_seed(seed))[:count]
    return replace(game, rows=game.rows[chosen.to(game.rows.device)])


def _unit_games(
    links: Links, rows: Float[Tensor, "N GF"], activation: UnitFunction, baseline: str, how: ImportanceOptions
) -> Iterator[UnitGames]:
    """The units of every group, and their players."""
    weight, bias = links.argument()
    kernel = links.kernel if how.granularity == "channel" else 1
    for units, part in links.split(rows):
        yield UnitGames(
            weight=weight[units].reshape(-1, links.fan_in // kernel, kernel),
            bias=bias[units],
            rows=part.reshape(len(part), -1, kernel),
            activation=activation.select(units),
            baseline=baseline,
            background=how.background,
            seed=how.seed,
        )


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


def _exact(units: UnitGames, order: int | str, how: ImportanceOptions) -> ValuesAndStderr:
    if units.players > enumeration.MAX_PLAYERS:
        enumeration.exact_values(units, slice(0, 0), slice(0, 0))
    return importance_by_chunks(units, enumeration.exact_values, how.aggregate, enumeration.exact_elements(units)), None


def _gaussian(units: UnitGames, order: int | str, how: ImportanceOptions) -> ValuesAndStderr:
    return gaussian.closed_form_importance(units, aggregate=how.aggregate, order=order), None


def _permutation(units: UnitGames, order: int | str, how: ImportanceOptions) -> ValuesAndStderr:
    found = permutation.sample_importance(units, how.aggregate, how.permutations, how.seed)
    return found.values, found.stderr


def _rescale(units: UnitGames, order: int | str, how: ImportanceOptions) -> ValuesAndStderr:
    elements = 4 if units.baseline == "zero" else 4 + len(units.others) // units.players
    return importance_by_chunks(units, enumeration.rescale_values, how.aggregate, elements), None


ESTIMATOR_FUNCTIONS: Mapping[str, Callable[[UnitGames, int | str, ImportanceOptions], ValuesAndStderr]] = {
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
