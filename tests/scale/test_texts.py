"""Data sets of texts: every form, any lengths; the same as each text alone; what tokens and words are worth over all of them."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

import vesalius as vs
from tests.language.models import CORPUS, Mood, piece_tokenizer
from tests.scale.conftest import assert_same_survey, small
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.scale import TokenMeans

TEXTS = [CORPUS[place % len(CORPUS)] + " indeed" * (place % 3) for place in range(20)]
LABELS = [place % 2 for place in range(20)]


class Reviews(Dataset):
    def __len__(self):
        return len(TEXTS)

    def __getitem__(self, place):
        return TEXTS[place], LABELS[place]


class Stream(IterableDataset):
    def __iter__(self):
        yield from ({"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True))


FORMS = {
    "list": lambda: (TEXTS, {"labels": LABELS}),
    "pair": lambda: ((TEXTS, LABELS), {}),
    "mapping": lambda: ({"text": TEXTS, "label": LABELS}, {}),
    "array": lambda: (np.array(TEXTS), {"labels": LABELS}),
    "column": lambda: (pd.Series(TEXTS), {"labels": LABELS}),
    "dataset": lambda: (Reviews(), {}),
    "loader": lambda: (DataLoader(Reviews(), batch_size=6), {}),
    "stream": lambda: (DataLoader(Stream(), batch_size=3), {}),
    "batches": lambda: ([(TEXTS[:7], LABELS[:7]), (TEXTS[7:], LABELS[7:])], {}),
    "single texts": lambda: (iter(TEXTS), {"labels": LABELS}),
}


@pytest.fixture(scope="module")
def model():
    return Mood(60).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return piece_tokenizer()


@pytest.fixture(scope="module")
def done(model, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    return vs.survey(model, TEXTS, "occlusion", labels=LABELS, tokenizer=tokenizer, players="word", out=folder, options=small())


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same(done, model, tokenizer, form, tmp_path):
    data, asked = FORMS[form]()
    found = vs.survey(model, data, "occlusion", tokenizer=tokenizer, players="word", out=tmp_path, options=small(), **asked)
    assert_same_survey(found, done)


@pytest.mark.slow
def test_values_are_those_of_each_text_alone(done, model, tokenizer):
    for place in (0, 4, 13, 19):
        alone = vs.attribute(model, TEXTS[place], "occlusion", tokenizer=tokenizer, players="word")
        torch.testing.assert_close(done[place].values, alone.values)
        assert done[place].players.names == alone.players.names and done[place].provenance["text"] == TEXTS[place]
    some = done[[19, 0, 9]]
    assert some[0].players.names == done[19].players.names and some.provenance["samples"]["row"] == [19, 0, 9]
    assert done.column("label") == LABELS and set(done.columns) >= {"predicted", "error", "text"}
    longest = max(len(one.values) for one in done)
    assert done.to_dataframe().shape[0] == 20 and done.where(label=1).values.shape == (10, longest)


def test_tokens_sum_up_what_each_text_says(done):
    found = done.tokens()
    each = {}
    for one in done:
        for name, value in zip(one.players.names, one.values.tolist(), strict=True):
            each.setdefault(name.strip(), []).append(value)
    assert set(found.tokens) == set(each) and found.rows == 20 and found.kind == "words"
    for name, values in each.items():
        assert found.tokens[name].mean == pytest.approx(np.mean(values)) and found.tokens[name].size == pytest.approx(np.abs(values).mean())
        assert found.tokens[name].count == len(values)
    sizes = [one.size for one in found.tokens.values()]
    assert sizes == sorted(sizes, reverse=True) and next(iter(found.tokens)) in repr(found)
    down, up = found.extremes(3)
    assert all(one.mean < 0 for one in down.values()) and all(one.mean > 0 for one in up.values())


def test_merged_tokens_equal_one_pass(done):
    whole, left, right = TokenMeans(), TokenMeans(), TokenMeans()
    whole.add(done[:])
    left.add(done[13:])
    right.add(done[:13])
    left.merge(right)
    mine, once = left.result(), whole.result()
    assert set(mine) == set(once)
    for name, one in once.items():
        np.testing.assert_allclose(list(vars(mine[name]).values()), list(vars(one).values()), rtol=1e-10, atol=1e-12)


def test_it_is_taken_up_and_a_changed_text_noticed(done, model, tokenizer, tmp_path):
    asked = {"labels": LABELS, "tokenizer": tokenizer, "players": "word", "out": tmp_path, "options": small()}
    for path in done.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / done.shards[1].file).unlink()
    assert_same_survey(vs.survey(model, TEXTS, "occlusion", **asked), done)
    with pytest.raises(InvalidInput, match="rows 16 to 19, or their labels, are not those"):
        vs.survey(model, [*TEXTS[:18], "another film", TEXTS[19]], "occlusion", **asked)
    with pytest.raises(InvalidInput, match="another question"):
        vs.survey(model, TEXTS, "occlusion", **{**asked, "players": "token"})


def test_a_page_and_a_notebook_show_tokens(done):
    page = vs.report(done).html
    assert "different words" in page and "with texts as what was drawn" in page and "What raises the output most" in page
    assert "different words" in done._repr_html_()


def test_what_does_not_fit_is_refused(done, model, tokenizer, tmp_path):
    with pytest.raises(InvalidInput, match=r"players of its own.*\.tokens\(\)"):
        done.summary()
    with pytest.raises(InvalidInput, match="surveyed by an attribution"):
        vs.survey(model, TEXTS, "interactions", tokenizer=tokenizer, out=tmp_path)
    with pytest.raises(WrongType, match="data is texts"):
        vs.survey(model, torch.ones(3, 4), "occlusion", tokenizer=tokenizer, out=tmp_path)
    with pytest.raises(WrongType, match="holds them as one of 'text'"):
        vs.survey(model, [{"words": TEXTS}], "occlusion", tokenizer=tokenizer, out=tmp_path)
    with pytest.raises(InvalidInput, match="no texts"):
        vs.survey(model, iter([]), "occlusion", tokenizer=tokenizer, out=tmp_path)
    with pytest.raises(InvalidInput, match=r"the text is empty|nothing to explain"):
        vs.survey(model, ["a film", " "], "occlusion", tokenizer=tokenizer, out=tmp_path)
