"""Options as fields of a dataclass, each held to the type and the limits that it declares, in one place for the whole house."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from vesalius.core.errors import WrongType
from vesalius.core.names import name_list
from vesalius.core.numbers import ANY, SEED, Limit, flag, number_tuple, real_number, whole_number, whole_numbers
from vesalius.core.players import Players


@dataclass(frozen=True)
class Options:
    """Base of dataclasses that hold options.

    Fields that are annotated as ``int``, ``float``, ``bool``, ``str``, pairs of numbers, lists of names, ``Players`` or a callable (or any
    of these ``| None``) are read on the way in, so that NumPy's numbers become Python's and anything else is refused in a sentence. A
    subclass with a ``__post_init__`` of its own calls this one first.

    ``limits`` says where the numbers must lie, by the name of the field.
    """

    limits: ClassVar[Mapping[str, Limit]] = {}

    def __post_init__(self) -> None:
        for field in fields(self):
            kind = field.type if isinstance(field.type, str) else _spell(field.type)
            given = getattr(self, field.name)
            optional = kind.endswith(" | None")
            read = READERS.get(kind.removesuffix(" | None")) or (_callable if kind.startswith("Callable[") else None)
            if read is None or (given is None and optional):
                continue
            limit = self.limits.get(field.name, SEED if field.name == "seed" else ANY)
            object.__setattr__(self, field.name, read(field.name, given, limit))


def _spell(kind: Any) -> str:
    """An annotation that was evaluated, as it is written."""
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "").replace("collections.abc.", "")


def _text(name: str, value: Any, limit: Limit) -> str:
    if not isinstance(value, str):
        raise WrongType(f"{name} is a word, not {type(value).__name__} {value!r}")
    return value


def _callable(name: str, value: Any, limit: Limit) -> Any:
    if not callable(value):
        raise WrongType(f"{name} is a function, not {type(value).__name__} {value!r}")
    return value


def require_players(name: str, players: Any) -> Players:
    """Players as they are.

    Raises:
        WrongType: something else.
    """
    if not isinstance(players, Players):
        raise WrongType(
            f"{name} are vesalius.Players, not {type(players).__name__} {players!r}; build them: Players.features(x), Players.patches(x, 4)"
        )
    return players


READERS: Mapping[str, Callable[[str, Any, Limit], Any]] = {
    "int": whole_number,
    "float": real_number,
    "bool": lambda name, value, limit: flag(name, value),
    "str": _text,
    "Players": lambda name, value, limit: require_players(name, value),
    "Sequence[str]": lambda name, value, limit: name_list(name, value),
    "tuple[str, ...]": lambda name, value, limit: name_list(name, value),
    "Sequence[int]": whole_numbers,
    "tuple[float, float]": lambda name, value, limit: number_tuple(name, value, 2, whole=False, limit=limit),
    "tuple[int, int]": lambda name, value, limit: number_tuple(name, value, 2, whole=True, limit=limit),
}
"""How a field is read, by its annotation."""
