"""Products along paths, against walking every path."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from tests.information.graphs import graph, random_flows, random_graph, structures
from tests.reference import flow_paths
from vesalius.core.errors import InvalidInput, UnknownName


@settings(max_examples=50)
@given(structures)
def test_attribution_is_the_sum_over_all_paths(drawn):
    net = random_graph(*drawn)
    slow = torch.tensor(flow_paths.attribution(net.flows, net.structure.pairs), dtype=torch.float64)
    torch.testing.assert_close(net.attribution(), slow, rtol=1e-10, atol=1e-10)


@given(structures, st.integers(1, 12))
def test_strongest_paths_are_the_strongest_of_all(drawn, k):
    net = random_graph(*drawn)
    found, slow = net.strongest_paths(k=k), flow_paths.strongest_paths(net.flows, k, net.structure.pairs)
    assert [path.product for path in found] == pytest.approx([product for _, product in slow], rel=1e-12)
    assert [tuple((net.place(layer), at) for layer, at in path.units) for path in found] == [units for units, _ in slow]


def test_all_paths_add_up_to_the_attribution():
    net = graph(*random_flows([3, 4, 2, 3], 5))
    assert sum(path.product for path in net.strongest_paths(k=1000)) == pytest.approx(float(net.attribution().sum()))
    ends = net.strongest_paths(("a", 1), ("d", 2), k=1000)
    assert {(path.units[0], path.units[-1]) for path in ends} == {(("a", 1), ("d", 2))}
    assert sum(path.product for path in ends) == pytest.approx(float(net.attribution()[1, 2]))


def test_paths_between_layers_inside():
    net = graph([[1.0, 1.0]], [[0.5, 0.2], [0.9, 0.0]], [[0.3], [0.4]])
    assert net.strongest_paths(("b", "0"), ("d", -1)) == (
        ((("b", 0), ("c", 0), ("d", 0)), pytest.approx(0.15)),
        ((("b", 0), ("c", 1), ("d", 0)), pytest.approx(0.08)),
    )
    assert net.strongest_paths(("b", 1), ("c", 1)) == ()
    assert [path.units for path in net.strongest_paths(target=("b", 1))] == [(("a", 0), ("b", 1))]


@given(structures)
def test_flow_through_units_is_what_passes_them(drawn):
    net = random_graph(*drawn)
    for part, slow in zip(net.through().values(), flow_paths.share_through(net.flows, net.structure.pairs), strict=True):
        torch.testing.assert_close(part, torch.tensor(slow, dtype=torch.float64), rtol=1e-9, atol=1e-12)


def test_attribution_between_two_layers_is_a_part_of_the_whole():
    net = graph([[0.5], [0.2]], [[2.0, 1.0]], [[0.1, 0.0]], [[3.0], [4.0]], pairs="ac bd cd de")
    assert net.sources == ("a", "b") and net.sinks == ("e",)
    torch.testing.assert_close(net.attribution(), torch.tensor([[0.15], [0.06], [10.0]], dtype=torch.float64))
    torch.testing.assert_close(net.attribution("b"), net.attribution()[2:])
    torch.testing.assert_close(net.attribution("a", "d"), torch.tensor([[0.05, 0.0], [0.02, 0.0]], dtype=torch.float64))
    assert not net.attribution("a", "b").any() and not net.attribution("d", "a").any(), "nothing runs there"
    with pytest.raises(UnknownName, match="no layer 'z'"):
        net.attribution("z")


def test_paths_from_a_layer_that_does_not_lead_there_are_refused():
    net = graph([[0.5]], [[2.0]], [[1.0]], pairs="ac bd cd")
    with pytest.raises(InvalidInput, match="paths run forward: from 'b' there is none to 'c'"):
        net.strongest_paths(("b", 0), ("c", 0))
    assert [path.units for path in net.strongest_paths(("b", 0))] == [(("b", 0), ("d", 0))]


def test_flow_through_units_survives_many_layers():
    net = graph(*[torch.full((2, 2), 1e-60, dtype=torch.float64)] * 7)
    assert all(part.tolist() == pytest.approx([0.5, 0.5]) for part in net.through().values())


def test_single_samples_by_their_own_matrices():
    net = graph([[0.5, 0.0], [0.2, 0.3]], [[1.0], [2.0]])
    draw = torch.Generator().manual_seed(0)
    samples = [torch.randn(3, 2, 2, generator=draw), torch.randn(3, 2, 1, generator=draw)]
    found = net.pointwise_attribution(samples)
    for n in range(3):
        first = samples[0][n].double()
        first[0, 1] = 0  # the graph has no such edge
        torch.testing.assert_close(found[n], first @ samples[1][n].double())
    assert (found < 0).any()


def test_the_mean_of_equal_samples_is_the_attribution():
    net = graph(*random_flows([2, 3, 2], 1))
    found = net.pointwise_attribution([flow.expand(4, -1, -1) for flow in net.flows])
    torch.testing.assert_close(found.mean(0), net.attribution())


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([torch.zeros(2, 2, 2)], "1 batches of matrices for 2 layer pairs"),
        ([torch.zeros(2, 2, 2), torch.zeros(2, 1, 2)], "batch 1 has shape \\(2, 1, 2\\); expected \\(2, 2, 1\\)"),
        ([torch.zeros(2, 2, 2), torch.full((2, 2, 1), torch.nan)], "batch 1 has values that are not finite"),
    ],
)
def test_samples_that_do_not_fit_are_refused(samples, message):
    with pytest.raises(InvalidInput, match=message):
        graph([[1.0, 1.0], [1.0, 1.0]], [[1.0], [1.0]]).pointwise_attribution(samples)


def test_paths_that_cannot_be_are_refused():
    net = graph([[1.0, 1.0]], [[1.0], [1.0]])
    with pytest.raises(InvalidInput, match="paths run forward: from 'c' there is none to 'b'"):
        net.strongest_paths(("c", 0), ("b", 0))
    with pytest.raises(InvalidInput, match="k is a whole number of at least 1, not 0"):
        net.strongest_paths(k=0)
    with pytest.raises(UnknownName, match="no layer 'z'; known: 'a', 'b', 'c'"):
        net.strongest_paths(("z", 0))
    with pytest.raises(InvalidInput, match="layer 'b' has units 0 to 1, no unit 2"):
        net.strongest_paths(("b", 2))
