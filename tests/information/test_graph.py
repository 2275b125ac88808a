"""The noun: what it accepts, how it names its units, shows itself, and is kept."""

import math
import pickle
from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from tests.information.graphs import graph, permuted, random_flows, shapes
from vesalius.core import store
from vesalius.core.errors import ForeignFile, InvalidInput, UnknownName, WrongType
from vesalius.information.edge_weights import EdgeWeighting
from vesalius.information.graph import FlowGraph
from vesalius.information.graph_file import EDGE_MATRICES, HISTOGRAM_FIELDS
from vesalius.information.histograms import Histograms
from vesalius.information.layers import FlowEdges, FlowLayer


def layered(*sizes):
    return tuple(FlowLayer.of(name, size) for name, size in zip("abc", sizes, strict=False))


def iris():
    draw = torch.Generator().manual_seed(1)
    layers = [
        FlowLayer.of("features", ["sepal length", "sepal width", "petal length", "petal width"], kind="features", within=torch.eye(4)),
        FlowLayer.of("relu_1", 5, dead=[2, 4], within=torch.full((5, 5), 0.1)),
        FlowLayer.of("classes", ["setosa", "versicolor", "virginica"], kind="classes"),
    ]
    edges = []
    for shape in ((4, 5), (5, 3)):
        information = torch.rand(shape, generator=draw)
        p, stderr = torch.where(information > 0.3, 0.001, 0.5), torch.full(shape, 0.02)
        edges.append(FlowEdges.of(information, p=p, stderr=stderr, doubts=(information > 0.95).long()))
    return FlowGraph.from_information(
        layers, edges, EdgeWeighting(beta=0.01), provenance={"model": "4f1c", "versions": {"torch": "2.13"}, "at": object}
    )


# ---- what is accepted ------------------------------------------------------------------------------------------------------------------


def test_matrices_of_any_floating_type_become_double():
    part = FlowEdges.of(torch.tensor([[0.5, -0.01]], dtype=torch.float16))
    assert part.information.dtype == part.flow.dtype == torch.float64
    assert part.information[0, 1] < 0 and part.flow[0, 1] == 0
    assert part.kept.tolist() == [[True, False]]


def test_the_users_matrices_are_left_alone():
    within, information = torch.full((2, 2), math.nan).fill_diagonal_(math.nan), torch.ones(2, 2)
    within[0, 1] = within[1, 0] = 0.3
    FlowLayer.of("a", 2, within=within)
    graph(information).without([("a", 0)])
    assert within[0, 0].isnan() and information.all()


@pytest.mark.parametrize(
    ("sizes", "shapes", "message"),
    [
        ((2,), (), "at least two layers, not 1"),
        ((2, 3), ((2, 3), (3, 1)), "2 layers have 1 layer pairs, but edges were given for 2"),
        ((2, 3), ((3, 2),), "from 'a' to 'b' the matrices have shape \\(3, 2\\), the layers \\(2, 3\\) units"),
        ((2, 3, 1), ((2, 3), (2, 1)), "from 'b' to 'c' the matrices have shape \\(2, 1\\), the layers \\(3, 1\\) units"),
    ],
)
def test_shapes_that_do_not_chain_are_refused(sizes, shapes, message):
    edges = tuple(FlowEdges.of(torch.ones(shape)) for shape in shapes)
    with pytest.raises(InvalidInput, match=message):
        FlowGraph(layers=layered(*sizes), edges=edges)
    with pytest.raises(InvalidInput, match=message):
        FlowGraph.from_information(layered(*sizes), edges, EdgeWeighting(redundancy=None))


ONES = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"information": torch.tensor([[1.0, math.nan]])},
            "information has 1 values that are not finite numbers, the first nan at \\(0, 1\\)",
        ),
        ({"information": torch.tensor([[1.0, math.inf]])}, "the first inf at"),
        ({"information": ONES, "flow": -ONES}, "flow has 6 values that are not finite numbers of at least 0, the first -1 at \\(0, 0\\)"),
        ({"information": ONES, "flow": ONES * math.nan}, "the first nan at"),
        ({"information": ONES, "flow": torch.ones(3, 2)}, "flow has shape \\(3, 2\\); expected \\(2, 3\\)"),
        ({"information": ONES, "p": ONES * 1.5}, "p is a probability; the largest here is 1.5"),
        ({"information": ONES, "p": ONES * math.nan}, "p has 6 values"),
        ({"information": ONES, "p": -ONES}, "p has 6 values"),
        ({"information": ONES, "p": torch.ones(2, 2)}, "p has shape"),
        ({"information": ONES, "stderr": -ONES}, "stderr has 6 values"),
        (
            {"information": ONES, "doubts": torch.ones(3, 3, dtype=torch.int64)},
            "doubts has shape \\(3, 3\\); expected \\(2, 3\\)",
        ),
        ({"information": torch.ones(3)}, "information has shape \\(3,\\); expected \\[units, units of the next layer\\]"),
    ],
)
def test_bad_matrices_are_refused(as_a_user, options, message):
    with pytest.raises(InvalidInput, match=message):
        FlowEdges.of(**options)


