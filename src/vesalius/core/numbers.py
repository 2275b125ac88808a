"""Numbers that callers hand over, read in one place: a number in any form is taken as what it is, and what is none is refused.

NumPy's numbers, arrays and tensors without axes are numbers. A boolean is not, a fraction is no whole number, and nothing is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vesalius.core.errors import InvalidInput, WrongType

LARGEST_WHOLE = (1 << 63) - 1
"""The largest whole number that a tensor holds."""


@dataclass(frozen=True)
class Limit:
    """Where a number must lie.

    Attributes:
        least: the smallest that is allowed.
        most: the largest that is allowed.
        above: it is larger than this.
        below: it is smaller than this.
        infinite: whether it may be infinite.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    infinite: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number lies there."""
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        words = (("of at least", self.least), ("above", self.above), ("of at most", self.most), ("below", self.below))
        said = " and ".join(f"{word} {bound:g}" for word, bound in words if bound is not None)
        return f" {said}" if said else ""


ANY = Limit()
SEED = Limit(least=-(1 << 63), most=LARGEST_WHOLE)
"""Seeds that a generator takes."""
POSITIVE_COUNT = Limit(least=1)
POSITIVE = Limit(above=0)
SHARE = Limit(least=0, most=1)


def whole_number(name: str, value: Any, limit: Limit = ANY) -> int:
    """A whole number in any form as an int; a float only where it is one, such as 1e4.

    Args:
        name: what it is, as the caller calls it.
        value: that was given.
        limit: where it must lie.

    Raises:
        WrongType: no number, or a boolean.
        InvalidInput: a fraction, NaN or infinite, or out of its limits.
    """
    if type(value) is int and -LARGEST_WHOLE - 1 <= value <= LARGEST_WHOLE and limit.holds(value):
        return value
    wanted = f"a whole number{limit if limit is not SEED else ''}"
    found: Any = plain_number(value)
    if not _is_real(found):
        raise WrongType(f"{name} is {wanted}, not {_describe(value)}")
    if not hasattr(found, "__index__"):
        if not math.isfinite(found):
            raise InvalidInput(f"{name} is {wanted}, not {found}")
        if found != int(found):
            raise InvalidInput(f"{name} is {wanted}, not {found}; round it first: {math.floor(found)} or {math.ceil(found)}")
    whole = int(found)
    if not -LARGEST_WHOLE - 1 <= whole <= LARGEST_WHOLE:
        raise InvalidInput(f"{name} is {wanted}, and {_describe(whole)} is beyond 64 bits; take a smaller one")
    if not limit.holds(whole):
        raise InvalidInput(f"{name} is {wanted}, not {whole}")
    return whole


def real_number(name: str, value: Any, limit: Limit = ANY) -> float:
    """A real number in any form as a float. Args and Raises: as :func:`whole_number`, fractions being taken."""
    if type(value) is float and math.isfinite(value) and limit.holds(value):
        return value
    found, wanted = plain_number(value), f"a number{limit}"
    if not _is_real(found):
        raise WrongType(f"{name} is {wanted}, not {_describe(value)}")
    try:
        real = float(found)
    except OverflowError:  # a whole number beyond all floats
        real = math.inf
    if math.isnan(real) or (math.isinf(real) and not limit.infinite) or not limit.holds(real):
        raise InvalidInput(f"{name} is {wanted}, not {found}")
    return real


def flag(name: str, value: Any) -> bool:
    """A yes or no: a boolean in any form, or 0 and 1.

    Raises:
        WrongType: anything else; words and other numbers count as true in Python, whatever they say.
    """
    found = plain_number(value)
    if isinstance(found, bool) or (isinstance(found, int) and found in (0, 1)):
        return bool(found)
    raise WrongType(f"{name} is True or False, not {_describe(value)}")


def number_tuple(name: str, value: Any, count: int, *, whole: bool, limit: Limit = ANY) -> tuple[Any, ...]:
    """So many numbers in order, such as height and width.

    Raises:
        WrongType, InvalidInput: another number of them; as :func:`whole_number`.
    """
    parts = list(value) if isinstance(value, (Sequence, np.ndarray, Tensor)) and not isinstance(value, str) and np.ndim(value) else None
    if parts is None or len(parts) != count:
        raise (WrongType if parts is None else InvalidInput)(f"{name} is {count} numbers, not {_describe(value)}")
    read = whole_number if whole else real_number
    return tuple(read(f"each number of {name}", part, limit) for part in parts)


def whole_numbers(name: str, values: Any, limit: Limit = ANY) -> tuple[int, ...]:
    """Whole numbers in order, from any sequence, array or generator of them.

    Raises:
        WrongType, InvalidInput: as :func:`whole_number`; a container without an order.
    """
    if isinstance(values, (str, bytes, Set, Mapping)) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise WrongType(f"{name} is a list of whole numbers, not {_describe(values)}")
    return tuple(whole_number(f"each number of {name}", value, limit) for value in values)


def numbers_per_axis(name: str, value: Any, axes: int, limit: Limit = ANY) -> tuple[int, ...]:
    """A whole number for each axis, from one for all of them or from one for each.

    Raises:
        WrongType, InvalidInput: as :func:`whole_number`; another number of them than axes.
    """
    found = (whole_number(name, value, limit),) * axes if is_number(value) else whole_numbers(name, value, limit)
    if len(found) != axes:
        raise InvalidInput(f"{name} is one number, or one for each of {axes} axes, not {len(found)} numbers: {list(found)}")
    return found


def random_source(generator: Any) -> torch.Generator | None:
    """A generator of random numbers on the CPU, where all draws of the house are made, or ``None``.

    Raises:
        WrongType: a seed, or a generator of another library.
        InvalidInput: a generator of another device.
    """
    if generator is None:
        return None
    if not isinstance(generator, torch.Generator):
        raise WrongType(f"generator is a torch.Generator, not {_describe(generator)}; for a seed: torch.Generator().manual_seed(0)")
    if generator.device.type != "cpu":
        raise InvalidInput(
            f"generator is on {generator.device}, and coalitions are drawn on the CPU; take torch.Generator().manual_seed(0)"
        )
    return generator


def is_number(value: Any) -> bool:
    """Whether this is one real number in any form, and no boolean."""
    return _is_real(plain_number(value))


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def plain_number(value: Any) -> Any:
    """A NumPy scalar, or an array or a tensor without axes, as Python's number; everything else as it is."""
    if isinstance(value, np.generic) or (isinstance(value, (np.ndarray, Tensor)) and value.ndim == 0):
        try:
            return int(value) if _is_integer(value) else value.item()
        except (RuntimeError, TypeError):  # a tensor that holds no number, such as one on the meta device
            return value
    return value


def _is_integer(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
    return value.dtype.kind in "iu"


def _describe(value: Any) -> str:
    """A value in few words, for an error."""
    if isinstance(value, (np.ndarray, Tensor)) and value.ndim:
        return f"{type(value).__name__} of shape {list(value.shape)}"
    said = " ".join(repr(value).split())
    shown = said if len(said) <= 60 else f"{said[:57]}..."
    if value is None or isinstance(value, (bool, np.bool_)):
        return shown
    return f"{type(value).__name__} {shown}"
