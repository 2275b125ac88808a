"""Networks whose flow is known, measured and drawn: a bottleneck, a copy, a dead unit and one that talks to itself."""

import itertools

import pytest
import torch

from vesalius.information.edge_weights import EdgeWeighting
from vesalius.information.estimators import pairwise
from vesalius.information.graph import FlowGraph
from vesalius.information.layers import FlowEdges, FlowLayer

SEEDS = range(20)


def measured(**activations):
    """The graph of some layers of activations [N units]."""
    values = list(activations.values())
    pairs = [pairwise(x, y, estimator="binned") for x, y in itertools.pairwise(values)]
    dead = [pairs[0].dead_x, *(pair.dead_y for pair in pairs)]
    layers = [
        FlowLayer.of(name, value.shape[1], dead=gone, within=pairwise(value, value, estimator="binned").values)
        for (name, value), gone in zip(activations.items(), dead, strict=True)
    ]
    edges = [FlowEdges.of(pair.values, p=pair.p, stderr=pair.stderr, unreliable=pair.unreliable) for pair in pairs]
    return FlowGraph.from_information(layers, edges, EdgeWeighting(transform="linfoot"))


def network(seed):
    """Six features, of which two count; a sum of both, its copy, a dead unit and noise; an output by the sum."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(1000, 6, generator=draw, dtype=torch.float64)
    total = (x[:, 0] + x[:, 1]).relu()
    noise = torch.randn(1000, generator=draw, dtype=torch.float64).relu()
    hidden = torch.stack([total, 2 * total, torch.zeros_like(total), noise], 1)
    y = total[:, None] + 0.3 * torch.randn(1000, 2, generator=draw, dtype=torch.float64)
    return measured(x=x, hidden=hidden, y=y)


def often(found):
    return sum(found) >= 0.95 * len(SEEDS)


@pytest.fixture(scope="module")
def nets():
    return [network(seed) for seed in SEEDS]


def test_dead_copied_and_uninformative_units_are_found(nets):
    assert all(net.dead == (("hidden", 2),) for net in nets)
    assert all([pair[:3] for pair in net.redundant()][:1] == [("hidden", 0, 1)] for net in nets)
    assert all(net.prunable()["hidden"][2] == "dead" for net in nets)
    assert often([set(net.prunable(share=0.02)["hidden"]) == {2, 3} for net in nets])


def test_flow_comes_from_the_features_that_count(nets):
    found = [net.attribution().sum(1) for net in nets]
    assert often([set(flow.argsort(descending=True)[:2].tolist()) == {0, 1} for flow in found])
    assert often([float(flow[2:].sum() / flow.sum()) < 0.1 for flow in found])


def bottleneck(seed):
    """Four features, four units of which the second says all that reaches the output, four outputs."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(1000, 4, generator=draw, dtype=torch.float64)
    hidden = torch.randn(1000, 4, generator=draw, dtype=torch.float64)
    hidden[:, 1] = x.sum(1)
    y = hidden[:, 1:2] + torch.randn(1000, 4, generator=draw, dtype=torch.float64)
    return measured(x=x, hidden=hidden, y=y)


def test_a_bottleneck_is_found():
    found = [bottleneck(seed) for seed in SEEDS]
    assert often([int(net.betweenness()["hidden"].argmax()) == 1 for net in found])
    assert often([float(net.through()["hidden"][1]) > 0.9 for net in found])
    assert often([net.without([("hidden", 1)]).attribution().sum() <= 0.1 * net.attribution().sum() for net in found])
