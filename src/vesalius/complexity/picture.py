"""A feature of a few rows, its components, their sums and what is left, laid out to be looked at; drawing is done elsewhere.

Axes: B rows, C units, T steps of a sequence, event: one row's shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from vesalius.complexity.orders import order_bands
from vesalius.core.display import load_view
from vesalius.core.errors import InvalidInput
from vesalius.core.numbers import Limit, whole_number
from vesalius.trace.network import Inputs

if TYPE_CHECKING:
    from vesalius.complexity.components import Complexity

MOST_SAMPLES = 3
"""Rows of which a map or a sequence is shown."""
MOST_ROWS = 12
"""Rows of which a vector is shown."""
MOST_UNITS = 24
"""Units of a sequence or a vector that are shown."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ComponentMaps:
    """The feature of one row, or the vectors of several, as maps of one scale.

    Attributes:
        name: of the row or rows.
        image: the input [channels height width] in 0..1, if it is a picture.
        seen: the input, if it is a sequence or a table: channels by steps, or rows by columns, in units of their spread.
        parts: by name, in the unit of the feature: the feature, each component, the rest.
        sums: the components added up, up to each order.
        scale: that all of them share: the largest magnitude.
    """

    name: str
    image: Float64[Tensor, "channels height width"] | None = None
    seen: Float64[Tensor, "_ _"] | None = None
    parts: Mapping[str, Float64[Tensor, "h w"]]
    sums: Mapping[str, Float64[Tensor, "h w"]]
    scale: float


@dataclass(frozen=True, eq=False, kw_only=True)
class ComponentPicture:
    """A feature and its components for a few rows. Made by :meth:`vesalius.Complexity.picture`.

    Attributes:
        at: name of the feature.
        units: those that are shown.
        axes: what lies down and what lies across in each map.
        maps: one for each row, or one for all.
    """

    at: str
    units: tuple[int, ...]
    axes: tuple[str, str]
    maps: tuple[ComponentMaps, ...]

    @property
    def caption(self) -> str:
        """What is seen, in words."""
        shown = f"unit {self.units[0]}" if len(self.units) == 1 else f"{len(self.units)} units"
        down, across = self.axes
        laid = "" if down == "height" else f", {down} down and {across} across"
        return f"{self.at}, {shown}{laid}: the feature, its components and what is left, on one scale; below, sums up to each order"

    def plot(self, *, title: str | None = None, ax: Any = None) -> Any:
        """Maps in rows; returns the matplotlib figure. See :func:`vesalius.views.complexity.charts.plot_component_picture`."""
        return load_view("picture_plot")(self, title=title, ax=ax)

    def _repr_html_(self) -> str:
        return str(load_view("picture_html")(self))

    def __repr__(self) -> str:
        return f"ComponentPicture({self.caption}; {', '.join(one.name for one in self.maps)})"


def component_picture(found: Complexity, x: Inputs, *, unit: int | None = None, seed: int = 0) -> ComponentPicture:
    """A picture of the components of some rows: :meth:`vesalius.Complexity.picture`."""
    tensors = found.reading.network.bind(x)
    positions = len(found.shape.f) in (2, 3)
    rows = tuple(tensor[: MOST_SAMPLES if positions else MOST_ROWS] for tensor in tensors)
    components = found.components(rows, seed=seed)
    axis = 1 + found.shape.channel_axis if positions else 1
    parts, rest = components.parts.double().cpu(), components.rest.double().cpu()
    parts, rest = (parts.movedim(1 + axis, 2), rest.movedim(axis, 1)) if positions else (parts.flatten(2), rest.flatten(1))
    every = torch.cat([(parts.sum(0) + rest)[None], parts, rest[None], parts.cumsum(0)])
    units = _shown_units(every[0], unit, 1 if len(found.shape.f) == 3 else MOST_UNITS)
    shown = every[:, :, units]
    names = order_bands(found.orders)
    inputs = _inputs(found, rows)
    axes = {3: ("height", "width"), 2: ("units", "steps")}.get(len(found.shape.f), ("rows", "units"))
    if not positions:
        return _picture(found, units, axes, [_maps(f"rows 0 to {len(rest) - 1}", names, shown, inputs.get(0, {}))])
    each = [shown[:, row, 0] if len(found.shape.f) == 3 else shown[:, row] for row in range(len(rest))]
    return _picture(found, units, axes, [_maps(f"row {row}", names, one, inputs.get(row, {})) for row, one in enumerate(each)])


def _picture(found: Complexity, units: Int[Tensor, " U"], axes: tuple[str, str], maps: list[ComponentMaps]) -> ComponentPicture:
    return ComponentPicture(at=found.at, units=tuple(units.tolist()), axes=axes, maps=tuple(maps))


def _shown_units(feature: Float[Tensor, "B C ..."], unit: int | None, most: int) -> Int[Tensor, " U"]:
    """The units asked for, or those that vary most over rows and positions, in their order."""
    if unit is not None:
        chosen = whole_number("unit", unit, Limit(least=0))
        if chosen >= feature.shape[1]:
            raise InvalidInput(f"the feature has units 0 to {feature.shape[1] - 1}, no unit {chosen}")
        return torch.tensor([chosen])
    spread = feature.movedim(1, 0).flatten(1).var(1, correction=0)
    return spread.topk(min(most, len(spread))).indices.sort().values


def _maps(name: str, orders: list[str], shown: Float64[Tensor, "M h w"], seen: Mapping[str, Any]) -> ComponentMaps:
    """Maps of the feature, its components, the rest, then the sums."""
    count = len(orders)
    return ComponentMaps(
        name=name,
        parts=dict(zip(["feature", *orders, "rest"], shown, strict=False)),
        sums=dict(zip(orders, shown[count + 2 :], strict=True)),
        scale=float(shown[: count + 2].abs().max()) or 1.0,
        **seen,
    )


def _inputs(found: Complexity, rows: tuple[Tensor, ...]) -> dict[int, dict[str, Tensor]]:
    """What each map is beside: pictures, sequences of numbers, or the columns of a table."""
    if len(rows) != 1 or not rows[0].is_floating_point():
        return {}
    x = rows[0].detach().double().cpu()
    if x.ndim == 4 and x.shape[1] in (1, 3) and len(found.shape.f) == 3:
        return {row: {"image": one} for row, one in enumerate(x)}
    trunk = found.nets[0][0].trunk
    mean, spread = (tensor.double().cpu() for tensor in (trunk.mean, trunk.spread))
    if x.ndim == 2 and len(found.shape.f) == 1:
        standard = (x - mean) / spread
        return {0: {"seen": standard[:, _shown_units(standard, None, MOST_UNITS)]}}
    if x.ndim == 3 and len(found.shape.f) == 2 and found.shape.kind != "vector":
        channels = found.shape.inputs(x)[:, :, 0]
        standard = (channels - mean[:, None]) / spread[:, None]
        kept = _shown_units(standard, None, MOST_UNITS)
        return {row: {"seen": one[kept]} for row, one in enumerate(standard)}
    return {}
