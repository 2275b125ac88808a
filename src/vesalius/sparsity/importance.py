"""What every link of a network is worth to the unit it leads to, by its Shapley value.

Axes: U units, P players (links, or kernel slices of K weights), F links into a unit, N rows, G groups.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.core.version import VERSION
from vesalius.sparsity.activations import Activation
from vesalius.sparsity.estimators import enumerated, gaussian, permuted
from vesalius.sparsity.estimators.units import BASELINES, Units, folded
from vesalius.sparsity.layered import LayerImportance, LinkImportance
from vesalius.sparsity.links import Links, links_of, read
from vesalius.sparsity.weighing import Weighing
from vesalius.trace.batches import Data
from vesalius.trace.network import Network

ESTIMATORS = ("auto", "exact", "gaussian", "permutation", "rescale")
ENUMERABLE = 1 << 24
"""Evaluations of an activation up to which ``auto`` enumerates a layer."""
SORTED = 4
"""What a sorted background costs, in evaluations."""
FULL = 1 << 21
"""Rows times links up to which ``auto`` does without an expansion where the baseline is the data."""
CHECKED_ROWS, CHECKED_ORDERS = 256, 64
DOUBTFUL = 0.1
"""Relative error from which a layer's importance is not to be trusted."""
SAMPLED_ROWS = 1000
SAMPLED = 1 << 32
"""Rows that ``auto`` samples orders for where the Gaussian form is not to be trusted, and steps up to which it does."""

Found = tuple[Tensor, Tensor | None]


def link_importance(
    network: Network,
    data: Data,
    *,
    layers: Sequence[str] | None = None,
    baseline: str = "data",
    estimator: str = "auto",
    weighing: Weighing | None = None,
) -> LinkImportance:
    """Importance of every link: the mean size of its Shapley value for the output of the unit that it leads to.

    The game is that of one unit: its players are its incoming links. Data is read once, all layers together; at most ``weighing.rows``
    inputs are kept per layer.

    Args:
        network: traced.
        data: rows of the network's inputs, or batches of them, with or without labels. Every token of a sequence is a row, padding too.
        layers: names; by default all linear layers and convolutions, see :func:`vesalius.sparsity.links.links_of`.
        baseline: what an absent link adds to the sum: ``"data"``, what it adds in another row (the paper's background), so that constant
            inputs are worth nothing; ``"zero"``, nothing, as if it were cut.
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
    how = weighing or Weighing()
    for what, word, known in (("baseline", baseline, BASELINES), ("estimator", estimator, ESTIMATORS)):
        if word not in known:
            raise UnknownName(what, word, known)
    if how.order is not None:
        gaussian.check_order(how.order, baseline)
    links = links_of(network, layers)
    rows = read(links, data, rows=how.rows, positions=how.positions, seed=how.seed)
    found = {name: _layer(one, rows[name], baseline, estimator, how) for name, one in links.items()}
    options = {name: getattr(how, name) for name in how.__dataclass_fields__}
    facts: dict[str, Any] = {"model": network.name, "digest": network.digest(), "baseline": baseline, "estimator": estimator}
    versions = {"vesalius": VERSION, "torch": torch.__version__}
    return LinkImportance(layers=found, provenance=facts | {"options": options, "versions": versions})


def _layer(links: Links, rows: Float[Tensor, "N GF"], baseline: str, estimator: str, how: Weighing) -> LayerImportance:
    weight, bias = links.argument()
    if not bool(weight.isfinite().all() and bias.isfinite().all()):
        raise InvalidInput(f"the weights of layer {links.name!r} hold NaN or infinity; importance needs numbers")
    if links.after.unread and how.output == "post":
        warnings.warn(
            f"layer {links.name!r} is followed by {links.after.unread}, which has no closed form here; its links are weighed before it",
            stacklevel=4,
        )
    activation = links.activation if how.output == "post" else Activation()
    games = list(_games(links, rows, activation, baseline, how))
    chosen, order = _chosen(games[0], estimator, how)
    parts = [RUN[chosen](game, order, how) for game in games]
    linear = chosen == "gaussian" and activation.name == "identity"
    error = 0.0 if linear or chosen == "exact" else _error(games, order, how) if chosen == "gaussian" else float("nan")
    if error > DOUBTFUL and estimator == "auto" and _affordable(games, how):
        chosen, error = "permutation", float("nan")
        parts = [_permutation(_some(game, SAMPLED_ROWS, how.seed), order, how) for game in games]
    elif error > DOUBTFUL:
        warnings.warn(f"layer {links.name!r}: the Gaussian form is {error:.0%} off permutations; use estimator='permutation'", stacklevel=4)
    errors = [part[1] for part in parts if part[1] is not None]
    return LayerImportance(
        name=links.name,
        values=_shaped(links, torch.cat([part[0] for part in parts])),
        stderr=_shaped(links, torch.cat(errors)) if errors else None,
        axes=(links.layer.out_axis, links.layer.in_axis),
        groups=links.layer.groups,
        estimator="linear" if linear else chosen,
        activation=activation.name,
        error=error,
        rows=min(len(rows), SAMPLED_ROWS) if chosen == "permutation" and estimator == "auto" else len(rows),
    )


def _affordable(games: Sequence[Units], how: Weighing) -> bool:
    """Whether orders can be sampled in a minute or so."""
    rows = min(len(games[0].rows), SAMPLED_ROWS)
    return 2 * rows * how.permutations * sum(game.weight[..., 0].numel() for game in games) <= SAMPLED


def _some(game: Units, count: int, seed: int) -> Units:
    """The game on a few of its rows."""
    chosen = torch.randperm(len(game.rows), generator=torch.Generator().manual_seed(seed))[:count]
    return replace(game, rows=game.rows[chosen.to(game.rows.device)])


def _games(links: Links, rows: Float[Tensor, "N GF"], activation: Activation, baseline: str, how: Weighing) -> Iterator[Units]:
    """The units of every group, and their players."""
    weight, bias = links.argument()
    kernel = links.kernel if how.granularity == "channel" else 1
    for units, part in links.split(rows):
        yield Units(
            weight=weight[units].reshape(-1, links.fan_in // kernel, kernel),
            bias=bias[units],
            rows=part.reshape(len(part), -1, kernel),
            activation=activation,
            baseline=baseline,
            background=how.background,
            seed=how.seed,
        )


def _shaped(links: Links, values: Float[Tensor, "U P"]) -> Float[Tensor, "..."]:
    """In the weight's shape; for kernel slices with sides of 1 in space, so that it broadcasts against the weight."""
    if values.shape[1] == links.fan_in:
        return links.shaped(values)
    return values.reshape(*values.shape, *[1] * (len(links.layer.shape) - 2))


