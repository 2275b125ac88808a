"""The command that makes a model smaller: files, page, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vesalius.models import Autoencoder, AutoencoderTraining, fit
from vesalius.sparsity import load_sparse

AUTOENCODER = "from vesalius.models import Autoencoder\n\ndef small():\n    return Autoencoder([16, 6, 3])\n"


@pytest.fixture
def rows(home):
    draws = np.random.default_rng(0)
    x = draws.random((80, 2), dtype=np.float32) @ draws.random((2, 16), dtype=np.float32) / 2
    np.savez("flat.npz", x=x)
    np.savez("few.npz", x=x[:8])
    np.savez("many.npz", x=draws.standard_normal((200, 4), dtype=np.float32), y=np.array([0, 1, 2, 1] * 50))
    Path("auto.py").write_text(AUTOENCODER)
    learnt = fit(Autoencoder([16, 6, 3]), torch.from_numpy(x), training=AutoencoderTraining(epochs=60, rate=1e-2, batch=16))
    save_file(learnt.model.state_dict(), "auto.safetensors")
    return home


@pytest.mark.usefixtures("rows")
def test_an_autoencoder_becomes_a_smaller_file_and_a_page(vesalius):
    found = vesalius(
        "sparsify", "auto.py:small", "flat.npz", "--weights", "auto.safetensors", "--sparsity", "0.7", "--shape", "4,4", "--out", "out"
    )
    assert found.code == 0, found.err
    facts = json.loads(Path("out/summary.json").read_text())
    assert facts["sparsity"] == pytest.approx(0.7, abs=0.01) and facts["error, pruned"] > 0 and "accuracy before" not in facts
    page = Path("out/report.html").read_text()
    for words in ("Size and speed of the pruned network", "Importance of the links that units of", "vesalius sparsify auto.py:small"):
        assert words in page
    model = load_sparse("out/pruned.safetensors", Autoencoder([16, 6, 3]))
    x = torch.from_numpy(np.load("flat.npz")["x"])
    error = float((model(x).detach() - x).double().square().mean())
    assert error == pytest.approx(facts["error, pruned"], rel=1e-4)


@pytest.mark.usefixtures("rows")
def test_a_classifier_has_its_accuracy_before_and_after(vesalius):
    words = (
        "sparsify",
        "models.py:net",
        "many.npz",
        "--mode",
        "paper",
        "--level",
        "0.9",
        "--layers",
        "a",
        "--write",
        "program",
        "--out",
        "out",
    )
    found = vesalius(*words)
    assert found.code == 0, found.err
    facts = json.loads(Path("out/summary.json").read_text())
    assert set(facts["by layer"]) == {"a"} and 0 <= facts["accuracy after"] <= 1
    assert Path("out/pruned.pt2").exists() and "before," in Path("out/report.html").read_text()


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--sparsity", "1.5"], "at least 0 and below 1"),
        (["--score", "shaply"], "did you mean 'shapley'"),
        (["--layers", "nowhere"], "nowhere"),
        (["--shape", "5,5"], "none of an image"),
        (["--shape", "wide"], "is not height,width"),
        (["--write", "zip"], "no form to write the model in"),
        (["--level", "0.5", "--mode", "papr"], "did you mean 'paper'"),
    ],
)
def test_wrong_words_are_refused_with_what_is_right(vesalius, words, told):
    found = vesalius("sparsify", "auto.py:small", "flat.npz", *words, "--out", "out")
    assert found.code == 2 and told in found.err
    assert not Path("out/report.html").exists()


@pytest.mark.usefixtures("rows")
def test_too_few_rows_are_refused(vesalius):
    found = vesalius("sparsify", "auto.py:small", "few.npz", "--out", "out")
    assert found.code == 2 and "8 samples came" in found.err
