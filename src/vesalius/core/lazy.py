"""What is imported when it is first used, and not before: rooms of this library, and heavy libraries that few calls need.

``import vesalius`` is to cost little beside torch, and ``vesalius --help`` to answer without it, so neither may load what it does not use.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


class LazyModule:
    """A library that is imported when something of it is first used, as ``special = LazyModule("scipy.special")``.

    Args:
        name: dotted name.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)

    def __repr__(self) -> str:
        return f"<module {self._name!r}, imported when it is used>"


def submodules_of(package: str) -> Callable[[str], ModuleType]:
    """The ``__getattr__`` of a package whose modules are found as attributes without having been imported (PEP 562).

    Args:
        package: dotted name.
    """

    def __getattr__(name: str) -> ModuleType:
        module = f"{package}.{name}"
        try:
            if not name.startswith("_"):
                return import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return __getattr__