@pytest.mark.parametrize(("matrix", "what"), [([[1.0]], "list"), (torch.ones(2, 2, dtype=torch.int64), "torch.int64")])
def test_what_is_no_matrix_of_numbers_is_refused(as_a_user, matrix, what):
    with pytest.raises(WrongType, match=f"information is {what}; expected a floating-point tensor"):
        FlowEdges.of(matrix)


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda: FlowLayer.of("a", 0), InvalidInput, "layer 'a' has no units; leave it out"),
        (lambda: FlowLayer.of("a", []), InvalidInput, "no units"),
        (lambda: FlowLayer.of("a", ["x", "y", "x"]), InvalidInput, "several units called 'x'"),
        (lambda: FlowLayer.of("a", 2, dead=[2]), InvalidInput, "units 0 to 1, no unit 2"),
        (lambda: FlowLayer.of("a", ["left", "right"], dead=["rihgt"]), UnknownName, "no unit of layer 'a' 'rihgt'; did you mean 'right'"),
        (
            lambda: FlowLayer.of("a", 2, dead=torch.zeros(3, dtype=torch.bool)),
            InvalidInput,
            "dead of layer 'a' has shape \\(3,\\); expected \\(2,\\)",
        ),
        (
            lambda: FlowLayer.of("a", 3, within=torch.zeros(2, 2)),
            InvalidInput,
            "within of layer 'a' has shape \\(2, 2\\); expected \\(3, 3\\)",
        ),
        (lambda: FlowLayer.of("a", 2, within=torch.full((2, 2), math.nan)), InvalidInput, "2 values that are not finite"),
    ],
)
def test_bad_layers_are_refused(as_a_user, build, kind, message):
    with pytest.raises(kind, match=message):
        build()


def test_flags_are_booleans(as_a_user):
    with pytest.raises(WrongType, match=r"dead of layer 'a' is torch\.int64; expected booleans.*positions go into a list"):
        FlowLayer.of("a", 2, dead=torch.tensor([0, 1]))
    with pytest.raises(WrongType, match=r"doubts is torch\.float32"):
        FlowEdges.of(ONES, doubts=ONES)


def test_names_must_differ_and_transforms_be_known():
    edges = (FlowEdges.of(torch.ones(1, 1)),)
    with pytest.raises(InvalidInput, match="layers need different names; these are 'a', 'a'"):
        FlowGraph(layers=(FlowLayer.of("a", 1), FlowLayer.of("a", 1)), edges=edges)
    with pytest.raises(UnknownName, match="no transform 'lin'; did you mean 'linfoot'"):
        FlowGraph(layers=layered(1, 1), edges=edges, transform="lin")


def test_dead_units_with_weights_are_refused():
    layers = (FlowLayer.of("a", ["p", "q"]), FlowLayer.of("b", 3, dead=[2]))
    with pytest.raises(InvalidInput, match="a: p -> b\\[2\\] has a weight, but one of them is dead"):
        FlowGraph(layers=layers, edges=(FlowEdges.of(torch.ones(2, 3)),))


# ---- names and showing -----------------------------------------------------------------------------------------------------------------


def test_units_are_found_by_position_and_label():
    net = iris()
    assert net.find(("features", "petal width")) == (0, 3)
    assert net.find(("relu_1", -1)) == net.find(("relu_1", "4")) == (1, 4)
    assert (net.title(("features", 3)), net.title(("relu_1", 3))) == ("features: petal width", "relu_1[3]")
    with pytest.raises(UnknownName, match="no layer 'relu1'; did you mean 'relu_1'"):
        net.find(("relu1", 0))
    with pytest.raises(UnknownName, match="no unit of layer 'features' 'petal with'; did you mean 'petal width'"):
        net.find(("features", "petal with"))


def test_it_shows_what_a_reader_looks_for():
    text = repr(iris())
    kept = sum(int(part.kept.sum()) for part in iris().edges)
    assert f"FlowGraph: 3 layers, 12 units (2 constant), {kept} of 35 edges kept" in text
    assert "FlowLayer(relu_1: 5 neurons, 2 constant)" in text
    assert "strongest edges (nats)\n" in text
    best = iris().strongest_edges(k=1)[0]
    assert f"{best.product:.3g}  {' -> '.join(map(iris().title, best.units))}" in text
    top = max((value, at) for at, value in enumerate(iris().betweenness()["relu_1"].tolist()))
    assert f"betweenness\n  {top[0]:.3g}  relu_1[{top[1]}]" in text


def test_it_says_what_the_samples_cannot_support():
    edges = FlowEdges.of(torch.tensor([[3.0, 0.0]]), doubts=torch.tensor([[1, 1]]))
    assert "1 of them unreliable" in repr(FlowGraph(layers=layered(1, 2), edges=(edges,)))
    assert edges.unreliable.tolist() == [[True, True]] and edges.why_unreliable(0, 1).startswith("above half the logarithm")
    with pytest.raises(InvalidInput, match="reasons from 0 to 5, not 9 to 9"):
        FlowEdges.of(torch.ones(1, 1), doubts=torch.tensor([[9]]))


