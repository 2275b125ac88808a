"""What the axes of a value are: the batch, units of a layer, positions; alone, or several laid out along one axis, in order.

Axes: B batch of samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

BATCH, UNITS, POSITIONS, UNKNOWN = "batch", "units", "positions", "unknown"
"""What an axis can run over."""


@dataclass(frozen=True)
class AxisPart:
    """What an axis, or a stretch of neighbouring elements of one, runs over.

    Attributes:
        kind: ``batch``, ``units`` (features, neurons, channels), ``positions`` (pixels, tokens, steps) or ``unknown``.
        size: how many; ``None`` for the batch, and where the batch size enters an unknown one.
        origin: the axis that it was first, such as ``fc/linear:2``.
        since: place of that axis's value in the order of computation.
        stride: how many elements of that axis lie between two neighbours of this part.
        whole: size of that axis.
    """

    kind: str
    size: int | None
    origin: str = ""
    since: int = -1
    stride: int = 1
    whole: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the axis that it was."""
        return self.size == self.whole


Axis = tuple[AxisPart, ...]
"""Parts of an axis, the slowest first; none where it has one element that nothing is known of."""
Axes = tuple[Axis, ...]
Sizes = Sequence[int | None]


def new_axis(kind: str, size: int | None, origin: str, since: int) -> Axis:
    """An axis that begins with a value."""
    return (AxisPart(kind, size, origin, since, 1, size),)


def axis_size(axis: Axis) -> int | None:
    """Elements of an axis; ``None`` where the batch is among its parts."""
    return None if any(part.size is None for part in axis) else prod(part.size or 1 for part in axis)


def axis_kind(axis: Axis) -> str:
    """The word for an axis: units where some of it is."""
    kinds = {part.kind for part in axis}
    return next((kind for kind in (BATCH, UNITS, POSITIONS) if kind in kinds), UNKNOWN)


def fit_axis(axis: Axis, size: int | None, origin: str, since: int) -> Axis:
    """An axis of the same kind in another size, as slicing and pooling leave it."""
    if axis_size(axis) == size or (size == 1 and not axis):
        return axis
    if size is None or axis_kind(axis) == BATCH:
        return new_axis(UNKNOWN, size, origin, since)
    kept = AxisPart(axis_kind(axis), size, origin, since, 1, size)
    return (kept if holds_whole(axis) else replace(kept, whole=None),)


def holds_whole(axis: Axis) -> bool:
    """Whether all units that some of an axis belongs to are on it, so that they are not spread over several axes."""
    units = [part for part in axis if part.kind == UNITS]
    return not units or any(part.is_whole for part in units)


def merge_axes(one: Axis, other: Axis) -> Axis:
    """What an axis is that two values share in a sum or a product: units only where both say so, or one says nothing."""
    kinds = axis_kind(one), axis_kind(other)
    if one == other or kinds[1] == UNKNOWN:
        return one
    if kinds[0] == UNKNOWN:
        return other
    if [part.size for part in one] == [part.size for part in other]:
        return tuple(map(_merge_parts, one, other))
    if BATCH in kinds:
        return one if kinds[1] != BATCH else other if kinds[0] != BATCH else (AxisPart(UNKNOWN, None),)
    if POSITIONS in kinds:
        return one if kinds[0] == POSITIONS else other
    return max(one, other, key=lambda axis: max(part.since for part in axis))


def _merge_parts(one: AxisPart, other: AxisPart) -> AxisPart:
    for kind in (BATCH, POSITIONS):
        if kind in (one.kind, other.kind):
            return one if one.kind == kind else other
    if UNKNOWN in (one.kind, other.kind):
        return other if one.kind == UNKNOWN else one
    return max(one, other, key=lambda part: (part.is_whole, part.since))


