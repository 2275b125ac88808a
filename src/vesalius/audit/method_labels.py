"""Which methods are audited, and what each is called there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import MISSING, fields
from typing import Any

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.methods.base import Method, resolve_method

Methods = str | Method | Mapping[str, Any] | Iterable[Any]
"""Names, instances with options, or a mapping from labels to either."""


def label_methods(methods: Methods) -> dict[str, Method]:
    """Methods by the label they have in an audit.

    Raises:
        UnknownName: no such method.
        WrongType: neither a name nor a method.
        InvalidInput: no methods, or one twice.
    """
    if isinstance(methods, (Set, bytes)) or not isinstance(methods, (str, Method, type, Iterable)):
        raise WrongType(f"methods are names or instances in order, or a mapping from labels to them, not {methods!r}")
    if isinstance(methods, Mapping):
        found = {str(label): _resolve_method(method) for label, method in methods.items()}
    else:
        each = [_resolve_method(method) for method in ([methods] if isinstance(methods, (str, Method, type)) else methods)]
        several = {method.name for method in each if sum(method.name == other.name for other in each) > 1}
        labels = [_label(method) if method.name in several else method.name for method in each]
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise InvalidInput(f"{twice[0]!r} is asked for twice; give a mapping from labels to methods")
        found = dict(zip(labels, each, strict=True))
    if not found:
        raise InvalidInput("there are no methods to audit")
    return found


def _resolve_method(given: Any) -> Method:
    return given() if isinstance(given, type) and issubclass(given, Method) else resolve_method(given)


def _label(method: Method) -> str:
    """Name with the options that are not the default."""
    changed = [f"{option.name}={getattr(method, option.name)!r}" for option in fields(method) if _is_set(method, option)]
    return f"{method.name}({', '.join(changed)})" if changed else method.name


def _is_set(method: Method, option: Any) -> bool:
    value = getattr(method, option.name)
    return option.default is MISSING or (value is not option.default and repr(value) != repr(option.default))


def method_options(method: Method) -> dict[str, Any]:
    """Options as JSON; anything larger by its description."""
    plain = {option.name: getattr(method, option.name) for option in fields(method)}
    return {name: value if isinstance(value, (bool, int, float, str, type(None))) else repr(value)[:200] for name, value in plain.items()}
