"""The nested family of disentanglers: nets of one nonlinear layer, of two, ..., chosen from the shapes of input and feature.

Every net is an affine exit on two things: linear features of the input, and the units after its last block. A block is one nonlinear
layer; after the first it is residual, so that a deeper net can be the shallower one.

Axes: B batch, P positions of the feature (1 where it is a vector), A linear features of the input, C units of a block, D channels of the
feature, event: one row's shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isqrt, prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vesalius.core import store

MAX_LINEAR_FEATURES = 512
"""Linear features per position up to which the neighbouring positions are among them."""
MAX_FLAT_FEATURES = 1024
"""Linear features of a picture or sequence for a feature without positions; larger ones are averaged down to it."""
MAX_STRIDE = 8
"""Pixels per position of the feature; larger pictures are averaged down."""
POOLED_SIDE = 4
"""Positions per axis that an exit for a feature without positions reads."""
SEQUENCE_KERNEL = 5
"""Positions a block sees along a sequence; in a picture it sees 3 x 3."""
MAX_WIDTH = 1 << 16
"""Units of a block that a file may speak of without holding any."""
DEFAULT_WIDTHS = {"vector": 64, "map": 16, "pooled": 16}
"""Units, or channels, of a block that are tried first: in a picture each costs at every position."""


@dataclass(frozen=True, kw_only=True)
class RowShapes:
    """Shapes of one row, and how they are laid out.

    Attributes:
        x: of what the disentanglers see.
        f: of the feature.
        axis: of units in a row of the feature with two or three axes; by default the last of two, and the first of three.
        source_axis: of channels in a row of what the disentanglers see; by default as above, of two axes as in a feature of two.
    """

    x: tuple[int, ...]
    f: tuple[int, ...]
    axis: int | None = None
    source_axis: int | None = None

    @property
    def channel_axis(self) -> int:
        """Axis of units in a row of the feature; 0 in a vector."""
        return self.axis if self.axis is not None else 1 if len(self.f) == 2 else 0

    @property
    def _channels_first(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of a row of the input and of one of the feature with channels on the first axis."""
        return _to_front(self.x, self._channels_of_input), _to_front(self.f, self.channel_axis)

    @property
    def _channels_of_input(self) -> int:
        default = self.channel_axis if len(self.x) == len(self.f) == 2 else 1 if len(self.x) == 2 else 0
        return default if self.source_axis is None else self.source_axis

    @property
    def kind(self) -> str:
        """``"map"``: input and feature have positions; ``"pooled"``: only the input has; ``"vector"``: neither has."""
        if len(self.x) not in (2, 3):
            return "vector"
        positions = prod(self._channels_first[1][1:]) if len(self.f) in (2, 3) else 1
        return "map" if len(self.x) == len(self.f) and positions > 1 else "pooled"

    @property
    def channels(self) -> int:
        """D."""
        return prod(self.f) if self.kind != "map" else self._channels_first[1][0]

    @property
    def entering(self) -> int:
        """Channels of the input; all its numbers where it has no positions."""
        return prod(self.x) if self.kind == "vector" else self._channels_first[0][0]

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the input; the height of a sequence is 1."""
        return _as_grid(self._channels_first[0][1:])

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the blocks' maps: those of the feature, or coarse ones where it has none."""
        if self.kind == "map":
            return _as_grid(self._channels_first[1][1:])
        if len(self.x) == 2:
            return 1, min(self.sides[1], 64)
        height, width = (min(side, max(4, min(8, -(-side // 4)))) for side in self.sides)
        return height, width

    @property
    def strides(self) -> tuple[int, int]:
        """Pixels per position."""
        down, across = (max(1, min(MAX_STRIDE, side // cells)) for side, cells in zip(self.sides, self.grid, strict=True))
        return down, across

    @property
    def positions(self) -> int:
        """P."""
        return prod(self.grid) if self.kind == "map" else 1

    def inputs(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B *event"]:
        """Rows as vectors, or as pictures [B channels height width]; a sequence is a picture of height 1."""
        if self.kind == "vector":
            return x.flatten(1)
        x = x.movedim(1 + self._channels_of_input, 1)
        return (x.unsqueeze(2) if len(self.x) == 2 else x).contiguous(memory_format=torch.channels_last)

    def rows(self, f: Float[Tensor, "B ..."]) -> Float[Tensor, "B P D"]:
        """A feature by position."""
        if self.kind != "map":
            return f.flatten(1).unsqueeze(1)
        return f.movedim(1 + self.channel_axis, 1).flatten(2).transpose(1, 2)

    def restore(self, rows: Float[Tensor, "B P D"]) -> Float[Tensor, "B ..."]:
        """The inverse of :meth:`rows`."""
        if self.kind != "map":
            return rows.reshape(len(rows), *self.f)
        first = rows.transpose(1, 2).reshape(len(rows), *self._channels_first[1])
        return first.movedim(1, 1 + self.channel_axis).contiguous()


def _to_front(sides: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (sides[axis], *sides[:axis], *sides[axis + 1 :])


def _as_grid(sides: tuple[int, ...]) -> tuple[int, int]:
    return (sides[0], sides[1]) if len(sides) == 2 else (1, sides[0])


class Trunk(nn.Module):
    """Blocks of one nonlinear layer each, on a standardised input.

    Args:
        shape: of rows.
        width: units or channels of a block.
        blocks: how many.
        generator: of the initial weights (Kaiming normal).
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, shape: RowShapes, width: int, blocks: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.shape, self.width = shape, width
        entering = shape.entering
        self.register_buffer("mean", torch.zeros(entering, dtype=torch.float32))
        self.register_buffer("spread", torch.ones(entering, dtype=torch.float32))
        with torch.random.fork_rng(devices=[]):
            sizes = [entering] + [width] * blocks
            self.maps = nn.ModuleList(self._map(at, sizes[at]) for at in range(blocks))
            self.norms = nn.ModuleList(
                (nn.BatchNorm1d if shape.kind == "vector" else nn.BatchNorm2d)(width, dtype=torch.float32) for _ in range(blocks)
            )
            for layer in self.maps:
                nn.init.kaiming_normal_(layer.get_parameter("weight"), nonlinearity="relu", generator=generator)
        if shape.kind != "vector":
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _map(self, at: int, entering: int) -> nn.Module:
        if self.shape.kind == "vector":
            return nn.Linear(entering, self.width, bias=False, dtype=torch.float32)
        flat = self.shape.sides[0] == 1
        strides = self.shape.strides if at == 0 else (1, 1)
        reach = SEQUENCE_KERNEL if flat else 3
        high, wide = (2 * stride + 1 if stride > 1 else reach for stride in strides)
        high = 1 if flat else high
        wide = max(wide, self._sequence_reach(1)) if flat and at == 0 else wide
        return nn.Conv2d(entering, self.width, (high, wide), strides, (high // 2, wide // 2), bias=False, dtype=torch.float32)

    @property
    def blocks(self) -> int:
        """How many nonlinear layers there are."""
        return len(self.maps)

    @property
    def read(self) -> int:
        """How many numbers of a block an exit reads, by position."""
        return self.width * (prod(self._pooled) if self.shape.kind == "pooled" else 1)

    @property
    def _pooled(self) -> tuple[int, int]:
        height, width = self.shape.grid
        return min(height, POOLED_SIDE), min(width, POOLED_SIDE)

    def standardise_input(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B *event"]:
        """The input with mean 0 and spread 1, averaged down to whole pixels per position."""
        found = self.shape.inputs(x)
        if self.shape.kind == "vector":
            return (found - self.mean) / self.spread
        found = (found - self.mean[:, None, None]) / self.spread[:, None, None]
        height, width = (side * stride for side, stride in zip(self.shape.grid, self.shape.strides, strict=True))
        wanted = height, width
        return found if found.shape[2:] == wanted else F.adaptive_avg_pool2d(found, wanted)

    def forward(self, x: Float[Tensor, "B ..."]) -> list[Float[Tensor, "B P C"]]:
        """Units after every block, for an input that is standardised."""
        found, units = [], x
        for at, (layer, norm) in enumerate(zip(self.maps, self.norms, strict=True)):
            units = torch.relu(norm(layer(units))) if at == 0 else torch.relu(norm(layer(units)) + units)
            found.append(self._read(units))
        return found

    def _read(self, units: Float[Tensor, "B ..."]) -> Float[Tensor, "B P C"]:
        """What an exit reads of a block."""
        if self.shape.kind == "vector":
            return units.unsqueeze(1)
        if self.shape.kind == "map":
            return units.permute(0, 2, 3, 1).flatten(1, 2)
        return F.adaptive_avg_pool2d(units, self._pooled).flatten(1).unsqueeze(1)

    # ---- linear features ----------------------------------------------------------------------------------------------------------

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of the patch of the input that a position's linear features are: with its neighbours if they are few."""
        strides = self.shape.strides
        high, wide = (stride if side == 1 else 3 * stride for stride, side in zip(strides, self.shape.grid, strict=True))
        if self.shape.sides[0] == 1:
            wide = max(wide, self._sequence_reach(strides[1]))
        return (high, wide) if len(self.mean) * high * wide <= MAX_LINEAR_FEATURES else strides

    def _sequence_reach(self, least: int) -> int:
        """Steps of a sequence that a position sees at once: all of them where their numbers are few, lest depth be needed to see far."""
        whole = 2 * self.shape.sides[1] - 1
        return least + max(0, min(whole, MAX_LINEAR_FEATURES // self.shape.entering) - least) // 2 * 2

    def linear(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B P A"]:
        """Linear features of a standardised input, by position."""
        if self.shape.kind == "vector":
            return x.unsqueeze(1)
        if self.shape.kind == "map":
            return F.unfold(x, self.patch, padding=self._padding, stride=self.shape.strides).transpose(1, 2)
        side = isqrt(MAX_FLAT_FEATURES // len(self.mean)) or 1
        sides = (1, MAX_FLAT_FEATURES // len(self.mean) or 1) if x.shape[2] == 1 else (side, side)
        height, width = (min(a, b) for a, b in zip(x.shape[2:], sides, strict=True))
        return F.adaptive_avg_pool2d(x, (height, width)).flatten(1).unsqueeze(1)

    def project(self, x: Float[Tensor, "B ..."], weight: Float[Tensor, "A D"]) -> Float[Tensor, "B P D"]:
        """``linear(x) @ weight``; for maps as a convolution, which never writes the patches down."""
        if self.shape.kind != "map":
            return self.linear(x) @ weight
        kernel = weight.T.reshape(-1, len(self.mean), *self.patch)
        return F.conv2d(x, kernel, stride=self.shape.strides, padding=self._padding).permute(0, 2, 3, 1).flatten(1, 2)

    @property
    def _padding(self) -> tuple[int, int]:
        down, across = ((side - stride) // 2 for side, stride in zip(self.patch, self.shape.strides, strict=True))
        return down, across

    # ---- copies -------------------------------------------------------------------------------------------------------------------

    def prefix(self, blocks: int) -> Trunk:
        """A copy of the first blocks."""
        found = Trunk(self.shape, self.width, blocks).to(self.mean.device)
        mine = self.state_dict()
        found.load_state_dict({name: mine[name] for name in found.state_dict()})
        return found.eval()

    def deepen(self, blocks: int, generator: torch.Generator) -> Trunk:
        """A copy with more blocks that do nothing yet: the units after the last block are the same."""
        found = Trunk(self.shape, self.width, blocks, generator=generator).to(self.mean.device)
        found.load_state_dict({**found.state_dict(), **self.state_dict()})
        for norm in list(found.norms)[self.blocks :]:
            nn.init.zeros_(norm.get_parameter("weight"))
        return found

    def macs(self, exits: int) -> int:
        """Multiplications for one row: of all blocks, the input skip, and so many exits."""
        place = prod(self.shape.grid) if self.shape.kind != "vector" else 1
        blocks = sum(layer.get_parameter("weight").numel() for layer in self.maps) * place
        with torch.no_grad():
            x = self.standardise_input(self.mean.new_zeros(1, *self.shape.x))
            columns = self.linear(x).shape[-1]
        return blocks + self.shape.positions * (columns + exits * self.read) * self.shape.channels


def fit_standardisation(trunk: Trunk, parts: Iterable[Tensor]) -> None:
    """Give a trunk the mean and spread of each channel (or feature) over some batches of rows; what does not vary is not stretched."""
    total = squares = torch.zeros_like(trunk.mean, dtype=torch.float64)
    count = 0
    for part in parts:
        rows = trunk.shape.inputs(part).double()
        rows = rows if rows.ndim == 2 else rows.movedim(1, -1).flatten(0, 2)
        total, squares, count = total + rows.sum(0), squares + rows.square().sum(0), count + len(rows)
    mean = total / count
    spread = (squares / count - mean.square()).clamp_min(0).sqrt()
    trunk.mean.copy_(mean)
    trunk.spread.copy_(torch.where(spread > 1e-6 * (mean.abs() + 1e-6), spread, torch.ones_like(spread)))


def read_shape(facts: Mapping[str, Any]) -> RowShapes:
    """Shapes of a row as a file has them.

    Raises:
        KeyError, TypeError, ValueError: they are none.
    """
    axes = facts["axis"], facts["source_axis"]
    found = RowShapes(x=store.sides(facts["x"]), f=store.sides(facts["f"]), axis=axes[0], source_axis=axes[1])
    known = all(axis is None or (type(axis) is int and 0 <= axis < len(row)) for axis, row in zip(axes, (found.f, found.x), strict=True))
    if not known or not prod(found.x) or not prod(found.f):
        raise ValueError("a row has no such shape")
    return found


def read_trunk(tensors: Mapping[str, Tensor], shape: RowShapes, width: int, blocks: int) -> Trunk:
    """Blocks as a file has them; made only once it is known that they are no larger than what the file holds.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: its tensors are not those of such blocks.
    """
    held = sum(tensor.numel() for tensor in tensors.values())
    if type(width) is not int or type(blocks) is not int or not 0 <= blocks <= len(tensors) or not 1 <= width <= max(held, MAX_WIDTH):
        raise ValueError(f"there are no {blocks} blocks of {width} units")
    with torch.device("meta"):
        planned = Trunk(shape, width, blocks).state_dict()
    if {name: tensor.shape for name, tensor in planned.items()} != {name: tensor.shape for name, tensor in tensors.items()}:
        raise ValueError(f"its tensors are not those of {blocks} blocks of {width} units")
    for name, tensor in planned.items():
        store.part(tensors, name, kind="floating" if tensor.is_floating_point() else "whole")
    found = Trunk(shape, width, blocks)
    found.load_state_dict(dict(tensors))
    return found
