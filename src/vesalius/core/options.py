"""Options as fields of a dataclass, each held to the type and the limits that it declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from vesalius.core.arguments import NOUNS, read_argument
from vesalius.core.numbers import ANY, Limit


@dataclass(frozen=True)
class Options:
    """Base of dataclasses that hold options.

    Fields are read on the way in by their annotations (see :data:`vesalius.core.arguments.READERS`), so that NumPy's numbers become
    Python's and anything else is refused in a sentence. A subclass with a ``__post_init__`` of its own calls this one first.

    ``limits`` says where the numbers must lie, by the name of the field.
    """

    limits: ClassVar[Mapping[str, Limit]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.startswith("vesalius."):
            NOUNS[cls.__name__] = (cls, f"give {cls.__name__}(...) of {cls.__module__.rpartition('.')[0]}")

    def __post_init__(self) -> None:
        ours = type(self).__module__.startswith("vesalius.")
        for field in fields(self):
            kind = field.type if isinstance(field.type, str) else _spell(field.type)
            limit = self.limits.get(field.name, ANY)
            object.__setattr__(self, field.name, read_argument(field.name, getattr(self, field.name), kind, limit, ours=ours))


def _spell(kind: Any) -> str:
    """An annotation that was evaluated, as it is written."""
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "").replace("collections.abc.", "")
