"""The noun of information flow: which unit tells which other how much, from layer to layer.

A :class:`FlowGraph` is layers and, between consecutive ones, matrices of information and of weights. What follows from them is computed
when asked, by the modules beside this one, which know matrices; names live here.

Axes: A units of a layer, B units of the next, F units of the first layer, L units of the last, N samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from vesalius.core import store
from vesalius.core.arguments import noun
from vesalius.core.display import load_view
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.information import centrality, communities, export, paths, redundancy
from vesalius.information.edge_weights import TRANSFORMS, EdgeWeighting, weigh_edges
from vesalius.information.histograms import Histograms
from vesalius.information.layers import FlowEdges, FlowLayer, UnitKey, list_layers, list_units, read_unit

EDGE_MATRICES = ("information", "flow", "p", "stderr", "unreliable")
HISTOGRAM_FIELDS = ("counts", "low", "high", "zero")


@noun("vesalius.information_flow makes one")
@dataclass(frozen=True, eq=False, kw_only=True)
class FlowGraph:
    """A directed layered graph of units, with the flow of information as weights.

    Attributes:
        layers: at least two, from input to output.
        edges: between each layer and the next.
        transform: what the weights are: ``None``, nats; ``"linfoot"``, correlations; ``"layer_max"``, shares of the layer pair's largest.
        provenance: model digest, seed, versions, options.
    """

    layers: tuple[FlowLayer, ...]
    edges: tuple[FlowEdges, ...]
    transform: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        if len(names) < 2:
            raise InvalidInput(f"a flow graph has at least two layers, not {len(names)}")
        if len(set(names)) < len(names):
            raise InvalidInput(f"layers need different names; these are {', '.join(map(repr, names))}")
        if len(self.edges) != len(names) - 1:
            raise InvalidInput(f"{len(names)} layers have {len(names) - 1} layer pairs, but edges were given for {len(self.edges)}")
        if self.transform is not None:
            require_known("transform", self.transform, TRANSFORMS)
        for first, second, part in zip(self.layers, self.layers[1:], self.edges, strict=False):
            if part.shape != (len(first), len(second)):
                raise InvalidInput(
                    f"from {first.name!r} to {second.name!r} the matrices have shape {part.shape}, the layers"
                    f" {(len(first), len(second))} units"
                )
            wrong = part.kept & (first.dead[:, None] | second.dead)
            if wrong.any():
                row, column = wrong.nonzero()[0].tolist()
                raise InvalidInput(
                    f"{first.title(row)} -> {second.title(column)} has a weight, but one of them is dead; its weight must be 0"
                )

    @classmethod
    @verb
    def from_information(
        cls,
        layers: Sequence[FlowLayer],
        edges: Sequence[FlowEdges],
        weighting: EdgeWeighting | None = None,
        *,
        provenance: Mapping[str, Any] | None = None,
    ) -> FlowGraph:
        """A graph with weights made of the information: significant edges only, less the redundancy, transformed.

        Args:
            layers: from input to output.
            edges: information between each layer and the next, and p-values if edges are to be dropped; weights are not read.
            weighting: how; by default nats, less 5e-4 times the mean redundancy, at a false discovery rate of 5 %.
            provenance: kept, beside the weighting.

        Raises:
            InvalidInput: shapes that do not chain, or no information within a layer whose redundancy is to be taken off.
        """
        how = weighting or EdgeWeighting()
        bare = cls(layers=list_layers(layers), edges=tuple(replace(part, flow=torch.zeros_like(part.flow)) for part in edges))
        made = tuple(weigh_edges(*row, how) for row in zip(bare.layers, bare.layers[1:], bare.edges, strict=False))
        return replace(bare, edges=made, transform=how.transform, provenance={**(provenance or {}), "weighting": asdict(how)})

    # ---- names --------------------------------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers, from input to output."""
        return tuple(layer.name for layer in self.layers)

    @property
    @verb
    def flows(self) -> tuple[Float64[Tensor, "_ _"], ...]:
        """Weights, one matrix [units, units of the next layer] per layer pair."""
        return tuple(part.flow for part in self.edges)

    def __len__(self) -> int:
        return len(self.layers)

    def place(self, layer: str) -> int:
        """Number of a layer.

        Raises:
            UnknownName: there is no such layer.
        """
        require_known("layer", layer, self.names)
        return self.names.index(layer)

    def find(self, unit: UnitKey) -> tuple[int, int]:
        """Number of the layer and position in it of a unit.

        Raises:
            UnknownName: there is no such layer, or no such label in it.
            InvalidInput: the layer has not so many units.
        """
        layer, position = read_unit(unit)
        at = self.place(layer)
        return at, self.layers[at].position(position)

    def title(self, unit: UnitKey) -> str:
        """Name of a unit for people, such as ``features: petal width`` or ``relu_1[3]``."""
        at, position = self.find(unit)
        return self.layers[at].title(position)

    # ---- what is dead, spare, or cut ----------------------------------------------------------------------------------------------

    @property
    def dead(self) -> tuple[tuple[str, int], ...]:
        """Units that are constant on the data, as (layer, position)."""
        return tuple((layer.name, at) for layer in self.layers for at in layer.dead.nonzero().flatten().tolist())

    @verb
    def redundant(self, *, similarity: float = 0.9, dependence: float = 0.8) -> tuple[redundancy.RedundantPair, ...]:
        """Pairs of units of a layer that have nearly the same edges, most similar first.

        Args:
            similarity: least weighted Jaccard similarity of the edges, in (0, 1].
            dependence: where the information within the layer is known, least that the units must know of each other, in [0, 1]: as the
                correlation that the information amounts to, or as its share of what there is to know.
        """
        return redundancy.redundant_pairs(self.layers, self.flows, similarity, dependence)

    @verb
    def prunable(self, *, share: float = 0.0) -> dict[str, dict[int, str]]:
        """Units between the first and the last layer that carry at most a share of the flow: positions by layer, each with the reason.

        Args:
            share: of all flow from the first layer to the last, in [0, 1); by default only what carries none is listed.
        """
        return redundancy.prunable_units(self.layers, self.flows, share)

    @verb
    def without(self, units: Iterable[UnitKey] | Mapping[str, Iterable[int | str]]) -> FlowGraph:
        """The graph with no edges at some units. They stay in their layers, and what was measured stays too.

        Args:
            units: as (layer, position or label), or by layer, as :meth:`prunable` lists them.

        Raises:
            UnknownName, InvalidInput: see :meth:`find`.
        """
        listed = list_units(units)
        flows = [flow.clone() for flow in self.flows]
        for at, position in map(self.find, listed):
            if at:
                flows[at - 1][:, position] = 0
            if at < len(flows):
                flows[at][position] = 0
        gone = sorted({*map(tuple, self.provenance.get("without", ())), *((self.names[at], p) for at, p in map(self.find, listed))})
        edges = tuple(replace(part, flow=flow) for part, flow in zip(self.edges, flows, strict=True))
        return replace(self, edges=edges, provenance={**self.provenance, "without": gone})

    # ---- questions ----------------------------------------------------------------------------------------------------------------

    @verb
    def betweenness(self, *, length: str = "reciprocal") -> dict[str, Float64[Tensor, " _"]]:
        """How many shortest paths between other units pass through each unit, by layer; not normalised.

        Args:
            length: of an edge: ``"reciprocal"``, 1/weight; ``"linfoot"``, -log r.

        Raises:
            UnknownName: no such length.
            InvalidInput: ``"linfoot"`` with weights that are shares of the layer's largest.

        Reference: Freeman1977.
        """
        found = centrality.betweenness(self.flows, centrality.edge_lengths(self.flows, length, self.transform))
        return dict(zip(self.names, found, strict=True))

    @verb
    def communities(
        self, *, method: str = "leiden", gamma: float = 1.0, seeds: Sequence[int] = range(10), shuffles: int = 39
    ) -> communities.Communities:
        """Units that belong together, how stable that is, and whether shuffled weights would divide as well.

        Takes seconds for thousands of edges, and about a minute for hundreds of thousands; fewer seeds and shuffles take less.

        Args:
            method: ``"leiden"`` or ``"louvain"``.
            gamma: above 0; lower gives more and smaller communities (resolution 1/gamma).
            seeds: one run each. The same seeds give the same answer; no random state but our own is used.
            shuffles: graphs to compare with, whose weights are shuffled within each layer pair.
        """
        search = communities.CommunitySearch(method=method, gamma=gamma, seeds=seeds, shuffles=shuffles)
        return communities.find_communities(self.names, self.flows, search)

    @verb
    def attribution(self) -> Float64[Tensor, "F L"]:
        """For every unit of the first and of the last layer, the sum over all paths between them of the products of weights.

        In nats to the power of the number of layer pairs, unless the weights were transformed: compare within one graph only.

        Reference: Davis2020.
        """
        return paths.path_attribution(self.flows)

    @verb
    def pointwise_attribution(self, samples: Sequence[Float[Tensor, "N _ _"]]) -> Float64[Tensor, "N F L"]:
        """:meth:`attribution` of single samples.

        Args:
            samples: point-wise information of each sample, one batch of matrices per layer pair, in nats; it may be negative. Read only
                where the graph has an edge.
        """
        return paths.pointwise_attribution(self.flows, samples)

    @verb
    def through(self) -> dict[str, Float64[Tensor, " _"]]:
        """Share of all flow from the first layer to the last that passes through each unit, by layer; adds up to 1 in each."""
        return dict(zip(self.names, paths.throughput(self.flows), strict=True))

    @verb
    def strongest_paths(self, source: UnitKey | None = None, target: UnitKey | None = None, k: int = 5) -> tuple[paths.FlowPath, ...]:
        """The k paths with the largest products of weights, exactly; fewer if there are no more.

        Args:
            source: where they start; any unit of the first layer if not given.
            target: where they end, in a later layer; any unit of the last if not given.
            k: at least 1.

        Raises:
            UnknownName, InvalidInput: see :meth:`find`; a target that is not in a later layer.
        """
        start, first = (0, slice(None)) if source is None else _unit_slice(self.find(source))
        stop, last = (len(self) - 1, slice(None)) if target is None else _unit_slice(self.find(target))
        if start >= stop:
            raise InvalidInput(f"paths run forward: from {self.names[start]!r} there is none to {self.names[stop]!r}")
        part = list(self.flows[start:stop])
        part[0] = part[0][first]
        part[-1] = part[-1][:, last]
        found = []
        for units, product in paths.strongest_paths(part, k):
            whole = (units[0] + (first.start or 0), *units[1:-1], units[-1] + (last.start or 0))
            found.append(paths.FlowPath(tuple(zip(self.names[start : stop + 1], whole, strict=True)), product))
        return tuple(found)

    @verb
    def strongest_edges(self, k: int = 5) -> tuple[paths.FlowPath, ...]:
        """The k edges with the largest weights."""
        found = [
            paths.FlowPath(((first, units[0]), (second, units[1])), weight)
            for first, second, flow in zip(self.names, self.names[1:], self.flows, strict=False)
            for units, weight in paths.strongest_paths([flow], k)
        ]
        return tuple(sorted(found, key=lambda edge: -edge.product)[: int(k)])

    # ---- showing ------------------------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        kept, possible = sum(int(part.kept.sum()) for part in self.edges), sum(part.flow.numel() for part in self.edges)
        doubtful = sum(int((part.unreliable & part.kept).sum()) for part in self.edges)
        units = f"{sum(map(len, self.layers))} units ({len(self.dead)} constant)"
        lines = [
            f"FlowGraph: {len(self)} layers, {units}, {kept} of {possible} edges kept"
            + (f", {doubtful} of them larger than the samples can support" if doubtful else ""),
            *(f"  {layer!r}" for layer in self.layers),
        ]
        unit = {None: "nats", "linfoot": "correlation", "layer_max": "share of the layer's largest"}[self.transform]
        if kept:
            lines.append(f"strongest edges ({unit})")
            lines += [f"  {weight:.3g}  {self.title(a)} -> {self.title(b)}" for (a, b), weight in self.strongest_edges()]
        ranked = sorted(((float(b), name, at) for name, part in self.betweenness().items() for at, b in enumerate(part)), reverse=True)
        if ranked[0][0] > 0:
            lines.append("betweenness")
            lines += [f"  {value:.3g}  {self.title((name, at))}" for value, name, at in ranked[:5] if value > 0]
        return "\n".join(lines)

    def plot(self, *, most_units: int = 16, most_edges: int | None = None, shape: Sequence[int] | None = None, ax: Any = None) -> Any:
        """A layered drawing; returns the matplotlib figure. See :func:`vesalius.views.flow.charts.plot_flow`."""
        return load_view("flow_plot")(self, most_units=most_units, most_edges=most_edges, shape=shape, ax=ax)

    def _repr_html_(self) -> str:
        return str(load_view("flow_html")(self))

    # ---- keeping ------------------------------------------------------------------------------------------------------------------

    @verb
    def to_igraph(self, *, length: str = "reciprocal") -> Any:
        """As a directed ``igraph.Graph``; edges have their ``flow``, ``length`` (see :meth:`betweenness`) and all that was measured."""
        return export.to_igraph(*self._with_lengths(length))

    @verb
    def to_networkx(self, *, length: str = "reciprocal") -> Any:
        """As a ``networkx.DiGraph`` whose nodes are (layer, position); attributes as in :meth:`to_igraph`."""
        return export.to_networkx(*self._with_lengths(length))

    @verb
    def to_json(self) -> str:
        """Nodes, links and provenance as JSON, for other programs; :meth:`save` is what :meth:`load` reads."""
        return export.to_json(*self._with_lengths("reciprocal"), self.provenance)

    @verb
    def save_graphml(self, path: str | Path) -> Path:
        """Write GraphML, which Gephi, Cytoscape, yEd, networkx and igraph read; atomically."""
        return store.write_text(path, export.to_graphml(*self._with_lengths("reciprocal")))

    def _with_lengths(self, length: str) -> tuple[tuple[FlowLayer, ...], tuple[FlowEdges, ...], list[Float64[Tensor, "_ _"]]]:
        return self.layers, self.edges, centrality.edge_lengths(self.flows, length, self.transform)

    @verb
    def save(self, path: str | Path) -> Path:
        """Write to one file (safetensors with a JSON header), atomically."""
        kept = {name: tensor for at, layer in enumerate(self.layers) for name, tensor in _layer_tensors(at, layer).items()}
        for at, part in enumerate(self.edges):
            kept |= {f"{name}.{at}": matrix for name in EDGE_MATRICES if (matrix := getattr(part, name)) is not None}
        layers = [{"name": layer.name, "units": layer.units, "kind": layer.kind} for layer in self.layers]
        facts = {"layers": layers, "transform": self.transform, "provenance": export.to_json_values(self.provenance)}
        return store.write(path, "flow graph", kept, facts)

    @classmethod
    @verb
    def load(cls, path: str | Path) -> FlowGraph:
        """Read a file written by :meth:`save`.

        Raises:
            FileNotFoundError, ForeignFile: see :func:`vesalius.core.store.read`.
        """
        tensors, facts = store.read(path, "flow graph")
        with store.decoding(path):
            layers = tuple(_load_layer(at, who, tensors) for at, who in enumerate(store.fact(facts, "layers", list)))
            edges = tuple(_load_edges(at, (len(layers[at]), len(layers[at + 1])), tensors) for at in range(len(layers) - 1))
            made = store.provenance(
                facts, rows=lambda count: int(count or 0), weighting=lambda how: float(store.mapping(how or {}).get("rate", 1))
            )
            transform = None if facts["transform"] is None else store.fact(facts, "transform", str)
            return cls(layers=layers, edges=edges, transform=transform, provenance=made)


