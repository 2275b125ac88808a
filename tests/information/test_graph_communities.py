"""Communities: planted ones are found, absent ones are called weak, and nobody else's random numbers are touched."""

import random

import hypothesis.strategies as st
import igraph
import networkx
import pytest
import torch
from hypothesis import given
from sklearn.metrics import adjusted_rand_score

from tests.information.graphs import graph, permuted, planted, random_flows
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.information.communities import adjusted_rand, igraph_seed

SIZES = [6, 12, 12, 4]


def flat(found):
    return torch.cat(list(found.of.values())).tolist()


def groups(net, found):
    return [{(layer, at) for layer, units in found.members(c).items() for at in units} for c in range(max(flat(found)) + 1)]


@pytest.mark.parametrize("method", ["leiden", "louvain"])
def test_planted_communities_are_found_and_believed(method):
    right = []
    for seed in range(20):
        net, truth = planted(SIZES, seed)
        found = net.communities(method=method, seeds=range(5), shuffles=19)
        right.append(found.count == 2 and adjusted_rand(flat(found), truth) > 0.95 and not found.weak)
    assert sum(right) >= 19


def test_communities_that_only_skips_hold_together_are_found():
    """Two sides of three layers each, joined within a side by the skip alone."""
    sides = torch.tensor([[1.0, 0.05], [0.05, 1.0]]).repeat_interleave(4, 0).repeat_interleave(4, 1)
    net = graph(torch.full((8, 2), 0.001), sides, torch.full((2, 8), 0.001), pairs="ab ac bc")
    found = net.communities(seeds=range(3), shuffles=5)
    first = found.of["a"].tolist()
    assert first[:4] == [first[0]] * 4 and first[4:] == [first[4]] * 4 and first[0] != first[4]
    assert found.of["c"].tolist() == first


def test_no_communities_are_called_weak():
    """Graphs without any have a modularity too, of their layers: about 0.2 here."""
    found = [graph(*random_flows(SIZES, seed, kept=1)).communities(seeds=range(3), shuffles=19) for seed in range(20)]
    assert min(one.modularity for one in found) > 0.1
    assert sum(one.weak for one in found) >= 18
    assert sum(one.p <= 0.05 for one in found) <= 3


@pytest.mark.parametrize("gamma", [0.5, 1.0, 1.6])
@pytest.mark.parametrize("method", ["leiden", "louvain"])
def test_modularity_agrees_with_networkx(method, gamma):
    for seed in range(3):
        net = graph(*random_flows([5, 8, 8, 3], seed, kept=0.4))
        found = net.communities(method=method, gamma=gamma, seeds=range(3), shuffles=1)
        theirs = net.to_networkx().to_undirected()
        assert found.modularity == pytest.approx(
            networkx.community.modularity(theirs, groups(net, found), weight="flow", resolution=1 / gamma), abs=1e-10
        )


@pytest.mark.parametrize("method", ["leiden", "louvain"])
def test_divisions_are_as_good_as_those_of_networkx(method):
    for seed in range(5):
        net = graph(*random_flows([5, 8, 8, 3], seed, kept=0.4))
        theirs = networkx.community.louvain_communities(net.to_networkx().to_undirected(), weight="flow", seed=0)
        mine = net.communities(method=method, shuffles=1).modularity
        assert mine >= networkx.community.modularity(net.to_networkx().to_undirected(), theirs, weight="flow") - 0.005


def test_lower_gamma_gives_more_communities():
    net, _ = planted(SIZES, 0)
    counts = [net.communities(gamma=gamma, shuffles=1).count for gamma in (0.3, 1.0, 4.0)]
    assert counts[0] > counts[1] > counts[2]


def test_units_without_edges_are_alone_and_come_last():
    net, _ = planted(SIZES, 0)
    found = net.without([("b", 0), ("c", 7)]).communities(seeds=[0], shuffles=1)
    assert found.count == 2
    assert found.of["b"][0] == 2 and found.of["c"][7] == 3
    assert found.members(3) == {"c": (7,)}
    sizes = [sum(map(len, found.members(c).values())) for c in range(4)]
    assert sizes == sorted(sizes, reverse=True)
    assert "2 units without edges" in repr(found)


