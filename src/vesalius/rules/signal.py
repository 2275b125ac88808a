"""What travels along the graph: a value that depends on the explained tensors, and what a rule knows about it besides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

Found = TypeVar("Found")


@dataclass(eq=False, slots=True)
class Signal:
    """A value that the explained tensors reach. Constants travel as plain tensors. Never written to, and not frozen only since that costs
    a microsecond, of which a pass over a small network has few.

    Attributes:
        value: the tensor, part of the autograd graph in an explaining pass.
        boolean: whether it stands for a truth value, as 0 and 1.
        base: the value at the other end, where both ends travel side by side.
        inverse: makes the signal of which this is the reciprocal, where there is one.
        extra: what one table of rules keeps with it.
    """

    value: Tensor
    boolean: bool = False
    base: Tensor | None = None
    inverse: Callable[[], Signal] | None = None
    extra: Any = None


@dataclass(frozen=True, eq=False)
class Places:
    """Where an op found what it selected: whole numbers that the explained tensors decide on.

    Attributes:
        op: what selected.
        keys: what was searched, and ``find`` the places in it; ``None`` where no rule asks.
        chosen: truth values [*, n], whether each place is each of n; ``None`` where they are not told apart.
    """

    op: str
    keys: Signal | None = None
    find: Callable[[Tensor], Tensor] | None = None
    chosen: Callable[[], Signal] | None = None

    def to_tensor(self) -> Tensor | None:
        """The places themselves, where they are told apart."""
        return None if self.chosen is None else self.chosen().value.argmax(-1)


def shape_of(argument: Tensor | Signal) -> torch.Size:
    """The shape of a constant or of a signal's value."""
    return (argument.value if isinstance(argument, Signal) else argument).shape


def dtype_of(argument: Tensor | Signal) -> torch.dtype:
    """Likewise its type."""
    return (argument.value if isinstance(argument, Signal) else argument).dtype


def to_tensors(argument: Any) -> Any:
    """An argument with its signals as tensors, truth values as such."""
    if isinstance(argument, Signal):
        return argument.value.bool() if argument.boolean else argument.value
    if isinstance(argument, (tuple, list)):
        return type(argument)(to_tensors(item) for item in argument)
    return argument


def places_in(arguments: Sequence[Any]) -> list[Places]:
    """All places among arguments, those in lists included."""
    return _instances_in(arguments, Places)


def signals_in(arguments: Any) -> list[Signal]:
    """All signals among arguments, those in lists included."""
    return (
        [arguments] if isinstance(arguments, Signal) else _instances_in(arguments, Signal) if isinstance(arguments, (tuple, list)) else []
    )


def _instances_in(arguments: Sequence[Any], kind: type[Found]) -> list[Found]:
    found: list[Found] = []
    for item in arguments:
        if type(item) is kind:
            found.append(item)
        elif isinstance(item, (tuple, list)):
            found += _instances_in(item, kind)
    return found