def reshape_axes(axes: Axes, shape: Sizes) -> Axes | None:
    """Axes after a reshape; those from where it cuts across parts are unknown.

    Returns:
        ``None`` where not even the number of elements is known.
    """
    parts = [part for axis in axes for part in axis]
    if any(part.size is None and part.kind != BATCH for part in parts) or sum(side is None for side in shape) > 1:
        return None
    known = prod(side for side in shape if side is not None)
    rest = prod(part.size or 1 for part in parts) // max(known, 1)
    found: list[Axis] = []
    for side in shape:
        axis = _take_parts(parts, rest if side is None else side, batch=side is None)
        if axis is None:
            unknown = [(AxisPart(UNKNOWN, left),) for left in shape[len(found) :]]
            return (*found, *unknown)
        found.append(join_parts(axis))
    return tuple(found)


def _take_parts(parts: list[AxisPart], size: int, *, batch: bool) -> list[AxisPart] | None:
    """The first parts of a list that make up so many elements (times the batch), taken off it; a part may be cut in two."""
    if size == 1 and not batch:
        return [parts.pop(0)] if parts and parts[0].size == 1 else []
    taken: list[AxisPart] = []
    while size > 1 or batch:
        if not parts:
            return None
        part = parts.pop(0)
        if part.size is None:
            if not batch:
                return None
            batch = False
        elif part.size == 1:
            continue
        elif size % part.size == 0:
            size //= part.size
        elif size > 1 and part.size % size == 0:
            parts.insert(0, replace(part, size=part.size // size))
            part, size = replace(part, size=size, stride=part.stride * (part.size // size)), 1
        else:
            return None
        taken.append(part)
    return taken


def join_parts(parts: Iterable[AxisPart]) -> Axis:
    """Neighbours that were cut from one axis, and lie as they did there, as one part."""
    found: list[AxisPart] = []
    for part in parts:
        last = found[-1] if found else None
        joined = last is not None and last.origin and (last.origin, last.kind) == (part.origin, part.kind)
        if joined and last is not None and last.size and part.size and last.stride == part.stride * part.size:
            found[-1] = replace(part, size=last.size * part.size)
        else:
            found.append(part)
    return tuple(found)


# ---- the batch -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BatchLayout:
    """Where the samples are in a tensor, and the way to its batch-first form and back.

    Attributes:
        axis: the axis that holds the batch.
        before: elements of that axis, per sample, that run slower than the batch.
        after: those that run faster: T where an axis is the batch times T positions, sample by sample.
    """

    axis: int = 0
    before: int = 1
    after: int = 1

    @property
    def is_plain(self) -> bool:
        """Whether the axis is the batch alone."""
        return self.before == self.after == 1

    def batch_first(self, tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "B ..."]:
        """The tensor as [B, ...]; what shared the batch's axis has an axis of its own in its place."""
        if self.is_plain:
            return tensor.movedim(self.axis, 0)
        inner = [side for side in (self.before, -1, self.after) if side != 1]
        unfolded: Tensor = tensor.unflatten(self.axis, inner)
        return unfolded.movedim(self.axis + (self.before > 1), 0)

    def restore(self, tensor: Shaped[Tensor, "B ..."]) -> Shaped[Tensor, "..."]:
        """The inverse of :meth:`batch_first`."""
        moved: Tensor = tensor.movedim(0, self.axis + (self.before > 1))
        return moved if self.is_plain else moved.flatten(self.axis, self.axis + (self.before > 1) + (self.after > 1))

    def broadcast(self, tensor: Shaped[Tensor, "..."], count: int) -> Shaped[Tensor, "B ..."]:
        """A batch-first tensor whose sides of 1 stand for all, as long as it has to be to go back: of so many samples."""
        if self.is_plain:
            return tensor
        sizes = [count] + [-1] * (tensor.ndim - 1)
        inner = [side for side in (self.before, self.after) if side != 1]
        sizes[1 + self.axis : 1 + self.axis + len(inner)] = inner
        return tensor.expand(sizes)

    def sample_of_each(self, count: int) -> Int[Tensor, " positions"]:
        """The sample of each place along the axis, of so many samples."""
        return torch.arange(count).repeat_interleave(self.after).repeat(self.before)


BATCH_FIRST = BatchLayout()
"""The layout of values whose first axis is the batch."""


@dataclass(frozen=True)
class ValueAxes:
    """The axes of a value.

    Attributes:
        name: of the value.
        axes: parts of each axis, as the network computes it.
        heads: whether its second axis is known to run over attention heads.
    """

    name: str
    axes: Axes
    heads: bool = False

    @property
    def has_samples(self) -> bool:
        """Whether it differs between samples at all, as far as the graph says; an embedding of positions does not."""
        return any(part.size is None for parts in self.axes for part in parts)

    @property
    def batch(self) -> BatchLayout | None:
        """Where the samples are; ``None`` where the graph does not say, or where they are in several places."""
        places = [(axis, place) for axis, parts in enumerate(self.axes) for place, part in enumerate(parts) if part.kind == BATCH]
        if len(places) != 1:
            return None
        axis, place = places[0]
        before, after = self.axes[axis][:place], self.axes[axis][place + 1 :]
        if axis_size(before) is None or axis_size(after) is None:
            return None
        return BatchLayout(axis, axis_size(before) or 1, axis_size(after) or 1)

    @property
    def batch_first(self) -> Axes:
        """Parts of each axis of the batch-first form; of the value as it is where no axis holds the batch."""
        if (layout := self.batch) is None:
            return self.axes
        held = self.axes[layout.axis]
        place = next(at for at, part in enumerate(held) if part.kind == BATCH)
        inner = [axis for axis in (held[:place], held[place + 1 :]) if axis_size(axis) != 1]
        return ((held[place],), *self.axes[: layout.axis], *inner, *self.axes[layout.axis + 1 :])

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Sizes of the batch-first form, ``None`` for the batch."""
        return tuple(axis_size(axis) for axis in self.batch_first)

    @property
    def units(self) -> int | None:
        """The axis of the batch-first form that runs over units; ``None`` where the graph does not say, or several share them."""
        if self.batch is None or len(self.batch_first) < 2:
            return None
        if self.heads and len(self.batch_first) == 4:
            return 1
        newest = self._newest_units()
        if not newest:
            return self._only_axis()
        latest = [axis for axis, since in newest.items() if since == max(newest.values())]
        parts = self.batch_first[latest[0]]
        if len(newest) == 1:
            rest = [one for at, one in enumerate(self.batch_first) if at and at != latest[0] and axis_size(one) != 1]
            return latest[0] if holds_whole(parts) or all(axis_kind(one) == POSITIONS for one in rest) else None
        return latest[0] if len(latest) == 1 and any(part.is_whole and part.since == newest[latest[0]] for part in parts) else None

    @property
    def split_units(self) -> tuple[int, ...]:
        """Axes of the batch-first form over which units of one layer are spread, such as heads and the features of a head."""
        cut = [
            axis
            for axis, parts in enumerate(self.batch_first)
            if any(part.kind == UNITS and not part.is_whole for part in parts) and axis in self._newest_units()
        ]
        return tuple(cut) if len(cut) > 1 else ()

    def _newest_units(self) -> Mapping[int, int]:
        """Axes that carry units, and when the latest of these came about."""
        carried = {axis: [part.since for part in parts if part.kind == UNITS] for axis, parts in enumerate(self.batch_first)}
        return {axis: max(since) for axis, since in carried.items() if since}

    def _only_axis(self) -> int | None:
        """The one axis beside the batch, or the one that has more than one element."""
        inner = range(1, len(self.batch_first))
        long = [axis for axis in inner if self.shape[axis] != 1]
        return 1 if len(inner) == 1 else long[0] if len(long) == 1 and not self._says_positions(long[0]) else None

    def _says_positions(self, axis: int) -> bool:
        return axis_kind(self.batch_first[axis]) == POSITIONS
