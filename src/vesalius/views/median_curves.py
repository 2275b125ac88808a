"""Curves over several runs: their median and middle half, ready to be drawn.

Axes: R runs, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vesalius.core.errors import InvalidInput
from vesalius.views import style

REFERENCE_CURVE = "random"
"""The name, or the start of it, of what others are compared with; drawn in grey."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MedianCurve:
    """A line with a band.

    Attributes:
        x: places on the axis.
        middle: median of the runs.
        low: their quarter.
        high: three quarters.
        runs: how many.
        colour: its name in the themes.
    """

    name: str
    x: Float[ndarray, " T"]
    middle: Float[ndarray, " T"]
    low: Float[ndarray, " T"]
    high: Float[ndarray, " T"]
    runs: int
    colour: str


def median_curves(curves: Mapping[str, tuple[object, object]]) -> list[MedianCurve]:
    """Median and middle half of each.

    Args:
        curves: by name, places on the axis [T] and values [R T]; those of one run may be [T].

    Raises:
        InvalidInput: no curves, shapes that do not fit, values that are not finite, more curves than colours.
    """
    if not curves:
        raise InvalidInput("no curves: give places [steps] and values [runs, steps] by name")
    colours = iter(style.PALETTE)
    found = []
    for name, (places, several) in curves.items():
        x, values = np.asarray(places, float), np.atleast_2d(np.asarray(several, float))
        if x.ndim != 1 or not len(x) or values.ndim != 2 or not len(values) or values.shape[1] != len(x):
            raise InvalidInput(
                f"curve {name!r} has places of shape {x.shape} and values of shape {values.shape}; expected [steps] and [runs, steps]"
            )
        if not (np.isfinite(x).all() and np.isfinite(values).all()):
            raise InvalidInput(f"curve {name!r} has values that are not finite")
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
        colour = "dim" if name.lower().startswith(REFERENCE_CURVE) else next(colours, None)
        if colour is None:
            raise InvalidInput(f"{len(curves)} curves, and colours for {len(style.PALETTE)}; more could not be told apart")
        found.append(MedianCurve(name=name, x=x, middle=middle, low=low, high=high, runs=len(values), colour=colour))
    return found


def describe_runs(curves: Sequence[MedianCurve]) -> str:
    """What the lines and bands are, in words; empty where curves are of different numbers of runs."""
    runs = {curve.runs for curve in curves}
    return "one run" if runs == {1} else f"median of {min(runs)} runs and their middle half" if len(runs) == 1 else ""


def separate_labels(places: Sequence[float], least: float, first: float = -np.inf) -> list[float]:
    """Places moved as little as needed to be so far from each other, in the same order; the middle of a crowd stays.

    Args:
        places: in any order.
        least: distance between neighbours.
        first: none is before this.
    """
    order = sorted(range(len(places)), key=lambda place: places[place])
    groups: list[tuple[float, int]] = []
    for place in order:
        middle, size = float(places[place]), 1
        while groups and middle - groups[-1][0] < least * (size + groups[-1][1]) / 2:
            other, count = groups.pop()
            middle, size = (middle * size + other * count) / (size + count), size + count
        groups.append((middle, size))
    spread = [middle + least * (rank - (size - 1) / 2) for middle, size in groups for rank in range(size)]
    found = [0.0] * len(places)
    for rank, (place, value) in enumerate(zip(order, spread, strict=True)):
        found[place] = max(value, first + least * rank)
    return found
