"""What callers hand over, read by the annotation it is handed over to: one table for every verb and every option.

A verb (:func:`vesalius.core.entry.verb`) has its arguments read before it runs, and a dataclass of options
(:class:`vesalius.core.options.Options`) its fields. What an annotation does not settle is for the verb itself to check.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from vesalius.core.errors import WrongType
from vesalius.core.names import name_list
from vesalius.core.numbers import ANY, SEED, Limit, flag, number_tuple, random_source, real_number, whole_number, whole_numbers

Reader = Callable[[str, Any, Limit], Any]
Noun = TypeVar("Noun", bound=type)
P = ParamSpec("P")
R = TypeVar("R")
NOUNS: dict[str, tuple[type, str]] = {}
"""Classes of ours that arguments are of, by their name, with how to make one."""


def noun(hint: str) -> Callable[[Noun], Noun]:
    """Class decorator: hold arguments that are annotated with this class to it.

    Args:
        hint: how to make one, for the error.
    """

    def declare(kind: Noun) -> Noun:
        NOUNS[kind.__name__] = (kind, hint)
        return kind

    return declare


def read_argument(name: str, value: Any, annotation: str, limit: Limit = ANY, *, ours: bool = True) -> Any:
    """An argument as its annotation wants it; as it is, where the table has no such annotation.

    Args:
        name: of the argument.
        value: that was given.
        annotation: as it is written, ``| None`` included.
        limit: where a number must lie.
        ours: whether names of classes mean ours.

    Raises:
        WrongType, InvalidInput: something else.
    """
    kind = annotation.removesuffix(" | None")
    if value is None and kind != annotation:
        return None
    if (read := READERS.get(kind)) is not None:
        return read(name, value, SEED if name == "seed" and limit is ANY else limit)
    if kind in NOUNS and (ours or kind == "Players"):
        return require_noun(name, value, *NOUNS[kind])
    if kind.startswith("Callable[") and not callable(value):
        raise WrongType(f"{name} is a function, not {_describe(value)}")
    if kind.startswith("Mapping[") and not isinstance(value, Mapping):
        raise WrongType(f"{name} is a mapping, {{name: value}}, not {_describe(value)}")
    return value


def require_noun(name: str, value: Any, kind: type, hint: str) -> Any:
    """An instance of a class as it is.

    Raises:
        WrongType: something else.
    """
    if not isinstance(value, kind):
        raise WrongType(f"{name}: a {kind.__name__} was expected, not {_describe(value)}; {hint}")
    return value


def call_reader(function: Callable[..., Any]) -> Callable[[Sequence[Any], Mapping[str, Any]], tuple[list[Any], dict[str, Any]]]:
    """How to read the arguments of a call of a function."""
    parameters = list(inspect.signature(function).parameters.values())
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    written = {one.name: one.annotation for one in parameters if isinstance(one.annotation, str) and one.kind is not one.VAR_POSITIONAL}

    def read(name: str, value: Any) -> Any:
        return read_argument(name, value, written[name]) if name in written else value

    def read_call(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        given = [read(one.name, value) for one, value in zip(places, args, strict=False)]
        return [*given, *args[len(given) :]], {name: read(name, value) for name, value in kwargs.items()}

    return read_call


def typed(function: Callable[P, R]) -> Callable[P, R]:
    """Have the arguments of a function read by their annotations, as those of a verb are."""
    read = call_reader(function)

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        given: Any
        named: Any
        given, named = read(args, kwargs)
        return function(*given, **named)

    return checked


def _text(name: str, value: Any, limit: Limit) -> str:
    if not isinstance(value, str):
        raise WrongType(f"{name} is a string, not {_describe(value)}")
    return value


def _path(name: str, value: Any, limit: Limit) -> Any:
    if not isinstance(value, (str, os.PathLike)):
        raise WrongType(f"{name} is a path, not {_describe(value)}")
    return value


def _reals(name: str, values: Any, limit: Limit) -> tuple[float, ...]:
    if isinstance(values, (str, bytes, Set, Mapping)) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise WrongType(f"{name} is a list of numbers, not {_describe(values)}")
    return tuple(real_number(f"each number of {name}", value, limit) for value in values)


def _describe(value: Any) -> str:
    said = " ".join(repr(value).split())
    return f"{type(value).__name__} {said if len(said) <= 60 else said[:57] + '...'}"


READERS: Mapping[str, Reader] = {
    "int": whole_number,
    "float": real_number,
    "bool": lambda name, value, limit: flag(name, value),
    "str": _text,
    "str | Path": _path,
    "Path": _path,
    "Sequence[str]": lambda name, value, limit: name_list(name, value, distinct=False),
    "tuple[str, ...]": lambda name, value, limit: name_list(name, value, distinct=False),
    "Sequence[int]": whole_numbers,
    "Sequence[float]": _reals,
    "tuple[float, float]": lambda name, value, limit: number_tuple(name, value, 2, whole=False, limit=limit),
    "tuple[int, int]": lambda name, value, limit: number_tuple(name, value, 2, whole=True, limit=limit),
    "torch.Generator": lambda name, value, limit: random_source(value),
}
"""How an argument is read, by its annotation."""
