"""Colours to the last bit, numbers in words, and what a gap is called."""

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from vesalius.core.players import Players
from vesalius.views import style


def test_the_scale_is_exact_at_its_ends_and_in_the_middle():
    colours = style.diverging_colours(np.array([-0.42, 0.0, 0.42]), 0.42)
    assert colours.tolist() == [[33, 102, 172], [247, 247, 245], [178, 24, 43]]


def test_half_way_is_half_way_and_beyond_is_clipped():
    colours = style.diverging_colours(np.array([-9.0, -1.0, 1.0, 9.0]), 2.0)
    assert colours.tolist() == [[33, 102, 172], [140, 174, 208], [212, 136, 144], [178, 24, 43]]


def test_what_is_no_number_has_a_colour_of_its_own():
    colours = style.diverging_colours(np.array([[np.nan, 0.0]]), 1.0)
    assert colours.tolist() == [[[255, 0, 255], [247, 247, 245]]]


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=20))
def test_larger_values_are_farther_from_paper_in_every_channel(values):
    ordered = np.sort(np.abs(np.array(values)))
    for side in (-1, 1):
        distance = np.array(style.PAPER, int) - style.diverging_colours(side * ordered, 10.0)
        assert (np.diff(distance, axis=0) >= 0).all()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"), (3e-7, "3e-07"), (0.41, "0.41"), (1.4392, "1.44"), (-2.5, "\N{MINUS SIGN}2.5"), (98.06, "98.1"), (999.7, "1,000"),
        (22316, "22,316"), (3e12, "3.00e+12"), (float("nan"), "not a number"), (float("-inf"), "\N{MINUS SIGN}\N{INFINITY}"),
    ],
)  # fmt: skip
def test_numbers(value, words):
    assert style.number(value) == words


def test_signs_shares_and_counts():
    assert [style.signed_number(value) for value in (1.9, -0.29, 0.0, 1e-5, 150.2)] == [
        "+1.90", "\N{MINUS SIGN}0.290", "0", "+1e-05", "+150",
    ]  # fmt: skip
    assert style.signed_number(float("nan")) == "not a number"
    assert style.percent(0.123) == "12.3 %"
    assert [style.pluralize(count, "evaluation") for count in (1, 22316)] == ["1 evaluation", "22,316 evaluations"]


@pytest.mark.parametrize(
    ("gap", "level", "text"),
    [
        (3e-7, "ok", "gap 3e-07"),
        (0.099, "ok", "gap 0.099"),
        (0.5, "warn", "gap 0.5 (4.76 %)"),
        (-0.5, "warn", "gap 0.5 (5.26 %)"),
        (1.44, "bad", "incomplete: gap 1.44"),
    ],
)
def test_a_gap_is_judged_by_its_share(give, gap, level, text):
    allocation = give(Players.features(torch.zeros(2)), [4.0, 6.0], gap=gap)
    assert style.gap_verdict(allocation) == style.Verdict(level, text)


def test_a_method_that_did_not_converge_says_so(give):
    allocation = give(Players.features(torch.zeros(2)), [4.0, 6.0], gap=0.5)
    stopped = replace(allocation, converged=torch.tensor(False))
    assert style.gap_verdict(stopped) == style.Verdict("warn", "not converged, gap 0.5")
    assert style.gap_verdict(replace(allocation, converged=torch.tensor(True))).text == "gap 0.5 (4.76 %)"


def test_rounding_against_no_change_is_no_gap_but_a_gap_against_no_change_is(give):
    players = Players.features(torch.zeros(2))
    assert style.gap_verdict(give(players, [5.0, -5.0], gap=1e-7)).level == "ok"
    assert style.gap_verdict(give(players, [5.0, -5.0], gap=1e-3)).level == "bad"


def test_a_gap_that_is_no_number_is_bad(give):
    assert style.gap_verdict(give(Players.features(torch.zeros(2)), [float("nan"), 1.0])).level == "bad"


def test_methods_have_names_and_unknown_ones_are_made_readable():
    assert style.method_name("integrated_gradients") == "Integrated gradients"
    assert style.method_name("gradient_x_input") == "Gradient \N{MULTIPLICATION SIGN} input"
    assert style.method_name("my_own_method") == "My own method"
    assert style.method_name("") == "Allocation"


def test_both_themes_set_the_same_variables():
    assert style.LIGHT.keys() == style.DARK.keys()
    assert style.css_variables({"ink": "#000", "paper": "#fff"}) == "--ink:#000;--paper:#fff;"


SEEN = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "all colours": np.eye(3).tolist(),
}
"""Linear light as others see it (Machado, Oliveira and Fernandes, 2009)."""


def light(colour):
    code = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def lab(linear):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ np.clip(linear, 0, 1)
    x, y, z = (np.cbrt(part) if part > 0.008856 else 7.787 * part + 16 / 116 for part in xyz / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("theme", [style.LIGHT, style.DARK])
@pytest.mark.parametrize("eyes", SEEN)
def test_kinds_can_be_told_apart_by_everybody(theme, eyes):
    places = [lab(np.array(SEEN[eyes]) @ light(theme[kind])) for kind in style.PALETTE]
    apart = [np.linalg.norm(one - other) for place, one in enumerate(places) for other in places[:place]]
    assert min(apart) > 13


@pytest.mark.parametrize("theme", [style.LIGHT, style.DARK])
def test_kinds_stand_out_from_paper(theme):
    paper = light(theme["paper"]) @ [0.2126, 0.7152, 0.0722]
    for kind in style.PALETTE:
        low, high = sorted([paper, light(theme[kind]) @ [0.2126, 0.7152, 0.0722]])
        assert (high + 0.05) / (low + 0.05) > 2.7


def test_letters_can_be_read_on_every_colour_of_the_scales():
    def contrast(front, back):
        hexed = {"#fff": "#ffffff", "#000": "#000000"}.get(front, front)
        light = sorted(luminance([int(hexed[place : place + 2], 16) for place in (1, 3, 5)]) for hexed in (hexed, style.to_hex(back)))
        return (light[1] + 0.05) / (light[0] + 0.05)

    def luminance(colour):
        linear = [(side / 255 / 12.92) if side <= 10 else ((side / 255 + 0.055) / 1.055) ** 2.4 for side in colour]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    both = np.concatenate([style.diverging_colours(np.linspace(-1, 1, 201), 1.0), style.sequential_colours(np.linspace(0, 1, 101), 1.0)])
    worst = min(contrast(style.readable_on(tuple(colour)), tuple(colour)) for colour in both.tolist())
    assert worst >= 4.5 and style.readable_on(style.RED) == "#fff" and style.readable_on(style.PAPER) == style.to_hex(style.INK)
