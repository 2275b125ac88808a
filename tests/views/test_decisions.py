"""Decisions: right and wrong told apart, one scale per decision, maps and bars where they belong."""

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.core.players import Players
from vesalius.views import style
from vesalius.views.decisions import Decision, Decisions, decisions_section

PIXEL = re.compile(r'<path fill="(#\w+)" d="([^"]+)"')


def body(*items, **rest):
    return str(decisions_section(Decisions(items=items, baseline="mean of 64 images", **rest)).body)


def image(*allocations, **rest):
    facts = {"predicted": "4", "label": "4", "probability": 0.98, "target": "class 4", **rest}
    shape = allocations[0].players.index[0].shape[-2:]
    return Decision(sample=torch.zeros(1, *shape), picture=torch.zeros(1, *shape), allocations=allocations, **facts)


def row(*allocations, **rest):
    facts = {"predicted": "virginica", "target": "virginica", **rest}
    return Decision(sample=torch.tensor([4.9, -0.25, 1.0]), allocations=allocations, **facts)


def test_a_right_and_a_wrong_decision_are_told_apart(pixels, read):
    assert image(pixels).outcome == style.Verdict("ok", "predicted 4 (0.98), label 4")
    assert image(pixels, label="5").outcome == style.Verdict("bad", "predicted 4 (0.98), label 5")
    assert image(pixels, label=None, probability=None).outcome == style.Verdict("plain", "predicted 4")
    html = body(image(pixels), image(pixels, label="5"))
    assert '<span class="chip ok">predicted 4\N{NO-BREAK SPACE}(0.98), label 4</span>' in html
    assert '<span class="chip bad">predicted 4\N{NO-BREAK SPACE}(0.98), label 5</span>' in html


def test_an_image_stands_beside_a_map_per_method(pixels, read):
    other = replace(pixels, provenance={"method": "occlusion"}, total=pixels.total + 1.44)
    page = read(body(image(pixels, other)))
    assert len(page.all("figure")) == 3
    assert "Integrated gradients gap 0 64 evaluations" in page.text
    assert "Occlusion incomplete: gap 1.44 64 evaluations" in page.text
    assert "Red raised the score of class 4" in page.text
    assert "\N{PLUS-MINUS SIGN}3 logits" in page.text


def filled(html):
    """Colours of the maps after the input, each as {place: colour}."""
    found = []
    for picture in re.findall(r"<svg viewBox.*?</svg>", html)[1:]:
        found.append({place: colour for colour, path in PIXEL.findall(picture) for place in re.findall(r"M\d+ \d+", path)})
    return found


@given(st.floats(0.01, 100), st.integers(0, 50))
def test_all_maps_of_a_decision_share_one_scale(factor, seed):
    """The same value has the same colour in every map, and full colour is reached by the largest value of all, in one of them."""
    values = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    players, base = Players.features(values), torch.zeros((), dtype=torch.float64)
    maps = [values, values * factor]
    both = [Allocation(players=players, values=each, base=base, total=each.sum()) for each in maps]
    largest = max(float(each.abs().max()) for each in maps)
    expected = [style.diverging_colours(each[0].numpy(), largest) for each in maps]
    for colours, drawn in zip(expected, filled(body(image(*both))), strict=True):
        for place, colour in drawn.items():
            x, y = (int(number) for number in place[1:].split())
            assert colour == style.to_hex(tuple(colours[y, x].tolist()))
    extremes = {style.to_hex(style.RED), style.to_hex(style.BLUE)}
    assert extremes & {colour for drawn in filled(body(image(*both))) for colour in drawn.values()}


def test_each_decision_has_a_scale_of_its_own(pixels, read):
    text = read(body(image(pixels), image(replace(pixels, values=pixels.values * 2)))).text
    assert "scale \N{PLUS-MINUS SIGN}3" in text and "scale \N{PLUS-MINUS SIGN}6" in text


def test_players_of_different_sizes_are_compared_per_pixel(give, pixels, read):
    """A patch of six pixels worth 6 has the colour of a pixel worth 1."""
    patch = give(Players.patches(torch.zeros(1, 2, 3), (2, 3)), [6.0])
    html = body(image(pixels, patch))
    of_pixels, of_patch = filled(html)
    one = style.to_hex(tuple(style.diverging_colours(pixels.values.reshape(-1)[3:4].numpy(), 3.0)[0].tolist()))
    assert set(of_patch.values()) == {of_pixels["M0 1"]} == {one}
    text = read(html).text
    assert "values per pixel" in text and "64 evaluations 6 features" in text
    assert "per pixel" not in read(body(image(pixels))).text


