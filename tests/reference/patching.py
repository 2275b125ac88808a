"""Activation patching in plain PyTorch: a hook overwrites what is absent where it stands, and the model computes the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


def patched(model: nn.Module, inputs: Sequence[Tensor], patches: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
    """The model's output while some modules' outputs are overwritten.

    Args:
        model: run as it is.
        inputs: of one call.
        patches: for each module by path, where its output is kept (bool, broadcastable to it) and what replaces it elsewhere.
    """
    modules = dict(model.named_modules())
    hooks = [
        modules[name].register_forward_hook(lambda module, given, output, kept=kept, absent=absent: torch.where(kept, output, absent))
        for name, (kept, absent) in patches.items()
    ]
    try:
        with torch.no_grad():
            return model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()


def activations(model: nn.Module, inputs: Sequence[Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """Outputs of modules during one call."""
    found: dict[str, Tensor] = {}
    modules = dict(model.named_modules())
    hooks = [
        modules[name].register_forward_hook(lambda module, given, output, name=name: found.__setitem__(name, output.clone()))
        for name in names
    ]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found
