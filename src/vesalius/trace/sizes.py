"""Sizes that depend on lengths: small expressions, which a file may hold, and which are worked out without running code.

A size is a whole number, the name of a length, or an op with its arguments: ``("+", "s1", 3)``. A condition is such an op too, true or not.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

Size = int | str | tuple[Any, ...]
Lengths = Mapping[str, int]
"""Lengths by their names."""

OPS: Mapping[str, Callable[[int, int], Any]] = {
    "+": operator.add,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "max": max,
    "min": min,
    "and": lambda one, other: one and other,
    "or": lambda one, other: one or other,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
"""What a size or a condition can be made of."""
WRITTEN_AS = {
    "Add": "+",
    "Mul": "*",
    "FloorDiv": "//",
    "CleanDiv": "//",
    "Mod": "%",
    "PythonMod": "%",
    "Max": "max",
    "Min": "min",
    "And": "and",
    "Or": "or",
    "Equality": "==",
    "Unequality": "!=",
    "StrictLessThan": "<",
    "LessThan": "<=",
    "StrictGreaterThan": ">",
    "GreaterThan": ">=",
}
"""Our ops by the names that torch's symbolic shapes have for them."""
MOST_DEPTH = 20
"""Ops within ops, and power of a length, that an expression may have."""
MOST_SIZE = (1 << 48) - 1
"""Beyond every size; what torch writes for no end, which releases do differently, is brought here."""


class UnsayableSize(ValueError):
    """An expression that is no size or condition in the sense of this module."""


def read_size(expression: Any, depth: int = 0) -> Size:
    """A size or a condition from torch's symbolic shapes (an expression of sympy).

    Raises:
        UnsayableSize: it is of another kind.
    """
    name = type(expression).__name__
    if expression.is_Symbol:
        return str(expression)
    if getattr(expression, "is_Integer", False):
        return max(-MOST_SIZE, min(int(expression), MOST_SIZE))
    if name in ("BooleanTrue", "BooleanFalse"):
        return int(name == "BooleanTrue")
    if name == "Pow" and expression.args[1].is_Integer and 0 < int(expression.args[1]) < MOST_DEPTH:
        return ("*", *[read_size(expression.args[0], depth + 1)] * int(expression.args[1]))
    if name == "Not":
        return ("==", read_size(expression.args[0], depth + 1), 0)
    if name not in WRITTEN_AS or depth > MOST_DEPTH:
        raise UnsayableSize(f"a size is {expression}")
    return (WRITTEN_AS[name], *(read_size(part, depth + 1) for part in expression.args))


def evaluate_size(size: Size, lengths: Lengths) -> int:
    """A size at some lengths; of a condition whether it holds."""
    if isinstance(size, int):
        return size
    if isinstance(size, str):
        return lengths[size]
    return int(reduce(OPS[size[0]], (evaluate_size(part, lengths) for part in size[1:])))


def decode_size(found: Any, names: frozenset[str], depth: int = 0) -> Size:
    """A size or a condition from a file.

    Raises:
        ValueError: it is none, or of other lengths than those named.
    """
    if (type(found) is int and abs(found) <= MOST_SIZE) or (isinstance(found, str) and found in names):
        return found
    if not isinstance(found, (list, tuple)) or not 3 <= len(found) <= MOST_DEPTH or found[0] not in OPS or depth > MOST_DEPTH:
        raise ValueError(f"{found!r} is no size")
    return (found[0], *(decode_size(part, names, depth + 1) for part in found[1:]))
