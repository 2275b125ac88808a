"""Texts in reading order: on a page, in a notebook and for papers; nothing of them is read as HTML."""

import re

import pytest
import torch

import vesalius as vs
from tests.language.models import byte_tokenizer, piece_tokenizer
from vesalius.core.errors import InvalidInput
from vesalius.views.text.chart_data import LINE_WIDTH, place_runs, text_arcs, text_runs
from vesalius.views.text.charts import plot_arcs, plot_matrix, plot_text
from vesalius.views.text.section import arcs_markup

TEXT = 'It was <b>great</b> & "$5 bad", so the film was not good at all. The movie was not good at all. It was a great movie, was it?\nYes.'


def allocation(text=TEXT, tokenizer=None, by="word"):
    players = vs.Players.text(text, tokenizer or byte_tokenizer(), by)
    values = torch.linspace(-1, 1, players.n)
    return vs.Allocation(players=players, values=values, base=torch.tensor(0.0), total=values.sum(), provenance={"method": "occlusion"})


def matrix(tokens=(" good", "<i>", " bad")):
    players = vs.Players.text("the film was", byte_tokenizer())
    values = torch.linspace(-1, 1, 9).reshape(3, 3)
    facts = {"method": "shapley_value", "generated": list(tokens)}
    return vs.Allocation(players=players, values=values, base=torch.zeros(3), total=values.sum(1), provenance=facts)


def pairs():
    players = vs.Players.text("the film was not good", byte_tokenizer(), "word")
    masks = torch.zeros(3, 5, dtype=torch.bool)
    masks[0, 3] = masks[1, 3] = masks[1, 4] = masks[2, 0] = masks[2, 4] = True
    values = torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64)
    facts = {"method": "interactions", "index": "dividend"}
    total = values.sum()
    return vs.Allocation(players=players, coalitions=masks, values=values, base=torch.zeros_like(total), total=total, provenance=facts)


def plain(html):
    return re.sub(r"<[^>]*>", "", html).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("&#34;", '"')


def test_runs_are_the_text_with_the_values_of_their_players():
    found = allocation()
    runs = text_runs(found)
    assert "".join(run.text for run in runs) == TEXT
    assert {run.player: run.value for run in runs if run.player >= 0} == pytest.approx(dict(enumerate(found.values.tolist())))
    assert all(run.value is None for run in runs if run.player < 0)


def test_lines_are_no_longer_than_the_page_and_lose_nothing_but_spaces():
    placed = place_runs(text_runs(allocation()))
    lines = [[part for part in placed if part.line == line] for line in range(1 + placed[-1].line)]
    assert all(max(part.start + part.width for part in line if part.text.strip()) <= LINE_WIDTH + 1 for line in lines)
    assert "".join(part.text for part in placed).split() == "".join(TEXT.split("\n")).replace("?Yes", "?Yes").split() or len(lines) >= 3
    assert "".join("".join(part.text for part in placed).split()) == "".join(TEXT.split())
    long = place_runs(text_runs(allocation("good" * 60)))
    assert "".join(part.text for part in long) == "good" * 60 and long[-1].line == 3


@pytest.mark.parametrize("show", [lambda found: found._repr_html_(), lambda found: vs.report(found, title="A text").html])
def test_a_text_is_shown_as_it_was_written_and_escaped(show):
    html = show(allocation())
    text = re.search(r'<p class="text">(.*?)</p>', html, re.S).group(1)
    assert plain(text) == TEXT and "<b>" not in text
    assert text.count('class="token"') == len([run for run in text_runs(allocation()) if run.player >= 0])
    assert "great: " in text


def test_special_tokens_are_shown_without_a_colour():
    html = allocation("the film", piece_tokenizer())._repr_html_()
    assert "<span>[CLS]</span>" in html and "<span>[SEP]</span>" in html


def test_a_matrix_is_a_table_of_generated_tokens_by_players():
    html = matrix()._repr_html_()
    assert html.count('class="cell"') == 9 and "&lt;i&gt;" in html and "<i></i>" in html
    assert vs.report(matrix(), title="A matrix").html.count('class="cell"') >= 9


def test_arcs_join_the_words_of_the_strongest_pairs():
    found = pairs()
    placed = place_runs(text_runs(found))
    arcs = text_arcs(found, placed)
    assert [(arc.names, arc.value) for arc in arcs] == [(("not", "good"), -2.0), (("the", "good"), 1.0)]
    assert arcs[1].first[0] == pytest.approx(1.5) and arcs[1].first[1] == 0
    svg = arcs_markup(found)
    assert (
        svg.count('class="arc lowers"') == 1 and svg.count('class="arc raises"') == 1 and 'class="arcs"' in vs.report(found, title="x").html
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_papers(kind, tmp_path):
    for name, figure in (("text", allocation().plot()), ("matrix", matrix().plot()), ("arcs", plot_arcs(pairs()))):
        file = tmp_path / f"{name}.{kind}"
        figure.savefig(file)
        assert file.stat().st_size > 1000


def test_words_of_a_chart_stand_in_their_places():
    figure = plot_text(allocation(), title="Words")
    ax = figure.axes[0]
    figure.canvas.draw()
    shown = [text for text in ax.texts if text.get_text().strip() == "film"]
    assert shown
    letters = shown[0].get_window_extent()
    boxes = [patch.get_window_extent() for patch in ax.patches]
    middle, height = (letters.x0 + letters.x1) / 2, (letters.y0 + letters.y1) / 2
    assert any(box.x0 < middle < box.x1 and box.y0 < height < box.y1 and abs(box.x1 - letters.x1) < 6 for box in boxes)


@pytest.mark.parametrize(("draw", "match"), [(plot_text, "not of one text"), (plot_matrix, "is no matrix"), (plot_arcs, "arcs are of")])
def test_wrong_charts(draw, match):
    values = torch.ones(3)
    with pytest.raises(InvalidInput, match=match):
        draw(vs.Allocation(players=vs.Players.plain(3), values=values, base=torch.tensor(0.0), total=values.sum()))
