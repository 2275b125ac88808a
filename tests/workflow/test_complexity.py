"""Complexity from the command line: on the page, in a file, kept, with over-fitting where training rows are given, and refused early."""

from pathlib import Path

import numpy as np
import pytest

from vesalius.complexity import Complexity, Training
from vesalius.workflow import complexity as command

TABLE = ("models.py:net", "many.npz", "--names", "red,green,blue", "--rows", "0", "--methods", "occlusion", "--complexity", "relu")
SKIPS = """
import torch
from torch import nn

class Skip(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.inner, self.out = nn.Linear(4, 4), nn.Linear(4, outputs)
    def forward(self, x):
        return self.out(x + torch.relu(self.inner(x)))

def skip():
    torch.manual_seed(0)
    return Skip(3)

def single():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1), nn.Flatten(0))
"""
PAGE = Path("out") / "report.html"


@pytest.fixture
def many(home, monkeypatch):
    rng = np.random.default_rng(1)
    for name in ("many", "train"):
        np.savez(f"{name}.npz", x=rng.standard_normal((200, 4)).astype(np.float32), y=rng.integers(0, 3, 200))
    np.savez("bare.npz", x=rng.standard_normal((200, 4)).astype(np.float32))
    monkeypatch.setattr(command, "Training", lambda **options: Training(epochs=2, width=4, **options))


@pytest.mark.usefixtures("many")
def test_it_is_on_the_page_and_kept(explain, monkeypatch):
    assert explain(*TABLE).code == 0
    found = Complexity.load(Path("out") / "complexity.safetensors")
    assert found.at == "a/linear" and found.provenance["rows"]["all"] == 200
    assert "Feature complexity" in PAGE.read_text() and "effectiveness" in PAGE.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(command, "complexity", None)
        assert "kept from" in explain(*TABLE).err


@pytest.mark.usefixtures("many")
def test_training_rows_show_over_fitting_and_no_labels_strengths_alone(explain):
    assert explain(*TABLE).code == 0 and "over-fitting" not in _charts()
    assert explain(*TABLE, "--train", "train.npz").code == 0 and "over-fitting" in _charts()
    assert explain(TABLE[0], "bare.npz", *TABLE[2:]).code == 0 and "effectiveness" not in _charts()


def _charts():
    return [text.split("<")[0] for text in PAGE.read_text().split("<figcaption>")]


@pytest.mark.usefixtures("many")
def test_labels_of_data_are_not_those_of_the_training_rows(explain):
    Path("labels.txt").write_text("\n".join(["0", "1"] * 100))
    assert explain(TABLE[0], "bare.npz", *TABLE[2:], "--labels", "labels.txt", "--train", "train.npz").code == 0
    assert "over-fitting" in _charts()
    np.savez("words.npz", x=np.zeros((200, 4), np.float32), y=np.array(["red", "blue"] * 100))
    np.savez("other.npz", x=np.ones((200, 4), np.float32), y=np.array(["red", "grey"] * 100))
    odd = explain(TABLE[0], "words.npz", *TABLE[4:], "--train", "other.npz")
    assert odd.code == 2


@pytest.mark.usefixtures("many")
def test_what_cannot_be_judged_is_refused_before_any_method_runs(explain):
    Path("skips.py").write_text(SKIPS)
    bypassed = explain("skips.py:skip", *TABLE[1:-1], "inner")
    assert bypassed.code == 2 and "is bypassed" in bypassed.err and "use at=" in bypassed.err
    lonely = explain(*TABLE[:-2], "--train", "train.npz")
    assert lonely.code == 2 and "training rows (train=, on the command line --train) are for complexity=" in lonely.err
    assert not Path("out").exists()
    assert explain("skips.py:skip", "bare.npz", *TABLE[2:-1], "inner").code == 0, "strengths need no labels"
    assert explain("skips.py:single", *TABLE[1:2], *TABLE[4:-1], "1").code == 0 and "effectiveness" not in _charts(), "no classes"


@pytest.mark.usefixtures("many")
def test_unknown_values_and_models_without_a_graph_are_refused_before_any_method_runs(explain):
    unknown = explain(*TABLE[:-1], "relo")
    assert unknown.code == 2 and "relo" in unknown.err
    branch = explain("models.py:branch", *TABLE[1:])
    assert branch.code == 2 and "needs the graph" in branch.err
    assert not Path("out").exists()
