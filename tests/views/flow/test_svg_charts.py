"""The drawing for a page: whole without a script, with a text for everybody."""

import re
from dataclasses import replace

import pytest

from vesalius.views.flow import svg_charts
from vesalius.views.flow.chart_data import flow_drawing, flow_statistics


def drawn(graph, read, **options):
    net = flow_drawing(graph, flow_statistics(graph), **options)
    return net, read(str(svg_charts.draw_flow(net, "", "flow through 3 layers")))


def test_everything_is_drawn_and_named(small, read):
    net, page = drawn(small, read)
    circles = page.all("circle")
    assert len(circles) == 9 and len(page.all("path")) == 7 == len(net.links)
    assert page.all("svg")[0]["aria-label"] == "flow through 3 layers" and page.all("svg")[0]["role"] == "img"
    assert "h[0]: betweenness 4, flow in 1.4, out 1.4" in page.text and "h[3]: constant" in page.text
    for name in ("length", "colour", "cat", "dog", "x", "h", "y"):
        assert re.search(rf"\b{name}\b", page.text)
    kinds = [circle["class"] for circle in circles]
    assert kinds.count("unit dead") == 1 and len(page.all("title")) == 9 + 7


def test_size_is_betweenness_and_width_is_flow(small, read):
    net, page = drawn(small, read)
    radii = {unit.name: float(circle["r"]) for unit, circle in zip(net.units, page.all("circle"), strict=True)}
    assert max(radii, key=radii.get) == "h[0]" and radii["h[0]"] == svg_charts.MAX_RADIUS and radii["y: cat"] == svg_charts.MIN_RADIUS
    widths = {path["data-ends"]: float(path["stroke-width"]) for path in page.all("path")}
    heaviest = max(net.links, key=lambda link: link.weight)
    assert widths[f"{heaviest.first} {heaviest.second}"] == svg_charts.MAX_STROKE == max(widths.values())


def test_nothing_leaves_the_drawing(small, pixels, read):
    for graph, options in ((small, {}), (pixels, {}), (pixels, {"shape": (4, 4)})):
        _, page = drawn(graph, read, **options)
        _, _, width, height = (float(side) for side in page.all("svg")[0]["viewbox"].split())
        for circle in page.all("circle"):
            across, down, radius = (float(circle[side]) for side in ("cx", "cy", "r"))
            assert radius <= across <= width - radius and radius <= down <= height - radius
        for image in page.all("image"):
            left, top, wide, high = (float(image[side]) for side in ("x", "y", "width", "height"))
            assert left >= 0 and top >= 0 and left + wide <= width and top + high <= height
            assert wide == pytest.approx(high, abs=0.2), "square pixels"


def test_an_image_is_embedded_and_units_that_are_left_out_are_counted(pixels, read):
    _, page = drawn(pixels, read, shape=(4, 4))
    assert page.all("image")[0]["href"].startswith("data:image/png;base64,")
    assert len([path for path in page.all("path") if "ray" in path["class"]]) == 16
    assert "4 others" in page.text


def test_long_labels_are_cut_and_escaped(small):
    evil = "<script>alert(1)</script> and so on"
    made = replace(small, layers=(replace(small.layers[0], units=(evil, "b", "c")), *small.layers[1:]))
    text = str(svg_charts.draw_flow(flow_drawing(made, flow_statistics(made)), '[{"name":"\'\\"<"}]', 'a"b'))
    assert "<script" not in text and "&lt;script" in text and 'aria-label="a&#34;b"' in text
    assert evil[:21].replace("<", "&lt;").replace(">", "&gt;") + "\N{HORIZONTAL ELLIPSIS}</text>" in text


def test_small_communities_share_a_colour():
    assert [svg_charts.community_colour(community) for community in (0, 5, 6, None)] == ["c0", "c5", "other", "other"]
