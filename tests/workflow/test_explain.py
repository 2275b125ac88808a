"""``vesalius.explain`` as a library call: every form of model and data, the options, and the same results as the command's."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import vesalius as vs
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.methods import Occlusion, ShapleyValue
from vesalius.workflow import ExplainOptions, complexity, method_runs
from vesalius.workflow.samples import LabelledRows, RowSelection, select_samples

QUICK = ("gradient_x_input", "occlusion")
X = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_the_page_comes_back_and_the_files_are_written(model, tmp_path):
    page = vs.explain(model, X, methods=QUICK, rows=slice(2, 5), out=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.html",
        "summary.json",
        *(f"{name}.safetensors" for name in QUICK),
    }
    assert (tmp_path / "out/report.html").read_text() == page.html and "What Sequential rests its decisions on" in page.html
    assert [row["row"] for row in summary(tmp_path / "out")["methods"]["occlusion"]["rows"]] == [2, 3, 4]
    kept = vs.Allocation.load(tmp_path / "out/occlusion.safetensors")
    torch.testing.assert_close(kept.values, vs.attribute(model, X[2:5], "occlusion").values)


def test_nothing_is_written_where_no_folder_is_named(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    page = vs.explain(model, X, methods="occlusion", rows=[0, 5])
    assert "2 decisions" in page.html and list(tmp_path.iterdir()) == []


def test_a_second_call_keeps_what_is_finished(model, tmp_path, monkeypatch):
    vs.explain(model, X, methods=QUICK, out=tmp_path)
    monkeypatch.setattr(method_runs, "attribute", None)
    vs.explain(model, X, methods=QUICK, out=tmp_path)
    assert all(method["kept"] for method in summary(tmp_path)["methods"].values())


def test_another_array_as_baseline_is_another_question(model, tmp_path):
    bases = []
    for value in (np.zeros((4,), np.float32), np.ones((4,), np.float32)):
        vs.explain(model, X, methods="occlusion", baseline=vs.Constant(value), out=tmp_path)
        bases.append(summary(tmp_path)["methods"]["occlusion"]["rows"][0]["base"])
    assert bases[0] != bases[1]


def data_forms():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X.numpy(), columns=list("abcd"))
    pairs = TensorDataset(X, Y)
    return {
        "tensor": (X, {"labels": Y}),
        "array": (X.numpy().astype(np.float64), {"labels": Y.numpy()}),
        "pair": ((X, Y), {}),
        "mapping": ({"x": X, "y": Y}, {}),
        "frame": (frame.assign(kind=Y.numpy()), {"labels": "kind"}),
        "dataset": (pairs, {}),
        "loader": (DataLoader(pairs, batch_size=3), {}),
    }


@pytest.mark.parametrize("form", ["tensor", "array", "pair", "mapping", "frame", "dataset", "loader"])
def test_data_in_any_form_gives_the_same(form, model, tmp_path):
    data, more = data_forms()[form]
    vs.explain(model, data, **more, methods="occlusion", rows="1,4", target="true", baseline="mean", out=tmp_path)
    rows = summary(tmp_path)["methods"]["occlusion"]["rows"]
    output = model(X)[[1, 4], [1, 1]].tolist()
    assert [row["label"] for row in rows] == ["1", "1"] and [row["total"] for row in rows] == pytest.approx(output, abs=1e-5)
    assert summary(tmp_path)["baseline"] == "mean of 10 rows"
    assert rows[0]["base"] == pytest.approx(float(model(X.mean(0, keepdim=True))[0, 1]), abs=1e-5)
    if form == "frame":
        assert vs.Allocation.load(tmp_path / "occlusion.safetensors").players.names == ("a", "b", "c", "d")


def test_models_in_any_form(model, tmp_path):
    def arrays(x):
        return model(torch.as_tensor(x)).detach().numpy()

    for kind in (model, vs.trace(model, X), arrays):
        vs.explain(kind, X.numpy(), methods="occlusion", rows=0, out=tmp_path)
        assert summary(tmp_path)["methods"]["occlusion"]["rows"][0]["total"] == pytest.approx(float(model(X[:1]).max()), abs=1e-5)


def test_an_estimator_brings_the_names_of_its_classes(tmp_path):
    linear_model = pytest.importorskip("sklearn.linear_model")
    words = np.array(["no", "maybe", "yes"])[Y.numpy()]
    found = linear_model.LogisticRegression().fit(X.numpy(), words)
    vs.explain(found, (X.numpy(), words), methods="occlusion", target="yes", out=tmp_path)
    rows = summary(tmp_path)["methods"]["occlusion"]["rows"]
    assert [row["label"] for row in rows] == words[:8].tolist() and {row["explained"] for row in rows} == {"class yes"}
    assert [row["predicted"] for row in rows] == found.predict(X[:8].numpy()).tolist()


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        (None, None),
        ("predicted", None),
        (2, [2] * 3),
        (np.int64(1), [1] * 3),
        ("c", [2] * 3),
        (["a", "b", "c"], [0, 1, 2]),
        (torch.tensor([2, 1, 0]), [2, 1, 0]),
        (Y, [0, 1, 2]),
        ("true", [0, 1, 2]),
    ],
)
def test_targets(target, classes, model, tmp_path):
    vs.explain(model, (X, Y), methods="occlusion", rows="0:3", classes=["a", "b", "c"], target=target, out=tmp_path)
    rows = summary(tmp_path)["methods"]["occlusion"]["rows"]
    assert [row["target"] for row in rows] == (model(X[:3]).argmax(1).tolist() if classes is None else classes)


@pytest.mark.parametrize(
    ("baseline", "words", "fill"),
    [
        (None, "zero", 0.0),
        ("zero", "zero", 0.0),
        (0.5, "constant 0.5", 0.5),
        (torch.full((4,), 0.25), "given tensor", 0.25),
        (vs.Constant(1.0), "constant 1", 1.0),
    ],
)
def test_baselines(baseline, words, fill, model, tmp_path):
    vs.explain(model, X, methods="occlusion", rows=0, target=0, baseline=baseline, out=tmp_path)
    found = summary(tmp_path)
    assert found["baseline"] == words
    assert found["methods"]["occlusion"]["rows"][0]["base"] == pytest.approx(float(model(torch.full((1, 4), fill))[0, 0]), abs=1e-5)


def test_several_rows_are_a_background(model, tmp_path):
    vs.explain(model, X, methods="shapley_value", rows=0, target=0, baseline=X.numpy()[:5], out=tmp_path)
    row = summary(tmp_path)["methods"]["shapley_value"]["rows"][0]
    assert row["base"] == pytest.approx(float(model(X[:5])[:, 0].mean()), abs=1e-5)


def test_options_reach_the_methods_that_have_them_and_instances_keep_theirs(model, tmp_path):
    options = ExplainOptions(seed=7, budget=9, players=vs.Players.segments(torch.tensor([0, 0, 1, 1])))
    vs.explain(model, X, methods=["shapley_value", Occlusion(), "gradient_x_input"], rows=0, out=tmp_path, options=options)
    found = vs.Allocation.load(tmp_path / "shapley_value.safetensors")
    assert found.provenance["options"]["seed"] == 7 and found.provenance["options"]["budget"] == 9 and found.players.n == 2
    assert vs.Allocation.load(tmp_path / "occlusion.safetensors").players.n == 4, "an instance says itself with whom it plays"
    assert vs.Allocation.load(tmp_path / "gradient_x_input.safetensors").players.n == 4
    vs.explain(model, X, methods=ShapleyValue(seed=3), rows=0, out=tmp_path, options=options)
    assert vs.Allocation.load(tmp_path / "shapley_value.safetensors").provenance["options"]["seed"] == 3


def test_audits_flow_complexity_and_the_command_are_on_the_page(model, tmp_path, monkeypatch):
    quick = complexity.Training
    monkeypatch.setattr(complexity, "Training", lambda **options: quick(epochs=2, width=4, **options))
    draws = torch.Generator().manual_seed(1)
    x, y = torch.randn(200, 4, generator=draws), torch.randint(3, (200,), generator=draws)
    options = ExplainOptions(audit=1, flow=":", complexity="1", train=(x + 1, y), reproduce="my <script>.py")
    page = vs.explain(model, (x, y), methods="occlusion", rows=[1], out=tmp_path, options=options).html
    assert "Interactions of features in row 1" in page and "Feature complexity" in page and "over-fitting" in page
    assert "my &lt;script&gt;.py" in page
    assert {"audit_1.safetensors", "interactions_1.safetensors", "flow.safetensors", "complexity.safetensors"} <= {
        path.name for path in tmp_path.iterdir()
    }


def test_samples_are_taken_as_they_are(model, tmp_path):
    samples = select_samples(LabelledRows(x=X), RowSelection(rows=[3], background=":2"))
    vs.explain(model, samples, methods="occlusion", out=tmp_path)
    assert summary(tmp_path)["baseline"] == "background of 2 rows" and summary(tmp_path)["methods"]["occlusion"]["rows"][0]["row"] == 3
    with pytest.raises(InvalidInput, match="Samples have rows, labels and names already"):
        vs.explain(model, samples, rows=[1])


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"methods": ["occlusion", Occlusion()]}, InvalidInput, "occlusion twice"),
        ({"methods": []}, InvalidInput, "no method among the methods"),
        ({"methods": "oclusion"}, UnknownName, "did you mean 'occlusion'"),
        ({"rows": 10}, InvalidInput, "does not exist; there are 10"),
        ({"target": 3}, InvalidInput, "target 3 is out of range"),
        ({"target": [0, 1]}, InvalidInput, "one class for each of 8 rows"),
        ({"target": lambda output: output[:, 0]}, WrongType, "for other targets use vesalius.attribute"),
        ({"target": "true"}, InvalidInput, "needs labels"),
        ({"baseline": "men"}, UnknownName, "did you mean 'mean'"),
        ({"baseline": object()}, WrongType, "a baseline is a number"),
        ({"labels": [0, 1]}, InvalidInput, "2 labels for 10 rows"),
        ({"classes": ["a"]}, InvalidInput, "names of 1 classes; the model has 3"),
        ({"names": ["a"]}, InvalidInput, "1 names of features"),
        ({"options": ExplainOptions(audit=9)}, InvalidInput, "none of the rows that are explained"),
        ({"options": ExplainOptions(train=X)}, InvalidInput, "are for complexity="),
        ({"options": ExplainOptions(complexity="nowhere")}, UnknownName, "nowhere"),
        ({"options": ExplainOptions(players=vs.Players.segments(torch.tensor([0, 1])))}, InvalidInput, r"not \(4,\)"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_method_runs(given, kind, words, model, tmp_path):
    with pytest.raises(kind, match=words):
        vs.explain(model, X, out=tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_models_and_folders_that_cannot_be(model, tmp_path):
    class Two(nn.Module):
        def forward(self, a, b):
            return a + b

    with pytest.raises(InvalidInput, match="rows of one input are taken here, and Two has a, b"):
        vs.explain(Two(), (X, X))
    (tmp_path / "file").write_text("in the way")
    for out in ("file", "file/deeper"):
        with pytest.raises(InvalidInput, match="is a file; name another"):
            vs.explain(model, X, out=tmp_path / out)
    single = nn.Sequential(nn.Linear(4, 1))
    assert "the output" in vs.explain(single, X, methods="occlusion", rows=0).html
    with pytest.raises(InvalidInput, match="one output"):
        vs.explain(single, X, methods="occlusion", target=0)


def test_one_sample_is_a_batch_of_one(model):
    assert "1 decision" in vs.explain(model, X[0], methods="occlusion").html


def test_rows_of_tokens_have_no_mean_and_a_number_is_a_token(tmp_path):
    reader = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 3))
    ids = torch.arange(30).reshape(6, 5) % 9
    with pytest.raises(InvalidInput, match="such as tokens, have no mean"):
        vs.explain(reader, ids, methods="occlusion", rows="0", baseline="mean")
    vs.explain(reader, ids, methods="occlusion", rows="0", baseline=4, out=tmp_path)
    assert summary(tmp_path)["baseline"] == "token 4"
