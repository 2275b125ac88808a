"""How a model is called: which arguments are tensors, which output is meant, and on a copy, so that no call leaves a trace."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vesalius.core.entry import caller_defaults
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.core.random_state import RandomState
from vesalius.core.tensor_identity import version_of
from vesalius.trace.batch_norm import RightBatchNorms
from vesalius.trace.structural_copy import copy_structure
from vesalius.trace.vocabulary import WHOLE_DTYPES, explain_index_errors

OutputChoice = str | int | tuple[str | int, ...] | list[str | int] | None
"""Which part of a result is meant: a key, an attribute or a position; of several, all side by side; ``None``: it is one tensor."""


class SeveralOutputs(InvalidInput):
    """A model returned several tensors, and none was chosen; ``outputs`` names those that have a row of real numbers for each sample."""

    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ModelCall:
    """A model with the shape of its call fixed by an example.

    Attributes:
        model: a module, or any callable in a module's clothes.
        args: positional arguments; tensors are replaced by their place among the inputs.
        kwargs: keyword arguments, likewise.
        names: names of the tensor inputs, in order.
        output: which part of the result is meant.
        function: what is made of that part, [batch, ...] -> [batch]; nothing if ``None``.
        writes: whether the model writes to its own weights when it is called.
        random: whether the model draws random numbers that its output depends on.
        draws: whether it draws some that make no difference.
        one_by_one: whether it takes no more than one sample at a time.
    """

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    names: tuple[str, ...]
    output: OutputChoice = None
    function: Callable[[Tensor], Tensor] | None = None
    writes: bool = False
    random: bool = False
    draws: bool = False
    one_by_one: bool = False

    def run(self, tensors: Sequence[Tensor]) -> Tensor:
        """Call the model with other tensors in the same places, and pick the output.

        Raises:
            SeveralOutputs: several tensors and no choice.
            InvalidInput: inputs of whole numbers ask for a row that some table lacks.
        """
        result = self._result(tensors)
        try:
            found = _plain(select_output(result, self.output))
        except SeveralOutputs as error:
            error.outputs = self._outputs_of_samples(tensors, result)
            raise
        return found if self.function is None else self.function(found)

    def _outputs_of_samples(self, tensors: Sequence[Tensor], result: Any) -> tuple[str, ...]:
        """Names of the parts that grow with the batch: a state of two layers has two rows for a batch of two as well."""
        size, longer = len(tensors[0]), _output_parts(self._result([torch.cat([tensor, tensor[:1]]) for tensor in tensors]))
        parts = _output_parts(result)
        return tuple(name for name, part in parts.items() if (_rows(part), _rows(longer.get(name))) == (size, size + 1))

    def _result(self, tensors: Sequence[Tensor]) -> Any:
        """Whatever the model returns."""
        args = [tensors[arg.place] if isinstance(arg, InputSlot) else arg for arg in self.args]
        kwargs = {name: tensors[arg.place] if isinstance(arg, InputSlot) else arg for name, arg in self.kwargs.items()}
        whole = [name for name, tensor in zip(self.names, tensors, strict=True) if tensor.dtype in WHOLE_DTYPES]
        with caller_defaults(), explain_index_errors(whole), _right_gradients(tensors):
            return self.model(*args, **kwargs)

    def isolated(self, *, users_hooks: bool = True) -> ModelCall:
        """The same call of a copy of the model, in eval mode, that shares its parameters; what a call writes stays in the copy."""
        given = self.model.function if isinstance(self.model, CallableModule) else self.model
        copied = copy_structure(given, users_hooks=users_hooks, own_weights=self.writes, own_generators=not self.random)
        return replace(self, model=CallableModule(copied) if isinstance(self.model, CallableModule) else copied)

    def evaluate(self, tensors: Sequence[Tensor]) -> Tensor:
        """The output for other inputs, which are not written to; nothing of an earlier call is left in the model.

        Raises:
            RuntimeError: the model wrote to its weights, which it did not when it was traced.
        """
        call, weights = self.isolated(), () if self.writes else tuple(self.model.parameters())
        before = [version_of(weight) for weight in weights]
        size = 1 if self.one_by_one else len(tensors[0])
        with RandomState() if self.draws else nullcontext():
            found = [call.run([tensor[at : at + size].clone() for tensor in tensors]) for at in range(0, len(tensors[0]), size)]
        if before != [version_of(weight) for weight in weights]:
            raise RuntimeError(
                f"{type(self.model).__name__} wrote to its own parameters, which it did not do on the example; trace it again"
            )
        return torch.cat(found) if self.one_by_one else found[0]


@dataclass(frozen=True)
class InputSlot:
    """Stands for the i-th tensor input in a call."""

    place: int


class CallableModule(nn.Module):
    """A plain callable as a module, so that there is one way to call."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def bind_call(
    model: Callable[..., Any], example: Sequence[Any], kwargs: Mapping[str, Any], output: OutputChoice
) -> tuple[ModelCall, tuple[Tensor, ...]]:
    """The call an example shows, and its tensors.

    Raises:
        WrongType: the model is not callable.
        InvalidInput: no tensor among the arguments, empty or differently long batches; no output in a list of several.
    """
    if isinstance(output, (list, tuple)) and not output:
        raise InvalidInput("output= is a list of no outputs; name those that are meant, or leave it out")
    if not callable(model):
        raise WrongType(f"expected a torch.nn.Module or a callable, not {type(model).__name__}")
    named = _parameter_names(model, len(example))
    tensors: list[Tensor] = []
    names: list[str] = []

    def place(name: str, argument: Any) -> Any:
        if not isinstance(argument, Tensor):
            return argument
        tensors.append(argument.detach())
        names.append(name)
        return InputSlot(len(tensors) - 1)

    args = tuple(place(name, argument) for name, argument in zip(named, example, strict=True))
    keyword = {name: place(name, argument) for name, argument in kwargs.items()}
    containers = [type(a).__name__ for a in (*args, *keyword.values()) if isinstance(a, (dict, list, tuple)) and a]
    _check_batches(names, tensors, containers)
    module = model if isinstance(model, nn.Module) else CallableModule(model)
    return ModelCall(module, args, keyword, tuple(names), tuple(output) if isinstance(output, list) else output), tuple(tensors)


