"""The same feature in several networks, side by side: before and after pruning, quantisation, distillation, more data, fewer epochs.

Axes: L components, N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vesalius.complexity.coalitions import Scoring
from vesalius.complexity.component_effects import LabelledInputs
from vesalius.complexity.disentangle import complexity
from vesalius.complexity.effectiveness import ComponentValues
from vesalius.complexity.profile import MEASURES, ComponentProfile, ProfileRows, component_profile
from vesalius.complexity.training import Training
from vesalius.core.display import load_view
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.trace.batches import Data
from vesalius.trace.network import Network


@dataclass(frozen=True, eq=False, kw_only=True)
class ComplexityComparison:
    """Profiles by name; the first is what the others are compared with."""

    profiles: Mapping[str, ComponentProfile]

    @property
    def orders(self) -> tuple[int, ...]:
        """Orders of the components."""
        return next(iter(self.profiles.values())).complexity.orders

    @verb
    def shift(self, name: str, measure: str) -> ComponentValues | None:
        """How a network differs from the first, with the error of the difference.

        Args:
            name: of the network.
            measure: one of ``MEASURES``.

        Raises:
            UnknownName: no such network or measure.
        """
        require_known("network", name, self.profiles)
        first, here = next(iter(self.profiles.values())).measure(measure), self.profiles[name].measure(measure)
        if first is None or here is None:
            return None
        return ComponentValues(here.values - first.values, (here.stderr.square() + first.stderr.square()).sqrt())

    def plot(self, *, measure: str = "strength", title: str | None = None, ax: Any = None) -> Any:
        """Bars by order; returns the matplotlib figure. See :func:`vesalius.views.complexity.charts.plot_complexity_comparison`."""
        return load_view("comparison_plot")(self, measure=measure, title=title, ax=ax)

    def _repr_html_(self) -> str:
        return str(load_view("comparison_html")(self))

    def __repr__(self) -> str:
        lines = [f"Comparison of {len(self.profiles)} networks by orders {', '.join(map(str, self.orders))}"]
        for measure in MEASURES:
            for name, profile in self.profiles.items():
                found = profile.measure(measure)
                lines += [] if found is None else [f"  {measure:>13} {name}: {found}"]
        return "\n".join(lines)


@verb
def compare(  # noqa: PLR0913 - each is one question a comparison answers, as in Complexity.profile
    networks: Mapping[str, Network],
    data: Data,
    *,
    at: str,
    orders: Sequence[int] = (0, 1, 2, 4),
    train: LabelledInputs | None = None,
    test: LabelledInputs | None = None,
    others: Sequence[Any] = (),
    weighted: bool = False,
    scoring: Scoring | None = None,
    training: Training | None = None,
) -> ComplexityComparison:
    """Take the same feature of several networks apart, on the same rows and with the same seeds.

    Args:
        networks: by name, the one to compare with first; all have a value ``at`` of that name.
        data: rows of their inputs.
        at: the feature.
        orders: numbers of nonlinear layers.
        train, test, others, weighted, scoring: what is measured beside strength, as in :meth:`vesalius.Complexity.profile`.
        training: of the disentanglers.

    Raises:
        InvalidInput: fewer than two networks; and as :func:`vesalius.complexity.complexity` and :meth:`vesalius.Complexity.profile`.
        UnknownName: a network without such a value.

    Reference: Ren2021, section 4 (compression and distillation).
    """
    if len(networks) < 2:
        raise InvalidInput(f"a comparison needs at least two networks by name, not {len(networks)}")
    wanted = ProfileRows(train=train, test=test, others=others, weighted=weighted, scoring=scoring)
    if not isinstance(data, (Tensor, tuple, Mapping)):
        data = list(data)  # every network reads all of it
    found = {name: complexity(network, data, at=at, orders=orders, training=training) for name, network in networks.items()}
    return ComplexityComparison(profiles={name: component_profile(one, wanted) for name, one in found.items()})