def test_a_graph_without_edges_shows_itself():
    text = repr(graph(torch.zeros(2, 3)))
    assert "0 of 6 edges kept" in text and "strongest" not in text and "betweenness" not in text


def test_strongest_edges_are_the_largest_weights():
    net = graph(*random_flows([3, 4, 2], 0))
    found = net.strongest_edges(k=6)
    largest = sorted((float(value) for flow in net.flows for value in flow.flatten()), reverse=True)[:6]
    assert [edge.product for edge in found] == largest
    for edge in found:
        (a, b), at = edge.units, net.place(edge.units[0][0])
        assert float(net.flows[at][a[1], b[1]]) == edge.product


@settings(max_examples=30)
@given(shapes, st.randoms(use_true_random=False))
def test_permuting_hidden_units_permutes_the_graph_and_nothing_else(drawn, chance):
    net = graph(*random_flows(*drawn))
    layer = chance.choice(net.names[1:-1] or net.names)
    order = list(range(len(net.layers[net.place(layer)])))
    chance.shuffle(order)
    other = permuted(net, layer, order)
    outer = net.names.index(layer) in (0, len(net) - 1)
    if not outer:
        torch.testing.assert_close(other.attribution(), net.attribution())
    for ask in (FlowGraph.betweenness, FlowGraph.through):
        for name, part in ask(net).items():
            torch.testing.assert_close(ask(other)[name], part[order] if name == layer else part, rtol=1e-9, atol=1e-12)
    for about in (FlowGraph.strongest_paths, FlowGraph.strongest_edges):
        named = [[[one.title(unit) for unit in path.units] for path in about(one)] for one in (net, other)]
        assert named[0] == named[1]


# ---- keeping ---------------------------------------------------------------------------------------------------------------------------


def test_what_is_saved_is_loaded(tmp_path):
    net = iris()
    back = FlowGraph.load(net.save(tmp_path / "deep" / "flow.safetensors"))
    assert back.names == net.names and [layer.kind for layer in back.layers] == [layer.kind for layer in net.layers]
    for old, new in zip(net.layers, back.layers, strict=True):
        assert old.units == new.units and torch.equal(old.dead, new.dead)
        assert (old.within is None) == (new.within is None) and (old.within is None or torch.equal(old.within, new.within))
    for old, new in zip(net.edges, back.edges, strict=True):
        assert all(torch.equal(getattr(old, name), getattr(new, name)) for name in EDGE_MATRICES)
    assert repr(back) == repr(net)
    assert back.provenance["versions"] == {"torch": "2.13"} and back.provenance["weighting"]["beta"] == 0.01
    again = back.without(back.prunable()).without([("features", 0)])
    assert FlowGraph.load(again.save(tmp_path / "again")).without([("relu_1", 0)]).provenance["without"][0] == ("features", 0)


def test_a_graph_with_skips_is_saved_as_it_is_joined(tmp_path):
    net = graph([[0.5]], [[0.7]], [[0.2]], [[0.9]], pairs="ab bc ac cd")
    back = FlowGraph.load(net.save(tmp_path / "flow"))
    assert back.joined == net.joined == (("a", "b"), ("b", "c"), ("a", "c"), ("c", "d"))
    assert [flow.tolist() for flow in back.flows] == [flow.tolist() for flow in net.flows]
    assert repr(back) == repr(net) and back.unseen == ()
    assert FlowGraph.load(replace(net, unseen=("c",)).save(tmp_path / "fed")).unseen == ("c",)
    assert "FlowLayer(a: 1 neurons) -> b, c" in repr(net)


def test_a_file_that_says_nothing_of_pairs_is_a_chain(tmp_path):
    """As files were before layers were joined otherwise than one after the other."""
    tensors, facts = store.read(graph([[0.5]], [[0.7]]).save(tmp_path / "flow"), "flow graph")
    for layer in facts["layers"]:
        del layer["reads"]
    assert FlowGraph.load(store.write(tmp_path / "old", "flow graph", tensors, facts)).joined == (("a", "b"), ("b", "c"))


def test_histograms_are_kept(tmp_path):
    net = iris()
    spread = Histograms.of(torch.randn(50, len(net.layers[1])))
    layers = tuple(replace(layer, spread=spread) if at == 1 else layer for at, layer in enumerate(net.layers))
    back = FlowGraph.load(replace(net, layers=layers).save(tmp_path / "flow")).layers
    assert [layer.spread is not None for layer in back] == [at == 1 for at in range(len(back))]
    assert all(torch.equal(getattr(back[1].spread, name), getattr(spread, name)) for name in HISTOGRAM_FIELDS)


def test_what_was_not_measured_is_not_made_up(tmp_path):
    back = FlowGraph.load(graph([[1.0]], transform="linfoot").save(tmp_path / "flow"))
    assert back.edges[0].p is None and back.edges[0].stderr is None and back.layers[0].within is None
    assert back.transform == "linfoot"


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "flow"
    path.write_bytes(pickle.dumps({"flow": 1}))
    with pytest.raises(ForeignFile, match="not a vesalius file"):
        FlowGraph.load(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        FlowGraph.load(tmp_path / "nowhere")