def test_a_map_of_a_layer_covers_the_whole_picture(give, pixels):
    """Each of four places of a layer stands for one and a half of six pixels: worth 1.5, it has the colour of a pixel worth 1."""
    layer = give(Players.patches(torch.zeros(1, 2, 2), 1), [1.5] * 4)
    of_pixels, of_layer = filled(body(image(pixels, layer)))
    assert set(of_layer.values()) == {of_pixels["M0 1"]}


def test_players_that_divide_no_image_are_shown_as_bars(give, pixels, read):
    channels = give(Players.channels(torch.zeros(3, 2, 3), names=("red", "green", "blue")), [1.0, -2.0, 0.5])
    page = read(body(image(pixels, channels)))
    assert len(page.all("figure")) == 2
    assert "green \N{MINUS SIGN}2.00 red +1.00 blue +0.500" in page.text


def test_a_table_shows_values_bars_and_a_waterfall(table, read):
    second = replace(table, values=-table.values, stderr=None, provenance={"method": "occlusion"})
    page = read(body(row(table, second)))
    assert "petal length 1 +3.00 \N{PLUS-MINUS SIGN}0.3 \N{MINUS SIGN}3.00" in page.text
    assert "Last come the steps from the baseline to the decision, by Shapley value." in page.text
    assert "base value 1 petal length +3.00" in page.text and page.text.count("by Shapley value") == 1
    assert page.text.count("output 2.5") == 1
    assert len(page.all("svg", cls="bar")) == 6


def test_names_can_be_given_where_players_have_none(give, read):
    nameless = give(Players.features(torch.zeros(3)), [1.0, 2.0, 3.0])
    page = read(body(row(nameless, features=("a", "b", "c"))))
    assert "c 1 +3.00 b \N{MINUS SIGN}0.25 +2.00 a 4.9 +1.00" in page.text


def test_groups_of_columns_have_no_value_of_their_own(give, table, read):
    groups = give(Players.segments(torch.tensor([0, 0, 1]), names=("sepals", "petals")), [1.0, 2.0])
    text = read(body(row(table, groups))).text
    assert "petals no player +2.00" in text


def test_the_target_is_named_with_each_decision_if_there_are_several(pixels, read):
    text = read(body(image(pixels), image(pixels, target="class 9"))).text
    assert "the score named with each decision" in text
    assert "score: class 4" in text and "score: class 9" in text


@pytest.mark.parametrize("field", ["predicted", "label", "target", "note"])
def test_words_are_escaped(pixels, table, read, field):
    evil = {field: "<script>alert(1)</script>"}
    page = read(body(image(pixels, **evil), row(table, **evil)))
    assert not page.all("script")
    assert "<script>alert(1)</script>" in page.text


def test_the_section_knows_its_heading_and_allocations(pixels, table):
    section = decisions_section(Decisions(items=(image(pixels, pixels), row(table)), baseline="zero", heading="Why", anchor="why"))
    assert (section.heading, section.anchor) == ("Why", "why")
    assert section.allocations == (pixels, pixels, table)


def test_what_cannot_be_shown_is_refused(batch, pixels, table):
    with pytest.raises(InvalidInput, match="at least one allocation"):
        Decision(sample=torch.zeros(3), predicted="4", target="4", allocations=())
    with pytest.raises(InvalidInput, match=r"batch of 6; take allocation\[i\]"):
        image(batch)
    with pytest.raises(InvalidInput, match=r"\[1 or 3, height, width\], not \(2, 4, 4\)"):
        replace(image(pixels), picture=torch.zeros(2, 4, 4))
    with pytest.raises(InvalidInput, match="between 0 and 1, not at 98"):
        image(pixels, probability=98.0)
    with pytest.raises(InvalidInput, match="2 feature names, but the allocations hold 3 values"):
        row(table, features=("a", "b"))
    with pytest.raises(InvalidInput, match="no decisions"):
        Decisions(items=(), baseline="zero")
