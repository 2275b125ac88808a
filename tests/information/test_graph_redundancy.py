"""Units that are dead, redundant, or carry nothing; and graphs without them."""

import math

import pytest
import torch

from tests.information.graphs import graph, permuted, random_flows
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.information.edge_weights import EdgeWeighting
from vesalius.information.graph import FlowGraph
from vesalius.information.layers import FlowEdges, FlowLayer


def test_dead_units_have_no_edges_whatever_was_estimated():
    layers = [
        FlowLayer.of("a", ["p", "q"], dead=["q"]),
        FlowLayer.of("b", 3, dead=torch.tensor([True, False, False])),
        FlowLayer.of("c", 2),
    ]
    net = FlowGraph.from_information(
        layers, [FlowEdges.of(torch.ones(2, 3)), FlowEdges.of(torch.ones(3, 2))], EdgeWeighting(redundancy=None)
    )
    assert net.dead == (("a", 1), ("b", 0))
    assert [int(part.kept.sum()) for part in net.edges] == [2, 4]


def test_each_reason_for_pruning():
    net = graph(
        [[1.0, 0.0, 0.0, 0.5, 0.0], [0.2, 0.0, 0.0, 0.1, 0.0]],
        [[1.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.01], [0.0, 0.0, 0.0]],
        [[1.0], [0.7], [1.0]],
    )
    assert net.prunable() == {
        "b": {1: "no information flows in", 2: "no information flows in", 4: "no information flows in"},
        "c": {1: "on no path from the first layer to the last"},
    }
    assert net.prunable(share=0.01)["b"][3] == "carries 0.005 of the flow"
    stuck = graph([[1.0, 1.0]], [[1.0], [0.0]])
    assert stuck.prunable() == {"b": {1: "no information flows out"}}


def test_dead_units_are_prunable_as_such():
    layers = (FlowLayer.of("a", 1), FlowLayer.of("b", 2, dead=[1]), FlowLayer.of("c", 1))
    edges = (FlowEdges.of(torch.tensor([[1.0, 0.0]])), FlowEdges.of(torch.tensor([[1.0], [0.0]])))
    assert FlowGraph(layers=layers, edges=edges).prunable() == {"b": {1: "dead"}}


def test_taking_out_what_is_prunable_changes_no_attribution():
    for seed in range(10):
        net = graph(*random_flows([4, 6, 6, 3], seed, kept=0.3))
        torch.testing.assert_close(net.without(net.prunable()).attribution(), net.attribution(), rtol=1e-12, atol=0)


SKIP = "ab ac bc cd"
"""A residual block: b is the branch, c the sum."""


def test_what_a_skip_carries_is_not_prunable_and_a_dead_branch_is():
    layers = (FlowLayer.of("a", 1), FlowLayer.of("b", 2, dead=[0, 1]), FlowLayer.of("c", 1), FlowLayer.of("d", 1))
    flows = ([[0.0, 0.0]], [[1.0]], [[0.0], [0.0]], [[0.5]])
    pairs = tuple(tuple(pair) for pair in SKIP.split())
    net = FlowGraph(layers=layers, edges=tuple(FlowEdges.of(torch.tensor(flow)) for flow in flows), pairs=pairs)
    assert net.prunable() == {"b": {0: "dead", 1: "dead"}} and net.bypassed == ("b",)
    assert float(net.attribution()) == 0.5


def test_a_layer_that_everything_passes_is_never_called_prunable_as_a_whole():
    """No unit of c seems to say anything of the output, which is a function of c alone: the measurement fails there."""
    net = graph([[1.0]], [[1.0, 1.0]], [[1.0, 1.0]], [[0.0], [0.0]], pairs=SKIP)
    assert net.prunable() == {"b": {0: "on no path from the first layer to the last"}}
    wide = graph(torch.ones(1, 10), torch.ones(10, 1))
    assert wide.prunable(share=0.2) == {}, "each carries a tenth, all together everything"


def test_layers_side_by_side_that_everything_passes_are_not_prunable_together():
    nothing = [[0.0]]
    both = graph([[1.0]], [[1.0]], nothing, nothing, pairs="ab ac bd cd")
    assert both.prunable() == {}
    one = graph([[1.0]], [[1.0]], nothing, [[0.3]], pairs="ab ac bd cd")
    assert one.prunable() == {"b": {0: "no information flows out"}}


def test_what_may_carry_an_input_that_is_no_layer_is_not_prunable():
    """Unit 1 of b says nothing of a, but b reads words besides, which may be what it hands on; unit 2 hands nothing on."""
    flows = ([[0.5, 0.0, 0.0]], [[0.5], [0.4], [0.0]])
    assert set(graph(*flows).prunable()["b"]) == {1, 2}
    assert graph(*flows, unseen=("b",)).prunable() == {"b": {2: "no information flows in"}}


def test_each_last_layer_needs_a_way_to_it():
    net = graph([[1.0]], [[1.0]], [[0.0]], [[0.5]], pairs="ab ac bd ce")
    assert net.sinks == ("d", "e") and net.prunable() == {}


def test_a_layer_between_dead_ones_is_needed():
    """The branch c is dead, so all goes through b, although there seems to be a way around it."""
    layers = (FlowLayer.of("a", 1), FlowLayer.of("b", 1), FlowLayer.of("c", 1, dead=[0]), FlowLayer.of("d", 1))
    edges = tuple(FlowEdges.of(torch.tensor([[flow]])) for flow in (1.0, 0.0, 0.0, 0.0))
    net = FlowGraph(layers=layers, edges=edges, pairs=(("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")))
    assert net.prunable() == {"c": {0: "dead"}}


