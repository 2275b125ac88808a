"""Batch norm in evaluation with a gradient that is right for a single sample.

torch (2.6 to 2.13, CPU) reads the gradient of a batch norm of one sample in the memory order of the sample: one that arrives transposed,
as from ``flatten(2).transpose(1, 2)``, is taken for another. A gradient in the memory order of the output is read rightly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph
from torch.overrides import TorchFunctionMode

OPS = (torch.ops.aten.batch_norm.default,)


def batch_norm(*args: Any, **kwargs: Any) -> Tensor:
    """As aten's, by whose name it is known."""
    found: Tensor = torch.ops.aten.batch_norm.default(*args, **kwargs)
    return with_gradient_in_order(found)


def with_gradient_in_order(found: Tensor) -> Tensor:
    """The same tensor, whose gradient is brought into its memory order before it goes on."""
    if found.requires_grad and len(found) == 1:
        strides = found.stride()

        def in_order(grad: Tensor) -> Tensor:
            return (
                grad
                if grad.stride() == strides
                else torch.empty_strided(grad.shape, strides, dtype=grad.dtype, device=grad.device).copy_(grad)
            )

        found.register_hook(in_order)
    return found


def retarget_batch_norms(graph: Graph) -> None:
    """Let the batch norms of a graph that is about to run be those of this module."""
    for node in graph.nodes:
        if node.target in OPS:
            node.target = batch_norm


class RightBatchNorms(TorchFunctionMode):
    """Inside, the batch norms of any model have that gradient."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        return with_gradient_in_order(found) if func in (torch.batch_norm, torch.nn.functional.batch_norm) else found
