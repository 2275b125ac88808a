"""The noun of complexity: what of a feature can be computed with how many nonlinear layers.

Axes: S seeds, L orders, B batch, G groups of held-out rows, Q predictions of all seeds and orders, then the feature itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from vesalius.complexity import held_out
from vesalius.complexity.coalitions import Scoring
from vesalius.complexity.component_effects import LabelledInputs, component_losses
from vesalius.complexity.effectiveness import ComponentValues
from vesalius.complexity.features import FeatureSource
from vesalius.complexity.networks import RowShapes
from vesalius.complexity.orders import order_bands
from vesalius.complexity.picture import ComponentPicture, component_picture
from vesalius.complexity.profile import ComponentProfile, ProfileRows, component_profile
from vesalius.complexity.readout import Disentangler
from vesalius.complexity.reliability import Matching, Reliability
from vesalius.complexity.replacement import ComponentNetwork, component_network
from vesalius.complexity.result_file import read_result, result_contents
from vesalius.complexity.shared_features import component_reliability
from vesalius.complexity.strength import STATS
from vesalius.core import store
from vesalius.core.arguments import noun
from vesalius.core.display import load_view
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.trace.network import Inputs, Network

KIND = "complexity"
TABLE = {"rho": held_out.significance, "gain": held_out.gains, "r2": held_out.explained, "reproducible": held_out.reproducible}
"""Measures by order."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureComponents:
    """A feature of a batch, disentangled: ``parts.sum(0) + rest`` is the feature.

    Attributes:
        parts: one component per order, in the unit of the feature; the mean of the feature is in the first.
        rest: what no order explains.
    """

    parts: Float[Tensor, "L B *event"]
    rest: Float[Tensor, "B *event"]

    @property
    @verb
    def cumulative(self) -> Float[Tensor, "L B *event"]:
        """Predictions of the feature with up to so many nonlinear layers: sums of the components up to each order."""
        return self.parts.cumsum(0)


