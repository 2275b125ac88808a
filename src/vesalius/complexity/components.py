"""The noun of complexity: what of a feature can be computed with how many nonlinear layers.

Axes: S seeds, L orders, B batch, Q predictions of all seeds and orders, then the feature itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from vesalius.complexity.features import FeatureSource, parameter_device
from vesalius.complexity.networks import RowShapes, read_shape, read_trunk
from vesalius.complexity.readout import Disentangler
from vesalius.complexity.strength import STATS
from vesalius.core import store
from vesalius.core.arguments import noun
from vesalius.core.display import load_view
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.trace.network import Inputs, Network

KIND = "complexity"


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
        moments: covariances of all predictions and the feature over rows, summed over elements.
        shape: of a row of what the disentanglers see, and of the feature.
        time_matched_gain: the gain beyond that of the order before when trained as long again, by seed and order; with ``mode="paper"``.
        source: reads feature and input; ``None`` when loaded without the network.
        inputs: names of the values that the disentanglers see, for a source that is loaded later.
        provenance: model digest, rows, options, seed, versions, cost.
    """

    at: str
    orders: tuple[int, ...]
    nets: tuple[tuple[Disentangler, ...], ...]
    kept: Bool[Tensor, "S L"]
    moments: Float64[Tensor, "Q Q"]
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
        return (
            self._combination_covariance(self._component_weights, self._component_weights).diagonal().reshape(self.kept.shape).clamp_min(0)
            / self._variance
        )

    @property
    @verb
    def r2(self) -> Float64[Tensor, "S L"]:
        """Share of the feature's variance explained with up to so many nonlinear layers."""
        errors = torch.eye(len(self.moments), dtype=torch.float64)[:-1]
        errors[:, -1] = -1
        return 1 - self._combination_covariance(errors, errors).diagonal().reshape(self.kept.shape) / self._variance

    @property
    @verb
    def gain(self) -> Float64[Tensor, "S L"]:
        """Share of the variance that each component explains beyond those before; the first also what the orders up to it explain."""
        r2 = self.r2
        return r2.diff(dim=1, prepend=torch.zeros_like(r2[:, :1]))

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
        seeds, orders = self.kept.shape
        between = self._combination_covariance(self._component_weights, self._component_weights).reshape(seeds, orders, seeds, orders)
        pairs = [between[one, :, other].diagonal() for one, other in combinations(range(seeds), 2)]
        return torch.stack(pairs).mean(0) / self._variance if pairs else torch.full((orders,), torch.nan, dtype=torch.float64)

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

    @property
    def _variance(self) -> Float64[Tensor, ""]:
        return self.moments[-1, -1]

    @property
    def _component_weights(self) -> Float64[Tensor, "_ Q"]:
        """Each component as a combination of predictions."""
        seeds, orders = self.kept.shape
        one = torch.eye(orders, dtype=torch.float64) - torch.ones(orders - 1, dtype=torch.float64).diag(-1)
        steps = torch.block_diag(*[one] * seeds)
        return torch.cat([steps, torch.zeros(len(steps), 1, dtype=torch.float64)], 1)

    def _combination_covariance(self, a: Float64[Tensor, "m Q"], b: Float64[Tensor, "n Q"]) -> Float64[Tensor, "m n"]:
        return a @ self.moments @ b.T

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

    # ---- showing ------------------------------------------------------------------------------------------------------------------

    @verb
    def table(self) -> dict[str, tuple[Float64[Tensor, " L"], Float64[Tensor, " L"]]]:
        """Mean over seeds, and half the spread between the seeds, of each measure by order."""
        named = {"rho": self.rho, "gain": self.gain, "r2": self.r2}
        found = {name: (rows.mean(0), (rows.amax(0) - rows.amin(0)) / 2) for name, rows in named.items()}
        return found | {"reproducible": (self.reproducible, torch.zeros_like(self.reproducible))}

    @verb
    def summary(self) -> str:
        """A table for people."""
        rows, table = self.provenance.get("rows", {}), self.table()
        counted = f", {rows['held']} of {rows['all']} rows held out" if rows else ""
        lines = [
            f"Complexity of {self.at}: {len(self.nets)} seeds{counted}",
            f"{'order':>9} {'rho':>14} {'gain':>15} {'reproducible':>13} {'R2':>7}",
        ]
        before = -1
        for at, order in enumerate(self.orders):
            rho, gain = (f"{table[name][0][at]:.4f} ± {table[name][1][at]:.4f}" for name in ("rho", "gain"))
            band = f"{order}" if order - before <= 1 else f"{before + 1}..{order}"
            lines.append(f"{band:>9} {rho:>14} {gain:>15} {table['reproducible'][0][at]:13.4f} {table['r2'][0][at]:7.4f}")
            before = order
        return "\n".join([*lines, f"{'rest':>9} {self.residual.mean():.4f}"])

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
        tensors = {"kept": self.kept, "moments": self.moments} | (
            {} if self.time_matched_gain is None else {"beyond_time": self.time_matched_gain}
        )
        nets = []
        for s, row in enumerate(self.nets):
            for at, net in enumerate(row):
                tensors |= {f"{s}.{at}.{name}": tensor for name, tensor in net_tensors(net).items()}
                nets.append({"blocks": net.trunk.blocks, "width": net.trunk.width})
        shape = {"x": self.shape.x, "f": self.shape.f, "axis": self.shape.axis, "source_axis": self.shape.source_axis}
        facts = {"at": self.at, "orders": self.orders, "nets": nets, "shape": shape, "provenance": store.to_json_values(self.provenance)}
        facts["inputs"] = self.inputs if self.source is None else self.source.inputs
        return store.write(path, KIND, tensors, facts)

    @classmethod
    @verb
    def load(cls, path: str | Path, *, network: Network | None = None) -> Complexity:
        """Read a file written by :meth:`save`; no code in it can run.

        Args:
            path: of the file.
            network: the network it is about; without it everything but :meth:`components` works.

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
            shape, orders = read_shape(store.fact(facts, "shape", dict)), store.sides(facts["orders"])
            rows, count = tensors["kept"].shape
            kept, inputs = store.part(tensors, "kept", (rows, len(orders)), kind="boolean"), tuple(store.words(facts, "inputs"))
            moments = store.part(tensors, "moments", [rows * count + 1] * 2).double()
            gain = store.part(tensors, "beyond_time", kept.shape) if "beyond_time" in tensors else None
            listed = store.fact(facts, "nets", list)
            if len(listed) != kept.numel() or not listed or list(orders) != sorted(set(orders)):
                raise ValueError(f"there are {len(listed)} nets of {rows} seeds and orders {list(orders)}")
            store.provenance(
                facts,
                rows=lambda known: known and (int(known["held"]), int(known["all"])),
                cost=lambda known: float(known.get("seconds") or 0),
            )
            device = torch.device("cpu") if network is None else parameter_device(network)
            made = [read_net(tensors, f"{n // count}.{n % count}.", shape, who, device) for n, who in enumerate(listed)]
            nets = tuple(tuple(made[s * count : (s + 1) * count]) for s in range(rows))
            return cls(
                at=store.fact(facts, "at", str),
                orders=orders,
                nets=nets,
                kept=kept,
                moments=moments,
                shape=shape,
                time_matched_gain=gain,
                source=None if network is None else FeatureSource(network=network, at=facts["at"], inputs=inputs),
                inputs=inputs,
                provenance=facts["provenance"],
            )


def net_tensors(net: Disentangler) -> dict[str, Tensor]:
    """A net's tensors as a file names them."""
    return {"weight": net.weight, "bias": net.bias} | {f"trunk.{name}": tensor for name, tensor in net.trunk.state_dict().items()}


