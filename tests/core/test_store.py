"""Files: whole or absent, and a clear word about those that are not ours."""

import json

import pytest
import torch
from safetensors.torch import save_file

from vesalius.core import store
from vesalius.core.errors import ForeignFile


def test_what_is_written_is_read(tmp_path):
    view = torch.arange(12.0).reshape(3, 4).T
    path = store.write(tmp_path / "x.safetensors", "thing", {"a": view, "b": view}, {"n": 1, "text": "ü"})
    tensors, facts = store.read(path, "thing")
    assert torch.equal(tensors["a"], view)
    assert torch.equal(tensors["b"], view)
    assert facts == {"n": 1, "text": "ü"}


def test_others_may_read_what_their_umask_allows(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    assert store.write(tmp_path / "x.safetensors", "thing", {}, {}).stat().st_mode == plain.stat().st_mode


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = store.write(tmp_path / "x.safetensors", "thing", {"a": torch.ones(1)}, {})
    with pytest.raises(TypeError):
        store.write(path, "thing", {"a": torch.zeros(1)}, {"bad": object()})
    assert store.read(path, "thing")[0]["a"].item() == 1
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_replaced_whole(tmp_path):
    store.write_text(tmp_path / "p.html", "one")
    store.write_text(tmp_path / "p.html", "two")
    assert (tmp_path / "p.html").read_text() == "two"
    assert len(list(tmp_path.iterdir())) == 1


def write_foreign(path):
    save_file({"a": torch.ones(1)}, path)


def write_newer(path):
    save_file({"a": torch.ones(1)}, path, metadata={"vesalius": json.dumps({"kind": "thing", "format": 99, "facts": {}})})


def write_other_kind(path):
    store.write(path, "other", {"a": torch.ones(1)}, {})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"not a file of ours"), "corrupted"),
        (lambda path: path.write_bytes(b""), "corrupted"),
        (write_foreign, "was not written by vesalius"),
        (write_newer, "newer than this version"),
        (write_other_kind, "holds a 'other', not a 'thing'"),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path, make, message):
    path = tmp_path / "x.safetensors"
    make(path)
    with pytest.raises(ForeignFile, match=message):
        store.read(path, "thing")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        store.read(tmp_path / "nowhere", "thing")
