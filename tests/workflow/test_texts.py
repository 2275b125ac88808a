"""``explain`` with texts: files, numbers and a page."""

import json

import pytest
import torch

import vesalius as vs
from tests.language.models import CORPUS, Mood, Recall, byte_tokenizer, piece_tokenizer
from vesalius.core.errors import InvalidInput
from vesalius.workflow.explain import ExplainOptions


def test_reviews(tmp_path, capsys):
    model, asked = (
        Mood(60),
        {"tokenizer": piece_tokenizer(), "labels": ["good", "bad", "good", "bad"], "methods": ["occlusion", "shapley_value"]},
    )
    page = vs.explain(model, CORPUS, out=tmp_path, **asked)
    facts = json.loads((tmp_path / "summary.json").read_text())
    kept = vs.Allocation.load(tmp_path / "occlusion.safetensors")
    assert page.html == (tmp_path / "report.html").read_text() and [one["text"] for one in facts["texts"]] == CORPUS
    for place, text in enumerate(CORPUS):
        alone = vs.attribute(model, text, "occlusion", tokenizer=piece_tokenizer(), players="word")
        assert kept[place].values.tolist() == pytest.approx(alone.values.tolist(), abs=1e-6)
        told = [value for _, value in facts["texts"][place]["values"]["occlusion"]]
        assert told == pytest.approx(alone.values.tolist(), abs=1e-6)
    capsys.readouterr()
    vs.explain(model, CORPUS, out=tmp_path, **asked)
    assert "occlusion: kept from" in capsys.readouterr().err
    assert page.html.count("label good") == 2 and "predicted" in page.html


def test_a_generated_continuation():
    page = vs.explain(Recall(320), "the film was", tokenizer=byte_tokenizer(), generate=3, methods="occlusion")
    assert "goes on with" in page.html and page.html.count('class="cell"') == 9


def test_long_texts_are_divided_into_sentences():
    text = "The film was great. " * 12
    page = vs.explain(Mood(60), text, tokenizer=piece_tokenizer(), methods="occlusion")
    assert "sentences" in page.html
    page = vs.explain(Mood(60), text, tokenizer=piece_tokenizer(), methods="occlusion", options=ExplainOptions(players="words"))
    assert "60 words" in page.html or "words" in page.html


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"labels": ["good"]}, "1 labels for 4 texts"),
        ({"generate": 2, "target": 1}, "leave the target out"),
        ({"options": ExplainOptions(audit=0, flow=":")}, "is for rows of numbers"),
        ({"rows": "9"}, "9"),
    ],
)
def test_wrong_words(asked, match):
    with pytest.raises(InvalidInput, match=match):
        vs.explain(Mood(60), CORPUS, tokenizer=piece_tokenizer(), methods="occlusion", **asked)


def test_generate_without_a_text():
    with pytest.raises(InvalidInput, match="generate= is of a language model"):
        vs.explain(torch.nn.Linear(2, 2), torch.rand(2, 2), generate=2)
