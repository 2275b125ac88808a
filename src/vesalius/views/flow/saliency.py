"""Maps of what a single image says to each class, by point-wise information flow.

Axes: F units of the first layer, L of the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.views import axes, style

MAP_INCHES = 1.5
MOST_MAPS = 12
"""Inches of a map, and maps that are drawn."""


def plot_saliency(
    flow: Float[Tensor, "F L"], shape: Sequence[int], *, classes: Sequence[str] = (), image: Float[Tensor, "..."] | None = None
) -> Figure:
    """One map per class on one scale: red speaks for it, blue against it.

    Args:
        flow: one sample of :func:`vesalius.information.pointwise_flow`.
        shape: of the image: (height, width), or channels first, which are summed.
        classes: their names; numbers by default.
        image: the sample itself, drawn beside the maps.

    Raises:
        InvalidInput: a shape of another size than the flow's, or another number of names.
    """
    if len(shape) not in (2, 3) or prod(shape) != len(flow):
        raise InvalidInput(f"the flow comes from {len(flow)} units; an image of shape {tuple(shape)} has {prod(shape)}")
    names = list(classes) or [str(at) for at in range(flow.shape[1])]
    if len(names) != flow.shape[1]:
        raise InvalidInput(f"{flow.shape[1]} classes, and {len(names)} names for them")
    maps = flow.detach().double().cpu().T.reshape(flow.shape[1], -1, *shape[-2:]).sum(1).numpy()[:MOST_MAPS]
    scale = float(np.abs(maps).max()) or 1.0
    width = len(maps) + (image is not None)
    figure, first = axes.figure_and_axes(None, (MAP_INCHES * width, MAP_INCHES + 0.6))
    first.remove()
    grid = figure.subplots(1, width, squeeze=False)[0]
    if image is not None:
        picture = image.detach().double().cpu().reshape(-1, *shape[-2:]).mean(0)
        grid[0].imshow(picture, cmap="gray", interpolation="nearest")
        grid[0].set_title("image", fontsize=9)
    for ax, name, values in zip(grid[width - len(maps) :], names, maps, strict=False):
        ax.imshow(values, cmap=axes.DIVERGING, vmin=-scale, vmax=scale, interpolation="nearest")
        ax.set_title(axes.escape_dollars(name), fontsize=9)
    for ax in grid:
        axes.hide_frame(ax)
    figure.supxlabel(f"point-wise flow, {style.MINUS}{style.number(scale)} to {style.number(scale)}", fontsize=9, color=axes.COLOURS["mut"])
    return figure
