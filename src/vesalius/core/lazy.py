"""What is imported when it is first used, and not before: rooms of this library, and heavy libraries that few calls need.

``import vesalius`` is to cost little beside torch, and ``vesalius --help`` to answer without it, so neither may load what it does not use.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
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


class LazyPackage(ModuleType):
    """A package whose names are found when they are first used; one becomes it by ``sys.modules[__name__].__class__ = LazyPackage``.

    Names are those of the package's ``PUBLIC``, a table of where each is defined, if it has one, and those of its modules. A name of the
    table stays what it is when a module of the same name (``vesalius.trace``, ``vesalius.workflow.explain``) is imported.
    """

    def __getattr__(self, name: str) -> Any:
        home = self._public().get(name)
        if home is not None:
            found = getattr(import_module(home), name)
            setattr(self, name, found)
            return found
        module = f"{self.__name__}.{name}"
        try:
            if not name.startswith("_"):
                return import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in self._public() and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickles of functions that use the package: by its name, as any module."""
        return import_module, (self.__name__,)

    def __dir__(self) -> list[str]:
        modules = {found.name for found in iter_modules(self.__path__)}
        return sorted({*self._public(), *modules, *(name for name in self.__dict__ if name.startswith("__"))})

    def _public(self) -> dict[str, str]:
        table: dict[str, str] = self.__dict__.get("PUBLIC", {})
        return table
