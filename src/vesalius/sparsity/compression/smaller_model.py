"""The user's own model without some of its units, its code left as it is: smaller tensors, and sizes that modules note down."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.fx import Node

from vesalius.sparsity.compression.dependencies import UnitGroups
from vesalius.sparsity.compression.partial_norms import PartialNorm
from vesalius.sparsity.compression.rebuild import replace_tensors
from vesalius.trace.axis_pass import op_of

SIZED_OPS = frozenset("view reshape unsafe_view expand unflatten".split())
"""Ops that a model writes sizes down for, such as a number of heads."""
NORM_MODULES = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)


def shrink_model(model: nn.Module, tensors: Mapping[str, Tensor], units: UnitGroups, gone: Bool[Tensor, " G"]) -> nn.Module:
    """A copy on smaller tensors; whether it computes the same is for the caller to check, as a model may hold sizes anywhere.

    Args:
        model: without masks.
        tensors: those that changed, by name.
        units, gone: groups of units, and which of them the tensors lack.
    """
    copied = copy.deepcopy(model)
    replace_tensors(copied, tensors)
    nodes = units.network.graph("shrinking").graph.nodes
    for node in nodes:
        if node.op == "call_function" and "value" in node.meta and op_of(node) in ("layer_norm", "rms_norm", "group_norm"):
            _replace_norm(copied, node, units, gone)
    for path, sizes in _changed_sizes(units, gone).items():
        module = dict(copied.named_modules(remove_duplicate=False)).get(path)
        if module is not None and not type(module).__module__.startswith("torch."):
            for name, value in vars(module).items():
                if type(value) is int and value in sizes:
                    setattr(module, name, sizes[value])
    return copied


def _replace_norm(model: nn.Module, node: Node, units: UnitGroups, gone: Bool[Tensor, " G"]) -> None:
    """A normalisation over units counts those that are gone as zeros."""
    groups = units.values.get(node.args[0].meta["value"].name) if isinstance(node.args[0], Node) else None
    path = node.meta["value"].module
    module = dict(model.named_modules(remove_duplicate=False)).get(path)
    if (
        not isinstance(groups, Tensor)
        or not isinstance(module, NORM_MODULES)
        or (isinstance(module, nn.GroupNorm) and module.num_groups > 1)
    ):
        return
    axis = 1 if isinstance(module, nn.GroupNorm) else groups.ndim - 1
    kept = _kept(groups, gone, axis)
    if not bool(kept.all()):
        parent, _, leaf = path.rpartition(".")
        model.get_submodule(parent)._modules[leaf] = PartialNorm(module, len(kept))


def _kept(groups: Tensor, gone: Bool[Tensor, " G"], axis: int) -> Bool[Tensor, " _"]:
    stays = torch.cat([~gone, torch.ones(1, dtype=torch.bool)])[groups]
    return stays.movedim(axis, 0).reshape(stays.shape[axis], -1).any(1)


def _changed_sizes(units: UnitGroups, gone: Bool[Tensor, " G"]) -> dict[str, dict[int, int]]:
    """Sizes in the reshapes of each module that are others now, where each has one new size."""
    found: dict[str, dict[int, set[int]]] = {}
    for path, before, after in _reshaped(units, gone):
        found.setdefault(path, {}).setdefault(before, set()).add(after)
    return {
        path: {before: next(iter(after)) for before, after in sizes.items() if len(after) == 1 and {before} != after}
        for path, sizes in found.items()
    }


def _reshaped(units: UnitGroups, gone: Bool[Tensor, " G"]) -> Iterator[tuple[str, int, int]]:
    for node in units.network.graph("shrinking").graph.nodes:
        value = node.meta.get("value")
        if node.op != "call_function" or value is None or op_of(node) not in SIZED_OPS or value.name not in units.values:
            continue
        groups = units.values[value.name]
        if isinstance(groups, tuple):
            continue
        for axis, side in enumerate(value.shape):
            if side is not None:
                yield value.module, side, int(_kept(groups, gone, axis).sum())
