"""A copy of a model with other tensors in it: without masks, and with some of them smaller."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from vesalius.trace.copying import computed_attributes

SIZE_ATTRIBUTES: Mapping[str, tuple[str, int]] = {
    "in_features": ("weight", 1),
    "out_features": ("weight", 0),
    "in_channels": ("weight", 1),
    "out_channels": ("weight", 0),
    "num_features": ("running_mean", 0),
    "num_parameters": ("weight", 0),
}
"""Sizes that PyTorch's modules note down, and the tensor and axis they are of."""
SIZED_MODULES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.PReLU)


def copy_without_masks(model: nn.Module) -> nn.Module:
    """A copy whose masks of ``torch.nn.utils.prune`` have become zeros in its weights; the model is left as it is."""
    copied = copy.deepcopy(model, computed_attributes(model))
    with torch.no_grad():
        for module in copied.modules():
            for leaf in [leaf.removesuffix("_mask") for leaf, _ in module.named_buffers(recurse=False) if leaf.endswith("_mask")]:
                if f"{leaf}_orig" in module._parameters:
                    prune.remove(module, leaf)
    return copied


def tensor_of(model: nn.Module, name: str) -> Tensor | None:
    """A parameter or buffer by its path; ``None`` if the model has none of that name."""
    path, _, leaf = name.rpartition(".")
    try:
        module = model.get_submodule(path)
    except AttributeError:
        return None
    found = module._parameters.get(leaf, module._buffers.get(leaf))
    return found if isinstance(found, Tensor) else None


def tensors_of(model: nn.Module, names: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The model's own tensors where it has them, else those given, by name."""
    found = {name: tensor_of(model, name) for name in names}
    return {name: tensor if found[name] is None else found[name].detach() for name, tensor in names.items()}  # type: ignore[union-attr]


def replace_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors in the place of a model's own, of whatever shape; sizes that PyTorch's modules note down follow."""
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        module = model.get_submodule(path)
        if leaf in module._buffers:
            module._buffers[leaf] = tensor
        else:
            before = module._parameters[leaf]
            trained = before is None or before.requires_grad
            module._parameters[leaf] = nn.Parameter(tensor, requires_grad=trained)
    for module in model.modules():
        if isinstance(module, SIZED_MODULES):
            _update_sizes(module)


def _update_sizes(module: nn.Module) -> None:
    for side, (leaf, axis) in SIZE_ATTRIBUTES.items():
        tensor = getattr(module, leaf, None)
        if hasattr(module, side) and isinstance(tensor, Tensor) and getattr(module, "groups", 1) == 1:
            setattr(module, side, tensor.shape[axis])
