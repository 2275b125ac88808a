"""The noun of information flow: which unit tells which other how much, from layer to layer.

A :class:`FlowGraph` is layers and, between those that are joined, matrices of information and of weights. What follows from them is
computed when asked, by the modules beside this one, which know matrices and numbers of layers; names live here.

Axes: A units of a layer, B units of one that reads it, F units of the first layers, L units of the last, N samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
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
from vesalius.information import centrality, communities, export, graph_file, paths, pruning, redundancy
from vesalius.information.comparison import FlowComparison, compare_graphs
from vesalius.information.edge_weights import TRANSFORMS, EdgeWeighting, weigh_edges
from vesalius.information.layer_graph import LayerGraph, layer_graph
from vesalius.information.layers import FlowEdges, FlowLayer, UnitKey, check_edges, list_layers, list_units, read_unit
from vesalius.information.summary import describe_graph


@noun("vesalius.information_flow makes one")
@dataclass(frozen=True, eq=False, kw_only=True)
class FlowGraph:
    """A directed layered graph of units, without cycles, with the flow of information as weights.

    Attributes:
        layers: at least two, each behind those that it reads.
        edges: one for each of :attr:`joined`.
        pairs: names of the layers that are joined, the one that is read first; ``None`` where each is joined with the next, and no other.
        unseen: layers that read an input besides that is no layer, so that information comes into them that the graph does not show.
        transform: what the weights are: ``None``, nats; ``"linfoot"``, correlations; ``"layer_max"``, shares of the layer pair's largest.
        provenance: model digest, seed, versions, options.
    """

    layers: tuple[FlowLayer, ...]
    edges: tuple[FlowEdges, ...]
    pairs: tuple[tuple[str, str], ...] | None = None
    unseen: tuple[str, ...] = ()
    transform: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        joined = layer_graph(self.names, list(map(len, self.layers)), self.pairs, self.unseen)
        if joined.is_chain:
            object.__setattr__(self, "pairs", None)
        if len(self.edges) != len(joined.pairs):
            raise InvalidInput(f"{len(self)} layers have {len(joined.pairs)} layer pairs, but edges were given for {len(self.edges)}")
        if self.transform is not None:
            require_known("transform", self.transform, TRANSFORMS)
        for (at, behind), part in zip(joined.pairs, self.edges, strict=True):
            check_edges(self.layers[at], self.layers[behind], part)

    @cached_property
    def structure(self) -> LayerGraph:
        """Which layers are joined, by their numbers."""
        return layer_graph(self.names, list(map(len, self.layers)), self.pairs)

    @classmethod
    @verb
    def from_information(
        cls,
        layers: Sequence[FlowLayer],
        edges: Sequence[FlowEdges],
        weighting: EdgeWeighting | None = None,
        *,
        pairs: Sequence[tuple[str, str]] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> FlowGraph:
        """A graph with weights made of the information: significant edges only, less the redundancy, transformed.

        Args:
            layers: from input to output.
            edges: information between the layers of each pair, and p-values if edges are to be dropped; weights are not read.
            weighting: how; by default nats, less 5e-4 times the mean redundancy, at a false discovery rate of 5 %.
            pairs: names of the layers that are joined; by default each with the next.
            provenance: kept, beside the weighting.

        Raises:
            InvalidInput: shapes that do not chain, or no information within a layer whose redundancy is to be taken off.
        """
        how = weighting or EdgeWeighting()
        empty = tuple(replace(part, flow=torch.zeros_like(part.flow)) for part in edges)
        bare = cls(layers=list_layers(layers), edges=empty, pairs=None if pairs is None else tuple(pairs))
        ends = [(bare.layers[first], bare.layers[second]) for first, second in bare.structure.pairs]
        made = tuple(weigh_edges(*pair, part, how) for pair, part in zip(ends, bare.edges, strict=True))
        return replace(bare, edges=made, transform=how.transform, provenance={**(provenance or {}), "weighting": asdict(how)})

    # ---- names --------------------------------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers, from input to output."""
        return tuple(layer.name for layer in self.layers)

    @property
    @verb
    def flows(self) -> tuple[Float64[Tensor, "_ _"], ...]:
        """Weights, one matrix [units, units of the layer that reads them] per layer pair."""
        return tuple(part.flow for part in self.edges)

    @property
    def joined(self) -> tuple[tuple[str, str], ...]:
        """Names of the layers that are joined, the one that is read first; ``edges`` are theirs."""
        return tuple((self.names[first], self.names[second]) for first, second in self.structure.pairs)

    @property
    def sources(self) -> tuple[str, ...]:
        """Layers that read no other: where paths begin."""
        return tuple(self.names[at] for at in self.structure.sources)

    @property
    def sinks(self) -> tuple[str, ...]:
        """Layers that no other reads: where paths end."""
        return tuple(self.names[at] for at in self.structure.sinks)

    @property
    def bypassed(self) -> tuple[str, ...]:
        """Layers that information can go around, such as those of a residual branch: flow through them does not say they are needed."""
        return tuple(self.names[at] for at in self.structure.bypassed)

    def between(self, first: str, second: str) -> FlowEdges:
        """The edges from one layer to another that reads it.

        Raises:
            UnknownName: there is no such layer, or none that is joined with the first.
        """
        require_known("layer", first, self.names)
        require_known(f"layer that reads {first!r}", second, [other for one, other in self.joined if one == first])
        return self.edges[self.joined.index((first, second))]

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
        return redundancy.redundant_pairs(self.layers, self.structure, self.flows, similarity, dependence)

    @verb
    def prunable(self, *, share: float = 0.0) -> dict[str, dict[int, str]]:
        """Units between the first and the last layers that carry at most a share of the flow: positions by layer, each with the reason.

        Never are all live units of a layer listed that everything passes through, where the measurement fails, nor units that may carry
        what comes into layers of :attr:`unseen`. One that is not listed need not be necessary: others may say the same (:attr:`bypassed`).

        Args:
            share: of all flow from the first layers to the last, in [0, 1); by default only what carries none is listed.
        """
        return pruning.prunable_units(self.layers, self.structure, self.flows, share, [self.place(name) for name in self.unseen])

    @verb
    def without(self, units: Iterable[UnitKey] | Mapping[str, Iterable[int | str]]) -> FlowGraph:
        """The graph with no edges at some units. They stay in their layers, and what was measured stays too.

        Args:
            units: as (layer, position or label), or by layer, as :meth:`prunable` lists them.

        Raises: as :meth:`find`.
        """
        places = [self.find(unit) for unit in list_units(units)]
        flows = paths.cut_units(self.structure, self.flows, places)
        gone = sorted({*map(tuple, self.provenance.get("without", ())), *((self.names[at], position) for at, position in places)})
        edges = tuple(replace(part, flow=flow) for part, flow in zip(self.edges, flows, strict=True))
        return replace(self, edges=edges, provenance={**self.provenance, "without": gone})

    @verb
    def compare(self, other: FlowGraph, *, rate: float = 0.05) -> FlowComparison:
        """Edges and units that differ from those of another graph of the same layers by more than their errors.

        Args:
            other: of the same network on other rows, or of one with the same layers: pruned, fine-tuned, or trained with another seed.
            rate: false discovery rate in (0, 1), among the edges that are found and among the units.

        Raises:
            InvalidInput: layers of other units, or no layer pair in common.
        """
        return compare_graphs(self, other, rate)

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
        found = centrality.betweenness(self.structure, self.flows, self._lengths(length))
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
        return communities.find_communities(self.names, self.structure, self.flows, search)

    @verb
    def attribution(self, source: str | None = None, target: str | None = None) -> Float64[Tensor, "F L"]:
        """For every unit of the first layers and of the last, the sum over all paths between them of the products of weights.

        In nats to the power of the number of edges of a path, unless the weights were transformed: compare within one graph only, and in a
        graph whose paths are of several lengths use ``EdgeWeighting(transform="linfoot")``.

        Args:
            source: one layer to begin at; by default all of :attr:`sources`, whose units follow each other.
            target: one layer to end at; by default all of :attr:`sinks`.

        Raises:
            UnknownName: there is no such layer.

        Reference: Davis2020.
        """
        first = self.structure.sources if source is None else (self.place(source),)
        last = self.structure.sinks if target is None else (self.place(target),)
        return paths.path_attribution(self.structure, self.flows, first, last)

    @verb
    def pointwise_attribution(self, samples: Sequence[Float[Tensor, "N _ _"]]) -> Float64[Tensor, "N F L"]:
        """:meth:`attribution` of single samples.

        Args:
            samples: point-wise information of each sample, one batch of matrices per layer pair, in nats; it may be negative. Read only
                where the graph has an edge.
        """
        return paths.pointwise_attribution(self.structure, self.flows, samples)

    @verb
    def through(self) -> dict[str, Float64[Tensor, " _"]]:
        """Share of all flow from the first layers to the last that passes through each unit, by layer.

        It adds up to 1 in each layer that nothing goes around, and over all of :attr:`sources`, and over all of :attr:`sinks`.
        """
        return dict(zip(self.names, paths.throughput(self.structure, self.flows), strict=True))

    @verb
    def strongest_paths(self, source: UnitKey | None = None, target: UnitKey | None = None, k: int = 5) -> tuple[paths.FlowPath, ...]:
        """The k paths with the largest products of weights, exactly; fewer if there are no more.

        Args:
            source: where they start; any unit of :attr:`sources` if not given.
            target: where they end, in a layer that the source's reaches; any unit of :attr:`sinks` if not given.
            k: at least 1.

        Raises:
            UnknownName, InvalidInput: see :meth:`find`; a target that no path leads to.
        """
        first, last = (None if unit is None else _one_unit(self.find(unit)) for unit in (source, target))
        starts, stops = self.structure.sources if first is None else tuple(first), self.structure.sinks if last is None else tuple(last)
        if not any(stop in self.structure.reached([start]) - {start} for start in starts for stop in stops):
            raise InvalidInput(f"paths run forward: from {self.names[starts[0]]!r} there is none to {self.names[stops[0]]!r}")
        found = paths.strongest_paths(self.structure, self.flows, k, first, last)
        return tuple(paths.FlowPath(tuple((self.names[at], unit) for at, unit in units), product) for units, product in found)

    @verb
    def strongest_edges(self, k: int = 5) -> tuple[paths.FlowPath, ...]:
        """The k edges with the largest weights."""
        return paths.strongest_edges(self.joined, self.flows, k)

    def __repr__(self) -> str:
        return describe_graph(self)

    def plot(
        self,
        *,
        most_units: int = 16,
        most_edges: int | None = None,
        shape: Sequence[int] | None = None,
        title: str | None = None,
        ax: Any = None,
    ) -> Any:
        """A layered drawing; returns the matplotlib figure. See :func:`vesalius.views.flow.charts.plot_flow`."""
        return load_view("flow_plot")(self, most_units=most_units, most_edges=most_edges, shape=shape, title=title, ax=ax)

    def _repr_html_(self) -> str:
        return str(load_view("flow_html")(self))

    # ---- keeping ------------------------------------------------------------------------------------------------------------------

    @verb
    def to_igraph(self, *, length: str = "reciprocal") -> Any:
        """As a directed ``igraph.Graph``; edges have their ``flow``, ``length`` (see :meth:`betweenness`) and all that was measured."""
        return export.to_igraph(self._exported(length))

    @verb
    def to_networkx(self, *, length: str = "reciprocal") -> Any:
        """As a ``networkx.DiGraph`` whose nodes are (layer, position); attributes as in :meth:`to_igraph`."""
        return export.to_networkx(self._exported(length))

    @verb
    def to_json(self) -> str:
        """Nodes, links and provenance as JSON, for other programs; :meth:`save` is what :meth:`load` reads."""
        return export.to_json(self._exported("reciprocal"), self.provenance)

    @verb
    def save_graphml(self, path: str | Path) -> Path:
        """Write GraphML, which Gephi, Cytoscape, yEd, networkx and igraph read; atomically."""
        return store.write_text(path, export.to_graphml(self._exported("reciprocal")))

    def _lengths(self, length: str) -> list[Float64[Tensor, "_ _"]]:
        return centrality.edge_lengths(self.structure, self.flows, length, self.transform)

    def _exported(self, length: str) -> export.LayeredEdges:
        return export.LayeredEdges(self.layers, self.structure, self.edges, self._lengths(length))

    @verb
    def save(self, path: str | Path) -> Path:
        """Write to one file (safetensors with a JSON header), atomically."""
        return store.write(path, "flow graph", *graph_file.graph_contents(self))

    @classmethod
    @verb
    def load(cls, path: str | Path) -> FlowGraph:
        """Read a file written by :meth:`save`.

        Raises:
            FileNotFoundError, ForeignFile: see :func:`vesalius.core.store.read`.
        """
        tensors, facts = store.read(path, "flow graph")
        with store.decoding(path):
            return cls(**graph_file.read_graph(tensors, facts))


def _one_unit(place: tuple[int, int]) -> dict[int, slice]:
    return {place[0]: slice(place[1], place[1] + 1)}
