"""Where the rows of a batch begin to depend on each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vesalius.trace.graph import ModelGraph, Value
from vesalius.trace.observe import is_close, two_rows
from vesalius.trace.precision import cast_graph
from vesalius.trace.signature import ModelCall


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


def differs_by_rounding(model_graph: ModelGraph, call: ModelCall, tensors: Sequence[Tensor]) -> bool:
    """Whether a sample alone has another output than in a batch by rounding alone, which a deep network without training may magnify.

    The graph has to do what the model does with one row and with two, and in double precision the same with both.
    """
    pair = two_rows(tensors)
    runs = [pair, *([tensor[row : row + 1] for tensor in pair] for row in range(2))]
    program, exact = (graph.program(graph.inputs, [graph.output]) for graph in (model_graph, cast_graph(model_graph, torch.float64)))
    try:
        with torch.no_grad():
            same = all(is_close(program(*rows)[0], call.evaluate(rows)) for rows in runs)
            both, *alone = (exact(*map(_to_double, rows))[0] for rows in runs)
    except Exception:  # a model may raise anything for a single row
        return False
    return same and is_close(torch.cat(alone), both)


def _to_double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


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
