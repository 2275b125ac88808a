"""Units that are dead or unused, taken out of a network: smaller matrices, the same outputs.

A group of units is unused when no layer reads it, and dead when it reads nothing itself: then it is constant, and what it adds to its
readers goes into their biases.

Axes: U units, G groups of joined units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vesalius.core.errors import InvalidInput
from vesalius.sparsity.compression.dependencies import STAYS, UnitGroups, UnitReader, find_units
from vesalius.sparsity.compression.rebuild import tensor_of, tensors_of
from vesalius.sparsity.links import CONVOLUTION_OPS, LINEAR_OPS
from vesalius.trace.layers import Layer
from vesalius.trace.network import Network

ROUNDING = 1e-6
"""Relative difference between two positions of a constant channel that is put down to the order of sums."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ShrunkTensors:
    """What is left of a network's tensors.

    Attributes:
        tensors: those that changed, by name; smaller, and biases with what constants added.
        whole: all of them, as they were.
        removed: units taken out, by layer; layers that lost none are left out.
        why: layers some of whose units cannot be taken out, and why.
        units: all units, in groups.
        gone: groups that were taken out.
    """

    tensors: Mapping[str, Tensor]
    whole: Mapping[str, Tensor]
    removed: Mapping[str, Int[Tensor, " _"]]
    why: Mapping[str, str]
    units: UnitGroups
    gone: Bool[Tensor, " G"]


def remove_dead_units(network: Network, model: nn.Module, *, new_biases: bool = True) -> ShrunkTensors:
    """Find units that can go, until there are none, and the tensors of the network without them.

    Args:
        network: traced from a model like this one.
        model: whose tensors count.
        new_biases: whether layers without a bias may get one, for what constant units added.
    """
    work = _EditableNetwork.of(network, model, new_biases=new_biases)
    alive = work.owned.clone()
    while bool((gone := _dead_groups(work, alive)).any()):
        work.clear(gone)
        alive &= ~gone
    gone = _keep_one_unit(work.units, work.owned & ~alive)
    units = work.units
    removed = {name: units.is_gone(groups, gone).nonzero().flatten() for name, groups in units.layers.items()}
    return ShrunkTensors(
        tensors=work.slice_tensors(gone),
        whole=tensors_of(model, network.parameters),
        removed={name: one for name, one in removed.items() if len(one)},
        why={**units.why, **work.foreign},
        units=units,
        gone=gone,
    )


def _keep_one_unit(units: UnitGroups, gone: Bool[Tensor, " G"]) -> Bool[Tensor, " G"]:
    """A layer keeps a unit: PyTorch has no convolution without channels."""
    gone = gone.clone()
    for groups in units.layers.values():
        if bool((groups != STAYS).all()) and bool(gone[groups].all()):
            gone[groups[0]] = False
    return gone


