"""Data sets of Hugging Face in every verb, without a loader around them."""

import datasets
import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.core.errors import WrongType
from vesalius.core.rows import read_rows
from vesalius.information import MeasurementOptions

ROWS = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).double()
LABELS = [place % 2 for place in range(40)]


@pytest.fixture(scope="module", autouse=True)
def quiet():
    datasets.disable_progress_bars()


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def columns():
    return {name: ROWS[:, place].tolist() for place, name in enumerate("abc")}


def table():
    """Columns of numbers, and labels with names."""
    kinds = {name: datasets.Value("float64") for name in "abc"} | {"label": datasets.ClassLabel(names=["no", "yes"])}
    return datasets.Dataset.from_dict({**columns(), "label": LABELS}, features=datasets.Features(kinds))


def arrays():
    """A column of arrays."""
    return datasets.Dataset.from_dict({"x": ROWS.tolist(), "label": LABELS})


def streamed():
    return arrays().to_iterable_dataset()


def of_torch():
    return arrays().with_format("torch", dtype=torch.float64)


def transformed():
    """A transform that is made of rows when they are asked for, as preprocessing of pictures is."""
    return arrays().with_transform(lambda batch: {"x": [2 * torch.tensor(row).double() / 2 for row in batch["x"]], "label": batch["label"]})


FORMS = {"table": table, "arrays": arrays, "streamed": streamed, "of_torch": of_torch}


@pytest.mark.parametrize("form", FORMS)
def test_attributions_are_those_of_the_tensor(model, form):
    found, expected = vs.attribute(model, FORMS[form](), "occlusion", target=1), vs.attribute(model, ROWS, "occlusion", target=1)
    torch.testing.assert_close(found.values, expected.values)


def test_columns_and_classes_keep_their_names(model):
    rows = read_rows(table())
    assert rows.features == ("a", "b", "c") and rows.classes == ("no", "yes") and rows.labels.tolist() == LABELS
    found = vs.attribute(model, table(), "occlusion", target="yes")
    assert found.players.names == ("a", "b", "c")
    torch.testing.assert_close(found.values, vs.attribute(model, ROWS, "occlusion", target=1).values)


@pytest.mark.parametrize("form", FORMS)
def test_a_survey_streams_it(model, form, tmp_path):
    found = vs.survey(model, FORMS[form](), "occlusion", target=1, out=tmp_path)
    torch.testing.assert_close(found[:].values, vs.attribute(model, ROWS, "occlusion", target=1).values)
    assert found.column("label") == LABELS


@pytest.mark.parametrize("form", ["table", "streamed"])
def test_verbs_that_go_through_data(model, form):
    page = vs.explain(model, FORMS[form](), rows="0:2", methods=["occlusion"])
    body = page.html[page.html.index("<body") : page.html.rindex("<script")]
    assert "label" in body and ("yes" in body) == (form == "table")
    options = MeasurementOptions(estimator="gaussian")
    found, expected = (vs.information_flow(model, data, measuring=options) for data in (FORMS[form](), ROWS))
    for edges, known in zip(found.flows, expected.flows, strict=True):
        torch.testing.assert_close(edges, known)
    thin, other = (vs.sparsify(model, data, sparsity=0.5) for data in (FORMS[form](), ROWS))
    for name, mask in other.masks.items():
        assert torch.equal(thin.masks[name], mask)


def test_a_format_or_transform_of_the_user_is_kept(model):
    torch.testing.assert_close(read_rows(of_torch()).parts[0], ROWS)
    assert read_rows(of_torch()).typed
    torch.testing.assert_close(read_rows(transformed()).parts[0], ROWS)


def test_whole_numbers_stay_whole():
    found = read_rows(datasets.Dataset.from_dict({"ids": [[1, 2], [3, 4]], "labels": [0, 1]}))
    assert found.parts[0].dtype == torch.int64 and found.parts[0].tolist() == [[1, 2], [3, 4]] and found.labels.tolist() == [0, 1]
    assert read_rows(datasets.Dataset.from_dict({"a": [1, 2], "b": [3, 4]})).parts[0].dtype == torch.int64


def test_several_inputs_go_by_name():
    found = read_rows(datasets.Dataset.from_dict({"input_ids": [[1, 2], [3, 4]], "attention_mask": [[1, 1], [1, 0]]}))
    assert {name: tensor.tolist() for name, tensor in found.tensors.items()} == {
        "input_ids": [[1, 2], [3, 4]],
        "attention_mask": [[1, 1], [1, 0]],
    }


def test_words_and_dictionaries_of_splits_are_refused(model):
    with pytest.raises(WrongType, match="'text'"):
        vs.attribute(model, datasets.Dataset.from_dict({"text": ["a", "b"], "a": [1.0, 2.0]}))
    with pytest.raises(WrongType, match="train, test"):
        vs.attribute(model, datasets.DatasetDict({"train": arrays(), "test": arrays()}))
