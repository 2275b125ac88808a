"""Networks whose flow is known, measured and drawn: a bottleneck, a copy, a dead unit and one that talks to itself."""

import copy
import itertools

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.reference import flow_paths
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
    edges = [FlowEdges.of(pair.values, p=pair.p, stderr=pair.stderr, doubts=pair.doubts) for pair in pairs]
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_bottleneck_is_found():
    found = [bottleneck(seed) for seed in SEEDS]
    assert often([int(net.betweenness()["hidden"].argmax()) == 1 for net in found])
    assert often([float(net.through()["hidden"][1]) > 0.9 for net in found])
    assert often([net.without([("hidden", 1)]).attribution().sum() <= 0.1 * net.attribution().sum() for net in found])


class PlantedBranches(nn.Module):
    """Two inputs. A block whose branch is dead, so that the skip carries all; one whose branch carries a part; a layer that is used twice;
    and a concatenation with a branch of the second input. All is linear but for the dead branch, and the units of a layer are
    independent, so every correlation is known."""

    def __init__(self):
        super().__init__()
        self.stem, self.part, self.tied = (nn.Linear(4, 4, bias=False) for _ in range(3))
        self.first, self.dead, self.side, self.out = (
            nn.Linear(4, 3),
            nn.Linear(3, 4),
            nn.Linear(2, 2, bias=False),
            nn.Linear(6, 3, bias=False),
        )
        with torch.no_grad():
            self.stem.weight.copy_(torch.eye(4))
            self.dead.weight.zero_()
            self.part.weight.copy_(torch.tensor([[0.0, 0.7, 0, 0], [-0.7, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))
            self.tied.weight.copy_(torch.eye(4)[[1, 2, 0, 3]])
            self.side.weight.copy_(torch.eye(2))
            self.out.weight.copy_(torch.tensor([[0.8, 0, 0.5, 0, 0, 0], [0, 0.45, 0.9, 0, 0, 0], [0, 0.5, 0, 0, 1, 0]]))

    def forward(self, x, z):
        h = self.stem(x)
        h = h + self.dead(torch.relu(self.first(h)))
        h = h + self.part(h)
        return self.out(torch.cat([self.tied(self.tied(h)), self.side(z)], 1))


PAIRS = (
    "x>stem stem>first first>dead stem>add dead>add add>part add>add_1 part>add_1 add_1>tied/linear tied/linear>tied/linear_1 z>side"
    " tied/linear_1>output side>output"
)


def known_correlations(model):
    """Correlations of the units of joined layers, by the layers' linear maps of (x, z), which are white; 0 at dead units. Edges into the
    dead branch, which end there, are left out."""
    model = copy.deepcopy(model).double()
    white, nothing = torch.eye(6, dtype=torch.float64), torch.zeros(3, 6, dtype=torch.float64)
    maps = {"x": white[:4], "z": white[4:], "stem": white[:4], "first": nothing, "dead": torch.zeros(4, 6).double(), "add": white[:4]}
    maps["part"] = model.part.weight.detach() @ white[:4]
    maps["add_1"] = maps["add"] + maps["part"]
    maps["tied/linear"] = model.tied.weight.detach() @ maps["add_1"]
    maps["tied/linear_1"] = model.tied.weight.detach() @ maps["tied/linear"]
    maps["side"] = white[4:]
    maps["output"] = model.out.weight.detach() @ torch.cat([maps["tied/linear_1"], maps["side"]])
    unit = {name: rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-300) for name, rows in maps.items()}
    tables = {(a, b): (unit[a] @ unit[b].T).abs() for a, b in (pair.split(">") for pair in PAIRS.split())}
    return {pair: torch.where(table > 1e-9, table, 0) for pair, table in tables.items()}


@pytest.fixture(scope="module")
def branches():
    """The model, and the graphs of twenty draws. At the rate of 1e-4 no chance correlation is kept."""
    torch.manual_seed(0)
    model = PlantedBranches().eval()
    found, network = [], vs.trace(model, torch.zeros(1, 4), torch.zeros(1, 2))
    for seed in SEEDS:
        draw = torch.Generator().manual_seed(seed)
        x, z = torch.randn(3000, 4, generator=draw), torch.randn(3000, 2, generator=draw)
        found.append(vs.information_flow(network, (x, z), weighting=EdgeWeighting(transform="linfoot", beta=0, rate=1e-4)))
    return model, found


@pytest.mark.slow
def test_the_graph_is_that_of_the_network(branches):
    for net in branches[1]:
        assert {f"{first}>{second}" for first, second in net.joined} == set(PAIRS.split())
        assert set(net.sources) == {"x", "z"} and net.sinks == ("output",) and set(net.bypassed) >= {"first", "dead", "part", "side"}


@pytest.mark.slow
def test_attribution_is_the_sum_over_all_known_paths(branches):
    known = known_correlations(branches[0])
    for net in branches[1]:
        flows = [known[pair] for pair in net.joined]
        expected = torch.tensor(flow_paths.attribution(flows, net.structure.pairs), dtype=torch.float64)
        assert net.attribution().shape == (6, 3)
        torch.testing.assert_close(net.attribution(), expected, atol=0, rtol=0.2, msg="three factors, each with an error of 1 to 4 %")
        assert torch.equal(net.attribution() > 0, expected > 0)


def test_betweenness_is_that_of_the_known_graph(branches):
    known = known_correlations(branches[0])
    for net in branches[1]:
        flows = [known[pair] for pair in net.joined]
        slow = flow_paths.betweenness(flows, [1 / flow for flow in flows], net.structure.pairs)
        ended = net.without({"first": range(3)})
        for (name, part), expected in zip(ended.betweenness().items(), slow, strict=True):
            assert part.tolist() == pytest.approx(expected, abs=1e-6), name


def test_what_is_prunable_is_what_no_path_passes(branches):
    for net in branches[1]:
        found = net.prunable()
        assert found.pop("first") == dict.fromkeys(range(3), "no information flows out")
        assert found.pop("dead") == dict.fromkeys(range(4), "dead")
        assert found.pop("part") == {2: "dead", 3: "dead"}
        assert {name: set(units) for name, units in found.items()} == {
            **{name: {3} for name in ("stem", "add", "add_1", "tied/linear", "tied/linear_1")}, "side": {1},
        }  # fmt: skip


def test_without_its_skip_nothing_of_the_first_input_is_left(branches):
    for net in branches[1]:
        cut = net.without({"add": range(4)})
        assert not cut.attribution("x").any() and torch.equal(cut.attribution("z"), net.attribution("z"))
