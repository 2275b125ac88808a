"""Where the rows of a batch begin to depend on each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vesalius.trace.graph import ModelGraph, Value
from vesalius.trace.observe import is_close, two_rows


def describe_mixing(model_graph: ModelGraph | None, model: nn.Module, tensors: Sequence[Tensor]) -> str:
    """The refusal of a model whose output for a sample depends on the rest of its batch, with the place where it comes about."""
    place = _unnormalised(model) or (_first_mixed(model_graph, tensors) if model_graph is not None else "")
    return (
        f"rows of a batch depend on each other{place}: a sample alone has another output than in a batch, so that it has none that could be"
        " explained. Compute along the axes of a sample (softmax(-1), x.mean(-1)) and not along the first, which is the batch; or make one"
        " sample of what belongs together"
    )


def _unnormalised(model: nn.Module) -> str:
    """Batch norms that take their statistics from the batch."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
    found = [name for name, part in model.named_modules() if isinstance(part, kinds[0]) and part.running_mean is None]
    return f", in {found[0]!r}, a batch norm without running statistics" if found else ""


def _first_mixed(model_graph: ModelGraph, tensors: Sequence[Tensor]) -> str:
    """The first value of a graph in which a sample alone differs from the sample in a batch."""
    names = [name for name, node in model_graph.nodes.items() if node.meta["value"].batch_axis is not None]
    program = model_graph.program(model_graph.inputs, names)
    pair = two_rows(tensors)
    with torch.no_grad():
        both, alone = program(*pair), program(*(tensor[:1] for tensor in pair))
    for name, together, single in zip(names, both, alone, strict=True):
        value: Value = model_graph.value(name)
        if not is_close(single, together.narrow(value.batch_axis or 0, 0, 1)):
            return f" at {name!r}" + (f" ({value.line})" if value.line else "")
    return ""