def _layer_tensors(at: int, layer: FlowLayer) -> dict[str, Tensor]:
    """A layer's tensors as a file names them."""
    found = {"dead": layer.dead} | ({} if layer.within is None else {"within": layer.within})
    found |= {} if layer.spread is None else {name: getattr(layer.spread, name) for name in HISTOGRAM_FIELDS}
    return {f"{name}.{at}": tensor for name, tensor in found.items()}


def _load_layer(at: int, who: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FlowLayer:
    """A layer of a file."""
    units, name, within, spread = tuple(store.words(who, "units")), f"within.{at}", None, None
    if name in tensors:
        within = store.part(tensors, name).double()
    if f"{HISTOGRAM_FIELDS[0]}.{at}" in tensors:
        counts = store.part(tensors, f"counts.{at}", (len(units), tensors[f"counts.{at}"].shape[1]), kind="whole")
        ends = {name: store.part(tensors, f"{name}.{at}", (len(units),)).double() for name in HISTOGRAM_FIELDS[1:]}
        spread = Histograms(counts=counts, **ends)
    dead = store.part(tensors, f"dead.{at}", (len(units),), kind="boolean")
    return FlowLayer(store.fact(who, "name", str), units, store.fact(who, "kind", str), dead, within, spread)


def _load_edges(at: int, shape: tuple[int, int], tensors: Mapping[str, Tensor]) -> FlowEdges:
    """The edges between two layers of a file."""
    held = [name for name in EDGE_MATRICES if f"{name}.{at}" in tensors]
    kinds = {name: "boolean" if name == "unreliable" else "floating" for name in held}
    found = {name: store.part(tensors, f"{name}.{at}", shape, kind=kind) for name, kind in kinds.items()}
    return FlowEdges(**{name: matrix.double() if matrix.is_floating_point() else matrix for name, matrix in found.items()})


def _unit_slice(place: tuple[int, int]) -> tuple[int, slice]:
    return place[0], slice(place[1], place[1] + 1)
