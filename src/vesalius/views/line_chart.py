"""Line charts of a page, as SVG in the colours of the theme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from markupsafe import Markup, escape
from numpy import ndarray

from vesalius.views import style, svg
from vesalius.views.median_curves import MedianCurve, median_curves, separate_labels

SIZE = (480.0, 270.0)
LEFT, RIGHT, TOP, BOTTOM = 64.0, 112.0, 12.0, 44.0
"""A chart on a page, and what its frame leaves around the lines, in pixels."""

NAME_SPACING = 15.0
"""Least distance between names, in pixels."""


@dataclass(frozen=True, kw_only=True)
class ChartLabels:
    """What is written on a chart.

    Attributes:
        title: what it shows.
        x: what runs along.
        y: what runs up.
        percent: whether x and y are shares.
    """

    title: str
    x: str
    y: str
    percent: tuple[bool, bool] = (False, False)


def titled(labels: ChartLabels, title: str | None) -> ChartLabels:
    """Labels with another title, where one is given."""
    return labels if title is None else replace(labels, title=title)


def svg_curves(curves: Mapping[str, tuple[object, object]], labels: ChartLabels) -> Markup:
    """For each curve the median over its runs, and a band from their quarter to three quarters.

    Args:
        curves: by name, places [steps] and values [runs, steps]; what others are compared with may be called ``random``.
        labels: of the axes.

    Raises:
        InvalidInput: no curves, shapes that do not fit, values that are not finite.
    """
    lines = median_curves(curves)
    x = round_ticks(np.concatenate([line.x for line in lines]), 6)
    y = round_ticks(np.concatenate([side for line in lines for side in (line.low, line.high, line.middle)]), 5)
    across = LinearScale(min(line.x[0] for line in lines), max(line.x[-1] for line in lines), LEFT, SIZE[0] - RIGHT)
    up = LinearScale(y[0], y[-1], SIZE[1] - BOTTOM, TOP)
    places = [(across(tick), _format(tick, labels.percent[0])) for tick in x if across.low <= tick <= across.high]
    parts = [chart_frame(up, y, places, labels, SIZE[0] - RIGHT)]
    for line in lines:
        kind = "other" if line.colour == "dim" else line.colour
        parts += [f'<path class="band {kind}" d="{_band_path(line, across, up)}"/>'] if line.runs > 1 else []
        way = _svg_path(line.x, line.middle, across, up)
        parts.append(f'<path class="line {kind}" d="{way}"><title>{escape(line.name)}</title></path>')
    ends = separate_labels([up(line.middle[-1]) for line in lines], NAME_SPACING, TOP)
    for line, down in zip(lines, ends, strict=True):
        kind = "other" if line.colour == "dim" else line.colour
        parts.append(f'<text class="name {kind}" x="{SIZE[0] - RIGHT + 8:.0f}" y="{down + 4:.1f}">{escape(line.name)}</text>')
    shown = f"{labels.title}: {labels.y} against {labels.x} for {style.join_words([line.name for line in lines])}"
    size = f"0 0 {SIZE[0]:.0f} {SIZE[1]:.0f}"
    told = svg.numbers_attribute(_curve_rows(lines, labels))
    return Markup(f'<svg class="lines" viewBox="{size}" role="img" aria-label="{escape(shown)}"{told}>{"".join(parts)}</svg>')


def _curve_rows(lines: Sequence[MedianCurve], labels: ChartLabels) -> list[tuple[object, ...]]:
    """The curves as a table."""
    rows: list[tuple[object, ...]] = [("curve", labels.x, f"median of {labels.y}", "first quartile", "third quartile", "runs")]
    for line in lines:
        points = zip(line.x.tolist(), line.middle.tolist(), line.low.tolist(), line.high.tolist(), strict=True)
        rows += [(line.name, *point, line.runs) for point in points]
    return rows


@dataclass(frozen=True)
class LinearScale:
    """From numbers to pixels, in a straight line."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """The pixel of a number."""
        return self.start + (value - self.low) / ((self.high - self.low) or 1.0) * (self.stop - self.start)


def round_ticks(values: Float[ndarray, " N"], most: int) -> list[float]:
    """Round numbers that reach around all values."""
    low, high = float(values.min()), float(values.max())
    rough = ((high - low) or 1.0) / most
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(size for size in (1, 2, 2.5, 5, 10) if power * size >= rough * (1 - 1e-9))
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    return [float(place * step) for place in np.arange(first, max(last, first + 1) + 1)]


def chart_frame(up: LinearScale, y: Sequence[float], x: Sequence[tuple[float, str]], labels: ChartLabels, right: float) -> str:
    """Lines across a chart, and what is written around it: ``x`` is where along the axis which word stands."""
    bottom, middle = SIZE[1] - BOTTOM, ((LEFT + right) / 2, (TOP + SIZE[1] - BOTTOM) / 2)
    parts = [f'<line x1="{LEFT:.0f}" x2="{right:.0f}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>' for tick in y]
    parts += [f'<text text-anchor="end" x="{LEFT - 7:.0f}" y="{up(tick) + 4:.1f}">{_format(tick, labels.percent[1])}</text>' for tick in y]
    parts += [f'<text text-anchor="middle" x="{place:.1f}" y="{bottom + 17:.0f}">{escape(word)}</text>' for place, word in x]
    parts.append(f'<text text-anchor="middle" x="{middle[0]:.0f}" y="{SIZE[1] - 6:.0f}">{escape(labels.x)}</text>')
    turned = f'transform="translate(11,{middle[1]:.0f}) rotate(-90)"'
    parts.append(f'<text text-anchor="middle" {turned}>{escape(labels.y)}</text>')
    return f'<g class="grid">{"".join(parts)}</g>'


def _format(value: float, share: bool) -> str:
    return f"{100 * value:.0f} %" if share else f"{value:.6g}".replace("-", style.MINUS)


def _svg_path(x: Float[ndarray, " T"], y: Float[ndarray, " T"], across: LinearScale, up: LinearScale) -> str:
    return "M" + "L".join(f"{across(a):.1f} {up(b):.1f}" for a, b in zip(x, y, strict=True))


def _band_path(line: MedianCurve, across: LinearScale, up: LinearScale) -> str:
    back = _svg_path(line.x[::-1], line.low[::-1], across, up).replace("M", "L", 1)
    return _svg_path(line.x, line.high, across, up) + back + "Z"
