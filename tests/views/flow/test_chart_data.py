"""What is drawn of a flow graph: the right units, the strongest edges, and a count of the rest."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.information.graphs import graph, random_flows
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.views.flow import chart_data
from vesalius.views.flow.chart_data import flow_drawing, flow_statistics, image_shape, keep_strongest, require_flow_graph, unit_name


def test_units_have_their_numbers(small):
    net = flow_drawing(small, flow_statistics(small))
    units = {unit.name: unit for unit in net.units}
    hub = units["h[0]"]
    assert hub.into == pytest.approx(1.4) and hub.out == pytest.approx(1.4) and hub.size == 1 and not hub.dead
    assert hub.betweenness == float(small.betweenness()["h"][0])
    assert hub.through == pytest.approx(1.4 * 1.4 / (1.4 * 1.4 + 0.2 * 0.4))
    assert units["h[3]"].dead and units["h[3]"].community is None
    assert [small.layers[0].units[net.units[place].position] for place in net.columns[0].units][-1] == "colour"


def test_a_small_graph_is_drawn_whole(small):
    net = flow_drawing(small, flow_statistics(small))
    drawn = {(net.units[link.first].name, net.units[link.second].name): link.weight for link in net.links}
    assert drawn == pytest.approx({
        ("x: length", "h[0]"): 0.8, ("x: width", "h[0]"): 0.6, ("x: width", "h[1]"): 0.2, ("x: colour", "h[2]"): 0.1,
        ("h[0]", "y: cat"): 0.9, ("h[0]", "y: dog"): 0.5, ("h[1]", "y: dog"): 0.4,
    })  # fmt: skip
    assert net.left_out == 0 and max(link.width for link in net.links) == 1 and not net.pictured
    assert [column.others for column in net.columns] == [0, 0, 0]


def test_of_a_large_layer_the_units_with_the_most_flow_are_drawn(pixels):
    net = flow_drawing(pixels, flow_statistics(pixels), most_units=5, most_edges=6)
    hidden = {net.units[place].position for place in net.columns[1].units}
    assert hidden == {15, 16, 17, 18, 19}
    assert net.columns[1].others == 15 and net.columns[1].share == pytest.approx(sum(range(1, 16)) / 210)
    assert len(net.links) == 6 and net.left_out == 40 - 6


def test_edges_past_a_layer_are_drawn_beside_those_into_it():
    net = graph([[0.5]], [[0.7]], [[0.2]], [[0.9]], pairs="ab ac bc cd")
    made = flow_drawing(net, flow_statistics(net))
    drawn = {(made.units[link.first].name, made.units[link.second].name): link.weight for link in made.links}
    assert drawn == pytest.approx({("a[0]", "b[0]"): 0.5, ("a[0]", "c[0]"): 0.7, ("b[0]", "c[0]"): 0.2, ("c[0]", "d[0]"): 0.9})
    middle = made.units[2]
    assert (middle.into, middle.out) == (pytest.approx(0.9), 0.9) and middle.through == pytest.approx(1)


def test_an_image_that_a_skip_reads_too_has_rays_to_both():
    net = graph(torch.ones(4, 1), torch.full((4, 1), 0.5), [[1.0]], pairs="ab ac bc")
    made = flow_drawing(net, flow_statistics(net), shape=(2, 2))
    rays = {made.units[link.second].name: link.weight for link in made.links if link.first is None}
    assert rays == {"b[0]": 4, "c[0]": 2} and made.left_out == 0
    np.testing.assert_allclose(made.columns[0].image, torch.full((2, 2), 1.5))


def test_dead_units_among_the_others_are_counted():
    dead = torch.arange(30) < 7
    flows = [torch.ones(2, 30), torch.ones(30, 2)]
    flows[0][:, dead], flows[1][dead] = 0, 0
    made = graph(*flows)
    made = replace(made, layers=(made.layers[0], replace(made.layers[1], dead=dead), made.layers[2]))
    column = flow_drawing(made, flow_statistics(made), most_units=10).columns[1]
    assert (len(column.units), column.others, column.dead) == (10, 20, 7)


def test_an_image_is_one_picture_whose_rays_are_sums(pixels):
    net = flow_drawing(pixels, flow_statistics(pixels), shape=(4, 4))
    assert net.pictured and net.columns[0].units == () and net.columns[0].others == 0
    np.testing.assert_allclose(net.columns[0].image, pixels.flows[0].sum(1).reshape(4, 4))
    rays = [link for link in net.links if link.first is None]
    assert len(rays) == 16 and all(link.weight == 1 for link in rays)
    starts = [link.start for link in sorted(rays, key=lambda link: net.units[link.second].down)]
    assert starts == sorted(starts), "no two rays cross"
    assert net.left_out == (20 - 16) + (20 - 16), "edges of the neurons that are not drawn"


def test_channels_of_an_image_are_added_up():
    made = graph(torch.arange(12.0)[:, None])
    image = flow_drawing(made, flow_statistics(made), shape=(3, 2, 2)).columns[0].image
    np.testing.assert_allclose(image, [[12, 15], [18, 21]])


def test_a_shape_comes_from_the_caller_or_the_graph_and_must_fit(pixels):
    assert image_shape(pixels, None) is None and image_shape(pixels, (4, 4)) == (4, 4)
    assert image_shape(replace(pixels, provenance={"shape": [1, 4, 4]}), None) == (1, 4, 4)
    for wrong in ((4, 5), (16,), (1, 1, 4, 4)):
        with pytest.raises(InvalidInput, match="16 units"):
            image_shape(pixels, wrong)


def test_pixels_are_named_by_row_and_column(pixels):
    assert unit_name(pixels, 0, 6, (4, 4)) == "pixels[1, 2]" and unit_name(pixels, 1, 6, (4, 4)) == "h[6]"
    assert unit_name(pixels, 0, 6, None) == "pixels[6]"


def test_communities_of_a_large_graph_are_those_of_its_strongest_edges(monkeypatch):
    made = graph(*random_flows([6, 8, 5], seed=0, kept=1.0))
    monkeypatch.setattr(chart_data, "MOST_COMMUNITY_EDGES", 30)
    reading = flow_statistics(made)
    assert (reading.edges, reading.analysed) == (88, 30)
    few = keep_strongest(made, [15, 15])
    for flow, all_of_it in zip(few.flows, made.flows, strict=True):
        assert sorted(flow[flow > 0].tolist()) == sorted(all_of_it.flatten().tolist())[-15:]
    assert {name: part.tolist() for name, part in few.communities().of.items()} == {
        name: part.tolist() for name, part in reading.communities.of.items()
    }
    assert reading.betweenness["b"].tolist() == made.betweenness()["b"].tolist(), "of all edges"


def test_betweenness_of_a_very_large_graph_is_that_of_its_strongest_edges(monkeypatch):
    made = graph(*random_flows([6, 8, 5], seed=0, kept=1.0))
    monkeypatch.setattr(chart_data, "MOST_COMMUNITY_EDGES", 30)
    monkeypatch.setattr(chart_data, "MOST_BETWEENNESS_EDGES", 80)
    reading = flow_statistics(made)
    assert reading.paths_thinned
    assert reading.betweenness["b"].tolist() == keep_strongest(made, [15, 15]).betweenness()["b"].tolist()


def test_a_graph_without_edges_can_be_drawn():
    made = graph(torch.zeros(2, 3), torch.zeros(3, 2))
    net = flow_drawing(made, flow_statistics(made))
    assert not net.links and all(unit.size == 0 and unit.community is None for unit in net.units)


@pytest.mark.usefixtures("as_a_user")
def test_what_is_no_flow_graph_is_refused(small):
    with pytest.raises(WrongType, match="not str"):
        require_flow_graph("a", "it")
    with pytest.raises(InvalidInput, match="most_units is a whole number of at least 1"):
        flow_drawing(small, flow_statistics(small), most_units=0)
