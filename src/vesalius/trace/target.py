"""What is explained: one number per sample, taken from an output or from an inner value.

Axes: B samples asked about, N rows evaluated (any number per sample), K axes of one sample's output.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from vesalius.core.entry import as_caller
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.language.targets import LanguageTarget
from vesalius.trace.axes import BATCH_FIRST, BatchLayout

Target = Any
"""A class, a class per sample, a position in a larger output (or one per sample), ``(layer, unit)``, a function of the output, ``None``."""
TARGETS = "a target is a class, classes of samples, a tuple of ints, (layer, unit) or a function of the output"
TargetFunction = Callable[[Tensor], Tensor]
LINEAR_TOLERANCE = 1e-4
"""Relative difference up to which a function of the output is taken to be linear."""
TIED_OUTPUTS = {torch.float32: 1e-6, torch.float64: 1e-15}
"""Share of the largest output by which two outputs of one sample may differ by rounding alone; half precision is compared as it is."""
FAR = 100.0
"""Times the largest output, at which it is looked whether a function of the output is still linear."""


@dataclass(frozen=True, eq=False)
class TargetSelector:
    """From an output [N ...], or an inner value in its own layout, to one number per row.

    Attributes:
        index: position in one sample's output; empty for an output that is a single number.
        positions: position of each sample [B K], where they differ.
        unit: axis and position of an inner unit.
        place: position of that unit along the value's other axes; its mean over them (an image's pixels, a sequence's tokens) if ``None``.
        function: of the output, instead of all that.
        layout: where the samples are in the value of an inner unit, whose axes are counted batch first.
    """

    index: tuple[int, ...] = ()
    positions: Int[Tensor, "B K"] | None = None
    unit: tuple[int, int] | None = None
    place: tuple[int, ...] | None = None
    function: TargetFunction | None = None
    layout: BatchLayout = BATCH_FIRST

    def __call__(self, output: Float[Tensor, "..."], rows: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        if self.function is not None:
            return _apply(self.function, output)
        if self.unit is not None:
            axis, unit = self.unit
            channel = self.layout.batch_first(output).select(axis, unit)
            if self.place is not None:
                for step in self.place:
                    channel = channel.select(1, step)
                return channel
            return channel.flatten(1).mean(1) if channel.ndim > 1 else channel
        if self.positions is not None:
            for column in self.positions[rows].unbind(1):
                output = output[torch.arange(len(output), device=output.device), column]
            return output
        for place in self.index:
            output = output.select(1, place)
        return output.reshape(len(output))


def select_target(output: Float[Tensor, "B ..."], target: Target) -> tuple[TargetSelector, str]:
    """How to take one number per sample from the network's output, and what that is called.

    Raises:
        InvalidInput, WrongType: a target that names no number of the output.
    """
    if target is None:
        return _default_selector(output)
    if callable(target) and not isinstance(target, Tensor):
        _apply(target, output)
        name = getattr(target, "__name__", "<lambda>")
        plain = "a function of the output" if name == "<lambda>" else f"{name}(output)"
        words = getattr(target, "words", None) or (target.describe() if isinstance(target, LanguageTarget) else plain)
        return TargetSelector(function=target), str(words)
    given = plain_target(target)
    if isinstance(given, Tensor):
        return _position_selector(output, _per_sample(output, given))
    if not isinstance(given, (int, tuple)):
        raise WrongType(f"{TARGETS}, not {target!r}")
    place = (given,) if isinstance(given, int) else given
    if any(isinstance(part, Tensor) for part in place):
        return _position_selector(output, _mixed(output, place))
    if not all(isinstance(part, int) for part in place):
        raise WrongType(f"{TARGETS}, not {target!r}")
    if output.ndim == 2 and len(place) == len(output) > 1:
        return _position_selector(output, _per_sample(output, torch.tensor(place)))
    return _fixed_selector(output, place, target)


def plain_target(target: Target) -> Target:
    """Integers of NumPy as ints, arrays and lists of integers as tensors; everything else as it is."""
    if isinstance(target, np.ndarray):
        return _tensor(target)
    if isinstance(target, Tensor):
        return int(target) if target.ndim == 0 and not target.is_floating_point() and target.dtype != torch.bool else target
    if isinstance(target, list):
        if any(isinstance(part, (bool, np.bool_)) for part in target):
            raise WrongType(f"classes are whole numbers, and {target!r} holds True or False; for a mask: mask.nonzero()")
        return _tensor(_stack(target))
    if isinstance(target, tuple):
        return tuple(part if isinstance(part, str) else plain_target(part) for part in target)
    if isinstance(target, (bool, np.bool_)):
        raise WrongType(f"{TARGETS}, not {target!r}; for class {int(target)}: target={int(target)}")
    try:
        return operator.index(target)
    except TypeError:
        return target


def is_linear(function: TargetFunction, output: Float[Tensor, "B ..."]) -> bool:
    """Whether a function of the output is linear as far as can be seen, at the size of this output and far beyond it, so that rules pass
    through it as through a sum."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output)
    return all(_adds_up(function, output.detach(), size * noise) for size in (1.0, FAR * float(output.detach().abs().max())))


def _adds_up(function: TargetFunction, a: Tensor, b: Tensor) -> bool:
    """Whether f(a) + f(b) = f(a + b) and 2 f(b) = -f(-2 b); not where it is undefined at one of them."""
    try:
        with torch.no_grad():
            found = [_apply(function, part) for part in (a, b, a + b, -2 * b)]
    except InvalidInput:
        return False
    scale = LINEAR_TOLERANCE * torch.stack(found).abs().amax().clamp_min(1e-12)
    sums = ((found[0] + found[1] - found[2]).abs(), (2 * found[1] + found[3]).abs())
    return all(bool((part <= scale).all()) for part in sums)


