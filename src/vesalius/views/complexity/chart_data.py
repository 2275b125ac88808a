"""What there is to show of a disentangled feature: a line per order, bars, and pictures of its components.

Axes: B samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from vesalius.complexity.compare import ComplexityComparison, ComponentProfile
from vesalius.complexity.components import Complexity
from vesalius.complexity.effectiveness import ComponentValues
from vesalius.core.errors import WrongType
from vesalius.views import style
from vesalius.views.bar_chart import Series
from vesalius.views.line_chart import ChartLabels

MOST_SAMPLES = 3
"""Samples whose components are drawn."""

MEASURE_LABELS: Mapping[str, ChartLabels] = {
    "strength": ChartLabels(title="strength", x="nonlinear layers", y="share of the variance"),
    "reliability": ChartLabels(title="reliability", x="nonlinear layers", y="share found in other networks"),
    "effectiveness": ChartLabels(title="effectiveness", x="nonlinear layers", y="fall of the loss"),
    "overfitting": ChartLabels(title="over-fitting", x="nonlinear layers", y="test less training loss"),
}
"""How each measure is drawn."""


@dataclass(frozen=True, kw_only=True)
class OrderRow:
    """An order, in words.

    Attributes:
        name: of the band of orders that the component covers.
        cells: its numbers, by column.
    """

    name: str
    cells: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class ComponentMaps:
    """One channel of a sample's feature, and of its components.

    Attributes:
        image: the sample, [channels height width] in 0..1, if it is a picture.
        parts: by name, maps in the unit of the feature.
        sums: the same added up, up to each order.
        scale: that all of them share.
    """

    image: Float[ndarray, "channels height width"] | None
    parts: Mapping[str, Float[ndarray, "h w"]]
    sums: Mapping[str, Float[ndarray, "h w"]]
    scale: float


def as_profile(shown: ComponentProfile | Complexity) -> ComponentProfile:
    """Either as a profile.

    Raises:
        WrongType: neither.
    """
    if isinstance(shown, Complexity):
        return ComponentProfile(complexity=shown)
    if not isinstance(shown, ComponentProfile):
        raise WrongType(
            f"expected a Complexity or a ComponentProfile, not {type(shown).__name__}; make one with vesalius.complexity.complexity"
        )
    return shown


def order_bands(orders: Sequence[int]) -> list[str]:
    """What each component covers: ``0``, ``1``, ``3-4``."""
    before = [-1, *orders[:-1]]
    return [str(order) if order - last <= 1 else f"{last + 1}\N{EN DASH}{order}" for last, order in zip(before, orders, strict=True)]


def strength_series(profile: ComponentProfile) -> Series:
    """Gain, significance, what comes again with another seed, and what the head sees, with errors over seeds."""
    found = profile.complexity
    several = len(found.nets) > 1

    def over_seeds(rows: Tensor) -> tuple[object, object | None]:
        return rows.mean(0).numpy(), rows.std(0).numpy() / len(rows) ** 0.5 if several else None

    series = {"gain": over_seeds(found.gain), "significance": over_seeds(found.rho)}
    series |= {"reproducible": (found.reproducible.numpy(), None)} if several else {}
    return series | ({} if profile.weighted is None else {"weighted by the head": (profile.weighted.numpy(), None)})


def measure_series(profile: ComponentProfile, measure: str) -> Series | None:
    """A measure other than strength, as bars; ``None`` where it was not asked for."""
    found = profile.measure(measure)
    return None if found is None else {MEASURE_LABELS[measure].title: _values_and_errors(found)}


def comparison_series(comparison: ComplexityComparison, measure: str) -> Series | None:
    """A measure of all networks."""
    found = {name: profile.measure(measure) for name, profile in comparison.profiles.items()}
    return {name: _values_and_errors(one) for name, one in found.items() if one is not None} or None


def _values_and_errors(found: ComponentValues) -> tuple[object, object | None]:
    return found.values.numpy(), found.stderr.numpy() if found.stderr.isfinite().any() else None


def order_columns(profile: ComponentProfile) -> list[str]:
    """What is known of each order."""
    judged = profile.coalitions
    accuracy = ["cumulative accuracy"] if judged is not None and judged.train_correct is not None else []
    known = [MEASURE_LABELS[name].title for name in ("reliability", "effectiveness", "overfitting") if profile.measure(name) is not None]
    return ["gain", "significance", "reproducible", "cumulative R\N{SUPERSCRIPT TWO}", *known, *accuracy]


def order_rows(profile: ComponentProfile) -> list[OrderRow]:
    """All numbers, order by order; a component that is nothing is said to be."""
    found = profile.complexity
    measures = [profile.measure(name) for name in ("reliability", "effectiveness", "overfitting")]
    tables = [found.gain.mean(0), found.rho.mean(0), found.reproducible, found.r2.mean(0)]
    lines = []
    for at, name in enumerate(order_bands(found.orders)):
        cells = [_format_share(float(table[at])) for table in tables]
        cells += [_format_measure(one, at) for one in measures if one is not None]
        if profile.coalitions is not None and profile.coalitions.train_correct is not None:
            cells.append(style.percent(float(profile.coalitions.accuracy[(2 << at) - 1])))
        lines.append(OrderRow(name=name, cells=tuple(cells)))
    return lines


def _format_share(value: float) -> str:
    return "unknown" if np.isnan(value) else f"{value:.4f}".replace("-", style.MINUS)


def _format_measure(found: ComponentValues, at: int) -> str:
    value, error = float(found.values[at]), float(found.stderr[at])
    if np.isnan(value):
        return "no component"
    return style.number(value) + ("" if np.isnan(error) else f" \N{PLUS-MINUS SIGN} {style.number(error)}")


def component_maps(found: Complexity, x: Tensor) -> list[ComponentMaps]:
    """The first few samples' components, in the channel that is active at most places; none if the feature is no map."""
    if len(found.shape.f) != 3 or found.source is None:
        return []
    rows = x[:MOST_SAMPLES]
    components = found.components((rows,))
    parts, cumulative = (maps.movedim(2 + found.shape.channel_axis, 2) for maps in (components.parts, components.cumulative))
    remains = components.rest.movedim(1 + found.shape.channel_axis, 1)
    feature = parts.sum(0) + remains
    channel = int((feature > 0).sum((0, 2, 3)).argmax())
    names = order_bands(found.orders)
    drawn = []
    for at in range(len(rows)):
        one = {name: part[at, channel].double().cpu().numpy() for name, part in zip(names, parts, strict=True)}
        whole, rest = feature[at, channel].double().cpu().numpy(), remains[at, channel].double().cpu().numpy()
        sums = dict(zip(names, cumulative[:, at, channel].double().cpu().numpy(), strict=True))
        scale = float(max(np.abs(part).max() for part in (whole, rest, *one.values()))) or 1.0
        image = rows[at].double().cpu().numpy() if rows.ndim == 4 and rows.shape[1] in (1, 3) else None
        drawn.append(ComponentMaps(image=image, parts={"feature": whole, **one, "rest": rest}, sums=sums, scale=scale))
    return drawn
