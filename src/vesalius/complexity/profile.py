"""What can be measured of the components of one network: strength, and what rows with targets and other networks tell.

Axes: L components.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jaxtyping import Float64
from torch import Tensor

from vesalius.complexity.coalitions import Scoring
from vesalius.complexity.component_effects import LabelledInputs, labelled_components
from vesalius.complexity.effectiveness import CoalitionLosses, ComponentValues, coalition_losses, format_value
from vesalius.complexity.orders import order_bands
from vesalius.complexity.reliability import Reliability
from vesalius.complexity.shared_features import shared_reliability
from vesalius.complexity.strength import weighted_significance
from vesalius.core.display import load_view
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known

if TYPE_CHECKING:
    from vesalius.complexity.components import Complexity

MEASURES: Mapping[str, str] = {
    "strength": "share of the variance, held out",
    "reliability": "share that other networks know",
    "effectiveness": "fall of the training loss",
    "overfitting": "test less training loss",
}
"""What is measured and compared, order by order, and its unit."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ComponentProfile:
    """The components of one network, and what they do; made by :meth:`vesalius.Complexity.profile`.

    Attributes:
        complexity: its components.
        coalitions: what they do for the task, where that was asked for, by one seed's disentanglers.
        reliability: what other networks know of them, likewise.
        weighted: share of each component in the strength of the feature as the head sees it, likewise.
    """

    complexity: Complexity
    coalitions: CoalitionLosses | None = None
    reliability: Reliability | None = None
    weighted: Float64[Tensor, " L"] | None = None

    @verb
    def measure(self, name: str) -> ComponentValues | None:
        """One of ``MEASURES`` by order, or ``None`` where it was not asked for. Strength is the held-out gain, with its error over rows and
        seeds; effectiveness is the fall of the training loss and over-fitting the growth of the gap, in its unit.

        Raises:
            UnknownName: none of these.
        """
        require_known("measure", name, MEASURES)
        if name == "strength":
            return self.complexity.table()["gain"]
        if name == "reliability":
            return None if self.reliability is None else ComponentValues(self.reliability.values, self.reliability.stderr)
        if self.coalitions is None or (name == "overfitting" and self.coalitions.test is None):
            return None
        return self.coalitions.effectiveness(None) if name == "effectiveness" else self.coalitions.overfitting

    @verb
    def summary(self) -> str:
        """A table for people: a line for each component, a column for each measure there is."""
        measured = {name: self.measure(name) for name in MEASURES}
        columns = {name: (values.values.tolist(), values.stderr.tolist()) for name, values in measured.items() if values is not None}
        if self.weighted is not None:
            columns["weighted"] = (self.weighted.tolist(), [float("nan")] * len(self.weighted))
        lines = [f"Components of {self.complexity.at}", " ".join([f"{'order':>9}", *(f"{name:>15}" for name in columns)])]
        for at, band in enumerate(order_bands(self.complexity.orders, "..")):
            lines.append(" ".join([f"{band:>9}", *(f"{format_value(values[at], errors[at]):>15}" for values, errors in columns.values())]))
        units = [f"{name}: {MEASURES.get(name, 'share of the strength that the head sees')}" for name in columns]
        return "\n".join([*lines, "; ".join(units)])

    def plot(self, *, measure: str = "strength", title: str | None = None, ax: Any = None) -> Any:
        """Bars by order; returns the matplotlib figure. See :func:`vesalius.views.complexity.charts.plot_complexity`."""
        return load_view("complexity_plot")(self, measure=measure, title=title, ax=ax)

    def _repr_html_(self) -> str:
        return str(load_view("complexity_html")(self))

    def __repr__(self) -> str:
        return self.summary()


@dataclass(frozen=True, eq=False, kw_only=True)
class ProfileRows:
    """What components are judged by; see :meth:`vesalius.Complexity.profile`."""

    train: LabelledInputs | None = None
    test: LabelledInputs | None = None
    others: Sequence[Any] = ()
    weighted: bool = False
    scoring: Scoring | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        wanted = {"over-fitting": self.test is not None, "reliability": bool(self.others), "strength as the head sees it": self.weighted}
        for what, asked in wanted.items():
            if asked and self.train is None:
                raise InvalidInput(f"{what} needs rows the network was trained on, with their targets: give train=(x, y) as well")


def component_profile(found: Complexity, wanted: ProfileRows) -> ComponentProfile:
    """All of it: :meth:`vesalius.Complexity.profile`."""
    if wanted.train is None:
        return ComponentProfile(complexity=found)
    train = labelled_components(found, wanted.train, wanted.seed)
    test = None if wanted.test is None else labelled_components(found, wanted.test, wanted.seed)
    x, rows = (wanted.test or wanted.train)[0], test or train
    head = found.reading.head
    return ComponentProfile(
        complexity=found,
        coalitions=coalition_losses(head, train, test, orders=found.orders, scoring=wanted.scoring),
        reliability=shared_reliability(found, (rows.parts, rows.rest), x, wanted.others) if wanted.others else None,
        weighted=weighted_significance(train.parts, train.rest, head).cpu() if wanted.weighted else None,
    )
