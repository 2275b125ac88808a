"""A flow graph on a page and in a notebook: whole, escaped, in order, and what a script is told."""

import json
import re
from dataclasses import replace

import pytest
import torch

import vesalius as vs
from tests.information.graphs import graph, planted
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.information.edge_weights import EdgeWeighting
from vesalius.information.graph import FlowGraph
from vesalius.information.histograms import Histograms
from vesalius.information.layers import FlowEdges, FlowLayer
from vesalius.views.flow import chart_data
from vesalius.views.flow.section import flow_body, flow_section


def told(page):
    return json.loads(page.all("svg", cls="flow")[0]["data-units"])


def test_a_page_says_what_flows(small, read):
    page = read(vs.report(small, title="x").html)
    assert page.all("h2")[0]["id"] == "information-flow"
    assert "mutual information between units, in nats. Size: betweenness" in page.text
    assert "One unit is constant on this data (dead)." in page.text
    assert "layers 3 units 9 constant units 1 edges kept 7 of 15 possible" in page.text
    assert "x: length \N{RIGHTWARDS ARROW} h[0] \N{RIGHTWARDS ARROW} y: cat 35.3 %" in page.text
    assert "h h[0] 4 96.1 %" in page.text, "betweenness and share of the flow"
    assert "cat dog length 35.3 19.6" in page.text
    assert not re.search(r"\b(nan|None)\b", page.text)


def test_a_page_of_two_inputs_and_a_skip_has_a_line_for_each_input(read):
    made = graph([[0.5], [0.1]], [[0.4]], [[0.3], [0.0]], [[0.8]], pairs="ac bc ad cd")
    page = read(vs.report(made, title="x").html)
    assert "a[0] " in page.text and "a[1] " in page.text and "b[0] " in page.text
    assert "An edge that is bent upwards goes past the layers between." in page.text
    share = 0.4 * 0.8 / (0.5 * 0.8 + 0.1 * 0.8 + 0.3 + 0.4 * 0.8)
    assert f"b[0] → c[0] → d[0] {100 * share:.1f} %" in page.text
    assert len(told(page)) == 5 and all(unit["paths"] for unit in told(page))


def test_every_picture_has_a_text(small, pixels, read):
    for page in (read(vs.report(small, title="x").html), read(str(flow_body(pixels, shape=(4, 4))))):
        assert all(picture.get("role") == "img" and picture.get("aria-label") for picture in page.all("svg"))


def test_tested_edges_say_so(read):
    p = torch.tensor([[1e-6, 0.9], [0.9, 1e-6]]).double()
    layers = (FlowLayer.of("a", 2), FlowLayer.of("b", 2))
    edges = FlowEdges.of(torch.eye(2), p=p, doubts=torch.eye(2).long())
    made = FlowGraph.from_information(layers, [edges], EdgeWeighting(redundancy=None, transform="linfoot"), provenance={"rows": 100})
    text = read(str(flow_body(made))).text
    assert "as a correlation; only edges that are significant at a false discovery rate of 5 %" in text
    assert "edges kept 2 of 4 tested" in text and "measured on 100 rows" in text
    assert "The information of 2 edges is not to be trusted: above half the logarithm of the number of rows" in text


def test_the_last_section_says_what_the_graph_was_made_of(small, read):
    known = {"model": "mlp", "digest": "ab12", "seed": 7, "versions": {"torch": "2.13"}}
    text = read(vs.report(replace(small, provenance=known), title="x").html).text
    assert "report of mlp" in text and "torch 2.13" in text and "mlp ab12" in text and "seed 7" in text


def test_communities_are_called_stable_or_weak(read):
    strong, _ = planted([8, 8, 8], 0, between=0.02)
    text = read(str(flow_body(strong))).text
    assert "communities 2 communities, stable" in text and "weak" not in text
    flat = graph(torch.ones(4, 4), torch.ones(4, 4))
    assert "The communities are weak, so colours say little about this network" in read(str(flow_body(flat))).text