def _chosen(units: Units, estimator: str, how: Weighing) -> tuple[str, int | str]:
    """The estimator, and the order of the Gaussian form."""
    sorts = units.activation.name in ("relu", "leaky_relu")
    worlds = 1 if units.baseline == "zero" else SORTED if sorts else len(units.others)
    small = units.players <= enumerated.MOST and (units.weight.shape[0] * len(units.rows) * worlds << units.players) <= ENUMERABLE
    quick = len(units.rows) * units.weight[..., 0].numel() <= FULL
    order = how.order or ("full" if units.baseline == "data" and quick else gaussian.usual_order(units.baseline))
    if units.activation.name == "identity":
        return ("gaussian", 1) if estimator in ("auto", "gaussian") else (estimator, 1)
    return ("exact" if small and how.order is None else "gaussian") if estimator == "auto" else estimator, order


def _exact(units: Units, order: int | str, how: Weighing) -> Found:
    if units.players > enumerated.MOST:
        enumerated.exact_values(units, slice(0, 0), slice(0, 0))
    return folded(units, enumerated.exact_values, how.aggregate, enumerated.exact_elements(units)), None


def _gaussian(units: Units, order: int | str, how: Weighing) -> Found:
    return gaussian.importance(units, aggregate=how.aggregate, order=order), None


def _permutation(units: Units, order: int | str, how: Weighing) -> Found:
    found = permuted.sampled(units, how.aggregate, how.permutations, how.seed)
    return found.values, found.stderr


def _rescale(units: Units, order: int | str, how: Weighing) -> Found:
    elements = 4 if units.baseline == "zero" else 4 + len(units.others) // units.players
    return folded(units, enumerated.rescale_values, how.aggregate, elements), None


RUN: Mapping[str, Callable[[Units, int | str, Weighing], Found]] = {
    "exact": _exact,
    "gaussian": _gaussian,
    "permutation": _permutation,
    "rescale": _rescale,
}


def _error(games: Sequence[Units], order: int | str, how: Weighing) -> float:
    """Relative L2 error of the Gaussian form on a few units and rows, against two independent estimates by permutations, whose noise then
    does not count."""
    if not how.checked:
        return float("nan")
    draws = torch.Generator().manual_seed(how.seed)
    game = games[int(torch.randint(len(games), (), generator=draws))]
    units = torch.randperm(len(game.weight), generator=draws)[: how.checked].to(game.weight.device)
    rows = torch.randperm(len(game.rows), generator=draws)[:CHECKED_ROWS].to(game.rows.device)
    small = replace(game, weight=game.weight[units], bias=game.bias[units], rows=game.rows[rows])
    ours = gaussian.importance(small, aggregate=how.aggregate, order=order)
    one, two = (permuted.sampled(small, how.aggregate, CHECKED_ORDERS // 2, how.seed + turn).values for turn in range(2))
    size = (one * two).sum()
    off = ((ours - one) * (ours - two)).sum().clamp_min(0)
    return float((off / size).sqrt()) if size > 0 else float(off > 0)