def read_net(
    tensors: Mapping[str, Tensor], prefix: str, shape: RowShapes, who: Mapping[str, int], device: torch.device | str = "cpu"
) -> Disentangler:
    """A net of a file."""
    mine = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    inner = {name.removeprefix("trunk."): tensor for name, tensor in mine.items() if name.startswith("trunk.")}
    trunk = read_trunk(inner, shape, who["width"], who["blocks"]).to(device)
    weight = store.part(mine, "weight", (len(mine["weight"]), shape.channels))
    bias = store.part(mine, "bias", (shape.positions, shape.channels))
    return Disentangler(trunk=trunk.eval(), weight=weight.to(device), bias=bias.to(device))


@torch.no_grad()
def moments(predictions: Sequence[Disentangler], rows: Any) -> Float64[Tensor, "Q Q"]:
    """Covariances over rows, summed over elements, of predictions and the feature, in one pass about a first guess of the means.

    Args:
        predictions: nets.
        rows: batches of what the nets see and of the feature by position.
    """
    shift: Tensor | None = None
    count, cross, totals = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for x, f in rows:
        found = torch.stack([*(net(x) for net in predictions), f]).flatten(2).double().cpu()
        shift = found.mean(1, keepdim=True) if shift is None else shift
        found = found - shift
        count += found.shape[1]
        cross = cross + found.flatten(1) @ found.flatten(1).T
        totals = totals + found.sum(1)
    return cross / count - (totals / count) @ (totals / count).T
