"""Bars in groups with error bars, as SVG for a page: a group per thing, a bar per series.

Axes: G groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from markupsafe import Markup, escape
from numpy import ndarray

from vesalius.core.errors import InvalidInput
from vesalius.views import style, svg
from vesalius.views.line_chart import BOTTOM, LEFT, SIZE, TOP, ChartLabels, LinearScale, chart_frame, round_ticks

RIGHT = 12.0
MAX_BAR_WIDTH = 34.0
"""Pixels of a bar."""

Series = Mapping[str, tuple[object, object | None]]
"""By name, values [G] and their standard errors [G], or None; NaN where there is none."""


def series_arrays(groups: Sequence[str], series: Series) -> list[tuple[str, Float[ndarray, " G"], Float[ndarray, " G"]]]:
    """Values and errors as arrays; an error that is not known is NaN.

    Raises:
        InvalidInput: no groups or series, more series than colours, shapes that do not fit, infinite values.
    """
    if not groups or not series or len(series) > len(style.PALETTE):
        raise InvalidInput(f"{len(groups)} groups and {len(series)} series: at least one of each, and at most {len(style.PALETTE)} series")
    found = []
    for name, (values, errors) in series.items():
        heights = np.asarray(values, float)
        spread = np.full_like(heights, np.nan) if errors is None else np.asarray(errors, float)
        if heights.shape != (len(groups),) or spread.shape != heights.shape:
            raise InvalidInput(f"series {name!r} has values {heights.shape} and errors {spread.shape} for {len(groups)} groups")
        if np.isinf(heights).any() or np.isinf(spread).any():
            raise InvalidInput(f"series {name!r} has infinite values")
        found.append((name, heights, spread))
    return found


def svg_grouped_bars(groups: Sequence[str], series: Series, labels: ChartLabels) -> Markup:
    """Bars side by side in each group, with bars of two standard errors; what is NaN is left out.

    Args:
        groups: names along the axis.
        series: what each colour stands for, in the order of the palette.
        labels: of the axes.

    Raises: as :func:`series_arrays`.
    """
    rows = series_arrays(groups, series)
    ends = np.concatenate(
        [side for _, value, error in rows for side in (value - 2 * np.nan_to_num(error), value + 2 * np.nan_to_num(error))]
    )
    y = round_ticks(np.append(ends[np.isfinite(ends)], 0.0), 5)
    up, right = LinearScale(y[0], y[-1], SIZE[1] - BOTTOM, TOP), SIZE[0] - RIGHT
    room = (right - LEFT) / len(groups)
    wide = min(MAX_BAR_WIDTH, 0.8 * room / len(rows))
    middles = [LEFT + room * (at + 0.5) for at in range(len(groups))]
    parts = []
    for place, (name, values, errors) in enumerate(rows):
        shift = (place - len(rows) / 2) * wide
        for middle, group, value, error in zip(middles, groups, values, errors, strict=True):
            if np.isfinite(value):
                title = f"{name}, {group}: {style.number(float(value))}" + (
                    f" \N{PLUS-MINUS SIGN} {style.number(float(error))}" if np.isfinite(error) else ""
                )
                parts.append(_bar(middle + shift, wide, up(0.0), up(float(value)), style.PALETTE[place], title))
            if np.isfinite(value) and np.isfinite(error):
                parts.append(_whisker(middle + shift + wide / 2, up(float(value - 2 * error)), up(float(value + 2 * error))))
    zero = f'<line class="zero" x1="{LEFT:.0f}" x2="{right:.0f}" y1="{up(0.0):.1f}" y2="{up(0.0):.1f}"/>'
    frame = chart_frame(up, y, list(zip(middles, map(str, groups), strict=True)), labels, right)
    shown = f"{labels.title}: {style.join_words([name for name, _, _ in rows])} by {labels.x}"
    size = f"0 0 {SIZE[0]:.0f} {SIZE[1]:.0f}"
    body = "".join([frame, *parts, zero])
    table: list[tuple[object, ...]] = [(labels.x, "series", labels.y, "standard error")]
    table += [
        (group, name, value, error)
        for name, values, errors in rows
        for group, value, error in zip(groups, values.tolist(), errors.tolist(), strict=True)
    ]
    told = svg.numbers_attribute(table)
    return Markup(f'<svg class="lines" viewBox="{size}" role="img" aria-label="{escape(shown)}"{told}>{body}</svg>')


def _bar(left: float, wide: float, base: float, end: float, kind: str, title: str) -> str:
    top, high = min(base, end), max(abs(base - end), 0.5)
    place = f'x="{left + 1:.1f}" y="{top:.1f}" width="{max(wide - 2, 1):.1f}" height="{high:.1f}"'
    return f'<g><title>{escape(title)}</title><rect class="kind {kind}" {place}/></g>'


def _whisker(middle: float, low: float, high: float) -> str:
    return f'<path class="whisker" d="M{middle:.1f} {low:.1f}V{high:.1f}"/>'
