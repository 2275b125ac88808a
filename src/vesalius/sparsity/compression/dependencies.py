"""Which units of a network can be removed, which of them only together, and which not, with the reason.

Axes: G groups of joined units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vesalius.sparsity.compression.unit_pass import Moving, ReadAxis, Stored, Tracked, UnitPass
from vesalius.sparsity.compression.unit_rules import RULES
from vesalius.sparsity.coverage import Coverage
from vesalius.trace.network import Network

STAYS = -1
"""In the place of a group: it cannot be removed."""
Groups = Int[Tensor, " _"]
Elements = Int[Tensor, "..."] | tuple[Groups, ...]
"""Groups of the elements of a value, or of the slices along each of its axes."""


@dataclass(frozen=True, kw_only=True)
class UnitReader:
    """A layer that reads units.

    Attributes:
        layer: its name.
        source: name of the value it reads them in; empty for what a recurrent layer reads of itself.
        weight: name of the weight.
        axis: of the weight, along which it reads them.
        along: axis of the value that they are on; by default that of channels or features.
    """

    layer: str
    source: str
    weight: str
    axis: int
    along: int | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class UnitGroups:
    """The units of a network, in groups that can only be removed together.

    Attributes:
        network: whose.
        count: groups.
        layers: of each layer that makes units, the group of each.
        axes: of each tensor the groups that own its slices, along each axis.
        readers: layers that read units.
        zeros: groups that may be removed only where what they compute is 0 without them, as it is normalised or summed with others.
        why: layers some of whose units stay, and why.
        stays: weights of no such layer of which nothing can go, and why.
        values: the group of each element of a value, of two samples; of one made of parameters those along each axis.
        parts: the same of ops with several results.
    """

    network: Network
    count: int
    layers: Mapping[str, Groups]
    axes: Mapping[str, tuple[Groups, ...]]
    readers: tuple[UnitReader, ...]
    zeros: Bool[Tensor, " G"]
    why: Mapping[str, str]
    stays: Mapping[str, str]
    values: Mapping[str, Elements]
    parts: Mapping[str, tuple[Elements, ...]]

    @cached_property
    def pools(self) -> dict[tuple[str, ...], list[int]]:
        """Groups that compete with each other: those with units in the same layers, by these layers."""
        owners: dict[int, list[str]] = {group: [] for group in range(self.count)}
        for name, groups in self.layers.items():
            for group in groups.unique().tolist():
                if group != STAYS:
                    owners[group].append(name)
        found: dict[tuple[str, ...], list[int]] = {}
        for group, names in owners.items():
            found.setdefault(tuple(names), []).append(group)
        return found

    def is_gone(self, groups: Int[Tensor, "..."], gone: Bool[Tensor, " G"]) -> Bool[Tensor, "..."]:
        """Which units, by their groups, are gone."""
        return torch.cat([gone, torch.zeros(1, dtype=torch.bool)])[groups]

    def kept(self, name: str, gone: Bool[Tensor, " G"]) -> tuple[Bool[Tensor, " _"], ...]:
        """Which slices of a tensor stay, along each axis, without some groups."""
        return tuple(~self.is_gone(groups, gone) for groups in self.axes[name])

    def mask(self, name: str, gone: Bool[Tensor, " G"]) -> Bool[Tensor, "..."]:
        """Which elements of a tensor stay."""
        kept = self.kept(name, gone)
        found = torch.ones(len(kept) * [1], dtype=torch.bool)
        for axis, one in enumerate(kept):
            found = found & one.reshape([-1 if at == axis else 1 for at in range(len(kept))])
        return found.expand([len(one) for one in kept])

    def touched(self, gone: Bool[Tensor, " G"]) -> list[str]:
        """Names of tensors that lose slices."""
        return [name for name in self.axes if not all(bool(one.all()) for one in self.kept(name, gone))]

    @cached_property
    def coverage(self) -> Coverage:
        """Weights, biases among them, of groups that can be removed; of layers some of whose units stay, weights that lead to these."""
        sizes = {name: tensor.numel() for name, tensor in _parameters(self.network) if name in self.axes}
        everything = torch.ones(self.count, dtype=torch.bool)
        left = {}
        for name, why in self.why.items():
            layer = self.network.layers.get(name)
            stays = float((self.layers[name] == STAYS).double().mean())
            left[name] = (round(stays * (sizes.get(layer.weight, 0) if layer else 0)), why)
        left |= {name: (sizes[name], why) for name, why in self.stays.items() if name in sizes}
        return Coverage(
            looked_at=sum(int((~self.mask(name, everything)).sum()) for name in sizes),
            total=sum(sizes.values()),
            left=dict(sorted(left.items(), key=lambda pair: -pair[1][0])),
        )


def _parameters(network: Network) -> list[tuple[str, Tensor]]:
    return [] if network.call is None else list(network.call.model.named_parameters())


def _parameter_names(network: Network) -> frozenset[str]:
    """Tensors that pruning may write zeros to; in a network from a file those with fractions."""
    if network.call is None:
        return frozenset(name for name, tensor in network.parameters.items() if tensor.is_floating_point())
    return frozenset(name for name, _ in network.call.model.named_parameters(remove_duplicate=False))


def find_units(network: Network) -> UnitGroups:
    """Follow the units of all layers through a network.

    Raises:
        NotTraceable: an opaque network.
    """
    model_graph = network.graph("following units")
    run = UnitPass(model_graph, RULES, _parameter_names(network))
    run.run()
    made = _layer_names(network, run)
    labels = run.labels
    _keep_the_last(run, made)
    roots = torch.cat([labels.find(one) for one in made.values()] or [torch.zeros(0, dtype=torch.long)]).unique()
    roots = roots[~labels.is_fixed(roots)]
    place = torch.full_like(labels.parent, STAYS)
    place[roots] = torch.arange(len(roots))

    def groups_of(one: Tracked) -> Elements:
        if isinstance(one, Moving):
            return place[labels.find(one.labels)]
        return tuple(place[labels.find(axis)] for axis in one.axes)

    known = {node.meta["value"].name: one for node, one in run.found.items() if "value" in node.meta}
    names = {layer.value: name for name, layer in network.layers.items()}
    why = {name: _reason(run, one) for name, one in made.items() if bool(labels.is_fixed(one).any())}
    named = {layer.weight for layer in network.layers.values() if layer.name in why}
    return UnitGroups(
        network=network,
        count=len(roots),
        layers={name: place[labels.find(one)] for name, one in made.items()},
        axes={name: tuple(place[labels.find(axis)] for axis in stored.axes) for name, stored in run.stored.items()},
        readers=tuple(_reader(one, names, run.modules[one.value]) for one in run.reads),
        zeros=labels.zeros[roots],
        why=why,
        stays={
            name: _reason(run, axis)
            for name, one in run.stored.items()
            if name not in named and (axis := _whole(run, place, one)) is not None
        },
        values={name: groups_of(one) for name, one in known.items() if isinstance(one, (Moving, Stored))},
        parts={name: tuple(groups_of(part) for part in one) for name, one in known.items() if isinstance(one, tuple)},
    )


def _keep_the_last(run: UnitPass, made: Mapping[str, Tensor]) -> None:
    """Units stay that can only go all together, since a layer must keep some."""
    owners: dict[int, list[str]] = {}
    for name, labels in made.items():
        for label in run.labels.find(labels).unique().tolist():
            owners.setdefault(label, []).append(name)
    pools: dict[tuple[str, ...], list[int]] = {}
    for label, names in owners.items():
        pools.setdefault(tuple(names), []).append(label)
    for layers, pool in pools.items():
        if len(pool) == 1:
            alone = all(len(made[name]) == 1 for name in layers)
            run.labels.fix(
                torch.tensor(pool), "it has no other unit" if alone else "its units can only go all together, and some must stay"
            )


def _layer_names(network: Network, run: UnitPass) -> dict[str, Tensor]:
    """Labels of the units of each layer, by the layer's name; the module's for those that are no layers, such as recurrent ones."""
    known = {layer.value: name for name, layer in network.layers.items()}
    return {known.get(value, run.modules.get(value) or value): labels for value, labels in run.made.items()}


def _reader(one: ReadAxis, names: Mapping[str, str], module: str) -> UnitReader:
    return UnitReader(layer=names.get(one.value, module or one.value), source=one.source, weight=one.weight, axis=one.axis, along=one.along)


def _whole(run: UnitPass, place: Tensor, one: Stored) -> Tensor | None:
    """Labels along the axes of a matrix no slice of which can go."""
    found = torch.cat([run.labels.find(axis) for axis in one.axes] or [torch.zeros(0, dtype=torch.long)])
    return found if len(one.axes) > 1 and bool((place[found] == STAYS).all()) else None


def _reason(run: UnitPass, labels: Tensor) -> str:
    fixed = labels[run.labels.is_fixed(labels)]
    return run.labels.why(int(fixed[0])) if len(fixed) else "no layer makes or reads its units"
