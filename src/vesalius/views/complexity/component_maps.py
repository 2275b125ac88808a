"""Pictures of a feature and its components: what stands in which row and column, and SVG of it."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from vesalius.complexity.picture import ComponentMaps, ComponentPicture
from vesalius.core.errors import WrongType
from vesalius.views import style, svg
from vesalius.views.html import render_template


def picture_body(picture: ComponentPicture) -> Markup:
    """Maps on one scale: the input, the feature, its components and the rest; below each component, the sum up to it.

    Raises:
        WrongType: no picture of components.
    """
    check_picture(picture)
    rows = [_svg_rows(maps) for maps in picture.maps]
    return render_template("component_maps.html.j2", {"caption": picture.caption, "pictures": rows})


def check_picture(picture: ComponentPicture) -> None:
    """Refuse what is no picture of components.

    Raises:
        WrongType: it is something else.
    """
    if not isinstance(picture, ComponentPicture):
        raise WrongType(f"expected a ComponentPicture, not {type(picture).__name__}; make one with found.picture(x)")


def is_squarish(colours: np.ndarray) -> bool:
    """Whether a map may keep its shape; others are stretched to a cell."""
    height, width = colours.shape[:2]
    return bool(0.5 <= height / width <= 2)


def map_line(maps: ComponentMaps) -> list[tuple[str, np.ndarray | None]]:
    """The input, the feature, its components and the rest, in colours."""
    found: list[tuple[str, np.ndarray | None]] = []
    if maps.image is not None:
        bright = np.rint(np.clip(np.nan_to_num(maps.image.numpy()), 0, 1) * 255).astype(np.uint8)
        found.append(("input", np.broadcast_to(bright, (3, *bright.shape[1:])).transpose(1, 2, 0)))
    if maps.seen is not None:
        found.append(("input", style.diverging_colours(maps.seen.numpy(), _largest(maps.seen.numpy()))))
    return found + [(_map_title(name), style.diverging_colours(values.numpy(), maps.scale)) for name, values in maps.parts.items()]


def sum_line(maps: ComponentMaps, first: int) -> list[tuple[str, np.ndarray | None]]:
    """Sums below the components, whose first stands in a column of its own."""
    blank: list[tuple[str, np.ndarray | None]] = [("", None)] * first
    return blank + [(f"up to {name}", style.diverging_colours(values.numpy(), maps.scale)) for name, values in maps.sums.items()]


def _svg_rows(maps: ComponentMaps) -> dict[str, object]:
    first = len(map_line(maps)) - len(maps.parts) + 1
    stretch = not is_squarish(next(iter(maps.parts.values())).numpy())

    def drawn(row: list[tuple[str, np.ndarray | None]]) -> list[tuple[str, Markup]]:
        return [
            (name, Markup("") if colours is None else svg.pixels(colours, f"{name}, {maps.name}", stretch=stretch)) for name, colours in row
        ]

    low, high = (style.number(side * maps.scale) for side in (-1, 1))
    return {"name": maps.name, "line": drawn(map_line(maps)), "sums": drawn(sum_line(maps, first)), "low": low, "high": high}


def _map_title(name: str) -> str:
    return name if name in ("feature", "rest") else f"order {name}"


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max()) or 1.0
