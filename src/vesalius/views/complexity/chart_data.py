"""What there is to show of a disentangled feature: a line per order, and bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vesalius.complexity.compare import ComplexityComparison
from vesalius.complexity.components import Complexity
from vesalius.complexity.effectiveness import ComponentValues
from vesalius.complexity.orders import order_bands
from vesalius.complexity.profile import ComponentProfile
from vesalius.core.errors import WrongType
from vesalius.views import style
from vesalius.views.bar_chart import Series
from vesalius.views.line_chart import ChartLabels

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


def strength_series(profile: ComponentProfile) -> Series:
    """Gain, significance, what comes again with another seed, and what the head sees, with errors over rows and seeds."""
    found, table = profile.complexity, profile.complexity.table()
    series = {"gain": _values_and_errors(table["gain"]), "significance": _values_and_errors(table["rho"])}
    series |= {"reproducible": _values_and_errors(table["reproducible"])} if len(found.nets) > 1 else {}
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
    table, lines = profile.complexity.table(), []
    measures = [profile.measure(name) for name in ("reliability", "effectiveness", "overfitting")]
    for at, name in enumerate(order_bands(profile.complexity.orders)):
        cells = [_format_share(table[column], at) for column in ("gain", "rho", "reproducible", "r2")]
        cells += [_format_measure(one, at) for one in measures if one is not None]
        if profile.coalitions is not None and profile.coalitions.train_correct is not None:
            cells.append(style.percent(float(profile.coalitions.accuracy[(2 << at) - 1])))
        lines.append(OrderRow(name=name, cells=tuple(cells)))
    return lines


def _format_share(found: ComponentValues, at: int) -> str:
    value, error = float(found.values[at]), float(found.stderr[at])
    if np.isnan(value):
        return "unknown"
    return f"{value:.4f}".replace("-", style.MINUS) + ("" if np.isnan(error) else f" \N{PLUS-MINUS SIGN} {error:.4f}")


def _format_measure(found: ComponentValues, at: int) -> str:
    value, error = float(found.values[at]), float(found.stderr[at])
    if np.isnan(value):
        return "no component"
    return style.number(value) + ("" if np.isnan(error) else f" \N{PLUS-MINUS SIGN} {style.number(error)}")