def test_the_script_is_told_facts_paths_and_activations(small, read):
    values = torch.tensor([[0.0, 1, 2, 3], [2, 1, 4, 3]])
    layers = tuple(replace(layer, spread=Histograms.of(values)) if layer.name == "h" else layer for layer in small.layers)
    units = told(read(str(flow_section(replace(small, layers=layers)).body)))
    found = {unit["name"]: unit for unit in units}
    assert len(units) == 9
    hub = found["h[0]"]
    assert hub["facts"].startswith("h, betweenness 4, flow in 1.4, flow out 1.4, 96.1 % of all flow, community ")
    assert [units[stop]["name"] for stop in hub["paths"][0][0]] == ["x: length", "h[0]", "y: cat"]
    assert hub["paths"][0][1].endswith(", 35.3 % of all flow")
    assert hub["spread"] == "activation from 0 to 2, 50 % of rows 0" and hub["bars"].count("z") == 2
    assert found["h[3]"]["facts"] == "h, constant on this data (dead)" and not found["h[3]"]["paths"]
    assert "bars" not in found["y: cat"] and "flow out" not in found["y: cat"]["facts"]


def test_of_an_image_the_script_has_a_map_per_unit_and_the_page_one_per_class(pixels, read):
    page = read(str(flow_section(replace(pixels, provenance={"shape": [4, 4]})).body))
    units = told(page)
    assert all(unit["map"].startswith("data:image/png") for unit in units)
    image = page.all("image")[0]
    first = next(unit for unit in units if unit["paths"] and unit["name"].startswith("h["))
    spot = first["paths"][0][0][0]
    for place, start, length in zip(spot, ("x", "y"), ("width", "height"), strict=True):
        assert float(image[start]) < place < float(image[start]) + float(image[length])
    assert len(page.all("figure")) == 2 and "maps on one scale" in page.text
    assert "rays are sums over pixels" in page.text


def test_a_long_path_is_shortened(read):
    deep = graph(*[torch.ones(1, 1)] * 7)
    text = read(str(flow_body(deep))).text
    arrow = " \N{RIGHTWARDS ARROW} "
    assert arrow.join(["a[0]", "b[0]", "c[0]", "3 more", "g[0]", "h[0]"]) in text


def test_what_is_large_is_thinned_and_said(monkeypatch, small, read):
    monkeypatch.setattr(chart_data, "MOST_COMMUNITY_EDGES", 4)
    monkeypatch.setattr(chart_data, "MOST_COMPARISONS", 1)
    monkeypatch.setattr(chart_data, "MOST_EDGES", 3)
    monkeypatch.setattr(chart_data, "EDGES_PER_PAIR", 1)
    text = read(str(flow_body(small))).text
    assert "Communities were computed among the 4 strongest of 7 edges." in text
    monkeypatch.setattr(chart_data, "MOST_BETWEENNESS_EDGES", 5)
    assert "Communities and betweenness were computed among the 4 strongest" in read(str(flow_body(small))).text
    assert "redundant units not computed, too many units" in text
    assert "Of the edges between these units, the 3 strongest are drawn." in text


def test_redundant_units_are_named(read):
    twins = graph(torch.ones(2, 3), torch.ones(3, 2))
    assert "redundant units a[0] and a[1], and 4 more" in read(str(flow_body(twins))).text


def test_a_graph_without_edges_says_so(read):
    text = read(str(flow_body(graph(torch.zeros(2, 2))))).text
    assert "No edge is significant" in text and "strongest paths" not in text


def test_names_are_escaped(small, read):
    evil = '"><script>alert(1)</script>'
    layers = (
        replace(small.layers[0], name=evil, units=(evil, "b", "c")),
        replace(small.layers[1], name=evil + "2"),
        replace(small.layers[2], units=(evil, "d")),
    )
    body = str(flow_body(replace(small, layers=layers)))
    assert "<script" not in body and "&lt;script" in body
    assert told(read(body))[0]["name"]


@pytest.mark.usefixtures("as_a_user")
def test_what_does_not_fit_is_refused(small):
    with pytest.raises(WrongType, match="FlowGraph"):
        flow_section(3)
    with pytest.raises(InvalidInput, match="3 units"):
        flow_section(small, shape=(2, 2))


def test_a_notebook_shows_the_same_without_a_script(small, read):
    page = read(small._repr_html_())
    assert page.text.startswith("Information flow Width: mutual information")
    assert "data-units" not in page.all("svg", cls="flow")[0] and "edges kept 7 of 15 possible" in page.text