def two_samples(example: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """A batch of several: torch.export takes a batch of one for a constant."""
    return tuple(torch.cat([tensor, tensor]) if len(tensor) == 1 else tensor for tensor in example)


def _parameter_names(model: Callable[..., Any], count: int) -> list[str]:
    """Names of positional parameters, as the model's author wrote them."""
    function = model.forward if isinstance(model, nn.Module) else model
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return names + [f"input_{i}" for i in range(len(names), count)]


def _check_batches(names: Sequence[str], tensors: Sequence[Tensor], containers: Sequence[str]) -> None:
    if not tensors and containers:
        raise InvalidInput(f"arguments are tensors or plain values; a {containers[0]} is not looked into. Wrap the model")
    if not tensors:
        raise InvalidInput("an example input is needed: vesalius.trace(model, x), with x a batch of at least one sample")
    for name, tensor in zip(names, tensors, strict=True):
        if tensor.ndim == 0 or len(tensor) == 0:
            raise InvalidInput(f"input {name!r} has shape {tuple(tensor.shape)}; expected [batch, ...] with at least one sample")
    if len({len(tensor) for tensor in tensors}) > 1:
        found = ", ".join(f"{name} {len(tensor)}" for name, tensor in zip(names, tensors, strict=True))
        raise InvalidInput(f"all inputs need the same batch size in their first axis; found {found}")


def _right_gradients(tensors: Sequence[Tensor]) -> AbstractContextManager[Any]:
    """Where gradients of a single sample are taken; while a model is exported, which is without gradients, no size is looked at."""
    lone = torch.is_grad_enabled() and bool(tensors) and tensors[0].ndim > 0 and len(tensors[0]) == 1
    return RightBatchNorms() if lone else nullcontext()


def _plain(output: Tensor) -> Tensor:
    """An output as ordinary numbers, where it is sparse or quantised."""
    dense = output if output.layout == torch.strided else output.to_dense()
    return dense.dequantize() if dense.is_quantized else dense


def select_output(result: Any, output: OutputChoice) -> Tensor:
    """The tensor meant by ``output`` in whatever a model returned; several are flat, one after the other.

    Raises:
        UnknownName: no such key, attribute or position.
        SeveralOutputs: several tensors and no choice.
        InvalidInput: of several that are chosen, one has no row for each sample.
        WrongType: the choice is not a tensor.
    """
    if isinstance(result, Tensor) and output is None:
        return result
    parts = _output_parts(result)
    if isinstance(output, tuple):
        return _side_by_side({str(name): select_output(parts, name) for name in output})
    if output is None:
        tensors = {name: part for name, part in parts.items() if isinstance(part, Tensor)}
        if len(tensors) == 1:
            return next(iter(tensors.values()))
        if not tensors:
            raise WrongType(f"the model returned {type(result).__name__}, in which there is no tensor to explain")
        known = ", ".join(map(repr, tensors))
        raise SeveralOutputs(f"the model returned several tensors; choose one with vesalius.trace(model, x, output=...), out of {known}")
    if str(output) not in parts:
        raise UnknownName("output", output, parts)
    chosen = parts[str(output)]
    if not isinstance(chosen, Tensor):
        raise WrongType(f"output {output!r} is a {type(chosen).__name__}, not a tensor")
    return chosen


def _side_by_side(parts: Mapping[str, Tensor]) -> Tensor:
    """Outputs as one row of numbers for each sample."""
    first = next(iter(parts.values()))
    for name, part in parts.items():
        if part.ndim == 0 or part.shape[0] != first.shape[0]:
            raise InvalidInput(f"outputs side by side have a row for each sample, and output {name!r} has shape {list(part.shape)}")
    return torch.cat([part.flatten(1) if part.ndim > 1 else part[:, None] for part in parts.values()], 1)


def _rows(part: Any) -> int:
    return len(part) if isinstance(part, Tensor) and part.is_floating_point() and part.ndim > 0 else -1


def _output_parts(result: Any) -> dict[str, Any]:
    if isinstance(result, Mapping):
        return {str(name): part for name, part in result.items()}
    if is_dataclass(result) and not isinstance(result, type):
        return {field.name: getattr(result, field.name) for field in fields(result)}
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        named: Any = result
        return {str(name): part for name, part in named._asdict().items()}
    if isinstance(result, (tuple, list)):
        return {str(place): part for place, part in enumerate(result)}
    if isinstance(result, torch.distributions.Distribution):
        return {name: getattr(result, name) for name in ("logits" if hasattr(result, "logits") else "mean",)}
    return {"0": result}
