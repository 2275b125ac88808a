"""Which units belong together: communities of a layered graph, and whether there are any.

Every graph has a division of high modularity, a layered one more so: the layers themselves give it. So a division comes with two checks:
how far several runs agree, and what modularity the same weights reach once they are shuffled within each layer pair.

Axes: A units of a layer, B units of the next, U units of all layers in turn, S shuffles.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from threading import Lock
from typing import Any, ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.core.numbers import POSITIVE, POSITIVE_COUNT, SEED, Limit
from vesalius.core.options import Options
from vesalius.information import igraph_backend
from vesalius.information.layer_graph import LayerGraph

MAX_P_VALUE = 0.05
"""Share of shuffled graphs that may be as modular before the structure is called weak."""
MIN_STABILITY = 0.8
"""Agreement of runs below which the structure is called weak."""
_IGRAPH_LOCK = Lock()


def _leiden(graph: Any, weights: list[float], resolution: float) -> list[int]:
    found = graph.community_leiden(objective_function="modularity", weights=weights, resolution=resolution, n_iterations=-1)
    return list(found.membership)


def _louvain(graph: Any, weights: list[float], resolution: float) -> list[int]:
    return list(graph.community_multilevel(weights=weights, resolution=resolution).membership)


COMMUNITY_METHODS: dict[str, Callable[[Any, list[float], float], list[int]]] = {"leiden": _leiden, "louvain": _louvain}


@dataclass(frozen=True, kw_only=True)
class CommunitySearch(Options):
    """How communities are looked for.

    Attributes:
        method: ``"leiden"`` or ``"louvain"``.
        gamma: above 0; lower gives more and smaller communities. The resolution of igraph and networkx is 1/gamma.
        seeds: one run each; the most modular division is kept. All else that is random is drawn from the first.
        shuffles: how many shuffled graphs to compare with.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"gamma": POSITIVE, "seeds": SEED, "shuffles": POSITIVE_COUNT}
    method: str = "leiden"
    gamma: float = 1.0
    seeds: Sequence[int] = range(10)
    shuffles: int = 39

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known("method of finding communities", self.method, COMMUNITY_METHODS)
        if not len(self.seeds):
            raise InvalidInput("no seeds: each is one run, and at least one is needed")


