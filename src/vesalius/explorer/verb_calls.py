"""A call of a verb and the line of Python that makes it: one description of both, so that what is shown is what was computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

SHOWN_NAMES = 12
"""Names that are written out; of more, where they stand is said."""


@dataclass(frozen=True, eq=False)
class CallArgument:
    """An argument of a call.

    Attributes:
        value: that the verb is given.
        code: Python that makes it.
    """

    value: Any
    code: str

    @classmethod
    def plain(cls, value: Any) -> CallArgument:
        """A number, a word or a mapping of such, which is its own code."""
        return cls(value, repr(value))


@dataclass(frozen=True, eq=False, kw_only=True)
class VerbCall:
    """A call of one of the library's verbs.

    Attributes:
        verb: the function.
        name: of it, as ``vesalius`` has it.
        arguments: by position.
        options: by keyword.
        before: lines that come first, such as those that change the sample.
    """

    verb: Callable[..., Any]
    name: str
    arguments: tuple[CallArgument, ...]
    options: Mapping[str, CallArgument] = field(default_factory=dict)
    before: tuple[str, ...] = ()

    def run(self) -> Any:
        """What the verb gives back."""
        return self.verb(*(one.value for one in self.arguments), **{name: one.value for name, one in self.options.items()})

    @property
    def code(self) -> str:
        """The same in Python, with ``vs`` for vesalius; its result is called ``found``."""
        words = [one.code for one in self.arguments] + [f"{name}={one.code}" for name, one in self.options.items()]
        return "\n".join([*self.before, f"found = vs.{self.name}({', '.join(words)})"])


def names_argument(names: tuple[str, ...], called: str) -> CallArgument:
    """Names, written out where they are few, else as what they are called."""
    return CallArgument(names, repr(list(names)) if len(names) <= SHOWN_NAMES else called)
