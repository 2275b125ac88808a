"""Where the rows of a batch begin to depend on each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vesalius.trace.graph import ModelGraph, Value
from vesalius.trace.observe import is_close, two_rows


def describe_mixing(model_graph: ModelGraph | None, model: nn.Module, tensors: Sequence[Tensor]) -> str:
    """The refusal of a model whose output for a sample depends on the rest of its batch, with the place where it comes about."""
    norms = _without_statistics(model)
    place = f", in {norms[0]!r}, a batch norm without running statistics" if norms else ""
    if not norms and model_graph is not None:
        place = _first_mixed(model_graph, tensors)
    return (
        f"rows of a batch depend on each other{place}: a sample alone has another output than in a batch, so that it has none that could be"
        " explained. Compute along the axes of a sample (softmax(-1), x.mean(-1)) and not along the first, which is the batch; or make one"
        " sample of what belongs together"
    )


def has_batch_statistics(model: nn.Module) -> bool:
    """Whether a batch norm takes its statistics from the batch."""
    return bool(_without_statistics(model))


def _without_statistics(model: nn.Module) -> list[str]:
    """Batch norms without running statistics."""
    kind = nn.modules.batchnorm._BatchNorm
    return [name for name, part in model.named_modules() if isinstance(part, kind) and part.running_mean is None]


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
