"""Information flow of networks: what it reads, what it finds in planted ones, that names do not matter, and what it refuses."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.zoo.catalogue import specimen
from vesalius.core.errors import InvalidInput, NotTraceable, UnknownName, WrongType
from vesalius.data.synthetic import planted_net
from vesalius.information import EdgeWeighting, FlowGraph, MeasurementOptions, information_flow
from vesalius.information.estimators import Binned, Neural, pairwise

SEEDS = range(20)
FAST = MeasurementOptions(estimator="binned")


def rows(count, inputs, seed=0):
    return 2 * torch.rand(count, inputs, generator=torch.Generator().manual_seed(seed)) - 1


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return vs.trace(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), rows(2, 4))


def test_edges_are_the_information_of_the_units_read(network):
    x = rows(600, 4)
    found = information_flow(network, x, measuring=FAST, weighting=EdgeWeighting(beta=0, rate=1))
    assert found.names == ("input", "0", "output") and [layer.kind for layer in found.layers] == ["features", "neurons", "classes"]
    hidden = network.read(x, "1")["1"].double()
    expected = pairwise(x.double(), hidden, estimator="binned", generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.edges[0].information, expected.values)
    torch.testing.assert_close(found.edges[0].p, expected.p)
    torch.testing.assert_close(found.flows[0], torch.where(expected.dead_y, 0, expected.values.clamp_min(0)))


@pytest.mark.slow
def test_planted_dead_twin_and_unread_units_are_found():
    hits = {"dead": 0, "twins": 0, "unread": 0}
    for seed in SEEDS:
        net = planted_net(4, 3, generator=torch.Generator().manual_seed(seed))
        found = information_flow(vs.trace(net.model, rows(2, 4)), rows(1500, 4, seed), measuring=FAST)
        hits["dead"] += {unit for layer, unit in found.dead if layer == "0"} == set(net.silent)
        pairs = {frozenset(pair[1:3]) for pair in found.redundant()}
        hits["twins"] += {frozenset(pair) for pair in net.twins} <= pairs
        hits["unread"] += set(net.silent) <= set(found.prunable()["0"])
    assert min(hits.values()) >= 0.95 * len(SEEDS), hits


def test_removing_units_without_flow_leaves_predictions_as_they_are():
    net = planted_net(4, 3, generator=torch.Generator().manual_seed(3))
    x = rows(1000, 4)
    spare = information_flow(vs.trace(net.model, x[:2]), x, measuring=FAST).prunable()["0"]
    assert spare
    before = net.model(x)
    with torch.no_grad():
        net.model[2].weight[:, list(spare)] = 0
    torch.testing.assert_close(net.model(x), before)


def test_permuting_hidden_units_permutes_the_graph(network):
    x, order = rows(500, 4), torch.tensor([3, 0, 5, 1, 4, 2])
    twin = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    state = network.parameters
    twin.load_state_dict(
        {
            "0.weight": state["0.weight"][order],
            "0.bias": state["0.bias"][order],
            "2.weight": state["2.weight"][:, order],
            "2.bias": state["2.bias"],
        }
    )
    first, second = (information_flow(net, x, measuring=FAST) for net in (network, vs.trace(twin, x[:2])))
    torch.testing.assert_close(second.flows[0], first.flows[0][:, order])
    torch.testing.assert_close(second.flows[1], first.flows[1][order], atol=1e-6, rtol=1e-5)


def test_true_classes_take_the_place_of_the_output(network):
    x = rows(400, 4)
    labels = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
    found = information_flow(network, x, labels=labels, measuring=FAST)
    assert found.names == ("input", "0", "labels") and len(found.layers[-1]) == 4
    direct = information_flow(network, x, layers=["input", "output"], labels=labels, measuring=FAST)
    assert direct.names == ("input", "output", "labels")


def test_the_papers_relevance_is_the_same_for_all_edges_into_a_unit(network):
    measuring = MeasurementOptions(relevance="layer", estimator=Neural(steps=50))
    found = information_flow(network, rows(200, 4), measuring=measuring, weighting=EdgeWeighting(redundancy="paper", rate=1))
    assert torch.equal(found.edges[0].information, found.edges[0].information[:1].expand(4, -1))
    shared = found.layers[0].within.clamp_min(0)
    torch.testing.assert_close(
        (found.edges[0].information - found.flows[0])[:, 0], (5e-4 * shared.tril(-1).sum(1)).clamp_max(found.edges[0].information[0, 0])
    )


def test_it_is_the_same_again_and_says_what_it_rests_on(network):
    x = rows(300, 4)
    first, second = (information_flow(network, x, measuring=MeasurementOptions(seed=5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.flows, second.flows, strict=True))
    facts = first.provenance
    assert facts["rows"] == 300 and facts["bytes"] == 4 * 300 * 13 and facts["seed"] == 5 and facts["digest"] == network.digest()
    assert "shape" not in facts, "no image"
    assert facts["values"]["0"] == "1/relu" and facts["options"]["estimator"] == "auto" and facts["weighting"]["beta"] == 5e-4


def test_it_is_saved_and_loaded(network, tmp_path):
    found = information_flow(network, rows(200, 4), measuring=FAST)
    again = FlowGraph.load(found.save(tmp_path / "flow.safetensors"))
    assert again.names == found.names and torch.equal(again.flows[1], found.flows[1])


@pytest.mark.slow
def test_networks_of_every_kind(resnet_flow):
    assert resnet_flow.provenance["shape"] == [3, 32, 32]
    assert len(resnet_flow) == 30 and float(resnet_flow.attribution().max()) > 0
    chosen = specimen("encoder")
    net = vs.trace(chosen.build().eval(), *chosen.example()[0])
    x = torch.randn(200, 6, 4, generator=torch.Generator().manual_seed(0))
    found = information_flow(net, x, measuring=FAST)
    assert [layer.kind for layer in found.layers] == ["features", *["heads", *["neurons"] * 3] * 2, "classes"]


@pytest.fixture(scope="module")
def resnet_flow(data_dir):
    from tests.zoo.cifar import cifar_test_images, resnet20

    images = cifar_test_images(data_dir)[0][:100]
    return information_flow(vs.trace(resnet20(data_dir), images[:2]), images, measuring=FAST)


@pytest.mark.slow
def test_token_classifiers_begin_where_their_residual_stream_does():
    chosen = specimen("bert")
    ids, kwargs = chosen.example(40)
    net = vs.trace(chosen.build().eval(), *ids, kwargs=kwargs, output="logits")
    found = information_flow(net, (*ids, *kwargs.values()), measuring=FAST)
    assert found.sources == found.names[:1] and "embeddings" in found.names[0] and found.sinks == ("output",)


@pytest.mark.usefixtures("as_a_user")
def test_what_cannot_be_is_refused(network):
    x = rows(40, 4)
    with pytest.raises(WrongType, match="a function or an estimator"):
        information_flow("model", x)
    with pytest.raises(NotTraceable):
        information_flow(vs.trace(lambda a: a, x[:2]), x)
    with pytest.raises(InvalidInput, match="labels are class numbers"):
        information_flow(network, x, labels="y")
    with pytest.raises(InvalidInput, match="too few"):
        information_flow(network, x[:5])
    for options in ({"estimator": "knn"}, {"relevance": "all"}, {"unit": "gate"}, {"pool": "sum"}):
        with pytest.raises(UnknownName):
            MeasurementOptions(**options)
    with pytest.raises(InvalidInput, match="of at least 16"):
        MeasurementOptions(rows=3)
    assert isinstance(MeasurementOptions(estimator=Binned()).estimator, Binned)


class Even(nn.Module):
    """A layer, and the magnitude of what another makes of it."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(1, 1, 1, bias=False), nn.Conv2d(1, 1, 1, bias=False), nn.Linear(64, 2)

    def forward(self, x):
        return self.last(self.second(torch.tanh(self.first(x))).abs().flatten(1))


