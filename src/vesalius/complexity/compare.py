"""The same feature in several networks, side by side: before and after pruning, quantisation, distillation, more data, fewer epochs.

Axes: L components, N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from vesalius.complexity.coalitions import Scoring
from vesalius.complexity.component_effects import LabelledInputs, labelled_components
from vesalius.complexity.components import Complexity
from vesalius.complexity.disentangle import complexity
from vesalius.complexity.effectiveness import CoalitionLosses, ComponentValues, coalition_losses
from vesalius.complexity.features import feature_source
from vesalius.complexity.reliability import Matching, Reliability, reliability
from vesalius.complexity.strength import weighted_significance
from vesalius.complexity.training import Training
from vesalius.core.display import load_view
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.core.options import Options
from vesalius.core.spread import mean_stderr
from vesalius.trace.batches import Data
from vesalius.trace.network import Inputs, Network

MEASURES = ("strength", "reliability", "effectiveness", "overfitting")
"""What is compared, order by order."""
BATCH = 256


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluationData(Options):
    """What a network is judged by, beside the strength of its components.

    Attributes:
        train: rows it was trained on, with targets; effectiveness needs them.
        test: rows it was not trained on, with targets; over-fitting needs them.
        others: other networks of the same task, whose value of the same name is compared; reliability needs them.
        weighted: whether strengths as the head sees them are measured, which differentiates it; ``train`` says on which rows.
        scoring: loss, absence, errors.
    """

    train: LabelledInputs | None = None
    test: LabelledInputs | None = None
    others: Sequence[Network] = ()
    weighted: bool = False
    scoring: Scoring | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.test is not None and self.train is None:
            raise InvalidInput("over-fitting is the loss on test rows less that on training rows: give train= as well")


@dataclass(frozen=True, eq=False, kw_only=True)
class ComponentProfile:
    """One network.

    Attributes:
        complexity: its components.
        coalitions: what they do for the task, where that was asked for, by the first seed's disentanglers.
        reliability: what other networks know of them, likewise.
        weighted: share of each component in the strength of the feature as the head sees it, likewise.
    """

    complexity: Complexity
    coalitions: CoalitionLosses | None = None
    reliability: Reliability | None = None
    weighted: Float64[Tensor, " L"] | None = None

    @verb
    def measure(self, name: str) -> ComponentValues | None:
        """One of ``MEASURES`` by order, or ``None`` where it was not asked for. Strength is the held-out gain, and its error the standard
        error over seeds; effectiveness is the fall of the training loss and over-fitting the growth of the gap, in its unit.

        Raises:
            UnknownName: none of these.
        """
        require_known("measure", name, MEASURES)
        if name == "strength":
            gain = self.complexity.gain
            return ComponentValues(gain.mean(0), mean_stderr(gain))
        if name == "reliability":
            return None if self.reliability is None else ComponentValues(self.reliability.values, self.reliability.stderr)
        if self.coalitions is None or (name == "overfitting" and self.coalitions.test is None):
            return None
        return self.coalitions.effectiveness(None) if name == "effectiveness" else self.coalitions.overfitting

    def plot(self, *, measure: str = "strength", ax: Any = None) -> Any:
        """Bars by order; returns the matplotlib figure. See :func:`vesalius.views.complexity.charts.plot_complexity`."""
        return load_view("complexity_plot")(self, measure=measure, ax=ax)

    def _repr_html_(self) -> str:
        return str(load_view("complexity_html")(self))

    def __repr__(self) -> str:
        lines = [f"Components of {self.complexity.at} by orders {', '.join(map(str, self.complexity.orders))}"]
        found = {measure: self.measure(measure) for measure in MEASURES}
        return "\n".join(lines + [f"  {measure:>13}: {_format_values(values)}" for measure, values in found.items() if values is not None])


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

    def plot(self, *, measure: str = "strength", ax: Any = None) -> Any:
        """Bars by order; returns the matplotlib figure. See :func:`vesalius.views.complexity.charts.plot_complexity_comparison`."""
        return load_view("comparison_plot")(self, measure=measure, ax=ax)

    def _repr_html_(self) -> str:
        return str(load_view("comparison_html")(self))

    def __repr__(self) -> str:
        lines = [f"Comparison of {len(self.profiles)} networks by orders {', '.join(map(str, self.orders))}"]
        for measure in MEASURES:
            for name, profile in self.profiles.items():
                found = profile.measure(measure)
                lines += [] if found is None else [f"  {measure:>13} {name}: {_format_values(found)}"]
        return "\n".join(lines)


@verb
def compare(
    networks: Mapping[str, Network],
    data: Data,
    *,
    at: str,
    orders: Sequence[int] = (0, 1, 2, 4),
    evaluation: EvaluationData | None = None,
    training: Training | None = None,
) -> ComplexityComparison:
    """Take the same feature of several networks apart, on the same rows and with the same seeds.

    Args:
        networks: by name, the one to compare with first; all have a value ``at`` of that name.
        data: rows of their inputs.
        at: the feature.
        orders: numbers of nonlinear layers.
        evaluation: rows with targets, other networks; without it strengths alone are compared.
        training: of the disentanglers.

    Raises:
        InvalidInput: fewer than two networks; and as :func:`vesalius.complexity.complexity` and
        :func:`vesalius.complexity.component_effects`. UnknownName: a network without such a value.

    Reference: Ren2021, section 4 (compression and distillation).
    """
    if len(networks) < 2:
        raise InvalidInput(f"a comparison needs at least two networks by name, not {len(networks)}")
    how = evaluation or EvaluationData()
    if not isinstance(data, (Tensor, tuple, Mapping)):
        data = list(data)  # every network reads all of it
    found = {name: complexity(network, data, at=at, orders=orders, training=training) for name, network in networks.items()}
    return ComplexityComparison(profiles={name: profile_components(one, how) for name, one in found.items()})


@verb
def profile_components(found: Complexity, evaluation: EvaluationData) -> ComponentProfile:
    """Everything that can be measured of the components of one network.

    Args:
        found: from :func:`vesalius.complexity.complexity`, with its network.
        evaluation: rows with targets, other networks.

    Raises: as :func:`vesalius.complexity.component_effects` and :func:`vesalius.complexity.reliability`.
    """
    if evaluation.train is None:
        return ComponentProfile(complexity=found)
    train = labelled_components(found, evaluation.train)
    test = None if evaluation.test is None else labelled_components(found, evaluation.test)
    seen = evaluation.test or evaluation.train
    axis = 1 + found.shape.channel_axis
    known, rows = [_read_feature(other, found.at, seen[0], axis) for other in evaluation.others], test or train
    head = found.reading.head
    return ComponentProfile(
        complexity=found,
        coalitions=coalition_losses(head, train, test, orders=found.orders, scoring=evaluation.scoring),
        reliability=reliability(rows.parts, rows.rest, known, matching=Matching(axis=axis)) if known else None,
        weighted=weighted_significance(train.parts, train.rest, head).cpu() if evaluation.weighted else None,
    )


def _read_feature(network: Network, at: str, x: Inputs, axis: int) -> Float[Tensor, "N ..."]:
    """Another network's value of the same name, or of the module of that name; its channels on an axis that counts from the batch."""
    name = at if at in network.values else at.rpartition("/")[0] or at  # a module may compute the same by another op
    place = feature_source(network, name, pre_activation=False)
    found = torch.cat([place.read(part)[1] for part in zip(*(tensor.split(BATCH) for tensor in network.bind(x)), strict=True)])
    return found.movedim(1 + place.shape.channel_axis, min(axis, found.ndim - 1))


def _format_values(found: ComponentValues) -> str:
    """Values with their errors."""

    def one(value: Float64[Tensor, ""], error: Float64[Tensor, ""]) -> str:
        return f"{float(value):.3f}" + (f" ± {float(error):.3f}" if error.isfinite() else "")

    return ", ".join(one(value, error) for value, error in zip(found.values, found.stderr, strict=True))