def _apply(function: TargetFunction, output: Tensor) -> Tensor:
    """The numbers a user's function makes of an output, checked."""
    try:
        found = as_caller(function, output)
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"the target function failed on an output of shape {list(output.shape)} ({' '.join(str(error).split())[:200]}); it is given any"
            " number of rows at once, [rows, ...], and makes one number of each"
        ) from error
    if not isinstance(found, Tensor) or found.shape != (len(output),) or not found.is_floating_point():
        came = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise InvalidInput(f"the target function made {came} of an output of shape {list(output.shape)}; expected one real number per row")
    return found


def _default_selector(output: Tensor) -> tuple[TargetSelector, str]:
    if output[0].numel() == 1:
        return TargetSelector(), "output"
    if output.ndim != 2:
        raise InvalidInput(f"the output of one sample has shape {list(output.shape[1:])}; say which number to explain: target=(i, j, ...)")
    classes = predicted_classes(output)
    found = classes.unique().tolist()
    return TargetSelector(positions=classes[:, None]), f"class {found[0]}" if len(found) == 1 else "predicted class"


def predicted_classes(output: Shaped[Tensor, "B C"]) -> Int[Tensor, " B"]:
    """The class with the largest output; of several within rounding of it the first, so that a tie is decided alike in every batch and on
    every processor."""
    if output.dtype not in TIED_OUTPUTS:
        return output.argmax(1)
    tied = output.amax(1, keepdim=True) - TIED_OUTPUTS[output.dtype] * output.abs().amax(1, keepdim=True)
    return (output >= tied).to(torch.uint8).argmax(1)


def _fixed_selector(output: Tensor, place: tuple[int, ...], target: Target) -> tuple[TargetSelector, str]:
    sizes = tuple(output.shape[1:])
    if len(place) != len(sizes):
        raise InvalidInput(f"the output of one sample has shape {list(sizes)}; the target {target!r} does not name one number in it")
    for i, side in zip(place, sizes, strict=True):
        if not -side <= i < side:
            raise InvalidInput(f"target {target!r} is out of range: the output of one sample has shape {list(sizes)}")
    return TargetSelector(index=place), f"class {place[0]}" if len(place) == 1 else f"output {place}"


def _position_selector(output: Tensor, positions: Int[Tensor, "B K"]) -> tuple[TargetSelector, str]:
    """One position per sample, in range."""
    sizes = torch.tensor(output.shape[1:], device=positions.device)
    wrong = (positions < -sizes) | (positions >= sizes)
    if output.ndim == 2 and bool((wrong | (positions < 0)).any()):
        raise InvalidInput(f"a target class is out of range: there are {output.shape[1]} classes, found {positions.unique().tolist()}")
    if bool(wrong.any()):
        raise InvalidInput(f"a target {positions[wrong.any(1)][0].tolist()} is out of range: one output has shape {list(output.shape[1:])}")
    selector = TargetSelector(positions=positions.to(output.device))
    found = positions.unique(dim=0).tolist()
    if output.ndim == 2:
        return selector, f"class {found[0][0]}" if len(found) == 1 else "class per sample"
    return selector, f"output {tuple(found[0])}" if len(found) == 1 else "position per sample"


def _per_sample(output: Tensor, target: Tensor) -> Int[Tensor, "B K"]:
    """Positions from a tensor of classes [B], or of positions [B K]."""
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise WrongType(f"a tensor of classes is of integers, not {target.dtype}")
    axes, batch = output.ndim - 1, len(output)
    if axes == 1 and target.shape in ((), (1,), (batch,)):
        return target.long().reshape(-1, 1).expand(batch, 1)
    if target.shape == (batch, axes):
        return target.long()
    if axes == 1:
        raise InvalidInput(f"expected one class for each of {batch} samples; the target has shape {list(target.shape)}")
    raise InvalidInput(
        f"the output of one sample has shape {list(output.shape[1:])}; expected {axes} positions for each of {batch} samples, the target"
        f" has shape {list(target.shape)}"
    )


def _mixed(output: Tensor, place: Sequence[Any]) -> Int[Tensor, "B K"]:
    """Positions that are fixed along some axes and differ between samples along others."""
    batch, sizes = len(output), list(output.shape[1:])
    if len(place) != len(sizes):
        raise InvalidInput(f"the output of one sample has shape {sizes}; a target of {len(place)} parts does not name one number in it")
    columns = []
    for part in place:
        column = part if isinstance(part, Tensor) else torch.tensor(part)
        if column.is_floating_point() or column.dtype == torch.bool or column.shape not in ((), (batch,)):
            raise InvalidInput(f"each part of a target is an int, or ints of {batch} samples, not {column.dtype} {list(column.shape)}")
        columns.append(column.long().expand(batch))
    return torch.stack(columns, 1)


def _stack(parts: Sequence[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """Classes or positions of samples as one array."""
    try:
        return np.asarray([_numbers(part) for part in parts]) if parts else np.empty(0)
    except ValueError as error:
        raise InvalidInput(f"each sample has one class, or a position of as many numbers as the others; not {list(parts)!r}") from error


def _numbers(part: Any) -> Any:
    """A part of a list, as NumPy takes it."""
    return part.detach().cpu().numpy() if isinstance(part, Tensor) else part


def _tensor(array: np.ndarray[Any, np.dtype[Any]]) -> Tensor:
    if array.dtype.kind not in "iu":
        raise WrongType(f"classes are whole numbers, not {array.dtype}")
    found = torch.from_numpy(np.ascontiguousarray(array.astype(np.int64)))
    return found
