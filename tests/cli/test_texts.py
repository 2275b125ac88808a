"""``vesalius explain`` of texts: files of them, tokenizers from files, and what is said of wrong ones."""

import json
from pathlib import Path

import pytest

from tests.language.models import CORPUS, byte_tokenizer, piece_tokenizer

MODELS = """
import sys
sys.path.insert(0, {root!r})
from tests.language.models import Mood, Recall

def mood(): return Mood(60)
def lm(): return Recall(320)
def small(): return Mood(30)
"""


@pytest.fixture
def texts(home):
    root = str(Path(__file__).parents[2])
    Path("lm.py").write_text(MODELS.format(root=root))
    piece_tokenizer().save("pieces.json")
    byte_tokenizer().save("bytes.json")
    Path("reviews.txt").write_text("\n".join(CORPUS))
    Path("reviews.jsonl").write_text("\n".join(json.dumps({"review": text, "mood": "good", "stars": 3}) for text in CORPUS))
    Path("reviews.csv").write_text("review,mood\n" + "\n".join(f'"{text}",good' for text in CORPUS))
    Path("empty.txt").write_text("\n\n")
    Path("gap.csv").write_text('text\ngood\n" "\n')
    Path("wrong.json").write_text("{}")
    Path("special.txt").write_text("[CLS] [SEP]\n")
    Path("long.txt").write_text("the film was great " * 20)


def run(vesalius, *words):
    return vesalius("explain", *words, "--out", "out", "--methods", "occlusion")


@pytest.mark.parametrize(
    "words",
    [("reviews.txt",), ("reviews.jsonl", "--text", "review", "--label", "mood"), ("reviews.csv", "--label", "mood")],
    ids=["txt", "jsonl", "csv"],
)
def test_files_of_texts(vesalius, texts, words):
    ran = run(vesalius, "lm.py:mood", *words, "--tokenizer", "pieces.json", "--rows", "0:3")
    assert ran.code == 0, ran.err
    facts = json.loads(Path("out/summary.json").read_text())
    assert [one["text"] for one in facts["texts"]] == CORPUS[:3] and Path("out/occlusion.safetensors").is_file()
    assert "great" in Path("out/report.html").read_text()
    assert all(("label good" in one["outcome"]) == ("--label" in words) for one in facts["texts"])


def test_a_continuation(vesalius, texts):
    Path("prompt.txt").write_text("the film was")
    assert run(vesalius, "lm.py:lm", "prompt.txt", "--tokenizer", "bytes.json", "--generate", "2", "--baseline", "delete").code == 0
    assert Path("out/report.html").read_text().count('class="cell"') == 6


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("lm.py:mood", "reviews.txt"), "give --tokenizer"),
        (("lm.py:mood", "empty.txt", "--tokenizer", "pieces.json"), "holds no texts"),
        (("lm.py:mood", "gap.csv", "--tokenizer", "pieces.json"), "row 1 of gap.csv is an empty text"),
        (("lm.py:mood", "special.txt", "--tokenizer", "pieces.json"), "only special tokens"),
        (("lm.py:lm", "long.txt", "--tokenizer", "bytes.json"), "takes at most 32"),
        (("lm.py:small", "reviews.txt", "--tokenizer", "pieces.json"), "another vocabulary"),
        (("lm.py:mood", "reviews.txt", "--tokenizer", "none.json"), "there is no tokenizer none.json"),
        (("lm.py:mood", "reviews.txt", "--tokenizer", "wrong.json"), "cannot be read as a tokenizer"),
        (("lm.py:mood", "reviews.jsonl", "--tokenizer", "pieces.json"), "say which holds the texts: --text COLUMN"),
        (("lm.py:mood", "reviews.jsonl", "--tokenizer", "pieces.json", "--text", "reviw"), "did you mean 'review'"),
        (("lm.py:mood", "reviews.txt", "--tokenizer", "pieces.json", "--text", "review"), "each line is a text"),
        (("lm.py:mood", "reviews.txt", "--tokenizer", "pieces.json", "--baseline", "eos"), "no token for 'eos'"),
        (("lm.py:mood", "reviews.txt", "--tokenizer", "pieces.json", "--flow", ":"), "is for rows of numbers"),
        (("net.safetensors", "reviews.txt", "--tokenizer", "pieces.json"), "need the live model"),
    ],
)
def test_wrong_texts_are_told(vesalius, texts, words, told):
    ran = run(vesalius, *words)
    assert ran.code == 2 and told in ran.err
