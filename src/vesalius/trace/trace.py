"""``vesalius.trace``: from any model to a :class:`Network`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, ModelFails, WrongType
from vesalius.core.random_state import RandomState
from vesalius.core.rows import SCALARS, Rows, is_table, map_tensors, read_rows
from vesalius.inputs.models import arguments_of, as_model, example_forms, may_be_one_sequence
from vesalius.trace import cache as caching
from vesalius.trace import remembered
from vesalius.trace.export import ExportMode, NoGraph, clean_graph, export_graph
from vesalius.trace.graph import ModelGraph, Value
from vesalius.trace.mixing import describe_mixing, differs_by_rounding, has_batch_statistics
from vesalius.trace.network import Network
from vesalius.trace.number_reads import KeptNumbers, read_numbers
from vesalius.trace.observe import GRADIENT_MODE, RANDOM, Behaviour, check_output, is_close, observe, run_with_gradients, two_rows
from vesalius.trace.opset import draws_random_numbers
from vesalius.trace.other_lengths import hold_at_other_lengths
from vesalius.trace.sequence_axes import SHORTEST, sequence_axes
from vesalius.trace.signature import CallableModule, ModelCall, OutputChoice, bind_call, two_samples
from vesalius.trace.structural_copy import has_users_hooks

FLAT_GRADIENT = 1e-3
"""A gradient smaller than this share of output over input is compared as if it were that large: it may be rounding and nothing else."""

GRAPH_DISAGREES = (
    "on the example, the exported graph has another output or another gradient than the model (a custom autograd.Function in its forward"
    " does that, and so does a tensor's .data)"
)
ONE_BY_ONE = "; a sample's output depends on the others of its batch, and so it is called on one sample at a time"
PLAIN_CALLABLE = "it is a plain callable, not a torch.nn.Module"


@verb
def trace(
    model: Any,
    *example: Any,
    kwargs: Mapping[str, Any] | None = None,
    output: OutputChoice = None,
    cache: str | Path | None = None,
) -> Network:
    """Open a model.

    The model is exported in eval semantics with a dynamic batch, and with dynamic lengths of sequences wherever that can be; its graph is
    checked against it on the example, and at another length. Inputs of other lengths may come later, see :meth:`Network.at_lengths_of`.
    A plain callable, or a model that does not export, becomes an *opaque* network: methods that only evaluate or differentiate it work,
    and a question about its inside raises ``NotTraceable`` with the line that stood in the way. The model itself is never changed.

    Args:
        model: a ``torch.nn.Module``; any callable from tensors, or from NumPy arrays, to numbers; or an estimator of scikit-learn: a
            multi-layer perceptron, alone or behind scalers, becomes a real network with logits as its output, any other is a black box.
        example: positional arguments of one call; rows are [batch, ...], and one is enough. Beside tensors, arrays, DataFrames and the like
            are taken (see :func:`vesalius.core.rows.read_rows`), in the model's dtype; a mapping alone is taken for keywords.
        kwargs: keyword arguments of that call.
        output: which part of the result is meant, where it is not a single tensor: ``"logits"``, a position; or several of them,
            ``("mean", "scale")``, as one row of numbers.
        cache: a folder in which traces are kept; a later trace of the same code and shapes (but for lengths) takes little time.

    Returns:
        A network that shares the model's parameters in memory, without their gradients.

    Raises:
        WrongType: not a callable, or no tensor comes out.
        InvalidInput: no example, an empty or unequal batch, several outputs and no choice.
        UnknownName: ``output`` does not exist.
    """
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise WrongType(f"kwargs are arguments by name, {{'mask': mask}}, not {type(kwargs).__name__}")
    if cache is not None and not isinstance(cache, (str, Path)):
        raise WrongType(f"cache is a folder, not {type(cache).__name__} {cache!r}")
    if isinstance(model, Network):
        raise WrongType("this is a Network already; use it as it is, or trace the model it was made of")
    if len(example) == 1 and not kwargs and not _is_argument(model, example[0]):
        return trace_rows(model, read_rows(example[0]), output=output, cache=cache)
    floating = next((p.dtype for p in getattr(model, "parameters", tuple)() if p.is_floating_point()), torch.get_default_dtype())
    args = tuple(_as_argument(item, floating) for item in example)
    named = {name: _as_argument(item, floating) for name, item in (kwargs or {}).items()}
    return trace_call(bind_call(model, args, named, output), cache)


def trace_rows(model: Any, rows: Rows, *, output: OutputChoice = None, cache: str | Path | None = None, remember: bool = False) -> Network:
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


def _refuse_two_meanings(model: Any, form: Rows, output: OutputChoice) -> None:
    """Refuse rows [A, D] that a model takes as a batch and as one sequence.

    Raises:
        InvalidInput: both work.
    """
    args, kwargs = arguments_of(replace(form, tensors=map_tensors(form.tensors, lambda tensor: tensor[None])))
    call, tensors = bind_call(model, args, kwargs, output)
    try:
        with torch.no_grad():
            check_output(call.evaluate(tensors), 1)
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
    name = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", type(model).__name__)
    inputs = tuple(_input_value(name_, tensor) for name_, tensor in zip(call.names, tensors, strict=True))
    call, seen = observe(call, tensors)
    reason = seen.reason or ("" if isinstance(model, nn.Module) else PLAIN_CALLABLE)
    model_graph, numbers = None, None
    if not reason:
        model_graph, reason, numbers = _find_graph(call, tensors, seen, cache, sequence_axes(inputs, shortest=SHORTEST))
    if seen.mixes and not (model_graph is not None and differs_by_rounding(model_graph, call, tensors)):
        if model_graph is not None or has_batch_statistics(call.model):
            raise InvalidInput(describe_mixing(model_graph, call.model, tensors))
        call, reason = replace(call, one_by_one=True), reason + ONE_BY_ONE
    smooth = seen.differentiable if model_graph is None else _is_smooth(model_graph, tensors)
    return Network(name, inputs, model_graph, reason, call, differentiable=smooth, numbers=numbers, retrace=trace_call)


def _find_graph(
    call: ModelCall, tensors: Sequence[Tensor], seen: Behaviour, cache: str | Path | None, axes: Sequence[Sequence[int]]
) -> tuple[ModelGraph | None, str, KeptNumbers | None]:
    """A graph that does on the example what the model does; or why there is none. And the numbers in it that the model read.

    It is exported with axes that may move, and where the model cannot be exported so, without. That it holds at other lengths is believed
    where it was seen at one.

    Hooks of the user's are left out where the output does not need them: those that only look would be shown values that are no numbers.
    """
    if cache is not None and (kept := caching.load(Path(cache), call, tensors)) is not None and _graph_matches(kept, tensors, seen):
        return kept, "", None
    reason = ""
    for mode in _export_modes(call, tensors, axes):
        if mode.detached and reason != GRAPH_DISAGREES:
            continue
        try:
            found = export_graph(call, tensors, mode)
        except NoGraph as error:
            reason = reason or error.reason
            continue
        if (line := _line_of_noise(found, tensors)) is not None:
            return None, f"it draws random numbers at {line}, after it has set the seed itself", None
        if _graph_matches(found, tensors, seen) and (not mode.reads or _graph_matches_other_batches(found, call, tensors)):
            found = hold_at_other_lengths(found, [tensor[:2] for tensor in tensors], call.evaluate, is_close)
            if cache is not None and not mode.reads:  # what was read is not in the file
                caching.save(Path(cache), call, tensors, found)
            return found, "", KeptNumbers(mode.reads) if mode.reads else None
        reason = GRAPH_DISAGREES
    return None, reason, None


def _export_modes(call: ModelCall, tensors: Sequence[Tensor], axes: Sequence[Sequence[int]]) -> Iterator[ExportMode]:
    """Ways to export a model, the likeliest first. What is read from its tensors is asked when all else has failed."""
    hooks = (False, True) if has_users_hooks(call.model) else (True,)
    for detached in (False, True):
        for users_hooks, moving in product(hooks, (axes, None) if any(axes) else (None,)):
            yield ExportMode(users_hooks, moving, detached)
    reads = read_numbers(call, two_samples(tensors))
    if any(read.known for read in reads):
        yield ExportMode(reads=reads)
        yield ExportMode(detached=True, reads=reads)


def recall(bound: tuple[ModelCall, tuple[Tensor, ...]]) -> Network:
    """The trace of an earlier call on the same module, if there is one and the module still does what its graph does; else a new one.

    Weights are the live ones: tensors that were replaced, and not written to in place, make a trace of their own.
    """
    call, tensors = bound
    kept = remembered.find(call, tensors)
    if kept is not None:
        call = replace(call, writes=kept.writes, draws=kept.draws, one_by_one=kept.one_by_one)
        seen = run_with_gradients(call.evaluate, tensors)
        inputs = tuple(_input_value(name, tensor) for name, tensor in zip(call.names, tensors, strict=True))
        if kept.graph is None or _graph_matches(kept.graph, tensors, seen):
            differentiable = kept.differentiable if kept.graph is not None else seen.differentiable
            found = Network(kept.name, inputs, kept.graph, kept.reason, call, differentiable=differentiable, retrace=trace_call)
            return replace(found, numbers=kept.numbers)
    network = trace_call(bound)
    if network.reason not in (GRAPH_DISAGREES, GRADIENT_MODE, RANDOM):  # that may be the example's fault, or draws on
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
    drawing = [value.line for node, value in _values(model_graph) if draws_random_numbers(node)]
    if drawing:
        raise InvalidInput(f"this exported program draws random numbers at {drawing[0]}, others in every call. Export it without")
    return Network(name, tuple(model_graph.value(user) for user in users), model_graph)


def _is_argument(model: Any, item: Any) -> bool:
    """Whether a model's only argument is one as it stands, and not rows in a form that must be read first."""
    if not isinstance(model, nn.Module):
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


