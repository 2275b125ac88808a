"""Inputs as a network takes them: in order, in its dtypes, on its device.

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.core.rows import LABELS, has_labels, read_rows
from vesalius.trace.graph import Value


def merge_inputs(args: Sequence[Tensor], kwargs: Mapping[str, Tensor], names: Sequence[str]) -> Any:
    """Inputs by position and by name as one.

    Raises:
        InvalidInput: too many, or one twice.
    """
    if not kwargs:
        return args
    if len(args) > len(names):
        raise InvalidInput(f"expected at most {len(names)} inputs ({', '.join(names)}), {len(args) + len(kwargs)} came")
    given = dict(zip(names, args, strict=False))
    if twice := sorted(given.keys() & kwargs.keys()):
        raise InvalidInput(f"input {twice[0]!r} came twice, by position and by name")
    return {**given, **kwargs}


def bind_inputs(owner: str, inputs: Sequence[Value], x: Any, homes: Sequence[torch.device]) -> tuple[Tensor, ...]:
    """Inputs in any form as a tuple in a network's order, in its dtypes, on its device.

    Args:
        owner: name of the network.
        inputs: facts about each.
        x: see :func:`vesalius.core.rows.read_rows`.
        homes: where the network's parameters are.

    Raises:
        InvalidInput, WrongType: a missing input, one of another shape, fractions where whole numbers are meant, an empty batch.
        UnknownName: an input that there is not.
    """
    names = [value.name for value in inputs]
    given = read_rows(x).tensors
    tensors: tuple[Tensor, ...]
    if isinstance(given, dict):
        known = {name: tensor for name, tensor in given.items() if name in names or name not in LABELS}
        if unknown := set(known) - set(names):
            raise UnknownName("input", sorted(unknown)[0], names)
        tensors = tuple(known[name] for name in names if name in known)
    else:
        tensors = (given,) if isinstance(given, Tensor) else given
        tensors = tensors[:-1] if has_labels(tensors, len(names)) else tensors
    if len(tensors) != len(names):
        raise InvalidInput(f"{owner} takes {len(names)} inputs ({', '.join(names)}); {len(tensors)} came")
    tensors = tuple(to_input(value, tensor, homes) for value, tensor in zip(inputs, tensors, strict=True))
    if len({len(tensor) for tensor in tensors}) > 1:
        raise InvalidInput(f"all inputs need the same batch size, found {[len(tensor) for tensor in tensors]}")
    return tensors


def to_input(value: Value, tensor: Tensor, homes: Sequence[torch.device]) -> Tensor:
    """A tensor as the input it is meant for: converted where no value changes by more than rounding, else refused.

    Raises:
        InvalidInput, WrongType: fractions where whole numbers are meant, another shape, no samples; a dtype that does not fit.
    """
    expected: torch.dtype = getattr(torch, value.dtype)
    if tensor.dtype != expected:
        fractions = tensor.is_floating_point() and not bool((tensor.isfinite() & (tensor == tensor.round())).all())
        if fractions and not expected.is_floating_point:
            raise InvalidInput(f"input {value.name!r} is of whole numbers ({expected}), and fractions came ({tensor.dtype})")
        if expected == torch.bool or tensor.is_complex() or expected.is_complex:
            raise WrongType(f"input {value.name!r} has dtype {tensor.dtype}; the network was traced with {expected}")
        given, tensor = tensor, tensor.to(expected)
        if not expected.is_floating_point and not bool((tensor.to(given.dtype) == given).all()):
            raise InvalidInput(f"input {value.name!r} is of {expected}, which cannot hold {float(given.abs().max()):g}")
    if tensor.is_meta:
        raise InvalidInput(f"input {value.name!r} is on the meta device, which holds no numbers")
    if homes and tensor.device not in homes:
        tensor = tensor.to(homes[0])
    wanted = ["batch", *value.shape[1:]]
    if tensor.ndim != len(wanted) or tuple(tensor.shape[1:]) != tuple(value.shape[1:]):
        raise InvalidInput(
            f"input {value.name!r} has shape {list(tensor.shape)}; the network was traced for {wanted}".replace("'batch'", "batch")
            + ". Trace again with an example of the new shape" * (tensor.ndim == len(wanted))
            + "; add a batch axis with x[None]" * (tensor.ndim == len(wanted) - 1)
        )
    if len(tensor) == 0:
        raise InvalidInput(f"input {value.name!r} holds no samples")
    return tensor