@dataclass(frozen=True, eq=False, kw_only=True)
class Communities:
    """A division of all units, and how far to believe it.

    Attributes:
        of: for each layer, the community of each unit; 0 is the largest. A unit without edges is a community of its own, after all others.
        count: communities of units with edges.
        modularity: of this division, at resolution 1/gamma.
        stability: agreement of the runs of all seeds about the units with edges: mean adjusted Rand index of pairs of runs. 1 for one run.
        null: modularity of the shuffled graphs.
        p: chance that a shuffled graph is as modular as the runs are on average.
        search: how they were looked for.

    Reference: Davis2020 (gamma); Newman2006 (modularity); Hubert1985 (agreement); Traag2019 and Blondel2008 (search).
    """

    of: Mapping[str, Int64[Tensor, " _"]]
    count: int
    modularity: float
    stability: float
    null: Float64[Tensor, " S"]
    p: float
    search: CommunitySearch

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the structure is weak; empty where it is not.

        Shuffling evens out the strengths of units. Where a few hubs carry all flow, shuffled graphs are more modular than the graph itself
        would be without communities, and weak structure may be found where there is some, not the reverse.
        """
        if not self.count:
            return ("there are no edges",)
        found = []
        if self.p > MAX_P_VALUE:
            found.append(f"shuffled graphs reach {float(self.null.mean()):.3f} (p = {self.p:.2g})")
        if self.stability < MIN_STABILITY:
            found.append(f"runs agree by {self.stability:.2f} only")
        return tuple(found)

    @property
    def weak(self) -> bool:
        """Whether the division says little about the network: shuffled graphs divide as well, or every seed divides otherwise."""
        return bool(self.doubts)

    def members(self, community: int) -> dict[str, tuple[int, ...]]:
        """Units of one community, by layer.

        Raises:
            InvalidInput: there is no such community.
        """
        most = max(int(label.max()) for label in self.of.values())
        if not 0 <= community <= most:
            raise InvalidInput(f"there are communities 0 to {most}, no {community}")
        places = {layer: (label == community).nonzero().flatten().tolist() for layer, label in self.of.items()}
        return {layer: tuple(units) for layer, units in places.items() if units}

    def __repr__(self) -> str:
        alone = sum(int((label >= self.count).sum()) for label in self.of.values())
        head = f"Communities: {self.count} by {self.search.method} (gamma {self.search.gamma:g}), {alone} units without edges"
        null = f"shuffled {float(self.null.mean()):.3f} (p = {self.p:.2g})"
        lines = [head, f"modularity {self.modularity:.3f}, {null}, stability {self.stability:.2f}"]
        return "\n".join([*lines, f"WEAK: {'; '.join(self.doubts)}"] if self.weak else lines)


def find_communities(
    names: Sequence[str], layers: LayerGraph, flows: Sequence[Float64[Tensor, "_ _"]], search: CommunitySearch
) -> Communities:
    """Communities of the undirected weighted graph.

    Args:
        names: of the layers.
        layers: which are joined.
        flows: weights, one matrix per layer pair.
        search: how to look.
    """
    runs = _detect_per_seed(layers, flows, search, search.seeds)
    labels, modularity = max(runs, key=lambda run: run[1])
    linked = torch.tensor(sorted(set(igraph_backend.edge_list(layers, flows).flatten().tolist())), dtype=torch.int64)
    order = torch.Generator().manual_seed(int(search.seeds[0]))
    seeds = torch.randint(2**31, (search.shuffles,), generator=order).tolist()
    null = [_detect_per_seed(layers, [_shuffle_weights(flow, order) for flow in flows], search, [seed])[0][1] for seed in seeds]
    usual = fmean(run[1] for run in runs)
    ranked, count = _number_by_size(labels, linked)
    return Communities(
        of=dict(zip(names, igraph_backend.split_by_layer(layers, ranked), strict=True)),
        count=count,
        modularity=modularity,
        stability=_mean_agreement([labels[linked].tolist() for labels, _ in runs]),
        null=torch.tensor(null, dtype=torch.float64),
        p=(1 + sum(value >= usual for value in null)) / (1 + len(null)),
        search=search,
    )


def _detect_per_seed(
    layers: LayerGraph, flows: Sequence[Tensor], search: CommunitySearch, seeds: Sequence[int]
) -> list[tuple[Int64[Tensor, " U"], float]]:
    """For each seed, the community of every unit, and the modularity of the division; 0 without edges."""
    graph = igraph_backend.build_igraph(layers, flows, directed=False)
    if not graph.ecount():
        return [(torch.arange(graph.vcount()), 0.0)] * len(seeds)
    weights, resolution = igraph_backend.edge_values(flows, flows).tolist(), 1 / search.gamma
    found = []
    for seed in seeds:
        with igraph_seed(seed):
            labels = COMMUNITY_METHODS[search.method](graph, weights, resolution)
        found.append((torch.tensor(labels), float(graph.modularity(labels, weights=weights, resolution=resolution, directed=False))))
    return found


@contextmanager
def igraph_seed(seed: int) -> Iterator[None]:
    """igraph draws from a generator of ours, and after that from Python's ``random`` again, which is its default and is not touched.

    igraph has one generator per process and does not say which: one that a program has put there itself is replaced by the default.
    """
    igraph = igraph_backend.import_igraph()
    with _IGRAPH_LOCK:
        igraph.set_random_number_generator(random.Random(seed))
        try:
            yield
        finally:
            igraph.set_random_number_generator(random)


def _shuffle_weights(flow: Float64[Tensor, "A B"], generator: torch.Generator) -> Float64[Tensor, "A B"]:
    """The same weights, missing edges included, in other places between the same units; units without edges stay without."""
    rows, columns = (flow > 0).any(1).nonzero().flatten(), (flow > 0).any(0).nonzero().flatten()
    found = torch.zeros_like(flow)
    if len(rows):
        block = flow[rows][:, columns].flatten()
        mixed = block[torch.randperm(len(block), generator=generator)]
        found[rows[:, None], columns] = mixed.view(len(rows), len(columns))
    return found


def _number_by_size(labels: Int64[Tensor, " U"], linked: Int64[Tensor, " L"]) -> tuple[Int64[Tensor, " U"], int]:
    """Communities numbered by size, then by their first unit, and units without edges after them; and how many have edges."""
    listed = labels[linked].tolist()
    sizes = Counter(listed)
    order = sorted(sizes, key=lambda label: (-sizes[label], listed.index(label)))
    found = torch.full_like(labels, -1)
    for rank, label in enumerate(order):
        found[linked[labels[linked] == label]] = rank
    alone = found < 0
    found[alone] = torch.arange(len(order), len(order) + int(alone.sum()))
    return found, len(order)


def _mean_agreement(runs: Sequence[Sequence[int]]) -> float:
    pairs = list(combinations(runs, 2))
    return fmean(adjusted_rand(one, other) for one, other in pairs) if pairs else 1.0


def adjusted_rand(one: Sequence[int], other: Sequence[int]) -> float:
    """Agreement of two divisions of the same things: 1 if they are the same, 0 on average by chance.

    Reference: Hubert1985.
    """
    same, rows, columns = (_count_pairs(division) for division in (list(zip(one, other, strict=True)), one, other))
    everything = len(one) * (len(one) - 1) / 2
    chance = rows * columns / everything if everything else 0.0
    spread = (rows + columns) / 2 - chance
    return (same - chance) / spread if spread else 1.0


def _count_pairs(division: Sequence[Any]) -> float:
    """Pairs of things that are in one part."""
    return sum(size * (size - 1) / 2 for size in Counter(division).values())
