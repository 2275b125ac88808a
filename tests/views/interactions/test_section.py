"""Interactions on a page and in a notebook: whole, escaped, in order."""

import json
import re

import pytest
import torch

import vesalius as vs
from vesalius.core.players import Players
from vesalius.interactions.taylor import taylor_profile
from vesalius.views.interactions.section import interactions_section
from vesalius.views.report import report

MINUS = "\N{MINUS SIGN}"


class Smooth(torch.nn.Module):
    """exp((x + y) / 10)."""

    def forward(self, x):
        return torch.exp(0.1 * x.sum(1, keepdim=True))


def test_the_largest_effects_come_with_their_numbers(named, read):
    page = read(report(named, title="x").html)
    sizes = "+3.00 from single features, \N{MINUS SIGN}2.00 from pairs and +0.900 from larger coalitions."
    assert f"Of the change of the output, {sizes}" in page.text
    assert f"a +3.00 a & b {MINUS}2.00 b & c & d +0.600 a & b & c +0.300" in page.text
    assert "effect (Harsanyi dividend) on class 2 a b c d" in page.text
    assert f"single players 4 +3.00 pairs 6 {MINUS}2.00 coalitions of 3 4 +0.900 coalitions of 4 1 0" in page.text
    assert not re.search(r"\b(nan|None)\b", page.text)


def test_every_picture_has_a_text(named, tiles, read):
    pictures = read(report([named, tiles], title="x").html).all("svg")
    assert pictures and all(picture.get("role") == "img" and picture.get("aria-label") for picture in pictures)


def test_dots_mark_the_members(named, read):
    page = read(report(named, title="x").html)
    first = [place for place, (name, facts) in enumerate(page.elements) if name == "svg" and facts.get("class") == "dots"][1]
    shown = [facts["class"] for name, facts in page.elements[first + 1 : first + 6] if name == "circle"]
    assert shown == ["in", "in", "out", "out"]


def test_of_a_large_group_the_first_members_are_named(together, read):
    group = together(Players.features(torch.zeros(6), names=tuple("abcdef")), {(0, 1, 2, 3, 4): 1.0})
    text = read(report(group, title="x").html).text
    assert "a & b & c & 2 more +1.00" in text


def test_a_map_knows_the_partners_of_every_part(tiles, read):
    found = read(report(tiles, title="x").html).all("svg", cls="partners")
    rows = json.loads(found[0]["data-partners"])
    assert len(rows) == 4 and rows[0][1] == "#b2182b" and rows[1][0] == rows[0][1] and rows[3][0] == "#f7f7f5"


def test_names_are_escaped(together):
    evil = '"><script>alert(1)</script>'
    players = Players.features(torch.zeros(2), names=(evil, "b"))
    body = str(interactions_section(together(players, {(0, 1): 1.0})).body)
    assert "<script" not in body and "&lt;script" in body


def test_standard_errors_and_what_was_explained_are_said(named, read):
    values = named.reduce("k_sii", order=2)
    known = {"explained": 0.987, "index": "k_sii"}
    estimate = vs.Allocation(
        players=named.players, values=values.values, base=values.base, total=values.total, coalitions=values.coalitions,
        stderr=torch.full_like(values.values, 0.25), stderr_note="too few", provenance={**values.provenance, **known},
    )  # fmt: skip
    text = read(report(estimate, title="x").html).text
    assert "k-SII" in text and "\N{PLUS-MINUS SIGN}0.25" in text
    assert "explained on held-out coalitions 98.7 %" in text and "standard error too few" in text


def test_single_players_alone_have_no_pairs(named, read):
    singles = vs.Allocation(
        players=named.players, values=torch.tensor([1.0, 2.0]), base=torch.tensor(0.0), total=torch.tensor(3.0),
        coalitions=torch.tensor([[True, False, False, False], [False, True, False, False]]),
    )  # fmt: skip
    page = read(report(singles, title="x").html)
    assert not page.all("svg", cls="graph") and "b +2.00 a +1.00" in page.text


@pytest.mark.parametrize("name", ["named", "tiles"])
def test_a_notebook_shows_the_same(name, request, read):
    page = read(request.getfixturevalue(name)._repr_html_())
    assert page.text.startswith("Interactions of") and page.all("svg", cls="graph")


def test_a_profile_says_whether_its_series_reaches_the_input(read):
    net = vs.trace(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)).double(), torch.ones(1, 2).double())
    kinked = taylor_profile(net, torch.tensor([4.0, -3.0]).double(), Players.features(torch.zeros(2)), baseline=-2.0, order=2)
    smooth = vs.trace(Smooth(), torch.ones(1, 2).double())
    good = taylor_profile(smooth, torch.tensor([1.0, 1.0]).double(), Players.features(torch.zeros(2)), order=4)
    page = read(report([kinked, good], title="x").html)
    assert "DOES NOT REPRESENT f AT x" in page.text and "does not converge at this input" in page.text
    assert "the series represents f at x" in page.text and "single players +0.903" in page.text
    assert "order 1" in read(good._repr_html_()).text
