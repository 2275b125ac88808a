"""Two graphs side by side: what is the same is not listed, what was changed is, each with its error."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.information.graphs import graph
from vesalius.core.errors import InvalidInput
from vesalius.information import FlowComparison, FlowEdges, FlowGraph, FlowLayer, MeasurementOptions, information_flow

FAST = MeasurementOptions(estimator="binned")


def measured(information, stderr, pairs=None):
    """A chain of two layers with an error."""
    edges = FlowEdges.of(torch.tensor(information), stderr=torch.full((len(information), len(information[0])), stderr))
    return FlowGraph(layers=(FlowLayer.of("a", len(information)), FlowLayer.of("b", len(information[0]))), edges=(edges,))


def test_differences_come_with_their_error_and_the_largest_first():
    found = measured([[0.5, 0.3], [0.2, 0.1]], 0.03).compare(measured([[0.5, 0.9], [0.6, 0.12]], 0.04))
    assert isinstance(found, FlowComparison) and found.tested == 4 and found.untested == 0
    assert [(edge.source, edge.target) for edge in found.edges] == [(("a", 0), ("b", 1)), (("a", 1), ("b", 0))]
    assert found.edges[0].difference == pytest.approx(0.6) and found.edges[0].stderr == pytest.approx(0.05)
    assert "+0.6 +- 0.05  a[0] -> b[1]: 0.3 to 0.9" in repr(found)
    assert {unit.unit for unit in found.units} == {("a", 0), ("a", 1), ("b", 0), ("b", 1)}
    assert found.units[0].stderr == pytest.approx(0.1), "errors of edges that share their rows may add up"


def test_a_graph_does_not_differ_from_itself_and_no_error_is_no_test():
    same = measured([[0.5, 0.3]], 0.03)
    assert same.compare(same).edges == () == same.compare(same).units
    blind = graph([[0.5, 0.3]])
    found = blind.compare(graph([[0.9, 0.1]]))
    assert (found.edges, found.tested, found.untested) == ((), 0, 2) and "were not tested" in repr(found)


def test_layers_and_pairs_of_one_graph_alone_are_named():
    first = graph([[0.5]], [[0.5]], [[0.2]], pairs="ab ac bc")
    found = first.compare(graph([[0.5]], [[0.5]]))
    assert found.only_first == ("a -> c",) and found.only_second == ()
    with pytest.raises(InvalidInput, match="no layer pair in common"):
        first.compare(FlowGraph(layers=(FlowLayer.of("x", 1), FlowLayer.of("y", 1)), edges=(FlowEdges.of(torch.ones(1, 1)),)))
    with pytest.raises(InvalidInput, match="layer 'b' has 1 units in one graph and 2 in the other"):
        graph([[0.5]]).compare(graph([[0.5, 0.1]]))
    with pytest.raises(InvalidInput, match="rate is a number"):
        first.compare(first, rate=1.0)


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)).eval()


@pytest.mark.slow
def test_other_rows_of_the_same_network_seldom_differ():
    false = 0
    for seed in range(10):
        x = torch.randn(2000, 5, generator=torch.Generator().manual_seed(seed))
        net = vs.trace(network(seed), x[:2])
        found = information_flow(net, x[:1000]).compare(information_flow(net, x[1000:]))
        false += bool(found.edges or found.units)
    assert false <= 3, "at a rate of 5 % for edges and for units, more than 3 of 10 happen once in a hundred times"


def test_what_pruning_took_away_is_found():
    x = torch.randn(1500, 5, generator=torch.Generator().manual_seed(0))
    whole, cut = network(0), network(0)
    with torch.no_grad():
        cut[0].weight[2] = 0
    before, after = (information_flow(vs.trace(model, x[:2]), x, measuring=FAST) for model in (whole, cut))
    found = before.compare(after)
    assert after.dead == (("0", 2),) and ("0", 2) in {unit.unit for unit in found.units}
    assert any(("0", 2) in (edge.source, edge.target) and edge.difference < 0 for edge in found.edges)
