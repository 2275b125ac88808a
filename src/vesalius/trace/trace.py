"""``vesalius.trace``: from any model to a :class:`Network`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from vesalius.core.errors import InvalidInput
from vesalius.trace import cache as caching
from vesalius.trace.export import NoGraph, clean_graph, export_graph
from vesalius.trace.graph import ModelGraph, Value
from vesalius.trace.network import Network
from vesalius.trace.signature import bind_call, eval_mode

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 5e-2, torch.bfloat16: 1e-1}
"""Largest relative difference between model and graph that is put down to rounding."""
FLAT_GRADIENT = 1e-3
"""A gradient smaller than this share of output over input is compared as if it were that large: it may be rounding and nothing else."""

GRAPH_DISAGREES = (
    "on the example, the exported graph has another output or another gradient than the model (torch.no_grad or a custom"
    " autograd.Function in its forward does that)"
)


@dataclass(frozen=True)
class OutputAndGradients:
    """What a model does on an example: its output, and the gradient of a mixture of its outputs for each floating input.

    A plain sum would not do: that of a softmax or a LayerNorm is constant.
    """

    output: Tensor
    slopes: tuple[Tensor, ...]


def trace(
    model: Callable[..., Any],
    *example: Any,
    kwargs: Mapping[str, Any] | None = None,
    output: str | int | None = None,
    cache: str | Path | None = None,
) -> Network:
    """Open a model.

    The model is exported in eval semantics with a dynamic batch, and its graph is checked against it on the example. A plain callable, or
    a model that does not export, becomes an *opaque* network: methods that only evaluate or differentiate it work, and a question about
    its inside raises ``NotTraceable`` with the line that stood in the way. The model itself is never changed.

    Args:
        model: a ``torch.nn.Module``, or any callable from tensors to a tensor.
        example: positional arguments of one call; tensors are [batch, ...], and one sample is enough.
        kwargs: keyword arguments of that call.
        output: which part of the result is meant, where it is not a single tensor: ``"logits"``, a position.
        cache: a folder in which traces are kept; a later trace of the same code and shapes takes next to no time.

    Returns:
        A network that shares the model's parameters in memory, without their gradients.

    Raises:
        WrongType: not a callable, or no tensor comes out.
        InvalidInput: no example, an empty or unequal batch, several outputs and no choice.
        UnknownName: ``output`` does not exist.
    """
    call, tensors = bind_call(model, example, kwargs or {}, output)
    with eval_mode(call.model):
        expected = _run_with_gradients(call.run, tensors)
    _check_output(expected.output, len(tensors[0]))
    name = type(model).__name__ if isinstance(model, torch.nn.Module) else getattr(model, "__name__", type(model).__name__)
    inputs = tuple(_input_value(name_, tensor) for name_, tensor in zip(call.names, tensors, strict=True))
    if not isinstance(model, torch.nn.Module):
        return Network(name, inputs, None, "it is a plain callable, not a torch.nn.Module", call)
    if cache is not None and (kept := caching.load(Path(cache), call, tensors)) is not None and _graph_matches(kept, tensors, expected):
        return Network(name, inputs, kept, "", call)
    try:
        model_graph = export_graph(call, tensors)
    except NoGraph as error:
        return Network(name, inputs, None, error.reason, call)
    if not _graph_matches(model_graph, tensors, expected):
        return Network(name, inputs, None, GRAPH_DISAGREES, call)
    if cache is not None:
        caching.save(Path(cache), call, tensors, model_graph)
    return Network(name, inputs, model_graph, "", call)


def from_exported(program: ExportedProgram, name: str = "exported") -> Network:
    """Open a program that was exported elsewhere (``torch.export.save``), with a dynamic first axis.

    Raises:
        InvalidInput: its graph cannot be used, with the reason.
    """
    users = [spec.arg.name for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"]
    try:
        model_graph = clean_graph(program, users, None)
    except NoGraph as error:
        raise InvalidInput(f"this exported program cannot be opened: {error.reason}. Export it with a dynamic batch size") from error
    return Network(name, tuple(model_graph.value(user) for user in users), model_graph)


def _input_value(name: str, tensor: Tensor) -> Value:
    return Value(name, "input", "input", (None, *tensor.shape[1:]), str(tensor.dtype).removeprefix("torch."), 0)


def _check_output(result: Tensor, batch: int) -> None:
    if result.ndim == 0 or len(result) != batch:
        raise InvalidInput(f"the output has shape {tuple(result.shape)} for a batch of {batch}; expected one row per sample")
    if not (result.is_floating_point() or result.is_complex()):
        raise InvalidInput(f"the output is {result.dtype}; expected real numbers such as logits")


def _run_with_gradients(run: Callable[[Sequence[Tensor]], Tensor], tensors: Sequence[Tensor]) -> OutputAndGradients:
    """Run forward and backward on copies: a model may write to its inputs."""
    leaves = [tensor.clone().requires_grad_(tensor.is_floating_point()) for tensor in tensors]
    floating = [leaf for leaf in leaves if leaf.requires_grad]
    with torch.enable_grad():
        output = run([leaf.clone() for leaf in leaves])
        reached = output.requires_grad and bool(floating)
        mixture = torch.cos(torch.arange(output.numel(), device=output.device)).reshape(output.shape)
        found = (
            torch.autograd.grad((output * mixture.to(output.dtype)).sum(), floating, allow_unused=True)
            if reached
            else [None] * len(floating)
        )
    slopes = (torch.zeros_like(leaf) if slope is None else slope for leaf, slope in zip(floating, found, strict=True))
    return OutputAndGradients(output.detach(), tuple(slopes))


def _graph_matches(model_graph: ModelGraph, tensors: Sequence[Tensor], expected: OutputAndGradients) -> bool:
    """Whether a graph does what the model does, on the example."""
    program = model_graph.program(model_graph.inputs, [model_graph.output])
    found = _run_with_gradients(lambda given: program(*given)[0], tensors)
    if not _is_close(found.output, expected.output, floor=1e-12):
        return False
    change = float(expected.output.abs().nan_to_num(0).max())
    sizes = [float(tensor.abs().max()) for tensor in tensors if tensor.is_floating_point()]
    return all(
        _is_close(ours, theirs, floor=FLAT_GRADIENT * change / max(size, 1e-12))
        for ours, theirs, size in zip(found.slopes, expected.slopes, sizes, strict=True)
    )


def _is_close(ours: Tensor, theirs: Tensor, *, floor: float) -> bool:
    """Whether two tensors differ by no more than rounding, relative to the larger of their size and a floor."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype or not torch.equal(ours.isnan(), theirs.isnan()):
        return False
    scale = theirs.nan_to_num(0).abs().max().clamp_min(floor)
    return bool((ours - theirs).nan_to_num(0).abs().max() <= TOLERANCE[ours.dtype] * scale)
