"""Explorers of small models, each listening on a port that was free."""

import json
import urllib.error
import urllib.request

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn

from vesalius.explorer import ExplorerOptions, explore

NAMES = ["<b>length</b>", "width", "height", "weight"]
CLASSES = ["<img src=x onerror=alert(1)>", "b & c", "</script><script>alert(2)</script>"]
WORDS = ["[PAD]", "[UNK]", "the", "film", "was", "great", "dull", "not", ".", "<", ">", "b", "/"]


class Picture(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 3, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.out(torch.relu(self.conv(x)).mean((2, 3)))


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.out = nn.Embedding(len(WORDS), 4), nn.Linear(4, 2)

    def forward(self, ids):
        return self.out(torch.tanh(self.embedding(ids)).mean(1))


def table_model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


@pytest.fixture(scope="package")
def rows():
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="package")
def pictures():
    return torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="package")
def tokenizer():
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


@pytest.fixture(scope="package")
def texts():
    return ["the film was great .", "the film was not great .", "dull ."]


@pytest.fixture(scope="package")
def trained_models():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {"table": table_model(0), "other": table_model(1), "picture": Picture(), "text": Text()}


@pytest.fixture(scope="package")
def table(rows, trained_models):
    options = ExplorerOptions(names=NAMES, classes=CLASSES, labels=[0, 1, 2, 0, 1, 2, 0])
    with explore(trained_models["table"], rows, beside=trained_models["other"], options=options) as explorer:
        yield explorer


@pytest.fixture(scope="package")
def gallery(pictures, trained_models):
    with explore(trained_models["picture"], pictures) as explorer:
        yield explorer


@pytest.fixture(scope="package")
def library(texts, tokenizer, trained_models):
    options = ExplorerOptions(classes=["bad", "good"], labels=["good", "bad", "bad"])
    with explore(trained_models["text"], texts, tokenizer=tokenizer, options=options) as explorer:
        yield explorer


def request(explorer, place="answer", body=b"{}", *, method="POST", headers=(), address=None):
    """Status, headers and text of one request, as urllib sends it."""
    sent = urllib.request.Request(
        (explorer.address if address is None else address) + place,
        data=body if method == "POST" else None,
        method=method,
        headers={"Content-Type": "application/json", **dict(headers)},
    )
    try:
        with urllib.request.urlopen(sent, timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def ask(explorer, **question):
    """The answer to a question, which was given."""
    status, _, text = request(explorer, body=json.dumps(question).encode())
    assert status == 200, text
    return json.loads(text)