def test_sampled_positions_see_what_a_mean_over_the_picture_wipes_out():
    torch.manual_seed(0)
    x = torch.randn(2000, 1, 8, 8)
    network = vs.trace(Even().eval(), x[:2])
    found = {}
    for pool in ("mean", "sampled"):
        measuring = MeasurementOptions(estimator="binned", pool=pool)
        found[pool] = float(information_flow(network, x, layers=["first", "second"], measuring=measuring).edges[0].information)
    assert found["sampled"] > 1 and found["mean"] < 0.05, found


class TwoInputs(nn.Module):
    """Two branches that come together in a concatenation."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.o = nn.Linear(4, 5), nn.Linear(3, 5), nn.Linear(10, 2)

    def forward(self, x, z):
        return self.o(torch.cat([torch.relu(self.a(x)), torch.relu(self.b(z))], 1))


@pytest.fixture(scope="module")
def two_inputs():
    torch.manual_seed(0)
    x, z = rows(400, 4), rows(400, 3, 1)
    return vs.trace(TwoInputs(), x[:2], z[:2]), (x, z)


def test_two_inputs_are_two_sources_and_branches_are_not_a_chain(two_inputs):
    found = information_flow(*two_inputs, measuring=FAST)
    assert found.joined == (("x", "a"), ("z", "b"), ("a", "output"), ("b", "output"))
    assert found.sources == ("x", "z") and found.attribution().shape == (7, 2)
    assert float(found.attribution("x").sum()) > 0 < float(found.attribution("z").sum())
    with pytest.raises(UnknownName, match="no layer that reads 'x' 'b'; known: 'a'"):
        found.between("x", "b")
    assert found.between("z", "b") is found.edges[1]


def test_words_beside_numbers_are_an_unseen_input():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.h, self.o = nn.Embedding(9, 5), nn.Linear(8, 6), nn.Linear(6, 2)

        def forward(self, words, x):
            return self.o(torch.relu(self.h(torch.cat([self.e(words).mean(1), x], 1))))

    torch.manual_seed(0)
    words, x = torch.randint(0, 9, (300, 4)), rows(300, 3)
    model = Mixed()
    with torch.no_grad():
        model.h.weight[:3, 5:] = 0
    found = information_flow(vs.trace(model, words[:2], x[:2]), (words, x), measuring=FAST)
    assert found.names == ("x", "h", "output") and found.unseen == ("h",)
    assert not set(range(3)) & set(found.prunable().get("h", {})), "units of the words alone"


def test_an_edge_past_a_layer_is_the_information_of_its_units():
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.i, self.a, self.o = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2)

        def forward(self, x):
            h = torch.tanh(self.i(x))
            return self.o(h + 0.3 * torch.tanh(self.a(h)))

    x = rows(600, 4)
    network = vs.trace(Block(), x[:2])
    found = information_flow(network, x, measuring=FAST)
    seen = network.read(x, ["tanh", "add"])
    expected = pairwise(seen["tanh"].double(), seen["add"].double(), estimator="binned").values
    torch.testing.assert_close(found.between("i", "add").information, expected, atol=1e-3, rtol=1e-3)


def test_units_are_called_by_the_names_that_are_given(network, two_inputs):
    features, classes = ["length", "width", "height", "weight"], ["cat", "dog", "bird"]
    found = information_flow(network, rows(100, 4), names=features, classes=classes, measuring=FAST)
    assert found.layers[0].units == tuple(features) and found.layers[-1].units == tuple(classes)
    assert found.title(("input", "width")) == "input: width"
    labelled = information_flow(network, rows(100, 4), labels=torch.arange(100) % 3, classes=classes, measuring=FAST)
    assert labelled.names[-1] == "labels" and labelled.layers[-1].units == tuple(classes)
    both = information_flow(*two_inputs, names={"x": features, "b": list("pqrst"), "output": ["no", "yes"]}, measuring=FAST)
    assert both.layers[0].units == tuple(features) and both.layers[both.place("b")].units == tuple("pqrst")
    assert both.layers[-1].units == ("no", "yes") and both.layers[1].units == ("0", "1", "2")


def test_columns_of_a_table_are_known_by_their_names(network):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(rows(100, 4).numpy(), columns=["length", "width", "height", "weight"])
    assert information_flow(network, table, measuring=FAST).layers[0].units == ("length", "width", "height", "weight")


@pytest.mark.usefixtures("as_a_user")
def test_names_that_do_not_fit_are_refused(network, two_inputs):
    x = rows(40, 4)
    with pytest.raises(InvalidInput, match="2 names were given for layer 'input', which has 4 units"):
        information_flow(network, x, names=["a", "b"])
    with pytest.raises(InvalidInput, match="layers of features here are 'x', 'z'; give names by layer"):
        information_flow(*two_inputs, names=["a", "b", "c"])
    with pytest.raises(UnknownName, match="no layer 'inptu'; did you mean 'input'"):
        information_flow(network, x, names={"inptu": ["a"]})
    with pytest.raises(InvalidInput, match="no way through the network joins 'a' with another of these layers"):
        information_flow(*two_inputs, layers=["a", "b"])


def test_real_targets_are_the_last_layer(network):
    x = rows(600, 4)
    target = torch.stack([x[:, 0] + 0.1 * x[:, 1], torch.zeros(600)], 1)
    found = information_flow(network, x, labels=target, classes=["price", "none"], measuring=FAST)
    assert found.names == ("input", "0", "targets") and found.layers[-1].kind == "targets"
    assert found.dead[-1] == ("targets", 1) and found.layers[-1].spread is not None
    hidden = network.read(x, "1")["1"].double()
    expected = pairwise(hidden, target.double(), estimator="binned").values
    torch.testing.assert_close(found.edges[1].information[:, :1], expected[:, :1], atol=1e-3, rtol=1e-3)
    batches = [(part, wanted) for part, wanted in zip(x.split(100), target[:, 0].split(100), strict=True)]
    again = information_flow(network, batches, labels="data", measuring=FAST)
    assert again.names == found.names and len(again.layers[-1]) == 1
    torch.testing.assert_close(again.flows[1][:, 0], found.flows[1][:, 0], atol=1e-6, rtol=1e-5)


@pytest.mark.usefixtures("as_a_user")
def test_targets_that_say_nothing_are_refused(network):
    with pytest.raises(InvalidInput, match=r"real targets that are all 0\.5"):
        information_flow(network, rows(40, 4), labels=torch.full((40,), 0.5))
    with pytest.raises(InvalidInput, match="NaN or infinite"):
        information_flow(network, rows(40, 4), labels=torch.full((40,), torch.nan))


def test_one_number_per_row_without_an_axis_of_units_is_a_unit():
    class Score(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = nn.Linear(4, 3), nn.Linear(3, 1)

        def forward(self, x):
            return self.out(torch.tanh(self.hidden(x))).squeeze(-1)

    torch.manual_seed(0)
    model = Score()
    found = information_flow(model, rows(200, 4), measuring=FAST)
    assert [len(layer) for layer in found.layers] == [4, 3, 1] and bool(found.edges[-1].kept.any())


def test_rows_that_are_no_numbers_are_named(network):
    x = rows(200, 4)
    x[7, 2] = float("nan")
    with pytest.raises(InvalidInput, match=r"'input' has NaN .* the first in row 7 .* unit 2"):
        information_flow(network, x, measuring=FAST)
