"""The result: importance of links, layer by layer.

Axes: U units, C input units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core import store
from vesalius.core.display import load_view
from vesalius.core.entry import verb
from vesalius.core.names import require_known
from vesalius.sparsity.coverage import Coverage
from vesalius.sparsity.link_ranks import LinkRank, important_links, rank_link

KIND = "link importance"
FACTS: Mapping[str, type] = {"name": str, "groups": int, "estimator": str, "activation": str, "error": float, "rows": int}
"""What a file holds of a layer, and of which type."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerImportance:
    """Importance of the links of one layer.

    Attributes:
        name: of the layer.
        values: in the weight's own shape and the unit of the outputs; for kernel slices with sides of 1 in space.
        stderr: standard errors of a sampled estimate, else ``None``.
        axes: the weight's axis of units, and of what they read.
        groups: of a grouped convolution.
        estimator: what was used; ``linear`` where a closed form is exact.
        activation: of the units; ``identity`` where the sum before it was asked for.
        error: relative L2 error of the layer's values, measured on a few units; 0 where they are exact, NaN where it is not known.
        rows: inputs that the mean is over.
    """

    name: str
    values: Float[Tensor, "..."]
    stderr: Float[Tensor, "..."] | None
    axes: tuple[int, int]
    groups: int
    estimator: str
    activation: str
    error: float
    rows: int

    @property
    @verb
    def total(self) -> float:
        """Sum over all links."""
        return float(self.values.sum(dtype=torch.float64))

    @property
    @verb
    def unit_importance(self) -> Float[Tensor, " C"]:
        """Of every unit that the layer reads: mean of its outgoing links."""
        return self._by_input().mean(1).flatten()

    @property
    @verb
    def variance(self) -> Float[Tensor, " C"]:
        """Of every unit that the layer reads: variance of its outgoing links over the units they lead to; large where its influence is
        concentrated on a few."""
        return self._by_input().var(1, correction=0).flatten()

    @verb
    def important_links(self, importance_level: float) -> Bool[Tensor, "..."]:
        """True for the fewest links that carry a share of the layer's importance, in (0, 1]; false for the other set.

        Raises:
            InvalidInput: a level out of range.
        """
        return important_links(self.name, self.values, importance_level)

    @verb
    def rank(self, *index: int) -> LinkRank:
        """Why a link is among the important ones, or not; printed, a sentence.

        Args:
            index: of the link, one number for each axis of ``values``.

        Raises:
            InvalidInput: no such link.
        """
        return rank_link(self.name, self.values, index)

    def _by_input(self) -> Float[Tensor, "G U C"]:
        table = (
            self.values.movedim(self.axes, (0, 1)).flatten(2) if self.values.ndim > 2 else self.values.movedim(self.axes, (0, 1))[..., None]
        )
        found: Tensor = table.mean(2).unflatten(0, (self.groups, -1))
        return found