@dataclass(eq=False)
class _EditableNetwork:
    """A network's tensors, to be written to: what is cut becomes 0.

    Attributes:
        network: on these tensors.
        model: whose they are.
        tensors: copies.
        units: in groups.
        written: names of tensors that got other numbers.
        new_biases: whether layers without a bias may get one.
        foreign: layers whose units meet a tensor that is not the model's, and why they stay.
    """

    network: Network
    model: nn.Module
    tensors: dict[str, Tensor]
    units: UnitGroups
    new_biases: bool
    written: set[str] = field(default_factory=set)
    foreign: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, network: Network, model: nn.Module, *, new_biases: bool) -> _EditableNetwork:
        model_graph = network.graph("removing units")
        tensors = {name: tensor.clone() for name, tensor in tensors_of(model, model_graph.tensors).items()}
        own = Network(network.name, network.inputs, replace(model_graph, tensors=tensors), network.reason, network.call)
        return cls(own, model, tensors, find_units(network), new_biases)

    @property
    def owned(self) -> Bool[Tensor, " G"]:
        """Groups all of whose tensors are parameters and buffers of the model, which alone can be made smaller."""
        found = torch.ones(self.units.count, dtype=torch.bool)
        for name, axes in self.units.axes.items():
            if tensor_of(self.model, name) is None:
                for groups in axes:
                    found[groups[groups != STAYS]] = False
                self._note_foreign(name)
        return found

    def _note_foreign(self, name: str) -> None:
        held = torch.cat([groups for groups in self.units.axes[name]] or [torch.zeros(0, dtype=torch.long)])
        for layer, groups in self.units.layers.items():
            if bool(torch.isin(groups[groups != STAYS], held).any()):
                self.foreign[layer] = f"{name!r} is no parameter of the model"

    def holds(self, name: str, axis: int) -> Bool[Tensor, " G"]:
        """Groups that have a number other than 0 along an axis of a tensor."""
        groups = self.units.axes[name][axis]
        filled = self.tensors[name].movedim(axis, 0).reshape(len(groups), -1).ne(0).any(1).cpu()
        found = torch.zeros(self.units.count, dtype=torch.bool)
        found[groups[filled & (groups != STAYS)]] = True
        return found

    def clear(self, gone: Bool[Tensor, " G"]) -> None:
        """All links from and to some groups become 0."""
        for name in self.units.touched(gone):
            if self.tensors[name].is_floating_point() and isinstance(_entry(self.model, name), nn.Parameter):
                self.tensors[name].mul_(self.units.mask(name, gone).to(self.tensors[name]))
                self.written.add(name)

    def bias(self, layer: Layer) -> Float[Tensor, " U"] | None:
        """The bias of a layer, one that it got here included."""
        return self.tensors.get(self.bias_name(layer))

    def bias_name(self, layer: Layer) -> str:
        """Name of a layer's bias, or of the one that a layer of PyTorch's without any could get; empty if it cannot have one."""
        path, _, leaf = layer.weight.rpartition(".")
        if layer.bias or leaf != "weight" or not self.new_biases:
            return layer.bias
        owner = dict(self.model.named_modules(remove_duplicate=False)).get(path)
        return f"{path}.bias" if isinstance(owner, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)) and owner.bias is None else ""

    def constants(self, layer: Layer, reader: Layer) -> Float[Tensor, "F P"]:
        """What a reader sees when a layer gives its bias everywhere: one row for each of its inputs, one column per position.

        Raises:
            InvalidInput: what it reads depends on other layers too.
        """
        value = self.network.values[layer.value]
        sides = [1 if side is None else int(side) for side in value.shape]
        like = self.tensors[layer.weight]
        bias = self.bias(layer)
        given = torch.zeros(sides, dtype=like.dtype, device=like.device)
        if bias is not None:
            given = given + bias.reshape([-1 if axis == layer.unit_axis else 1 for axis in range(len(sides))])
        with torch.no_grad():
            seen: Tensor = self.network.program([layer.value], [reader.source])(given)[0]
        axis = len(seen.shape) - 1 if reader.op in LINEAR_OPS else 1
        return seen.movedim(axis, 0).flatten(1)

    def fold(self, reader: Layer, inputs: Bool[Tensor, " F"], constants: Float[Tensor, " F"]) -> None:
        """Add what some constant inputs add to a reader to its bias."""
        weight = self.tensors[reader.weight].movedim((reader.in_axis, reader.out_axis), (0, 1))
        weight = weight.reshape(*weight.shape[:2], -1).sum(2).double()
        added = (weight * constants[:, None])[inputs.to(weight.device)].sum(0)
        if not bool(added.any()):
            return
        name = self.bias_name(reader)
        before = self.tensors.get(name, torch.zeros(reader.units, dtype=self.tensors[reader.weight].dtype, device=weight.device))
        self.tensors[name] = (before.double() + added).to(before.dtype)
        self.written.add(name)

    def can_take_bias(self, reader: Layer) -> bool:
        """Whether a reader has, or can get, a bias that is no other layer's."""
        name = self.bias_name(reader)
        return bool(name) and sum(one.bias == name for one in self.network.layers.values()) <= 1

    def slice_tensors(self, gone: Bool[Tensor, " G"]) -> dict[str, Tensor]:
        """All tensors that changed, without what was taken out."""
        found = {name: self.tensors[name] for name in self.written}
        for name in self.units.touched(gone):
            tensor = self.tensors[name]
            for axis, kept in enumerate(self.units.kept(name, gone)):
                tensor = tensor.index_select(axis, kept.nonzero().flatten().to(tensor.device))
            found[name] = tensor
        for layer in self.network.layers.values():
            name = self.bias_name(layer)
            if name and name != layer.bias and name in self.written:
                groups = self.units.layers[layer.name]
                kept = ~gone[groups] | (groups == STAYS) if len(gone) else torch.ones(len(groups), dtype=torch.bool)
                found[name] = self.tensors[name][kept.to(self.tensors[name].device)]
        return found


