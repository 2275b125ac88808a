"""zennit without torchvision, of which it only wants the names of two classes for its canonizers, which are not used here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

NAMES = {"torchvision.models.resnet": ("Bottleneck", "BasicBlock"), "torchvision.models.vgg": ("VGG",)}


@contextmanager
def stub() -> Iterator[None]:
    """Within the block there is a torchvision that holds empty classes; afterwards there is what was there before."""
    made = {name: ModuleType(name) for name in ("torchvision", "torchvision.models", *NAMES)}
    for name, classes in NAMES.items():
        for each in classes:
            setattr(made[name], each, type(each, (nn.Module,), {}))
    before = {name: sys.modules.get(name) for name in made}
    sys.modules.update(made)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


if TYPE_CHECKING:
    from zennit import composites, core, layer, rules, types
else:
    with stub():
        from zennit import composites, core, layer, rules, types

__all__ = ["composites", "core", "layer", "relevance", "rules", "types"]


def relevance(model: nn.Module, x: Tensor, target: int, composite: core.Composite) -> Tensor:
    """Relevance of the input under a composite of zennit's; relevance starts as the output ``target``."""
    leaf = x.clone().requires_grad_()
    with composite.context(model) as changed:
        output = changed(leaf)
        start = torch.zeros_like(output)
        start[:, target] = output[:, target].detach()
        (found,) = torch.autograd.grad(output, leaf, start)
    return found.detach()