def _line_of_noise(model_graph: ModelGraph, tensors: Sequence[Tensor]) -> str | None:
    """Where a graph draws random numbers that its output depends on, which are others in every call of it; ``None`` if it does not."""
    drawing = [value for node, value in _values(model_graph) if draws_random_numbers(node)]
    if not drawing:
        return None
    run = _runner(model_graph)
    with torch.no_grad(), RandomState():
        return None if is_close(run(tensors), run(tensors)) else drawing[0].line


def _values(model_graph: ModelGraph) -> Iterator[tuple[Node, Value]]:
    yield from ((node, node.meta["value"]) for node in model_graph.graph.nodes if "value" in node.meta)


def _graph_matches_other_batches(model_graph: ModelGraph, call: ModelCall, tensors: Sequence[Tensor]) -> bool:
    """Whether a graph does what the model does for one sample and for three."""
    pair = two_rows(tensors)
    run = _runner(model_graph)
    for batch in ([tensor[:1] for tensor in pair], [torch.cat([tensor, tensor[:1]]) for tensor in pair]):
        try:
            with torch.no_grad():
                if not is_close(run(batch), call.evaluate(batch)):
                    return False
        except Exception:  # a user's model may raise anything
            return False
    return True


def _is_smooth(model_graph: ModelGraph, tensors: Sequence[Tensor]) -> bool:
    """Whether gradients can be taken of a graph: there are ops without a derivative."""
    return run_with_gradients(_runner(model_graph), tensors).smooth


def _runner(model_graph: ModelGraph) -> Callable[[Sequence[Tensor]], Tensor]:
    program = model_graph.program(model_graph.inputs, [model_graph.output])
    return lambda given: program(*given)[0]


def _graph_matches(model_graph: ModelGraph, tensors: Sequence[Tensor], expected: Behaviour) -> bool:
    """Whether a graph does what the model does, on the example; gradients are compared where the model has them."""
    try:
        found = run_with_gradients(_runner(model_graph), tensors)
    except ModelFails:
        return False
    if not is_close(found.output, expected.output):
        return False
    if not expected.smooth:
        return True
    change = float(expected.output.abs().nan_to_num(0).max())
    sizes = [float(tensor.abs().max()) for tensor in tensors if tensor.is_floating_point()]
    return all(
        is_close(ours, theirs, floor=FLAT_GRADIENT * change / max(size, 1e-12))
        for ours, theirs, size in zip(found.slopes, expected.slopes, sizes, strict=True)
    )