@noun("vesalius.complexity makes one")
@dataclass(frozen=True, eq=False, kw_only=True)
class Complexity:
    """How complex a feature is: the variance that each further nonlinear layer of a disentangler explains.

    All numbers are of rows that no disentangler was trained or chosen on.

    Attributes:
        at: name of the feature's value.
        orders: numbers of nonlinear layers, rising. A component covers those above the order before, up to its own.
        nets: disentanglers by seed and order; where a deeper one was no better, the one before it takes its place.
        kept: whether the order has a net of its own, by seed.
        moments: what each group of held-out rows adds to the covariances of all predictions and the feature, summed over elements.
        shape: of a row of what the disentanglers see, and of the feature.
        time_matched_gain: the gain beyond that of the order before when trained as long again, by seed and order; ``None`` with
            ``mode="separate"``, NaN where the order was no better.
        source: reads feature and input; ``None`` when loaded without the network.
        inputs: names of the values that the disentanglers see, for a source that is loaded later.
        provenance: model digest, rows, options, seed, versions, cost.
    """

    at: str
    orders: tuple[int, ...]
    nets: tuple[tuple[Disentangler, ...], ...]
    kept: Bool[Tensor, "S L"]
    moments: Float64[Tensor, "G Q Q"]
    shape: RowShapes
    time_matched_gain: Float64[Tensor, "S L"] | None = None
    source: FeatureSource | None = None
    inputs: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    # ---- measures -----------------------------------------------------------------------------------------------------------------

    @property
    @verb
    def rho(self) -> Float64[Tensor, "S L"]:
        """Significance: Var[component] / Var[feature]; the ratios need not sum to 1, since components are not orthogonal."""
        return held_out.significance(self.moments.sum(0), len(self.nets))

    @property
    @verb
    def r2(self) -> Float64[Tensor, "S L"]:
        """Share of the feature's variance explained with up to so many nonlinear layers."""
        return held_out.explained(self.moments.sum(0), len(self.nets))

    @property
    @verb
    def gain(self) -> Float64[Tensor, "S L"]:
        """Share of the variance that each component explains beyond those before; the first also what the orders up to it explain."""
        return held_out.gains(self.moments.sum(0), len(self.nets))

    @property
    @verb
    def residual(self) -> Float64[Tensor, " S"]:
        """Var[rest] / Var[feature]: of higher order, or missed by training."""
        return 1 - self.r2[:, -1]

    @property
    @verb
    def reproducible(self) -> Float64[Tensor, " L"]:
        """Significance that comes again with another seed: covariance of the components of two seeds / Var[feature], mean over pairs; NaN
        with one seed."""
        return held_out.reproducible(self.moments.sum(0), len(self.nets))

    @verb
    def significance(self, stat: str = "var") -> Float64[Tensor, "S L"]:
        """Strength of each component relative to the feature.

        Args:
            stat: ``"var"``: ratio of variances, :attr:`rho`; ``"std"``: of standard deviations, its root.

        Raises:
            UnknownName: another ``stat``.
        """
        require_known("statistic of strength", stat, STATS)
        return self.rho if stat == "var" else self.rho.sqrt()

    @verb
    def table(self) -> dict[str, ComponentValues]:
        """Mean over seeds of each measure by order, with its standard error: over groups of held-out rows, and over seeds."""
        return {name: ComponentValues(*held_out.mean_with_stderr(of, self.moments, len(self.nets))) for name, of in TABLE.items()}

    @property
    def reading(self) -> FeatureSource:
        """Where the feature is read, and what becomes of it.

        Raises:
            InvalidInput: loaded without the network.
        """
        if self.source is None:
            raise InvalidInput("this result was loaded without its network; load it with Complexity.load(path, network=network)")
        return self.source

    # ---- components ---------------------------------------------------------------------------------------------------------------

    @verb
    def components(self, x: Inputs, *, seed: int = 0) -> FeatureComponents:
        """Take the feature of a batch apart.

        Args:
            x: a batch of the network's inputs.
            seed: which run's disentanglers, from 0.

        Raises:
            InvalidInput: no such run; loaded without the network; inputs that do not fit.
        """
        reading = self.reading
        if not 0 <= seed < len(self.nets):
            raise InvalidInput(f"there are {len(self.nets)} seeds, from 0; not {seed}")
        seen, feature = reading.read(x)
        with torch.no_grad():
            cumulative = torch.stack([self.shape.restore(net(seen)) for net in self.nets[seed]]).to(feature.dtype)
        parts = torch.cat([cumulative[:1], cumulative.diff(dim=0)])
        return FeatureComponents(parts=parts, rest=feature - parts.sum(0))

    # ---- what they do ---------------------------------------------------------------------------------------------------------------

    @verb
    def profile(
        self,
        train: LabelledInputs | None = None,
        test: LabelledInputs | None = None,
        *,
        others: Sequence[Any] = (),
        weighted: bool = False,
        scoring: Scoring | None = None,
        seed: int = 0,
    ) -> ComponentProfile:
        """Everything that can be measured of the components: strength, and what the given rows and networks allow.

        Args:
            train: rows the network was trained on, with their classes or numbers, as a pair; effectiveness needs them, and a thousand are
                enough for most errors.
            test: rows it was not trained on, likewise; over-fitting needs them.
            others: other networks of the same task, as :meth:`reliability` takes them; that needs them, and rows.
            weighted: whether strengths as the head sees them are measured, which differentiates it; ``train`` says on which rows.
            scoring: loss, absence, errors.
            seed: which run's disentanglers, from 0.

        Raises:
            InvalidInput: test rows or other networks without training rows; something bypasses the feature; targets that do not fit; loaded
                without the network; components of more than 4 GiB; and as :meth:`reliability`.
            WrongType: inputs of another kind than the network's.

        Reference: Ren2021, section 3.
        """
        wanted = ProfileRows(train=train, test=test, others=others, weighted=weighted, scoring=scoring, seed=seed)
        return component_profile(self, wanted)

    @verb
    def effectiveness(self, train: LabelledInputs, *, scoring: Scoring | None = None, seed: int = 0) -> ComponentValues:
        """What each component takes off the training loss, by Shapley value, in the unit of the loss.

        Args: as :meth:`profile`, whose ``coalitions`` hold the loss of every row under every subset as well.

        Raises: as :meth:`profile`.

        Reference: Ren2021, section 3.
        """
        return component_losses(self, train, scoring=scoring, seed=seed).effectiveness(None)

    @verb
    def reliability(self, x: Inputs, *, others: Sequence[Any], matching: Matching | None = None, seed: int = 0) -> Reliability:
        """How much of each component other networks of the same task know too.

        Args:
            x: rows that all of them read, thousands of them.
            others: the other networks in a list, models in any form that verbs take; their value, or module, of the same name is compared.
            matching: threshold, ridge.
            seed: which run's disentanglers, from 0.

        Raises:
            InvalidInput: no other network, fewer than 4 rows, features that cannot be matched or do not vary; loaded without the network.
            UnknownName: a network without such a value.

        Reference: Ren2021, section 3. Differs from the paper: see :func:`vesalius.complexity.reliability.match_features`.
        """
        return component_reliability(self, x, others, matching=matching, seed=seed)

    @verb
    def replace(self, orders: int | Collection[int], *, rest: bool = False, seed: int = 0) -> ComponentNetwork:
        """The network, with its feature replaced by a sum of components.

        Args:
            orders: a number, for all up to that order, which is what nets with so many nonlinear layers predict; or those wanted.
            rest: whether what no order explains is added.
            seed: which run's disentanglers, from 0.

        Raises:
            InvalidInput: no component of such an order, or nothing left; something bypasses the feature; loaded without the network.

        Reference: Ren2021, section 3 (feature components replace the feature).
        """
        return component_network(self, orders, rest=rest, seed=seed)

    @verb
    def picture(self, x: Inputs, *, unit: int | None = None, seed: int = 0) -> ComponentPicture:
        """The feature of some rows, its components, their sums and the rest, to be looked at: ``.plot()``, or as it is in a notebook.

        Args:
            x: a few rows: of a map or a sequence the first three are shown, of a vector the first twelve.
            unit: the one to show; by default of a map the one that varies most, else as many as can be told apart.
            seed: which run's disentanglers, from 0.

        Raises:
            InvalidInput: no such unit or run; loaded without the network.
        """
        return component_picture(self, x, unit=unit, seed=seed)

    # ---- showing ------------------------------------------------------------------------------------------------------------------

    @verb
    def summary(self) -> str:
        """A table for people."""
        rows, table = self.provenance.get("rows", {}), self.table()
        counted = f", {rows['held']} of {rows['all']} rows held out" if rows else ""
        lines = [
            f"Complexity of {self.at}: {len(self.nets)} seeds{counted}",
            f"{'order':>9} {'rho':>15} {'gain':>15} {'reproducible':>15} {'R2':>15}",
        ]
        for at, band in enumerate(order_bands(self.orders, "..")):
            cells = (_format_cell(table[name], at) for name in ("rho", "gain", "reproducible", "r2"))
            lines.append(f"{band:>9} " + " ".join(f"{cell:>15}" for cell in cells))
        rest, error = self.residual.mean(), table["r2"].stderr[-1]
        return "\n".join([*lines, f"{'rest':>9} {f'{rest:.4f} ± {error:.4f}':>15}"])

    def __repr__(self) -> str:
        return self.summary()

    def plot(self, *, title: str | None = None, ax: Any = None) -> Any:
        """Strength by order; returns the matplotlib figure. See :func:`vesalius.views.complexity.charts.plot_complexity`."""
        return load_view("complexity_plot")(self, title=title, ax=ax)

    def _repr_html_(self) -> str:
        return str(load_view("complexity_html")(self))

    # ---- keeping ------------------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write to one file (safetensors with a JSON header), atomically; the network is not in it."""
        return store.write(path, KIND, *result_contents(self))

    @classmethod
    @verb
    def load(cls, path: str | Path, *, network: Network | None = None) -> Complexity:
        """Read a file written by :meth:`save`; no code in it can run.

        Args:
            path: of the file.
            network: the network it is about; without it what needs rows does not work.

        Raises:
            FileNotFoundError, ForeignFile: see :func:`vesalius.core.store.read`.
            InvalidInput: another network than the one it is about.
        """
        tensors, facts = store.read(path, KIND)
        with store.decoding(path):
            about = store.fact(store.fact(facts, "provenance", dict), "digest", str)
        if network is not None and network.digest() != about:
            raise InvalidInput(f"{path} is about a network with digest {about}, not {network.digest()}")
        with store.decoding(path):
            return cls(**read_result(tensors, facts, network))


def _format_cell(found: ComponentValues, at: int) -> str:
    value, error = float(found.values[at]), float(found.stderr[at])
    return f"{value:.4f} ± {error:.4f}" if error == error else f"{value:.4f}"
