"""An audit on a page and in a notebook."""

import re
from dataclasses import replace

from vesalius.audit.result import STRAIGHT_LINE_NOTE
from vesalius.core.players import Players
from vesalius.views.report import report


def test_methods_by_rank_with_verdict_numbers_and_maps(judged, read):
    judged = replace(judged, skipped={"grad_cam": "it needs a layer with positions. Choose one"})
    page = read(report(judged, title="x").html)
    assert "Every method was run on the masked inputs of all 16 coalitions of 4 patches, class 1, baseline constant 0." in page.text
    order = [
        page.text.index(words)
        for words in ("1 Integrated gradients holds all three 0 0 0 0 0", "Occlusion breaks P3", "In words Integrated")
    ]
    assert order == sorted(order)
    assert len(page.all("td", cls="thumb")) == len(judged)
    assert f"{judged['occlusion'].over:.2f}" in page.text
    assert "Grad-CAM not applicable here: it needs a layer with positions Faithfulness" in page.text
    assert not re.search(r"\b(nan|None)\b", page.text)


def test_all_numbers_are_there_for_who_wants_them(judged, read):
    page = read(report(judged, title="x").html)
    columns = "not allocated over-counting wrong sign null-player violation allocation error"
    assert f"All numbers rank method P1 P2 P3 {columns} error gap insertion deletion" in page.text
    assert "1 integrated_gradients held held held" in page.text


def test_a_sampled_audit_has_intervals(drawn, read):
    page = read(report(drawn, title="x").html)
    assert "shares with 95 % intervals" in page.text and "no violation found" in page.text
    assert len(page.all("line", cls="whisker")) == 2 * len(drawn)


def test_a_straight_line_is_explained(judged, read):
    assert STRAIGHT_LINE_NOTE not in read(report(judged, title="x").html).text
    assert STRAIGHT_LINE_NOTE in read(report(replace(judged, bend=0.0), title="x").html).text


def test_the_page_says_how_to_make_it_again(judged, read):
    text = read(report(judged, title="x").html).text
    last = text[text.rindex("How to reproduce") :]
    assert f"Sequential {judged.provenance['digest']}" in last and "torch 2" in last and "seed 0" in last


def test_names_are_escaped(judged):
    evil = "<script>alert(1)</script>"
    players = Players(judged.players.index, judged.players.shape, evil)
    records = {evil: replace(judged.records["occlusion"], method=evil)}
    body = report(replace(judged, players=players, records=records, tiers=((evil,),), skipped={"b": evil}), title="x").html
    assert "<script>alert" not in body


def test_a_notebook_shows_the_same(judged, read):
    text = read(judged._repr_html_()).text
    assert text.startswith("Which map to believe here (audit)") and "Occlusion breaks P3" in text


def test_every_picture_has_a_text(judged, read):
    pictures = read(report(judged, title="x").html).all("svg")
    assert pictures and all(picture.get("role") == "img" and picture.get("aria-label") for picture in pictures)
