"""The explorer's page and its pieces."""

import json
import re

import pytest
import torch

import vesalius as vs
from vesalius.views.explorer import explorer_page, picture_html, result_html, scores_html

PAYLOADS = [
    "<script>alert(1)</script>",
    "</script>",
    '" onmouseover="x',
    "'><img src=x>",
    "{{ 7 * 7 }}",
    "<!--",
    "]]>",
    "&lt;",
    "javascript:x",
]


def choices(word):
    return {
        "kind": "rows", "rows": 3, "targets": ["predicted", word], "places": ["", word], "baselines": ["default"], "players": ["auto"],
        "names": [word], "elements": 1, "size": [], "methods": ["occlusion"], "method": "occlusion", "most_budget": 10, "models": [word],
    }  # fmt: skip


@pytest.mark.parametrize("word", PAYLOADS)
def test_words_of_the_user_are_text(word):
    page = explorer_page(choices(word), "n0nce")
    assert page.count("<script") == page.count("</script>") == 2 and page.count("<!--") == 0 and "<img" not in page
    (held,) = re.findall(r'id="choices">(.*?)</script>', page, re.DOTALL)
    assert json.loads(held)["models"] == [word] and "49" not in held
    scores = scores_html([word, "b"], torch.tensor([2.0, 1.0]).double(), torch.tensor([1.5, 1.0]).double())
    assert "<script" not in scores and "<img" not in scores and 'onmouseover="' not in scores


def test_scores_are_the_largest_with_their_change():
    now, before = torch.arange(9.0).double(), torch.zeros(9).double()
    html = scores_html([f"class {place}" for place in range(9)], now, before)
    assert re.findall(r">class (\d)<", html) == ["8", "7", "6", "5", "4", "3"] and "3 smaller scores" in html
    assert html.count("+8.00") == 3, "its value, its change and what the bar says"


def test_scores_that_are_no_numbers_come_last():
    html = scores_html(["a", "b"], torch.tensor([float("nan"), 1.0]).double(), torch.tensor([0.0, 1.0]).double())
    assert html.index(">b<") < html.index(">a<") and "not a number" in html


def test_a_class_is_called_by_its_name():
    model = torch.nn.Linear(2, 2)
    found = vs.attribute(model, torch.ones(2), "occlusion", target=1)
    assert "the score of class 1" in result_html(found) and "the score of class &lt;b&gt;" in result_html(found, ["a", "<b>"])
    assert found.provenance["target"] == "class 1"


def test_a_picture_is_drawn():
    assert picture_html(torch.tensor([[[0.0, 1.0]]]), "a <b>").startswith('<svg viewBox="0 0 2 1" role="img" aria-label="a &lt;b&gt;"')
