"""Grad-CAM: where in an inner layer the evidence lies.

Axes: B samples, K channels, * positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.core.players import Players
from vesalius.games.absence import Absence
from vesalius.methods.base import Method, base_and_total, register
from vesalius.methods.straight_path import StraightPath
from vesalius.trace.network import Network
from vesalius.trace.question import Question


@register
@final
@dataclass(frozen=True, kw_only=True)
class GradCAM(Method):
    """Sum over channels of a layer's values, each channel weighted by its mean gradient; one value per position of the layer.

    Explain a layer with ``at=``; by default the last one whose values have positions. With a baseline, values are counted from it.

    Attributes:
        relu: drop negative values, as in the paper; the gap then says what was dropped.
        upsample: bilinearly to the pixels of the network's image input; every sample's values keep their sum.

    Reference: Selvaraju2017, equations 1 and 2. Where global average pooling and a linear layer follow, this is Gradient x Input of the
    layer, summed over channels. Differs from the paper: no ReLU and no upsampling unless asked for.
    """

    name: ClassVar[str] = "grad_cam"
    claims: ClassVar[frozenset[str]] = frozenset({"linear", "sensitive", "graph"})
    relu: bool = False
    upsample: bool = False

    def place(self, network: Network) -> str | None:
        network.graph(self.name)
        return last_spatial_value(network)

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        question.require_differentiable(self.name)
        fills = absence.fill(question)
        base, total = base_and_total(question, fills)
        path = StraightPath(question, tuple(fill.mean(1) for fill in fills))
        gradient = torch.cat([slope for _, _, slope in path.gradients(*path.at_time(1.0))])
        if len(question.present) != 1:
            raise InvalidInput(f"grad_cam looks at one layer, not at {len(question.present)} tensors; choose it with at=")
        shape = question.present[0].shape
        axis = _channel_axis(question)
        slopes, change = (tensor.reshape(shape).movedim(axis, 1) for tensor in (gradient, path.direction))
        weight = slopes.flatten(2).mean(2).reshape(*slopes.shape[:2], *[1] * (slopes.ndim - 2))
        cam = (weight * change).sum(1)
        cam = cam.clamp(min=0) if self.relu else cam
        players = _position_players(shape[1:], axis - 1)
        if self.upsample:
            cam, players = _upsample(cam, question)
        evaluations = torch.full((question.batch,), 2 + fills[0].shape[1])
        return Allocation(
            players=players, values=cam.reshape(question.batch, *players.shape), base=base, total=total, evaluations=evaluations
        )


def last_spatial_value(network: Network) -> str | None:
    """The last value with samples, channels and more than one position; ``None`` where there is none, or no graph."""
    if network.opaque:
        return None
    for name, value in reversed(network.values.items()):
        found = network.axes.values[name]
        if found.units is None or found.split_units or not value.is_floating or value.family not in ("linear", "elementwise", "select"):
            continue
        places = [side for place, side in enumerate(found.shape) if place not in (0, found.units)]
        if None not in places and prod(side or 1 for side in places) > 1:
            return name
    return None


def _channel_axis(question: Question) -> int:
    """Axis of channels, batch first."""
    present = question.present[0]
    if present.ndim < 3:
        raise InvalidInput(
            f"grad_cam needs a layer with positions, and one sample of {question.at[0]!r} has shape {list(present.shape[1:])};"
            " choose one with at=, such as the last convolution"
        )
    network, name = question.network, question.at[0]
    if network.opaque:
        return 1
    known = network.axes.values[name]
    if known.units is None and not known.split_units and name in [value.name for value in network.inputs]:
        return 1 if present.ndim >= 4 else present.ndim - 1  # [B, C, H, W] and [B, T, C], where the graph says nothing of an input
    axis = network.axes.unit_axis(name)
    if split := network.axes.values[name].split_units:
        raise InvalidInput(
            f"grad_cam needs one axis of channels, and those of {name!r} are spread over axes {' and '.join(map(str, split))}; choose a"
            " value before or after it with at="
        )
    return axis


def _position_players(event: torch.Size, channels: int) -> Players:
    """Positions of a layer over all its channels."""
    sides = [side for axis, side in enumerate(event) if axis != channels]
    index = torch.arange(prod(sides)).reshape(sides).unsqueeze(channels)
    return Players((index,), tuple(sides), "patches" if len(sides) == 2 else "tokens" if len(sides) == 1 else "positions")


def _upsample(cam: Float[Tensor, "B *positions"], question: Question) -> tuple[Tensor, Players]:
    image = question.inputs[0]
    if cam.ndim != 3 or image.ndim != 4:
        raise InvalidInput("upsample=True needs a layer with height and width in a network of images [batch, channels, height, width]")
    large = F.interpolate(cam[:, None], size=image.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    old, new = cam.flatten(1).sum(1), large.flatten(1).sum(1)
    area = cam[0].numel() / large[0].numel()
    large = large * area
    lost = (old - new * area) / large[0].numel()  # borders weigh a little more or less than the middle
    return large + lost[:, None, None], Players.patches(image[0], 1)
