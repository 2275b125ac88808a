"""``vesalius explore``: from words to a page that answers, for every kind of data, and its end."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.explorer import conftest as exploring
from tests.explorer.conftest import ask, request
from vesalius.cli.app import _parse
from vesalius.cli.commands import open_explorers
from vesalius.explorer import Explorer

texts, tokenizer = exploring.texts, exploring.tokenizer


@pytest.fixture
def opened(home):
    """An explorer for some words, closed at the end."""
    explorers = []

    def open_one(*words):
        with torch.random.fork_rng(devices=[]):
            explorers.append(open_explorers(_parse(["explore", *map(str, words)])))
        return explorers[-1]

    yield open_one
    for explorer in explorers:
        explorer.close()


def test_a_table_and_two_models(opened, weights):
    save_file({name: -value for name, value in weights.items()}, "other.safetensors")
    found = ask(
        opened(
            "models.py:net", "x.npz", "--weights", "w.safetensors", "--beside", "models.py:net", "--beside-weights", "other.safetensors",
            "--names", "red,green,blue", "--features", "a,b,c,d", "--rows", "2:5",
        )
    )  # fmt: skip
    assert found["sample"]["name"].startswith("row 2, label") and found["sample"]["values"] == pytest.approx(
        np.load("x.npz")["x"][2], rel=1e-6
    )
    first, second = (model["scores"] for model in found["models"])
    assert "green" in first and first != second


def test_a_folder_of_pictures(opened):
    for name in ("ape", "bee"):
        Path("photos", name).mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(Path("photos", name, "1.png"))
    explorer = opened("models.py:colour", "photos", "--normalize", "0.5:0.5", "--size", "8")
    found = ask(explorer, masks=[[0, 0, 4, 4]], method="occlusion", players="patches:4")
    assert found["sample"]["name"] == "ape/1.png, label ape" and found["sample"]["picture"].startswith("<svg")
    assert found["models"][0]["parts"][0]["refusal"] == ""


def test_texts(opened, tokenizer, texts):
    Path("reviews.csv").write_text("text,mood\n" + "".join(f"{text},{mood}\n" for text, mood in zip(texts, "gbb", strict=True)))
    tokenizer.save("tokenizer.json")
    Path("reading.py").write_text(
        "import torch\n\n\nclass Mean(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.table, self.out = torch.nn.Embedding(13, 4), torch.nn.Linear(4, 2)\n\n"
        "    def forward(self, ids):\n        return self.out(self.table(ids).mean(1))\n"
    )
    explorer = opened(
        "reading.py:Mean", "reviews.csv", "--label", "mood", "--tokenizer", "tokenizer.json", "--names", "b,g", "--rows", "1:"
    )
    found = ask(explorer, row=0, players="words", method="occlusion")
    assert found["sample"] == {"name": "text 0, label b", "values": [], "text": texts[1], "picture": ""}
    assert "great" in found["models"][0]["parts"][0]["html"]


def test_the_command_says_where_it_is_and_ends_with_ctrl_c(vesalius, home, monkeypatch):
    asked = []

    def stop(explorer):
        asked.append(request(explorer, "", method="GET")[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(Explorer, "wait", stop)
    ran = vesalius("explore", "models.py:net", "x.npz")
    address, last = ran.out.splitlines()
    assert ran.code == 0 and asked == [200] and address.startswith("http://127.0.0.1:") and last == "the explorer is closed"
    assert "Ctrl-C" in ran.err and not (home / "out").exists()


def test_stopped_before_it_listens(vesalius, home, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("vesalius.cli.commands.load_samples", stop)
    ran = vesalius("explore", "models.py:net", "x.npz")
    assert ran.code == 130 and "before anything was done" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x.npz", "--beside-weights", "w.safetensors"], "--beside"),
        (["x.npz", "--rows", "77"], "does not exist"),
        (["x.npz", "--port", "70000"], "port"),
        (["x.npz", "--seconds", "0"], "seconds"),
        (["nothing.npz"], "nothing.npz"),
        (["texts.txt"], "--tokenizer"),
        (["texts.txt", "--tokenizer", "t.json", "--size", "8"], "--size"),
        (["x.npz", "--beside", "models.py:tokens"], "models.py:tokens"),
    ],
)
def test_what_cannot_be_explored_is_said(vesalius, home, words, said):
    Path("texts.txt").write_text("a film\n")
    ran = vesalius("explore", "models.py:net", *words)
    assert ran.code == 2 and said in ran.err and ran.out == ""
