"""What a notebook shows of an allocation."""

from dataclasses import replace

import torch

from vesalius.core.players import Players
from vesalius.views.notebook import MOST_SAMPLES, allocation_html


def test_a_map_with_its_gap_and_scale(pixels, read):
    page = read(allocation_html(pixels))
    assert page.text.startswith("Integrated gradients gap 0 64 evaluations")
    assert "\N{PLUS-MINUS SIGN}3" in page.text
    assert page.all("svg")[0]["aria-label"] == "Integrated gradients: values from \N{MINUS SIGN}2 to 3"


def test_a_table_lists_the_largest_values(table, read):
    page = read(allocation_html(table))
    order = [page.text.index(words) for words in ("petal length +3.00", "sepal length \N{MINUS SIGN}2.00", "petal width +0.500")]
    assert order == sorted(order)
    assert "\N{PLUS-MINUS SIGN}0.3" in page.text


def test_of_many_values_ten_rows_are_left(give, read):
    page = read(allocation_html(give(Players.features(torch.zeros(40)), torch.arange(40.0))))
    assert len(page.all("svg", cls="bar")) == 10
    assert "31 others" in page.text


def test_a_batch_shows_its_first_samples(batch, read):
    page = read(allocation_html(batch))
    assert f"first {MOST_SAMPLES} of 6 samples" in page.text
    assert len(page.all("figure")) == MOST_SAMPLES
    assert "sample 3" in page.text and "sample 4" not in page.text


def test_a_batch_of_tables_has_a_column_per_sample(table, stack, read):
    page = read(allocation_html(stack(table, 2)))
    assert "petal length +3.00 \N{MINUS SIGN}3.00" in page.text
    assert "sample 0" in page.text and "sample 1" in page.text


def test_an_empty_batch_is_shown_as_such(table, pixels, stack, read):
    assert not read(allocation_html(stack(pixels, 0))).all("figure")
    assert not read(allocation_html(stack(table, 0))).all("tr")


def test_coalitions_are_named_by_their_members(table, read):
    pair = replace(table, coalitions=torch.tensor([[True, True, False]]), values=torch.tensor([1.5]).double(), stderr=None)
    assert "petal width & sepal length +1.50" in read(allocation_html(pair)).text


def test_what_is_to_be_doubted_is_said(table, read):
    doubted = replace(table, stderr_note="only 2 permutations", converged=torch.tensor(False))
    text = read(allocation_html(doubted)).text
    assert "standard error: only 2 permutations" in text
    assert "not converged, gap 0" in text


def test_names_and_methods_are_escaped(give, read):
    evil = "<script>alert(1)</script>"
    shown = give(Players.features(torch.zeros(1), names=(evil,)), [1.0], method=evil, provenance={"target": evil})
    page = read(allocation_html(shown))
    assert not page.all("script")
    assert page.text.count("alert(1)") == 3


def test_the_allocation_shows_itself(pixels):
    assert pixels._repr_html_() == allocation_html(pixels)
