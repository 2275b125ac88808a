"""How a model is called: which arguments are tensors, which output is meant, and in eval mode without leaving a trace."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vesalius.core.errors import InvalidInput, UnknownName, WrongType


@dataclass(frozen=True, eq=False)
class ModelCall:
    """A model with the shape of its call fixed by an example.

    Attributes:
        model: a module, or any callable in a module's clothes.
        args: positional arguments; tensors are replaced by their place among the inputs.
        kwargs: keyword arguments, likewise.
        names: names of the tensor inputs, in order.
        output: which part of the result is meant: a key, an attribute or a position.
        function: what is made of that part, [batch, ...] -> [batch]; nothing if ``None``.
    """

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    names: tuple[str, ...]
    output: str | int | None = None
    function: Callable[[Tensor], Tensor] | None = None

    def run(self, tensors: Sequence[Tensor]) -> Tensor:
        """Call the model with other tensors in the same places, and pick the output."""
        args = [tensors[arg.place] if isinstance(arg, InputSlot) else arg for arg in self.args]
        kwargs = {name: tensors[arg.place] if isinstance(arg, InputSlot) else arg for name, arg in self.kwargs.items()}
        found = select_output(self.model(*args, **kwargs), self.output)
        return found if self.function is None else self.function(found)


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
    model: Callable[..., Any], example: Sequence[Any], kwargs: Mapping[str, Any], output: str | int | None
) -> tuple[ModelCall, tuple[Tensor, ...]]:
    """The call an example shows, and its tensors.

    Raises:
        WrongType: the model is not callable.
        InvalidInput: no tensor among the arguments, empty or differently long batches.
    """
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
    return ModelCall(module, args, keyword, tuple(names), output), tuple(tensors)


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


def select_output(result: Any, output: str | int | None) -> Tensor:
    """The tensor meant by ``output`` in whatever a model returned.

    Raises:
        UnknownName: no such key, attribute or position.
        InvalidInput: several tensors and no choice.
        WrongType: the choice is not a tensor.
    """
    if isinstance(result, Tensor) and output is None:
        return result
    parts = _output_parts(result)
    if output is None:
        tensors = {name: part for name, part in parts.items() if isinstance(part, Tensor)}
        if len(tensors) == 1:
            return next(iter(tensors.values()))
        if not tensors:
            raise WrongType(f"the model returned {type(result).__name__}, in which there is no tensor to explain")
        raise InvalidInput(f"the model returned several tensors; choose one with output=, out of {', '.join(map(repr, tensors))}")
    if str(output) not in parts:
        raise UnknownName("output", output, parts)
    chosen = parts[str(output)]
    if not isinstance(chosen, Tensor):
        raise WrongType(f"output {output!r} is a {type(chosen).__name__}, not a tensor")
    return chosen


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
    return {"0": result}


@contextlib.contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval semantics inside; outside, every flag, attribute and buffer as it was.

    Flags are set directly: a user's own ``train()`` or ``eval()`` may do more than that. What a forward pass keeps on its modules (a count
    of calls, the last activation) is taken back.
    """
    modules = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    kept = [(where, dict(where)) for module in modules for where in (vars(module), module._buffers)]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    flags = [(module, module.training) for module in model.modules()]
    try:
        for module, training in flags:
            if training:
                module.training = False
        yield
    finally:
        for module, training in flags:
            if module.training != training:
                module.training = training
        for where, before in kept:
            _restore_namespace(where, before)
        with torch.no_grad():
            for buffer, value in buffers:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


def _restore_namespace(now: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Bring a namespace back, touching only what differs."""
    for name in now.keys() - before.keys():
        del now[name]
    for name, value in before.items():
        if name not in now or now[name] is not value:
            now[name] = value
