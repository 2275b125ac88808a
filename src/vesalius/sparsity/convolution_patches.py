"""What the links of a convolution carry: the patches under its kernel; of a transposed one, what reaches a position.

Axes: B batch, N rows, C channels, K elements of the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.trace.layers import Layer


@dataclass(frozen=True, kw_only=True)
class ConvolutionWindow:
    """How a convolution slides.

    Attributes:
        kernel, stride, dilation: per axis of space.
        before, after: padding at the start and the end of each axis.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @classmethod
    def of(cls, args: Sequence[object], layer: Layer) -> ConvolutionWindow:
        """Read from the arguments of a convolution in the graph."""
        kernel = layer.shape[2:]
        stride, padding, dilation = ((*args, *CONVOLUTION_DEFAULTS[len(args) :])[place] for place in (3, 4, 5))
        dilated = _per_axis(dilation, kernel)
        if isinstance(padding, str):
            total = [step * (side - 1) if padding == "same" else 0 for step, side in zip(dilated, kernel, strict=True)]
            before = tuple(side // 2 for side in total)
            behind = tuple(side - first for side, first in zip(total, before, strict=True))
        else:
            before = behind = _per_axis(padding, kernel)
        return cls(kernel=kernel, stride=_per_axis(stride, kernel), dilation=dilated, before=before, after=behind)


CONVOLUTION_DEFAULTS = (None, None, None, 1, 0, 1)
TRANSPOSED_DEFAULTS = (None, None, None, 1, 0, 0, 1, 1)


def _per_axis(argument: Any, kernel: tuple[int, ...]) -> tuple[int, ...]:
    found = (argument,) if isinstance(argument, int) else tuple(argument)
    return found if len(found) == len(kernel) else found * len(kernel)


def patches(
    value: Float[Tensor, "B C *space"], window: ConvolutionWindow, *, positions: int | None = None, generator: torch.Generator | None = None
) -> Float[Tensor, "N CK"]:
    """What lies under a convolution's kernel, at all positions or at some of each sample."""
    ends = [side for pair in zip(reversed(window.before), reversed(window.after), strict=True) for side in pair]
    value = torch.nn.functional.pad(value, ends)
    axes = len(window.kernel)
    for axis in range(axes):
        reach = (window.kernel[axis] - 1) * window.dilation[axis] + 1
        value = value.unfold(2 + axis, reach, window.stride[axis])[..., :: window.dilation[axis]]
    value = value.movedim(1, 1 + axes)
    space = value.shape[1 : 1 + axes]
    if positions is None or positions >= prod(space):
        return value.flatten(1 + axes).flatten(0, axes)
    drawn = (
        torch.rand(len(value), prod(space), generator=generator, dtype=torch.float32)
        .argsort(dim=1, stable=True)[:, :positions]
        .to(value.device)
    )
    sample = torch.arange(len(value), device=value.device)[:, None].expand_as(drawn)
    return value[(sample, *torch.unravel_index(drawn, space))].flatten(0, 1).flatten(1)


@dataclass(frozen=True, kw_only=True)
class TransposedWindow:
    """How a transposed convolution slides: as a convolution of its input with zeros between the elements, its kernel turned round.

    Attributes:
        window: of that convolution, with a stride of 1.
        spread: per axis of space, the stride: one more than the zeros between two elements.
    """

    window: ConvolutionWindow
    spread: tuple[int, ...]

    @classmethod
    def of(cls, args: Sequence[object], layer: Layer) -> TransposedWindow:
        """Read from the arguments of a transposed convolution in the graph."""
        kernel = layer.shape[2:]
        places = (3, 4, 5, 7)
        stride, padding, longer, dilation = (_per_axis(((*args, *TRANSPOSED_DEFAULTS[len(args) :])[place]), kernel) for place in places)
        before = tuple(step * (side - 1) - cut for step, side, cut in zip(dilation, kernel, padding, strict=True))
        after = tuple(side + more for side, more in zip(before, longer, strict=True))
        window = ConvolutionWindow(kernel=kernel, stride=(1,) * len(kernel), dilation=dilation, before=before, after=after)
        return cls(window=window, spread=stride)


def transposed_patches(
    value: Float[Tensor, "B C *space"], how: TransposedWindow, *, positions: int | None = None, generator: torch.Generator | None = None
) -> Float[Tensor, "N CK"]:
    """What every input, through every element of a transposed convolution's kernel, brings to a position; 0 where the stride passes by."""
    sides = [step * (side - 1) + 1 for step, side in zip(how.spread, value.shape[2:], strict=True)]
    spaced = value.new_zeros(*value.shape[:2], *sides)
    spaced[(slice(None), slice(None), *(slice(None, None, step) for step in how.spread))] = value
    found = patches(spaced, how.window, positions=positions, generator=generator)
    axes = tuple(range(2, 2 + len(how.window.kernel)))
    return found.reshape(len(found), -1, *how.window.kernel).flip(axes).flatten(1)