def test_stability_is_the_agreement_of_runs_about_units_with_edges():
    net = graph(*(torch.nn.functional.pad(flow, (0, 20, 0, 20)) for flow in random_flows(SIZES, 1, kept=1)))
    runs = [net.communities(seeds=[seed], shuffles=1) for seed in (0, 1)]
    linked = [torch.cat([label[:size] for label, size in zip(run.of.values(), SIZES, strict=True)]).tolist() for run in runs]
    both = net.communities(seeds=[0, 1], shuffles=1)
    assert both.stability == pytest.approx(adjusted_rand(*linked)) and both.stability < 0.9
    assert both.modularity == max(run.modularity for run in runs)
    assert runs[0].stability == 1


def test_a_graph_without_edges_has_none():
    found = graph(torch.zeros(2, 3)).communities(seeds=range(2), shuffles=2)
    assert (found.count, found.modularity, found.p) == (0, 0, 1)
    assert sorted(flat(found)) == [0, 1, 2, 3, 4]
    assert found.doubts == ("there are no edges",)


def test_doubts_are_said():
    found = graph(*random_flows(SIZES, 3, kept=1)).communities(shuffles=19)
    assert found.weak
    assert f"WEAK: shuffled graphs reach {float(found.null.mean()):.3f}" in repr(found)
    assert "WEAK" not in repr(planted(SIZES, 0)[0].communities(shuffles=19))


def test_the_same_seeds_give_the_same_answer_and_others_may_not():
    net = graph(*random_flows(SIZES, 1, kept=1))
    one, two = net.communities(seeds=range(4), shuffles=3), net.communities(seeds=range(4), shuffles=3)
    assert flat(one) == flat(two) and one.null.tolist() == two.null.tolist()
    assert one.null.tolist() != net.communities(seeds=range(4, 8), shuffles=3).null.tolist()


def test_shuffling_keeps_the_weights_between_the_same_units():
    net = graph([[0.1, 0.2, 0.0], [0.3, 0.0, 0.0], [0.0, 0.0, 0.0]])
    found = net.communities(seeds=[0], shuffles=30)
    # 2 x 2 units with weights .1 .2 .3 and one missing edge: the modularity depends on which two weights share a unit
    assert 1 < len({round(value, 9) for value in found.null.tolist()}) <= 6


def test_no_random_state_is_touched(as_a_user):
    net, _ = planted([3, 4, 3], 0)
    before = random.getstate(), torch.random.get_rng_state()
    net.communities(seeds=range(2), shuffles=2)
    assert random.getstate() == before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])


@pytest.mark.parametrize("fails", [False, True])
def test_igraph_draws_from_python_again_afterwards(fails):
    state = random.getstate()
    random.seed(5)
    expected = igraph.Graph.Erdos_Renyi(n=30, p=0.5).get_edgelist()
    try:
        with igraph_seed(1):
            igraph.Graph.Erdos_Renyi(n=30, p=0.5)
            if fails:
                raise KeyError
    except KeyError:
        pass
    random.seed(5)
    assert igraph.Graph.Erdos_Renyi(n=30, p=0.5).get_edgelist() == expected
    random.setstate(state)


def test_permuting_hidden_units_permutes_communities():
    net, _ = planted(SIZES, 4)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    found, other = net.communities(shuffles=1), permuted(net, "b", order).communities(shuffles=1)
    back = torch.empty_like(order)
    back[order] = torch.arange(12)
    other.of["b"].copy_(other.of["b"][back])
    assert adjusted_rand(flat(found), flat(other)) == 1
    assert found.modularity == pytest.approx(other.modularity)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20))
def test_agreement_is_that_of_scikit_learn(pairs):
    one, other = zip(*pairs, strict=True)
    assert adjusted_rand(one, other) == pytest.approx(adjusted_rand_score(one, other), abs=1e-12)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"method": "ledien"}, UnknownName, "no method of finding communities 'ledien'; did you mean 'leiden'"),
        ({"gamma": 0.0}, InvalidInput, "gamma is a number above 0, not 0"),
        ({"gamma": float("nan")}, InvalidInput, "gamma is a number, not nan"),
        ({"seeds": []}, InvalidInput, "no seeds"),
        ({"shuffles": 0}, InvalidInput, "shuffles is a whole number of at least 1, not 0"),
    ],
)
def test_searches_that_make_no_sense_are_refused(options, kind, message):
    with pytest.raises(kind, match=message):
        graph([[1.0]]).communities(**options)


def test_a_community_that_is_not_there_is_refused():
    with pytest.raises(InvalidInput, match="communities 0 to 0, no 1"):
        graph([[1.0]]).communities(shuffles=1).members(1)
