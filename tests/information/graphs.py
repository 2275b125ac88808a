"""Flow graphs to test with."""

from itertools import combinations, pairwise

import hypothesis.strategies as st
import torch

from vesalius.information.graph import FlowGraph
from vesalius.information.layers import FlowEdges, FlowLayer


def graph(*flows, pairs=None, **options):
    """A graph of plain weights; layers are called a, b, c, ..., and ``pairs`` such as "ab ac bc" are joined, else each with the next."""
    flows = [torch.as_tensor(flow, dtype=torch.float64) for flow in flows]
    ends = list(pairwise("abcdefgh"[: len(flows) + 1])) if pairs is None else [tuple(pair) for pair in pairs.split()]
    sizes = {name: side for pair, flow in zip(ends, flows, strict=True) for name, side in zip(pair, flow.shape, strict=True)}
    layers = tuple(FlowLayer.of(name, sizes[name]) for name in sorted(sizes))
    return FlowGraph(layers=layers, edges=tuple(map(FlowEdges.of, flows)), pairs=None if pairs is None else tuple(ends), **options)


def random_graph(sizes, seed, kept=0.7, joined=0.5):
    """A graph in which a share of all pairs of layers is joined, and at least each layer with another."""
    draw = torch.Generator().manual_seed(seed)
    ends = [pair for pair in combinations(range(len(sizes)), 2) if torch.rand(1, generator=draw, dtype=torch.float64) < joined]
    ends += [(max(at - 1, 0), max(at, 1)) for at in range(len(sizes)) if not any(at in pair for pair in ends)]
    ends = sorted(set(ends))
    flows = [random_flows((sizes[first], sizes[second]), seed + place, kept)[0] for place, (first, second) in enumerate(ends)]
    return graph(*flows, pairs=" ".join("abcdefgh"[first] + "abcdefgh"[second] for first, second in ends))


def random_flows(sizes, seed, kept=0.7):
    """Weights of which a share is kept."""
    draw = torch.Generator().manual_seed(seed)
    shapes = pairwise(sizes)
    weights = [torch.rand(*shape, 2, generator=draw, dtype=torch.float64) for shape in shapes]
    return [torch.where(pair[..., 1] < kept, pair[..., 0] + 0.01, 0) for pair in weights]


shapes = st.tuples(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.integers(0, 2**31), st.floats(0.2, 1))
"""What :func:`random_flows` takes."""
structures = st.tuples(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.integers(0, 2**31), st.floats(0.2, 1), st.floats(0.2, 1))
"""What :func:`random_graph` takes."""


def planted(sizes, seed, *, between=0.25):
    """Two communities, the even and the odd units of every layer: edges between them are weaker on average. With the truth."""
    draw = torch.Generator().manual_seed(seed)
    sides = [torch.arange(size) % 2 for size in sizes]
    flows = []
    for here, there in pairwise(sides):
        mean = torch.where(here[:, None] == there, 1.0, between).double()
        flows.append(mean * torch.rand(*mean.shape, 2, generator=draw, dtype=torch.float64).sum(-1))
    return graph(*flows), torch.cat(sides).tolist()


def permuted(original, layer, order):
    """The same graph with the units of one layer in another order."""
    at = original.place(layer)
    layers, flows = list(original.layers), list(original.flows)
    old = layers[at]
    within = None if old.within is None else old.within[order][:, order]
    layers[at] = FlowLayer(old.name, tuple(old.units[i] for i in order), old.kind, old.dead[order], within)
    if at:
        flows[at - 1] = flows[at - 1][:, order]
    if at < len(flows):
        flows[at] = flows[at][order]
    return FlowGraph(layers=tuple(layers), edges=tuple(map(FlowEdges.of, flows)))
