"""Complexity from the command line: on the page, in a file, kept, with over-fitting where training rows are given, and refused early."""

from pathlib import Path

import numpy as np
import pytest

from vesalius.cli import complexity as command
from vesalius.complexity import Complexity, Training

TABLE = ("models.py:net", "many.npz", "--names", "red,green,blue", "--rows", "0", "--methods", "occlusion", "--complexity", "relu")
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
def test_unknown_values_and_models_without_a_graph_are_refused_before_any_method_runs(explain):
    unknown = explain(*TABLE[:-1], "relo")
    assert unknown.code == 2 and "relo" in unknown.err
    branch = explain("models.py:branch", *TABLE[1:])
    assert branch.code == 2 and "needs the graph" in branch.err
    assert not Path("out").exists()