def test_the_first_and_the_last_layer_are_not_pruned():
    net = graph([[1.0], [0.0]], [[1.0, 0.0]])
    assert net.prunable() == {}


def test_without_takes_the_edges_and_leaves_the_rest():
    net = graph(*random_flows([3, 4, 2], 0, kept=1))
    thin = net.without([("b", 1), ("b", "3"), ("a", -1)])
    for at, unit in ((0, 1), (0, 3), (1, None)):
        if unit is not None:
            assert not thin.flows[at][:, unit].any() and not thin.flows[at + 1][unit].any()
    assert not thin.flows[0][2].any()
    assert torch.equal(thin.flows[0][:2][:, [0, 2]], net.flows[0][:2][:, [0, 2]])
    assert torch.equal(thin.edges[0].information, net.edges[0].information)
    assert thin.provenance["without"] == [("a", 2), ("b", 1), ("b", 3)]
    assert thin.without({"c": [0]}).provenance["without"][-1] == ("c", 0)
    assert net.flows[0].all() and "without" not in net.provenance
    assert thin.dead == net.dead


def test_without_is_the_difference_of_the_flow_through_the_unit():
    net = graph(*random_flows([3, 4, 2], 1))
    carried = net.through()["b"][2]
    left = net.without([("b", 2)]).attribution().sum() / net.attribution().sum()
    assert float(left) == pytest.approx(1 - float(carried))


def test_without_unknown_units():
    net = graph([[1.0, 1.0]])
    with pytest.raises(UnknownName, match="no layer 'bb'; did you mean 'b'"):
        net.without([("bb", 0)])
    with pytest.raises(UnknownName, match="no unit of layer 'b' '01'; did you mean"):
        net.without({"b": ["01"]})
    with pytest.raises(InvalidInput, match="no unit 2"):
        net.without([("b", 2)])


def test_planted_duplicates_are_found():
    found = []
    for seed in range(20):
        flows = random_flows([6, 8, 4], seed, kept=1)
        noise = 1 + 0.02 * torch.randn(2, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        flows[0][:, 5] = flows[0][:, 2] * noise[0, :6]
        flows[1][5] = flows[1][2] * noise[1, :4]
        found.append([pair[:3] for pair in graph(*flows).redundant()] == [("b", 2, 5)])
    assert sum(found) >= 19


def test_similarity_is_1_for_the_same_edges_and_less_for_the_same_direction():
    net = graph([[0.5, 0.5, 1.0], [0.2, 0.2, 0.4]])
    assert [(pair.first, pair.second, pair.similarity) for pair in net.redundant(similarity=0.49) if pair.layer == "b"] == [
        (0, 1, pytest.approx(1)),
        (0, 2, pytest.approx(0.5)),
        (1, 2, pytest.approx(0.5)),
    ]


def test_units_that_say_as_much_but_not_the_same_are_not_redundant_where_that_is_known():
    within = torch.tensor([[0.0, 0.02, 2.0], [0.02, 0.0, 0.02], [2.0, 0.02, 0.0]])
    edges = (FlowEdges.of(torch.ones(3, 2)),)
    blind = FlowGraph(layers=(FlowLayer.of("a", 3), FlowLayer.of("b", 2)), edges=edges)
    assert [pair[:3] for pair in blind.redundant() if pair.layer == "a"] == [("a", 0, 1), ("a", 0, 2), ("a", 1, 2)]
    seeing = FlowGraph(layers=(FlowLayer.of("a", 3, within=within), FlowLayer.of("b", 2)), edges=edges)
    assert [pair for pair in seeing.redundant() if pair.layer == "a"] == [("a", 0, 2, 1.0, 2.0)]
    assert len([pair for pair in seeing.redundant(dependence=0.1) if pair.layer == "a"]) == 3


def test_dead_units_are_not_redundant():
    assert graph([[1.0, 0.0, 0.0]], [[1.0], [0.0], [0.0]]).redundant() == ()


def test_permuting_hidden_units_permutes_what_is_spare():
    net = graph(*random_flows([4, 6, 3], 3, kept=0.3))
    order = torch.tensor([4, 0, 5, 1, 3, 2])
    other = permuted(net, "b", order)
    reasons = {net.title(("b", unit)): why for unit, why in net.prunable(share=0.2)["b"].items()}
    assert {other.title(("b", unit)): why for unit, why in other.prunable(share=0.2)["b"].items()} == reasons
    pairs = {frozenset((net.title((p.layer, p.first)), net.title((p.layer, p.second)))) for p in net.redundant(similarity=0.2)}
    assert {
        frozenset((other.title((p.layer, p.first)), other.title((p.layer, p.second)))) for p in other.redundant(similarity=0.2)
    } == pairs


@pytest.mark.parametrize(
    "ask", [lambda net: net.prunable(share=1.0), lambda net: net.prunable(share=math.nan), lambda net: net.prunable(share=-0.1)]
)
def test_shares_out_of_range(ask):
    with pytest.raises(InvalidInput, match="share is a number"):
        ask(graph([[1.0]]))


@pytest.mark.parametrize("options", [{"similarity": 0.0}, {"similarity": 1.1}, {"dependence": -0.1}, {"dependence": math.nan}])
def test_similarities_out_of_range(options):
    with pytest.raises(InvalidInput, match=f"{next(iter(options))} is a number"):
        graph([[1.0]]).redundant(**options)