def _entry(model: nn.Module, name: str) -> Any:
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    return module._parameters.get(leaf, module._buffers.get(leaf))


def _dead_groups(work: _EditableNetwork, alive: Bool[Tensor, " G"]) -> Bool[Tensor, " G"]:
    """Groups that can go, now that what reads them is clear of them."""
    read = torch.zeros_like(alive)
    for reader in work.units.readers:
        read |= work.holds(reader.weight, reader.axis)
    filled = torch.zeros_like(alive)
    for name in work.units.axes:
        if isinstance(_entry(work.model, name) if tensor_of(work.model, name) is not None else None, nn.Parameter):
            for axis in range(work.tensors[name].ndim):
                filled |= work.holds(name, axis)
    gone = alive & ~read & (~work.units.zeros | ~filled)
    return gone | _fold_constants(work, alive & read & ~work.units.zeros)


def _fold_constants(work: _EditableNetwork, able: Bool[Tensor, " G"]) -> Bool[Tensor, " G"]:
    """Of groups those that are one unit of one layer, which reads nothing, and whose constant all readers can take into their biases; it
    is there after this."""
    found = torch.zeros_like(able)
    for names, pool in work.units.pools.items():
        layer = work.network.layers.get(names[0]) if len(names) == 1 else None
        if layer is None or layer.op not in LINEAR_OPS | CONVOLUTION_OPS or not bool(able[pool].any()):
            continue
        groups = work.units.layers[names[0]]
        alone = groups.bincount(minlength=0) if bool((groups >= 0).all()) else groups[groups >= 0].bincount()
        empty = ~work.tensors[layer.weight].movedim(layer.out_axis, 0).flatten(1).any(1).cpu()
        blind = torch.zeros_like(able)
        for unit, group in enumerate(groups.tolist()):
            if group != STAYS and bool(empty[unit]) and int(alone[group]) == 1 and bool(able[group]):
                blind[group] = True
        if bool(blind.any()):
            found |= _fold_layer(work, layer, blind)
    return found


def _fold_layer(work: _EditableNetwork, layer: Layer, blind: Bool[Tensor, " G"]) -> Bool[Tensor, " G"]:
    seen: list[tuple[Layer, Tensor, Tensor]] = []
    fits = blind.clone()
    for reader in _readers_of(work.units, blind):
        target = work.network.layers.get(reader.layer)
        if target is None or target.op not in LINEAR_OPS | CONVOLUTION_OPS or target.groups > 1:
            return torch.zeros_like(blind)
        try:
            constants = work.constants(layer, target).double()
        except InvalidInput:
            return torch.zeros_like(blind)
        groups = work.units.axes[reader.weight][reader.axis]
        even = ((constants - constants[:, :1]).abs() <= ROUNDING * constants.abs().amax(1, keepdim=True)).all(1)
        silent = ~constants.any(1)
        able = even if work.can_take_bias(target) and not _is_padded(work.network, target) else torch.zeros_like(even)
        bad = groups[~(able | silent).cpu() & (groups != STAYS)]
        fits[bad] = False
        seen.append((target, groups, constants[:, 0]))
    for target, groups, constants in seen:
        work.fold(target, fits[groups] & (groups != STAYS), constants)
    return fits


def _readers_of(units: UnitGroups, some: Bool[Tensor, " G"]) -> list[UnitReader]:
    found = []
    for reader in units.readers:
        groups = units.axes[reader.weight][reader.axis]
        if bool(some[groups[groups != STAYS]].any()):
            found.append(reader)
    return found


def _is_padded(network: Network, layer: Layer) -> bool:
    """Whether a convolution reads a rim of zeros, where a constant input is not constant."""
    if layer.op in LINEAR_OPS:
        return False
    node = network.graph("reading a convolution").nodes[layer.value]
    padding: Any = node.args[4] if len(node.args) > 4 else node.kwargs.get("padding", 0)
    sides = [padding] if isinstance(padding, (int, str)) else list(padding)
    return any(side not in (0, "valid") for side in sides)
