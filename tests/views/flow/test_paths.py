"""Ways through a graph, against sums and products by hand."""

from math import prod

import numpy as np
import pytest
import torch

from tests.information.graphs import graph, random_flows, random_graph
from tests.reference import flow_paths
from vesalius.views.flow.chart_data import flow_drawing, flow_statistics
from vesalius.views.flow.paths import flow_shares, input_maps, paths_through_units, strongest_named_paths


def drawn(made, **options):
    return flow_drawing(made, flow_statistics(made), **options)


def test_shares_add_up_to_all(small):
    assert float(flow_shares(small).sum()) == pytest.approx(1)
    assert not flow_shares(graph(torch.zeros(2, 2))).any()


def test_the_strongest_paths_come_with_their_share(small):
    first = strongest_named_paths(small)[0]
    assert first.names == ("x: length", "h[0]", "y: cat")
    assert first.share == pytest.approx(0.8 * 0.9 / (1.4 * 1.4 + 0.2 * 0.4))


def test_a_trail_is_the_strongest_path_through_its_unit():
    made = graph(*random_flows([4, 5, 3, 4], seed=1))
    net = drawn(made)
    total = float(made.attribution().sum())
    for place, (unit, trails) in enumerate(zip(net.units, paths_through_units(made, net), strict=True)):
        cut = [flow.clone() for flow in made.flows]
        others = torch.ones(len(made.layers[unit.layer]), dtype=torch.bool)
        others[unit.position] = False
        for side, flow in enumerate(cut):
            if side == unit.layer:
                flow[others] = 0
            if side + 1 == unit.layer:
                flow[:, others] = 0
        expected = graph(*cut).strongest_paths(k=3)
        assert [trail.path.share for trail in trails] == pytest.approx([path.product / total for path in expected])
        assert all(place in trail.stops and len(trail.stops) == 4 and trail.pixel is None for trail in trails)
        best = [net.units[stop] for stop in trails[0].stops]
        assert [(f"{'abcd'[stop.layer]}", stop.position) for stop in best] == list(expected[0].units)


@pytest.mark.parametrize("seed", range(4))
def test_trails_follow_skips(seed):
    made = random_graph([2, 3, 2, 3, 2], seed, kept=0.9, joined=0.7)
    net, total = drawn(made), float(made.attribution().sum())
    whole = [(units, prod(weights) / total) for units, weights in flow_paths.all_paths(made.flows, made.structure.pairs)]
    for unit, trails in zip(net.units, paths_through_units(made, net), strict=True):
        shares = sorted((share for units, share in whole if (unit.layer, unit.position) in units), reverse=True)
        assert [trail.path.share for trail in trails] == pytest.approx(shares[:3])
        ways = [tuple((net.units[stop].layer, net.units[stop].position) for stop in trail.stops) for trail in trails]
        assert set(ways) <= {units for units, _ in whole}


def test_trails_start_at_a_pixel_and_pass_drawn_units_only(pixels):
    net = drawn(pixels, shape=(4, 4), most_units=5)
    for unit, trails in zip(net.units, paths_through_units(pixels, net), strict=True):
        if unit.layer == 1:
            assert [trail.pixel for trail in trails] == [divmod(unit.position % 16, 4)]
            assert trails[0].path.names == (f"pixels[{unit.position % 16 // 4}, {unit.position % 4}]", f"h[{unit.position}]", "y[0]")
            assert len(trails[0].stops) == 2


def test_dead_units_have_no_trail(small):
    net = drawn(small)
    found = {unit.name: trails for unit, trails in zip(net.units, paths_through_units(small, net), strict=True)}
    assert not found["h[3]"] and not found["h[2]"] and found["h[1]"]


def test_what_feeds_a_unit_is_summed_over_all_paths(pixels):
    net = drawn(pixels, shape=(4, 4))
    for unit, image in zip(net.units, input_maps(pixels, net), strict=True):
        whole = pixels.flows[0] if unit.layer == 1 else pixels.attribution()
        np.testing.assert_allclose(image, whole[:, unit.position].reshape(4, 4))
