"""Graphs in other programs' terms, read back by those programs."""

import json
import math
from xml.etree import ElementTree

import igraph
import networkx
import pytest
import torch

from tests.information.graphs import graph, random_flows
from vesalius.information.graph import FlowGraph
from vesalius.information.layers import FlowEdges, FlowLayer

LABELS = ['petal "width" <cm> & more', "naïve ü 花 🌷", "tab\tand\nline\rreturn", "bell\x07 and \x00 and \ud800"]


def measured():
    """Labels of all kinds, an edge that was dropped, a standard error that is not known, a dead unit."""
    layers = (FlowLayer.of("fea<tures>", LABELS, kind="features", dead=[3]), FlowLayer.of("b", 2))
    information = torch.tensor([[0.5, 0.2], [0.3, 0.01], [0.9, 0.4], [0.0, 0.0]])
    flow = torch.where(information > 0.1, information, 0)
    stderr = torch.full((4, 2), 0.01)
    stderr[2, 1] = math.nan
    unreliable = information > 0.8
    edges = FlowEdges.of(information, flow=flow, p=torch.full((4, 2), 0.001), stderr=stderr, doubts=unreliable.long())
    return FlowGraph(layers=layers, edges=(edges,), provenance={"seed": 3, "shift": math.inf})


def test_networkx_has_every_unit_and_every_kept_edge():
    net = measured()
    found = net.to_networkx()
    assert set(found) == {("fea<tures>", at) for at in range(4)} | {("b", 0), ("b", 1)}
    assert {(a[1], b[1]) for a, b in found.edges} == {(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)}
    assert found.nodes["fea<tures>", 3]["dead"] is True
    assert found.nodes["fea<tures>", 0] == {
        "label": f"fea<tures>: {LABELS[0]}",
        "layer": "fea<tures>",
        "unit": LABELS[0],
        "position": 0,
        "kind": "features",
        "dead": False,
    }
    edge = found.edges[("fea<tures>", 2), ("b", 0)]
    assert edge["flow"] == edge["information"] == pytest.approx(0.9)
    assert edge["length"] == pytest.approx(1 / 0.9)
    assert (edge["p"], edge["stderr"], edge["unreliable"]) == (pytest.approx(0.001), pytest.approx(0.01), True)


def test_edges_past_a_layer_are_exported():
    net = graph([[0.5]], [[0.7]], [[0.2]], pairs="ab ac bc")
    expected = {(("a", 0), ("b", 0)): 0.5, (("a", 0), ("c", 0)): 0.7, (("b", 0), ("c", 0)): 0.2}
    assert {(a, b): facts["flow"] for a, b, facts in net.to_networkx().edges(data=True)} == expected
    links = {(link["source"], link["target"]): link["flow"] for link in json.loads(net.to_json())["links"]}
    assert links == {(0, 1): 0.5, (0, 2): 0.7, (1, 2): 0.2}


def test_what_was_not_measured_is_no_attribute():
    found = graph([[1.0]]).to_networkx()
    assert set(found.edges[("a", 0), ("b", 0)]) == {"flow", "length", "information", "unreliable"}


def test_igraph_is_the_same_graph():
    net = graph(*random_flows([3, 4, 2], 0))
    mine, theirs = net.to_igraph(), net.to_networkx()
    assert mine.is_directed()
    assert (mine.vcount(), mine.ecount()) == (theirs.number_of_nodes(), theirs.number_of_edges())
    for edge in mine.es:
        ends = [(mine.vs[end]["layer"], mine.vs[end]["position"]) for end in edge.tuple]
        assert edge.attributes() == theirs.edges[ends[0], ends[1]]


def test_graphml_is_read_by_networkx_with_its_labels(tmp_path):
    net = measured()
    found = networkx.read_graphml(net.save_graphml(tmp_path / "net.graphml"))
    assert found.is_directed()
    labels = [found.nodes[f"n{at}"]["unit"] for at in range(4)]
    assert labels == [*LABELS[:3], "bell\ufffd and \ufffd and \ufffd"]
    assert found.nodes["n3"]["dead"] is True and found.nodes["n4"]["position"] == 0
    for (a, b), edge in {(a[1], b[1]): edge for a, b, edge in net.to_networkx().edges(data=True)}.items():
        read = found.edges[f"n{a}", f"n{b + 4}"]
        assert read == {name: value for name, value in edge.items() if not math.isnan(value)}


def test_graphml_is_read_by_igraph(tmp_path):
    net = measured()
    found = igraph.Graph.Read_GraphML(str(net.save_graphml(tmp_path / "net.graphml")))
    mine = net.to_igraph()
    assert found.get_edgelist() == mine.get_edgelist()
    assert found.es["flow"] == mine.es["flow"]
    assert found.vs["unit"][:3] == LABELS[:3]
    assert found.vs["dead"] == mine.vs["dead"]


def test_graphml_without_edges_is_xml(tmp_path):
    path = graph([[0.0]]).save_graphml(tmp_path / "net.graphml")
    assert ElementTree.parse(path).getroot().tag.endswith("graphml")
    assert networkx.read_graphml(path).number_of_edges() == 0


def test_graphml_replaces_a_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "net.graphml"
    graph([[1.0]]).save_graphml(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space"):
        graph([[2.0]]).save_graphml(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_json_is_strict_and_complete():
    net = measured()
    net = FlowGraph(
        layers=(FlowLayer.of("a", LABELS[:3]), net.layers[1]),
        edges=(FlowEdges(**{name: getattr(net.edges[0], name)[:3] for name in ("information", "flow", "p", "stderr", "doubts")}),),
        provenance=net.provenance,
    )
    found = json.loads(net.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert [node["unit"] for node in found["nodes"]] == [*LABELS[:3], "0", "1"]
    assert [(link["source"], link["target"]) for link in found["links"]] == [(0, 3), (0, 4), (1, 3), (2, 3), (2, 4)]
    assert found["links"][4]["stderr"] is None and found["links"][3]["flow"] == pytest.approx(0.9)
    assert found["provenance"] == {"seed": 3, "shift": None}
