"""A given baseline as values of an explained tensor: a number, a token, values, or another input that is taken there.

What a baseline means is decided by its type, never by its shape. Where ids are explained, or a value that is computed from them:

- whole numbers (an ``int``, a tensor of integers) are ids: one token everywhere, or a prompt of the ids' shape;
- other numbers (a ``float``, a floating tensor) are values, which ids cannot be.

Everywhere else all numbers are values.

Axes: B samples.
"""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.numbers import is_number, plain_number
from vesalius.core.rows import to_tensor
from vesalius.trace.default_inputs import default_inputs, ids_behind
from vesalius.trace.question import Question


def constant_at(value: Any, place: int, question: Question) -> Shaped[Tensor, "B ..."]:
    """A constant in the shape and dtype of an explained tensor.

    Args:
        value: a number, a tensor or an array.
        place: of the explained tensor among those of the question.
        question: what is asked.

    Raises:
        InvalidInput: NaN or infinity, a fraction or a number out of the vocabulary for an id, a shape that does not fit.
        WrongType: booleans where ids or values are meant.
    """
    here, name = question.present[place], question.at[place]
    given = _as_number_or_tensor(value)
    if isinstance(given, bool):
        _refuse_booleans(given, here, name)
    ids = ids_behind(question.network, name)
    if not here.is_floating_point():
        return _ids_at(given, here, name, question)
    if ids is None:
        return _values_at(given, here, name, question)
    if _is_whole(given):
        return _read_ids(given, ids, name, question)
    if isinstance(given, Tensor) and not _broadcasts(given, here):
        raise InvalidInput(
            f"a baseline of shape {list(given.shape)} does not fit {name!r}, of which one sample has shape {list(here.shape[1:])}; numbers"
            f" of {given.dtype} are values there: for ids of {ids!r}, give whole numbers (.long())"
        )
    return _expand(given, here)


def main_input(question: Question, name: str) -> int:
    """Place of the input that a baseline for a value stands in for: the ids behind it, else the first that is explained by default."""
    names = [value.name for value in question.network.inputs]
    if name in names:
        return names.index(name)
    return names.index(ids_behind(question.network, name) or default_inputs(question.network, question.inputs)[0])


def constant_words(value: Any, place: int, question: Question) -> str:
    """What a constant means at an explained tensor, in a few words."""
    given = _as_number_or_tensor(value)
    ids = ids_behind(question.network, question.at[place])
    holds_ids = any(lookup.learned and question.at[place] in lookup.inputs for lookup in question.network.lookups)
    meant = holds_ids or (ids is not None and _is_whole(given))
    if isinstance(given, Tensor):
        return "given ids" if meant else "given tensor"
    return f"token {given:g}" if meant else f"constant {given:g}"


def _as_number_or_tensor(value: Any) -> float | Tensor:
    """A number as it is, a tensor of none as its number, and anything else as a tensor; finite."""
    value = plain_number(value)
    value = value if is_number(value) or isinstance(value, bool) else to_tensor(value)
    if isinstance(value, Tensor) and value.is_complex():
        raise WrongType(f"the baseline is complex ({value.dtype}), and what is explained is real; take its real part: .real")
    if isinstance(value, Tensor):
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise InvalidInput("the baseline holds NaN or infinity")
    elif not math.isfinite(value):
        raise InvalidInput(f"the baseline is {value}; it must be finite")
    return value  # type: ignore[no-any-return]


def _is_whole(given: float | Tensor) -> bool:
    """Whether a number, or those of a tensor, are whole by their type."""
    return not given.is_floating_point() if isinstance(given, Tensor) else isinstance(given, Integral)


