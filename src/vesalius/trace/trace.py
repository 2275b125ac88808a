"""``vesalius.trace``: from any model to a :class:`Network`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.rows import SCALARS, Rows, is_table, map_tensors, read_rows
from vesalius.inputs.models import arguments_of, as_model, example_forms, may_be_one_sequence
from vesalius.trace import cache as caching
from vesalius.trace import remembered
from vesalius.trace.export import NoGraph, clean_graph, export_graph
from vesalius.trace.graph import ModelGraph, Value
from vesalius.trace.network import Network
from vesalius.trace.signature import CallableModule, ModelCall, bind_call, eval_mode

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 5e-2, torch.bfloat16: 1e-1}
"""Largest relative difference between model and graph that is put down to rounding."""
FLAT_GRADIENT = 1e-3
"""A gradient smaller than this share of output over input is compared as if it were that large: it may be rounding and nothing else."""

GRAPH_DISAGREES = (
    "on the example, the exported graph has another output or another gradient than the model (torch.no_grad or a custom"
    " autograd.Function in its forward does that)"
)
PLAIN_CALLABLE = "it is a plain callable, not a torch.nn.Module"


@dataclass(frozen=True)
class OutputAndGradients:
    """What a model does on an example: its output, and the gradient of a mixture of its outputs for each floating input.

    A plain sum would not do: that of a softmax or a LayerNorm is constant.
    """

    output: Tensor
    slopes: tuple[Tensor, ...]
    differentiable: bool


@verb
def trace(
    model: Any,
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
        model: a ``torch.nn.Module``; any callable from tensors, or from NumPy arrays, to numbers; or an estimator of scikit-learn: a
            multi-layer perceptron, alone or behind scalers, becomes a real network with logits as its output, any other is a black box.
        example: positional arguments of one call; rows are [batch, ...], and one is enough. Beside tensors, arrays, DataFrames and the like
            are taken (see :func:`vesalius.core.rows.read_rows`), in the model's dtype; a mapping alone is taken for keywords.
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
    if isinstance(model, Network):
        raise WrongType("this is a Network already; use it as it is, or trace the model it was made of")
    if len(example) == 1 and not kwargs and not _is_argument(model, example[0]):
        return trace_rows(model, read_rows(example[0]), output=output, cache=cache)
    floating = next((p.dtype for p in getattr(model, "parameters", tuple)() if p.is_floating_point()), torch.get_default_dtype())
    args = tuple(_as_argument(item, floating) for item in example)
    named = {name: _as_argument(item, floating) for name, item in (kwargs or {}).items()}
    return trace_call(bind_call(model, args, named, output), cache)


def trace_rows(
    model: Any, rows: Rows, *, output: str | int | None = None, cache: str | Path | None = None, remember: bool = False
) -> Network:
    """Open a model by rows of its inputs, in the first way to call it on them that works.

    Args:
        model: as :func:`trace` takes it.
        rows: of its inputs; two are looked at.
        output, cache: as there.
        remember: take the trace of an earlier call on the same module, while it is the same.

    Raises:
        As :func:`trace`: the error of the likeliest way.
    """
    first: Exception | None = None
    for given in as_model(model, rows):
        for form in example_forms(given.model, rows):
            args, kwargs = arguments_of(form)
            try:
                bound = bind_call(given.model, args, kwargs, output)
                network = recall(bound) if remember else trace_call(bound, cache)
            except Exception as error:  # a user's model may raise anything
                first = first or error
                continue
            if may_be_one_sequence(given.model, rows):
                _refuse_two_meanings(given.model, form, output)
            network.classes, network.features = given.classes, rows.features
            return network
    assert first is not None, "there is always one way to call a model"
    raise first


def _refuse_two_meanings(model: Any, form: Rows, output: str | int | None) -> None:
    """Refuse rows [A, D] that a model takes as a batch and as one sequence.

    Raises:
        InvalidInput: both work.
    """
    args, kwargs = arguments_of(replace(form, tensors=map_tensors(form.tensors, lambda tensor: tensor[None])))
    call, tensors = bind_call(model, args, kwargs, output)
    try:
        with eval_mode(call.model), torch.no_grad():
            _check_output(call.run(tensors), 1)
    except Exception:  # a user's model may raise anything: then there is one meaning
        return
    shape = list(form.parts[0].shape)
    raise InvalidInput(
        f"rows of shape {shape} may be one sequence of {shape[0]} steps or a batch of {shape[0]} rows, and {type(model).__name__} takes"
        " both; give x[None] for one sequence, or trace the model on a batch first: vesalius.trace(model, x)"
    )


def trace_call(bound: tuple[ModelCall, tuple[Tensor, ...]], cache: str | Path | None = None) -> Network:
    """Open a model whose call is fixed. Raises: as :func:`trace`."""
    call, tensors = bound
    model = call.model.function if isinstance(call.model, CallableModule) else call.model
    with eval_mode(call.model):
        expected = _run_with_gradients(call.run, tensors)
    _check_output(expected.output, len(tensors[0]))
    name = type(model).__name__ if isinstance(model, torch.nn.Module) else getattr(model, "__name__", type(model).__name__)
    inputs = tuple(_input_value(name_, tensor) for name_, tensor in zip(call.names, tensors, strict=True))
    if not isinstance(model, torch.nn.Module):
        return Network(name, inputs, None, PLAIN_CALLABLE, call, differentiable=expected.differentiable)
    if cache is not None and (kept := caching.load(Path(cache), call, tensors)) is not None and _graph_matches(kept, tensors, expected):
        return Network(name, inputs, kept, "", call)
    try:
        model_graph = export_graph(call, tensors)
    except NoGraph as error:
        return Network(name, inputs, None, error.reason, call, differentiable=expected.differentiable)
    if not _graph_matches(model_graph, tensors, expected):
        return Network(name, inputs, None, GRAPH_DISAGREES, call, differentiable=expected.differentiable)
    if cache is not None:
        caching.save(Path(cache), call, tensors, model_graph)
    return Network(name, inputs, model_graph, "", call)


def recall(bound: tuple[ModelCall, tuple[Tensor, ...]]) -> Network:
    """The trace of an earlier call on the same module, if there is one and the module still does what its graph does; else a new one.

    Weights are the live ones: tensors that were replaced, and not written to in place, make a trace of their own.
    """
    call, tensors = bound
    kept = remembered.find(call, tensors)
    if kept is not None:
        with eval_mode(call.model):
            expected = _run_with_gradients(call.run, tensors)
        inputs = tuple(_input_value(name, tensor) for name, tensor in zip(call.names, tensors, strict=True))
        if kept.graph is None or _graph_matches(kept.graph, tensors, expected):
            return Network(
                kept.name, inputs, kept.graph, kept.reason, call, differentiable=kept.graph is not None or expected.differentiable
            )
    network = trace_call(bound)
    if network.reason != GRAPH_DISAGREES:  # that may be the example's fault
        remembered.keep(call, tensors, network)
    return network


@verb
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


def _is_argument(model: Any, item: Any) -> bool:
    """Whether a model's only argument is one as it stands, and not rows in a form that must be read first."""
    if not isinstance(model, torch.nn.Module):
        return False
    if isinstance(item, Mapping):
        return not set(map(str, item)) & set(inspect.signature(model.forward).parameters)
    return isinstance(item, (Tensor, tuple, *SCALARS))


def _as_argument(item: Any, floating: torch.dtype) -> Any:
    """An array or a table as a tensor in the model's dtype; anything else as it is."""
    if isinstance(item, Tensor) or not is_table(item):
        return item
    tensor = read_rows(item).parts[0]
    return tensor.to(floating) if tensor.is_floating_point() else tensor


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
    return OutputAndGradients(output.detach(), tuple(slopes), any(slope is not None for slope in found))


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
