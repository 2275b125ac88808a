"""Pruning as a library call; the command is tested in tests/cli/test_sparsify.py."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from vesalius import workflow
from vesalius.core.errors import UnknownName
from vesalius.sparsity import Pruning, load_sparse
from vesalius.workflow import SparsifyOptions

X = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))


def classifier():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def test_a_smaller_model_and_a_page_come_from_a_module_and_arrays(tmp_path):
    model = classifier()
    labels = model(X).argmax(1).numpy()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    options = SparsifyOptions(pruning=Pruning(layers=["0"]), reproduce="prune.py")
    page = workflow.sparsify(model, (X.numpy(), labels), sparsity=0.5, test=(X[:40], labels[:40]), out=tmp_path, options=options)
    facts = json.loads((tmp_path / "summary.json").read_text())
    assert facts["sparsity"] == pytest.approx(0.5, abs=0.05) and facts["evaluated on"] == 40 and facts["accuracy before"] == 1
    assert page.html == (tmp_path / "report.html").read_text() and "prune.py" in page.html
    smaller = load_sparse(tmp_path / "pruned.safetensors", classifier())
    agree = (smaller(X[:40]).argmax(1).numpy() == labels[:40]).mean()
    assert agree == pytest.approx(facts["accuracy after"]) and all(torch.equal(model.state_dict()[name], before[name]) for name in before)


def test_nothing_is_written_where_no_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    page = workflow.sparsify(classifier(), X, importance_level=0.9, mode="paper")
    assert "of its connections" in page.html and list(tmp_path.iterdir()) == []


def test_nine_of_ten_connections_go_by_default(tmp_path):
    workflow.sparsify(classifier(), np.asarray(X), out=tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["sparsity"] == pytest.approx(0.9, abs=0.05)


def test_an_unknown_form_is_refused(tmp_path):
    with pytest.raises(UnknownName, match="no form to write the model in"):
        workflow.sparsify(classifier(), X, out=tmp_path / "out", options=SparsifyOptions(write="zip"))
    assert not (tmp_path / "out").exists()