def _ids_at(given: float | Tensor, here: Tensor, name: str, question: Question) -> Tensor:
    """Whole numbers at an explained tensor of whole numbers."""
    _refuse_booleans(given, here, name)
    if isinstance(given, Tensor):
        fractions = given.is_floating_point() and not bool((given == given.round()).all())
    else:
        fractions = given != round(given)
    if fractions:
        raise InvalidInput(
            f"{name!r} is of whole numbers ({here.dtype}), such as tokens, and the baseline holds fractions: there is no such token"
        )
    found = _values_at(given, here, name, question) if isinstance(given, Tensor) else torch.full_like(here, _as_id(given, here.dtype, name))
    if isinstance(given, Tensor) and not bool((found.to(given.dtype) == given.to(found.device)).all()):
        raise InvalidInput(f"{name!r} is of {here.dtype}, which cannot hold {float(given.abs().max()):g}")
    given_inputs = zip(question.network.inputs, question.inputs, strict=True)
    question.network.check_ids([found if value.name == name else held for value, held in given_inputs], "baseline", strict=True)
    return found


def _read_ids(given: float | Tensor, ids: str, name: str, question: Question) -> Tensor:
    """The value that an explained tensor has where the input holds other ids."""
    place = [value.name for value in question.network.inputs].index(ids)
    held = question.inputs[place]
    _refuse_booleans(given, held, ids)
    if isinstance(given, Tensor):
        if tuple(given.shape) not in (tuple(held.shape), tuple(held.shape[1:]), (1, *held.shape[1:])):
            raise InvalidInput(
                f"a baseline of whole numbers ({given.dtype}) at {name!r} is ids of {ids!r}, {list(held.shape[1:])} of them, not of shape"
                f" {list(given.shape)}; for values, give floating numbers (.float())"
            )
        tokens = given.to(held.device).expand_as(held)
    else:
        tokens = torch.full_like(held, _as_id(given, held.dtype, ids))
    return _read_there(tokens, place, name, question)


def _values_at(given: float | Tensor, here: Tensor, name: str, question: Question) -> Tensor:
    """Numbers as values; or those of the input that is explained by default, taken to an inner value."""
    if not isinstance(given, Tensor) or _broadcasts(given, here):
        return _expand(given, here)
    network = question.network
    if name not in {value.name for value in network.inputs}:
        place = main_input(question, name)
        held = question.inputs[place]
        if tuple(given.shape) in (tuple(held.shape), tuple(held.shape[1:]), (1, *held.shape[1:])):
            return _read_there(given.to(held.device).expand_as(held), place, name, question)
    raise InvalidInput(
        f"a baseline of shape {list(given.shape)} does not fit {name!r}, of which one sample has shape {list(here.shape[1:])}"
    )


def _read_there(tokens: Tensor, place: int, name: str, question: Question) -> Tensor:
    """An inner value where one input is another and the rest are the samples'."""
    network = question.network
    replaced = network.bind((*question.inputs[:place], tokens, *question.inputs[place + 1 :]), holder="baseline")
    network.check_ids(replaced, "baseline", strict=True)
    with torch.no_grad():
        return network.axes.batch_layout(name).batch_first(network.read(replaced, name)[name])


def _as_id(given: float, dtype: torch.dtype, name: str) -> int:
    """A whole number that a type can hold."""
    number = int(given)
    low, high = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    if not low <= number <= high:
        raise InvalidInput(f"{name!r} is of {dtype}, which cannot hold {number:g}")
    return number


def _expand(given: float | Tensor, here: Tensor) -> Tensor:
    number = given if isinstance(given, Tensor) else torch.tensor(given, dtype=torch.float64)
    return torch.as_tensor(number, dtype=here.dtype, device=here.device).expand_as(here)


def _refuse_booleans(given: float | Tensor, here: Tensor, name: str) -> None:
    if here.dtype != torch.bool and (isinstance(given, bool) or (isinstance(given, Tensor) and given.dtype == torch.bool)):
        raise WrongType(f"a baseline of booleans for {name!r}, which is of {here.dtype}; give numbers")


def _broadcasts(value: Tensor, here: Tensor) -> bool:
    return value.ndim <= here.ndim and all(a in (1, b) for a, b in zip(reversed(value.shape), reversed(here.shape), strict=False))