@dataclass(frozen=True, eq=False, kw_only=True)
class LinkImportance:
    """Importance of the links of a network; ``importance["fc1"]`` is that of a layer.

    Attributes:
        layers: by name, in order of computation.
        provenance: model digest, baseline, estimator, options, versions.
    """

    layers: Mapping[str, LayerImportance]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> LayerImportance:
        """The importance of one layer.

        Raises:
            UnknownName: no such layer was scored.
        """
        require_known("layer", name, self.layers)
        return self.layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def coverage(self) -> Coverage:
        """Which share of the network's weights these links are, and why the others were left alone."""
        return Coverage.of_facts(self.provenance.get("coverage", {}))

    @verb
    def summary(self) -> str:
        """A table for people."""
        wide = max([5, *map(len, self.layers)])
        made = self.provenance
        lines = [
            f"Importance of links, baseline {made.get('baseline', '?')}, {made.get('options', {}).get('aggregate', '?')}",
            f"{'layer':<{wide}} {'links':>10} {'activation':>10} {'estimator':>11} {'error':>7} {'total':>10} {'rows':>7}",
        ]
        for name, one in self.layers.items():
            error = "" if one.error != one.error else f"{one.error:.1%}"
            made_by = f"{one.activation:>10} {one.estimator:>11} {error:>7}"
            lines.append(f"{name:<{wide}} {one.values.numel():>10,} {made_by} {one.total:>10.4g} {one.rows:>7,}")
        covered = self.coverage
        return "\n".join([*lines, *([covered.sentence()] if covered.left else []), *covered.lines()])

    def __repr__(self) -> str:
        return self.summary()

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that the network reads, where the data had some."""
        return tuple(str(one) for one in self.provenance.get("features", ()))

    def plot(self, *, title: str | None = None, ax: Any = None) -> Any:
        """How much the strongest links carry; returns the matplotlib figure. See :func:`vesalius.views.sparsity.charts.plot_importance`."""
        return load_view("importance_plot")(self, title=title, ax=ax)

    def plot_units(
        self,
        layer: str | None = None,
        *,
        measure: str = "unit_importance",
        names: Sequence[str] | None = None,
        title: str | None = None,
        ax: Any = None,
    ) -> Any:
        """Bars of unit importance, or of the variance of link importance, by name; returns the matplotlib figure. See
        :func:`vesalius.views.sparsity.link_charts.plot_units`."""
        return load_view("unit_importance_plot")(self, layer, measure=measure, names=names, title=title, ax=ax)

    def plot_links(
        self,
        layer: str | None = None,
        *,
        importance_level: float | None = None,
        names: Sequence[str] | None = None,
        title: str | None = None,
        ax: Any = None,
    ) -> Any:
        """A heat map of the links of a layer, and which of them an importance level keeps; returns the matplotlib figure. See
        :func:`vesalius.views.sparsity.link_charts.plot_links`."""
        return load_view("link_map_plot")(self, layer, importance_level=importance_level, names=names, title=title, ax=ax)

    def _repr_html_(self) -> str:
        return str(load_view("importance_html")(self))

    def save(self, path: str | Path) -> Path:
        """Write to one file (safetensors with a JSON header), atomically."""
        return store.write(path, KIND, *importance_contents(self))

    @classmethod
    @verb
    def load(cls, path: str | Path) -> LinkImportance:
        """Read a file written by :meth:`save`; no code in it can run.

        Raises:
            FileNotFoundError, ForeignFile: see :func:`vesalius.core.store.read`.
        """
        tensors, facts = store.read(path, KIND)
        with store.decoding(path):
            return read_importance(tensors, facts)


def importance_contents(found: LinkImportance) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that is kept of the importance of links."""
    tensors = {f"{place}.values": one.values for place, one in enumerate(found.layers.values())}
    tensors |= {f"{place}.stderr": one.stderr for place, one in enumerate(found.layers.values()) if one.stderr is not None}
    plain = ("name", "axes", "groups", "estimator", "activation", "error", "rows")
    layers = [{name: getattr(one, name) for name in plain} for one in found.layers.values()]
    return tensors, {"layers": layers, "provenance": store.to_json_values(found.provenance)}


def read_importance(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> LinkImportance:
    """The importance of links that a file holds.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: the file holds none.
    """
    layers = [_load_layer(place, one, tensors) for place, one in enumerate(store.fact(facts, "layers", list))]
    if not layers or len({one.name for one in layers}) < len(layers):
        raise ValueError("there are no layers, or two of one name")
    made = store.provenance(facts, options=store.mapping, coverage=lambda value: Coverage.of_facts(store.mapping(value)))
    return LinkImportance(layers={one.name: one for one in layers}, provenance=made)


def _load_layer(place: int, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LayerImportance:
    """A layer of a file."""
    values = store.part(tensors, f"{place}.values")
    stderr = store.part(tensors, f"{place}.stderr", values.shape) if f"{place}.stderr" in tensors else None
    kept: dict[str, Any] = {name: store.fact(facts, name, kind) for name, kind in FACTS.items()}
    units, read = store.sides(facts["axes"])
    if max(units, read) >= values.ndim or units == read or kept["groups"] < 1 or not values.numel() or values.shape[units] % kept["groups"]:
        raise ValueError(f"values of shape {list(values.shape)} have no axes {units}, {read} in {kept['groups']} groups")
    return LayerImportance(values=values, stderr=stderr, axes=(units, read), **kept)
