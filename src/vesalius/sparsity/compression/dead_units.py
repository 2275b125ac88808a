"""Units that are dead or unused, taken out of a network: smaller matrices, the same outputs.

A unit is unused when no layer reads it, and dead when it reads nothing itself: then it is constant, and what it adds to its readers goes
into their biases.

Axes: U units, F weights into a unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vesalius.sparsity.compression.dependencies import UnitDependencies, UnitReader, find_dependencies
from vesalius.sparsity.compression.rebuild import tensor_of, tensors_of
from vesalius.trace.layers import Layer
from vesalius.trace.network import Network

ROUNDING = 1e-6
"""Relative difference between two positions of a constant channel that is put down to the order of sums."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ShrunkTensors:
    """What is left of a network's tensors.

    Attributes:
        tensors: those that changed, by name; smaller, and biases with what constants added.
        removed: units taken out, by layer; layers that lost none are left out.
        why: layers whose units cannot be taken out, and why.
    """

    tensors: Mapping[str, Tensor]
    removed: Mapping[str, Int[Tensor, " _"]]
    why: Mapping[str, str]


def remove_dead_units(network: Network, model: nn.Module, *, reshaped: bool = True) -> ShrunkTensors:
    """Find units that can go, until there are none, and the tensors of the network without them.

    Args:
        network: traced from a model like this one.
        model: whose tensors count.
        reshaped: whether to follow units through reshapes, where a model may have written sizes down.
    """
    followed = {name: _exclude_foreign(one, model) for name, one in find_dependencies(network).items()}
    if not reshaped:
        followed = {name: replace(one, why="a reshape on the way") if one.reshaped else one for name, one in followed.items()}
    work = _EditableNetwork.of(network, model)
    alive = {name: torch.ones(one.layer.units, dtype=torch.bool) for name, one in followed.items() if not one.why}
    changing = True
    while changing:
        changing = any([_cut_dead_units(work, followed[name], alive[name]) for name in alive])
    removed = {name: (~units).nonzero().flatten() for name, units in alive.items() if not bool(units.all())}
    kept = {name: alive[name].nonzero().flatten() for name in removed}
    return ShrunkTensors(
        tensors=work.slice_tensors({name: followed[name] for name in removed}, kept),
        removed=removed,
        why={name: one.why for name, one in followed.items() if one.why},
    )


def _exclude_foreign(one: UnitDependencies, model: nn.Module) -> UnitDependencies:
    """Only parameters and buffers of the model can be made smaller."""
    names = [one.layer.weight, one.layer.bias, *(name for name, _ in one.vectors), *(reader.layer.weight for reader in one.readers)]
    foreign = [name for name in names if name and tensor_of(model, name) is None]
    return replace(one, why=one.why or f"{foreign[0]!r} is no parameter of the model") if foreign else one


