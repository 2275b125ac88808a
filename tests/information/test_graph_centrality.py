"""Betweenness, against its definition and against networkx."""

import math

import networkx
import pytest
import torch
from hypothesis import given, settings

from tests.information.graphs import graph, random_flows, random_graph, structures
from tests.reference import flow_paths
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.information import centrality
from vesalius.information.edge_weights import linfoot_correlation
from vesalius.information.layer_graph import LayerGraph


def agrees(net, length):
    """Whether networkx finds the same on the exported graph."""
    theirs = networkx.betweenness_centrality(net.to_networkx(length=length), weight="length", normalized=False)
    for name, part in net.betweenness(length=length).items():
        assert part.tolist() == pytest.approx([theirs[name, at] for at in range(len(part))], abs=1e-9)


@settings(max_examples=30)
@given(structures)
def test_betweenness_is_its_definition(drawn):
    net = random_graph(*drawn)
    for length in ("reciprocal", "linfoot"):
        long = [1 / flow if length == "reciprocal" else -linfoot_correlation(flow).log() for flow in net.flows]
        slow = flow_paths.betweenness(net.flows, long, net.structure.pairs)
        for part, expected in zip(net.betweenness(length=length).values(), slow, strict=True):
            assert part.tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("length", ["reciprocal", "linfoot"])
@pytest.mark.parametrize("seed", range(5))
def test_betweenness_agrees_with_networkx(seed, length):
    agrees(graph(*random_flows([8, 12, 10, 4], seed, kept=0.6)), length)


def test_equally_short_paths_share():
    """Powers of two, whose reciprocals add up exactly: many ties."""
    draw = torch.Generator().manual_seed(0)
    net = graph(*(2.0 ** torch.randint(-1, 2, shape, generator=draw) for shape in ((4, 6), (6, 5), (5, 3))))
    agrees(net, "reciprocal")
    assert any(value % 1 for value in net.betweenness()["b"].tolist())


def test_a_bottleneck_is_on_every_path():
    net = graph(torch.ones(3, 1), torch.ones(1, 4))
    assert {name: part.tolist() for name, part in net.betweenness().items()} == {"a": [0] * 3, "b": [12], "c": [0] * 4}


def test_units_without_edges_and_graphs_without_edges():
    assert graph([[1.0, 0.0]], [[1.0], [0.0]]).betweenness()["b"].tolist() == [1, 0]
    assert graph(torch.zeros(2, 2), torch.zeros(2, 1)).betweenness()["b"].tolist() == [0, 0]


def test_perfect_correlations_have_length_zero_and_still_count():
    """By hand: the path through b0 has product 1, that through b1 has 0.5; the definition with lengths 0 says so too."""
    net = graph([[1.0, 1.0]], [[1.0, 0.6], [0.5, 1.0]], transform="linfoot")
    assert net.betweenness(length="linfoot")["b"].tolist() == [1, 1]
    slow = flow_paths.betweenness(net.flows, [-flow.log() for flow in net.flows])
    assert [part.tolist() for part in net.betweenness(length="linfoot").values()] == slow
    agrees(net, "linfoot")


def test_edges_of_length_0_beside_a_longer_way_round():
    """A skip of length log 2 and a way of two perfect edges: the way is shorter, though it has more edges."""
    net = graph([[1.0]], [[0.5]], [[1.0]], pairs="ab ac bc", transform="linfoot")
    assert net.betweenness(length="linfoot")["b"].tolist() == [1]
    assert graph([[0.5]], [[0.9]], [[0.5]], pairs="ab ac bc", transform="linfoot").betweenness(length="linfoot")["b"].tolist() == [0]


@pytest.mark.parametrize("information", [1e-12, 0.2, 0.34, 0.36, 3.0, 17.0, 40.0, 150.0])
def test_lengths_are_accurate_for_any_information(information):
    found = centrality.edge_lengths(LayerGraph.chain([1, 1]), [torch.tensor([[information]], dtype=torch.float64)], "linfoot", None)
    exact = -0.5 * (math.log(-math.expm1(-2 * information)) if information < 1 else math.log1p(-math.exp(-2 * information)))
    assert float(found[0]) == pytest.approx(exact, rel=1e-12, abs=0)


def test_the_shortest_path_is_the_strongest():
    net = graph(*random_flows([3, 5, 4, 2], 3), transform="linfoot")
    exported = net.to_networkx(length="linfoot")
    best = net.strongest_paths(("a", 0), ("d", 0), k=1)[0]
    assert networkx.shortest_path(exported, ("a", 0), ("d", 0), weight="length") == list(best.units)


def test_tiny_weights_are_long_edges_not_errors():
    assert graph([[1e-310]], [[1e-310]]).betweenness()["b"].tolist() == [1]


def test_lengths_that_make_no_sense_are_refused():
    with pytest.raises(UnknownName, match="no length 'reciprocl'; did you mean 'reciprocal'"):
        graph([[1.0]]).betweenness(length="reciprocl")
    with pytest.raises(InvalidInput, match="shares of the largest: use 'reciprocal'"):
        graph([[1.0]], transform="layer_max").betweenness(length="linfoot")
    with pytest.raises(InvalidInput, match="at most 1; the largest weight here is 1\\.5"):
        graph([[1.5]], transform="linfoot").betweenness(length="linfoot")
