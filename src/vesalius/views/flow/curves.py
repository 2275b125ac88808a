"""Curves of accuracy against what was removed, over seeds.

Axes: S seeds, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vesalius.core.errors import InvalidInput
from vesalius.views import style

PLAIN = "random"
"""The name, or the start of it, of what others are compared with; drawn in grey."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Curve:
    """One order of removal.

    Attributes:
        removed: shares, in 0..1.
        middle: median of the accuracies.
        low: their quarter.
        high: three quarters.
        colour: its name in the themes.
    """

    name: str
    removed: Float[ndarray, " T"]
    middle: Float[ndarray, " T"]
    low: Float[ndarray, " T"]
    high: Float[ndarray, " T"]
    seeds: int
    colour: str


def curves_of(curves: Mapping[str, tuple[object, object]]) -> list[Curve]:
    """Median and middle half of each.

    Args:
        curves: by name, shares removed [T] and accuracies [S T]; those of one seed may be [T].

    Raises:
        InvalidInput: no curves, shapes that do not fit, values that are not finite, more curves than colours.
    """
    if not curves:
        raise InvalidInput("no curves: give shares removed and accuracies [seeds, steps] by name")
    colours = iter(style.KINDS)
    found = []
    for name, (shares, accuracies) in curves.items():
        removed, values = np.asarray(shares, float), np.atleast_2d(np.asarray(accuracies, float))
        if removed.ndim != 1 or not len(removed) or values.ndim != 2 or not len(values) or values.shape[1] != len(removed):
            raise InvalidInput(
                f"curve {name!r} has shares of shape {removed.shape} and accuracies of shape {values.shape}; expected [steps] and"
                " [seeds, steps]"
            )
        if not (np.isfinite(removed).all() and np.isfinite(values).all()):
            raise InvalidInput(f"curve {name!r} has values that are not finite")
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
        colour = "dim" if name.lower().startswith(PLAIN) else next(colours, None)
        if colour is None:
            raise InvalidInput(f"{len(curves)} curves, and colours for {len(style.KINDS)}; more could not be told apart")
        found.append(Curve(name=name, removed=removed, middle=middle, low=low, high=high, seeds=len(values), colour=colour))
    return found


def apart(places: Sequence[float], least: float) -> list[float]:
    """Places moved as little as needed to be so far from each other, in the same order; the middle of a crowd stays."""
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
    for place, value in zip(order, spread, strict=True):
        found[place] = value
    return found