@dataclass(eq=False)
class _EditableNetwork:
    """A network's tensors, to be written to: what is cut becomes 0."""

    network: Network
    model: nn.Module
    tensors: dict[str, Tensor]
    written: set[str]

    @classmethod
    def of(cls, network: Network, model: nn.Module) -> _EditableNetwork:
        model_graph = network.graph("removing units")
        tensors = tensors_of(model, model_graph.tensors)
        own = Network(network.name, network.inputs, replace(model_graph, tensors=tensors), network.reason, network.call)
        return cls(own, model, {name: tensor.clone() for name, tensor in tensors.items()}, set())

    def incoming(self, layer: Layer) -> Float[Tensor, "U F"]:
        return self.tensors[layer.weight].movedim(layer.out_axis, 0).flatten(1)

    def outgoing(self, reader: UnitReader) -> Float[Tensor, "U F"]:
        """What a reader multiplies each unit with."""
        weight = self.tensors[reader.layer.weight].movedim(reader.layer.in_axis, 0)
        return weight.reshape(len(weight) // reader.block, -1)

    def bias(self, layer: Layer) -> Float[Tensor, " U"] | None:
        """The bias of a layer, one that it got here included."""
        return self.tensors.get(self.bias_name(layer))

    def bias_name(self, layer: Layer) -> str:
        """Name of a layer's bias, or of the one that a layer of PyTorch's without any could get; empty if it cannot have one."""
        path, _, leaf = layer.weight.rpartition(".")
        if layer.bias or leaf != "weight":
            return layer.bias
        owner = dict(self.model.named_modules(remove_duplicate=False)).get(path)
        return f"{path}.bias" if isinstance(owner, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)) and owner.bias is None else ""

    def zero_links(self, reader: UnitReader, units: Bool[Tensor, " U"]) -> None:
        """Links from some units become 0."""
        weight = self.tensors[reader.layer.weight].movedim(reader.layer.in_axis, 0)
        weight[units.to(weight.device).repeat_interleave(reader.block)] = 0
        self.written.add(reader.layer.weight)

    def constants(self, layer: Layer, reader: UnitReader) -> Float[Tensor, "U ..."]:
        """What a reader sees of each unit when the layer gives its bias everywhere, one row per unit."""
        value = self.network.values[layer.value]
        sides = [1 if side is None else int(side) for side in value.shape]
        like = self.tensors[layer.weight]
        bias = self.bias(layer)
        given = torch.zeros(sides, dtype=like.dtype, device=like.device)
        if bias is not None:
            given = given + bias.reshape([-1 if axis == layer.unit_axis else 1 for axis in range(len(sides))])
        with torch.no_grad():
            seen: Tensor = self.network.program([layer.value], [reader.layer.source])(given)[0]
        axis = len(seen.shape) - 1 if reader.layer.op in ("linear", "addmm", "matmul", "mm") else 1
        return seen.movedim(axis, 0).reshape(layer.units, reader.block, -1)

    def fold(self, reader: UnitReader, units: Bool[Tensor, " U"], constants: Float[Tensor, "U b"]) -> None:
        """Add what some constant units add to a reader to its bias."""
        weight = self.tensors[reader.layer.weight].movedim((reader.layer.in_axis, reader.layer.out_axis), (0, 1))
        each = weight.reshape(len(weight), weight.shape[1], -1).sum(2).reshape(len(units), reader.block, -1).double()
        added = (each * constants[:, :, None])[units.to(weight.device)].sum((0, 1))
        if not bool(added.any()):
            return
        name = self.bias_name(reader.layer)
        before = self.tensors.get(name, torch.zeros(reader.layer.units, dtype=weight.dtype, device=weight.device))
        self.tensors[name] = (before.double() + added).to(before.dtype)
        self.written.add(name)

    def can_take_bias(self, reader: UnitReader) -> bool:
        """Whether a reader has, or can get, a bias that is no other layer's."""
        name = self.bias_name(reader.layer)
        return bool(name) and sum(one.bias == name for one in self.network.layers.values()) <= 1

    def slice_tensors(self, followed: Mapping[str, UnitDependencies], kept: Mapping[str, Int[Tensor, " _"]]) -> dict[str, Tensor]:
        """All tensors that changed, without what was taken out."""
        found = {name: self.tensors[name] for name in self.written}
        for name, one in followed.items():
            units = kept[name].to(self.tensors[one.layer.weight].device)
            cuts = [(one.layer.weight, one.layer.out_axis, 1), *((vector, axis, 1) for vector, axis in one.vectors)]
            cuts += [(reader.layer.weight, reader.layer.in_axis, reader.block) for reader in one.readers]
            if self.bias(one.layer) is not None:
                cuts.append((self.bias_name(one.layer), 0, 1))
            for key, axis, block in cuts:
                places = (units[:, None] * block + torch.arange(block, device=units.device)).flatten()
                found[key] = found.get(key, self.tensors[key]).index_select(axis, places)
        return found


def _cut_dead_units(work: _EditableNetwork, one: UnitDependencies, alive: Bool[Tensor, " U"]) -> bool:
    """Mark units of a layer that can go, and cut their links; whether there were any."""
    unread = torch.stack([~work.outgoing(reader).any(1) for reader in one.readers]).all(0).cpu()
    gone = alive & unread
    blind = alive & ~unread & ~work.incoming(one.layer).any(1).cpu()
    if bool(blind.any()):
        gone = gone | _fold_constants(work, one, blind)
    for reader in one.readers:
        work.zero_links(reader, gone)
    if bool(gone.sum() == alive.sum()):
        gone[alive.nonzero()[0]] = False  # a layer keeps a unit: PyTorch has no convolution without channels
    alive &= ~gone
    incoming = work.tensors[one.layer.weight].movedim(one.layer.out_axis, 0)
    incoming[gone.to(incoming.device)] = 0
    return bool(gone.any())


def _fold_constants(work: _EditableNetwork, one: UnitDependencies, blind: Bool[Tensor, " U"]) -> Bool[Tensor, " U"]:
    """Of dead units those whose constant all readers can take into their bias; it is there after this."""
    constants = [work.constants(one.layer, reader).double() for reader in one.readers]
    fits = blind.clone()
    for reader, seen in zip(one.readers, constants, strict=True):
        even = ((seen - seen[:, :, :1]).abs() <= ROUNDING * seen.abs().amax(2, keepdim=True)).all(2).all(1)
        silent = ~seen.flatten(1).any(1)
        able = (
            even
            if reader.keeps_constants and work.can_take_bias(reader) and not _is_padded(work.network, reader.layer)
            else torch.zeros_like(even)
        )
        fits &= (able | silent).cpu()
    for reader, seen in zip(one.readers, constants, strict=True):
        work.fold(reader, fits, seen[:, :, 0])
    return fits


def _is_padded(network: Network, layer: Layer) -> bool:
    """Whether a convolution reads a rim of zeros, where a constant input is not constant."""
    if layer.op in ("linear", "addmm", "matmul", "mm"):
        return False
    node = network.graph("reading a convolution").nodes[layer.value]
    padding: Any = node.args[4] if len(node.args) > 4 else node.kwargs.get("padding", 0)
    sides = [padding] if isinstance(padding, (int, str)) else list(padding)
    return any(side not in (0, "valid") for side in sides)
