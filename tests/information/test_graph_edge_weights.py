"""Weights of edges: significance, redundancy, transforms."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from scipy.stats import false_discovery_control

from tests.reference import flow_paths
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.information.edge_weights import EdgeWeighting, linfoot_correlation, significant_edges, unit_redundancy
from vesalius.information.graph import FlowGraph
from vesalius.information.layers import FlowEdges, FlowLayer

WITHIN = torch.tensor([[9.0, 0.2, 0.4, 0.0], [0.2, 9.0, 0.6, 0.0], [0.4, 0.6, 9.0, 0.0], [0.0, 0.0, 0.0, 9.0]])
INFORMATION = torch.tensor([[0.9, 0.1], [0.3, -0.01], [0.5, 0.7], [0.0, 0.0]])


def weighed(**options):
    a, b = FlowLayer.of("a", 4, dead=[3], within=WITHIN), FlowLayer.of("b", 2)
    return FlowGraph.from_information([a, b], [FlowEdges.of(INFORMATION)], EdgeWeighting(**options))


p_values = st.lists(st.one_of(st.floats(0, 1), st.floats(0, 0.01), st.sampled_from([0.0, 0.01, 0.05, 1.0])), min_size=1, max_size=30)


# rates at no p-value that is drawn on purpose: at equality the three round differently


@pytest.mark.slow
@given(p_values, st.sampled_from([0.0099, 0.0499, 0.2, 1.0]))
def test_significance_is_benjamini_hochberg(p, rate):
    found = significant_edges(torch.tensor([p], dtype=torch.float64), rate)[0].tolist()
    assert found == flow_paths.benjamini_hochberg(p, rate)


@given(p_values, st.sampled_from([0.0099, 0.0499, 0.2, 1.0]))
def test_significance_agrees_with_scipy(p, rate):
    found = significant_edges(torch.tensor([p], dtype=torch.float64), rate)[0].tolist()
    assert found == (false_discovery_control(p) <= rate).tolist()


def test_untested_edges_do_not_count_as_tests():
    p = torch.tensor([[0.04, 1.0, 1.0, 1.0]], dtype=torch.float64)
    assert not significant_edges(p, 0.05).any()
    tested = torch.tensor([[True, False, False, False]])
    assert significant_edges(p, 0.05, tested=tested).tolist() == [[True, False, False, False]]
    assert not significant_edges(p, 0.05, tested=~tested).any()
    assert not significant_edges(p, 0.05, tested=torch.zeros_like(tested)).any()


def test_false_edges_are_kept_at_the_rate():
    draw = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(300):
        p = torch.rand(10, 10, generator=draw, dtype=torch.float64)
        p[:2] **= 8
        kept = significant_edges(p, 0.2)
        shares.append(float(kept[2:].sum() / kept.sum().clamp_min(1)))
    assert 0.12 < sum(shares) / 300 < 0.2  # rate times the share of true nulls, 0.16


def test_redundancy_by_its_three_meanings():
    layer = FlowLayer.of("a", 4, dead=[3], within=WITHIN)
    means = unit_redundancy(layer, EdgeWeighting(redundancy="mrmr"))
    torch.testing.assert_close(means, torch.tensor([0.3, 0.4, 0.5, 0.0], dtype=torch.float64), rtol=1e-6, atol=1e-6)
    sums = unit_redundancy(layer, EdgeWeighting(redundancy="paper"))
    torch.testing.assert_close(sums, torch.tensor([0.0, 0.2, 1.0, 0.0], dtype=torch.float64), rtol=1e-6, atol=1e-6)
    assert not unit_redundancy(layer, EdgeWeighting(redundancy=None)).any()


def test_weights_are_information_less_redundancy_and_never_negative():
    flow = weighed(beta=0.5).flows[0]
    expected = [[0.75, 0.0], [0.1, 0.0], [0.25, 0.45], [0.0, 0.0]]
    torch.testing.assert_close(flow, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_information_is_kept_as_it_was_measured():
    assert torch.equal(weighed(beta=0.5).edges[0].information, INFORMATION.double())


def test_transforms():
    nats = weighed().flows[0]
    assert torch.equal(weighed(transform="linfoot").flows[0], linfoot_correlation(nats))
    assert torch.equal(weighed(transform="layer_max").flows[0], nats / nats.max())
    assert weighed(transform="linfoot").transform == "linfoot"


@given(st.floats(-0.999, 0.999))
def test_linfoot_gives_back_the_correlation_of_a_gaussian_pair(rho):
    information = torch.tensor(-0.5 * math.log1p(-(rho**2)), dtype=torch.float64)
    assert float(linfoot_correlation(information)) == pytest.approx(abs(rho), abs=1e-7)


def test_a_gaussian_chain_multiplies_along_its_path():
    """rho_XZ = rho_XY rho_YZ for a Markov chain: the product of weights is the correlation of the ends."""
    nats = [torch.tensor([[-0.5 * math.log(1 - rho**2)]], dtype=torch.float64) for rho in (0.9, 0.5, 0.7)]
    layers = [FlowLayer.of(name, 1) for name in "wxyz"]
    found = FlowGraph.from_information(layers, list(map(FlowEdges.of, nats)), EdgeWeighting(redundancy=None, transform="linfoot"))
    assert float(found.attribution()) == pytest.approx(0.9 * 0.5 * 0.7, abs=1e-12)


def test_edges_that_are_not_significant_are_dropped():
    p = torch.tensor([[0.001, 0.9], [0.02, 0.03], [0.001, 0.5], [0.0, 0.0]])
    a, b = FlowLayer.of("a", 4, dead=[3]), FlowLayer.of("b", 2)
    found = FlowGraph.from_information([a, b], [FlowEdges.of(INFORMATION + 0.1, p=p)], EdgeWeighting(redundancy=None))
    assert found.edges[0].kept.tolist() == [[True, False], [True, True], [True, False], [False, False]]
    assert found.provenance["weighting"] == {"beta": 5e-4, "redundancy": None, "transform": None, "rate": 0.05}


@pytest.mark.parametrize("transform", ["linfoot", "layer_max"])
def test_a_layer_pair_without_edges_stays_without(transform):
    a, b = FlowLayer.of("a", 2), FlowLayer.of("b", 2)
    found = FlowGraph.from_information([a, b], [FlowEdges.of(torch.zeros(2, 2))], EdgeWeighting(redundancy=None, transform=transform))
    assert not found.flows[0].any()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"beta": -1.0}, InvalidInput, "beta is a number of at least 0, not -1"),
        ({"beta": math.nan}, InvalidInput, "beta is a number of at least 0, not nan"),
        ({"rate": 0.0}, InvalidInput, "rate is a number above 0 and of at most 1, not 0"),
        ({"rate": 1.5}, InvalidInput, "not 1.5"),
        ({"redundancy": "mrmrr"}, UnknownName, "no redundancy 'mrmrr'; did you mean 'mrmr'"),
        ({"transform": "linfot"}, UnknownName, "no transform 'linfot'; did you mean 'linfoot'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, kind, message):
    with pytest.raises(kind, match=message):
        EdgeWeighting(**options)


def test_redundancy_needs_the_information_within_the_layer():
    with pytest.raises(InvalidInput, match=r"'mrmr' needs the information between the units of layer 'a'.*redundancy=None"):
        FlowGraph.from_information([FlowLayer.of("a", 4), FlowLayer.of("b", 2)], [FlowEdges.of(INFORMATION)])
