"""What every public verb enters first: PyTorch's modes as our numbers need them, whatever mode the caller is in.

Inside: gradients on, inference mode and autocast off, tensors of inference mode cloned, those of a graph of the caller's taken out of it,
new tensors on the CPU unless a device is named.
Outside, and in the other threads, everything is as it was: each of these modes belongs to its thread. The default dtype does not, and so
is left alone: our own tensors name theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from vesalius.core.arguments import call_reader

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")

AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu")
HOLDERS = (Tensor, list, tuple, dict)
ENTERED = "__vesalius_verb__"
"""Attribute by which a verb can be told from any other function."""

_CALLER_DEVICE: ContextVar[torch.device | None] = ContextVar("caller_device", default=None)
"""The default device of whoever called the outermost verb, where it is not the CPU."""


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a public function, and run it in :func:`neutral_modes` with its arguments read by their annotations, without a history."""
    read = call_reader(function)

    def run(args: Any, kwargs: Any) -> R:
        found, by_name = read(args, kwargs)
        given: Any = [without_history(value) for value in found]
        named: Any = {name: without_history(value) for name, value in by_name.items()}
        return function(*given, **named)

    @wraps(function)
    def entered(*args: P.args, **kwargs: P.kwargs) -> R:
        if modes_are_neutral():  # as within another verb: entering them again costs as much as a small game
            return run(args, kwargs)
        with neutral_modes():
            return run(args, kwargs)

    setattr(entered, ENTERED, True)
    return entered


def modes_are_neutral() -> bool:
    """Whether :func:`neutral_modes` would change nothing."""
    return (
        torch.is_grad_enabled()
        and not torch.is_inference_mode_enabled()
        and not any(map(torch.is_autocast_enabled, AUTOCAST_DEVICES))
        and torch.get_default_device().type == "cpu"
    )


@contextmanager
def neutral_modes() -> Iterator[None]:
    """Gradients on, inference mode off, and :func:`full_precision`."""
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        stack.enter_context(full_precision())
        yield


@contextmanager
def full_precision() -> Iterator[None]:
    """Autocast off, and new tensors on the CPU unless a device is named."""
    with ExitStack() as stack:
        for kind in AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        device = torch.get_default_device()
        if device.type != "cpu":
            token = _CALLER_DEVICE.set(device)
            stack.callback(_CALLER_DEVICE.reset, token)
            stack.enter_context(torch.device("cpu"))
        yield


def run_precisely(function: Callable[..., R], *args: Any) -> R:
    """What a part of a network makes of tensors, in their precision and the caller's mode of gradients."""
    with full_precision():
        return function(*args)


@contextmanager
def caller_defaults() -> Iterator[None]:
    """The caller's default device again, for code of theirs that we call."""
    device = _CALLER_DEVICE.get()
    if device is None:
        yield
        return
    with device:
        yield


def as_caller(function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """What a function of the caller's makes of something, with their default device."""
    with caller_defaults():
        return function(*args, **kwargs)


def out_of_inference(value: V) -> V:
    """A value, in which tensors of inference mode, of which no gradient can be taken, are replaced by copies.

    Lists, tuples and dictionaries are looked into, and left as they are where nothing has to be replaced.
    """
    return _replace_tensors(value, _copy_of_inference)


def without_history(value: V) -> V:
    """The same, and tensors that belong to a graph of the caller's, or ask for one, are taken out of it: nothing here adds to it."""
    return _replace_tensors(value, lambda tensor: _copy_of_inference(tensor.detach() if tensor.requires_grad else tensor))


def _copy_of_inference(tensor: Tensor) -> Tensor:
    """An ordinary tensor in place of one of inference mode; inside of that mode there is no other kind."""
    return tensor.clone() if tensor.is_inference() and not torch.is_inference_mode_enabled() else tensor


def _replace_tensors(value: V, change: Callable[[Tensor], Tensor]) -> V:
    """A value, with other tensors in it; itself where all of them stay."""
    given: Any = value
    found: Any = given
    if isinstance(given, Tensor):
        found = change(given)
    elif type(given) in (list, tuple):
        items = [_replace_tensors(item, change) if isinstance(item, HOLDERS) else item for item in given]
        found = type(given)(items) if any(new is not old for new, old in zip(items, given, strict=True)) else given
    elif type(given) is dict:
        held = {name: _replace_tensors(item, change) for name, item in given.items()}
        found = held if any(held[name] is not item for name, item in given.items()) else given
    changed: V = found
    return changed
