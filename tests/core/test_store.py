"""Files: whole or absent, and a clear word about those that are not ours."""

import errno
import json
import os
import socket
import stat
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.crafted import craft, header_text
from vesalius.core import store
from vesalius.core.errors import ForeignFile, InvalidInput


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


# ---- where it is written ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def socket_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path may be short only
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
        yield tmp_path / "socket"


@pytest.mark.parametrize("writer", [store.write_bytes, lambda path, content: store.write(path, "thing", {}, {})])
def test_what_is_no_file_is_not_written_to(tmp_path, socket_at, writer):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    before = sorted(tmp_path.iterdir())
    for name, what in [("folder", "a folder"), ("pipe", "a pipe"), ("link", "a device"), ("socket", "a socket"), ("/dev/null", "a device")]:
        with pytest.raises(InvalidInput, match=f"is {what}, which nothing can be saved to"):
            writer(tmp_path / name, b"content")
    assert sorted(tmp_path.iterdir()) == before and stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_folder_that_would_lie_in_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="part of its path is a file"):
        store.write_text(tmp_path / "file" / "deeper" / "x", "text")


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "away").mkdir()
    target, link = tmp_path / "away" / "real", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    store.write_text(link, "new")
    assert link.is_symlink() and target.read_text() == "new" and list((tmp_path / "away").iterdir()) == [target]
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "away" / "none yet")
    store.write_text(dangling, "made")
    assert dangling.is_symlink() and (tmp_path / "away" / "none yet").read_text() == "made"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "x"
    path.touch()
    path.chmod(mode)
    store.write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_mode_of_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        path = store.write(tmp_path / "x", "thing", {}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_names_may_be_as_long_as_names_can_be(tmp_path):
    path = store.write(tmp_path / ("n" * 255), "thing", {"a": torch.ones(2)}, {})
    assert store.read(path, "thing")[0]["a"].tolist() == [1, 1] and list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="too long"):
        store.write(tmp_path / ("n" * 256), "thing", {}, {})


def test_threads_may_write_the_same_file(tmp_path):
    path = tmp_path / "x"

    def write(number):
        store.write(path, "thing", {"a": torch.full((5000,), number)}, {"number": number})
        tensors, facts = store.read(path, "thing")
        return bool((tensors["a"] == facts["number"]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write, range(64)))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["open", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch, step):
    path = store.write_text(tmp_path / "x", "old")

    def full(*args):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(store.os, step, full)
    with pytest.raises(OSError, match="no space"):
        store.write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch):
    path = store.write_text(tmp_path / "x", "old")

    def half(self, content):
        with self.open("wb") as file:
            file.write(content[:1])
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="no space"):
        store.write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_tensors_that_no_file_holds_are_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be written"):
        store.write(tmp_path / "x", "thing", {"a": torch.zeros(2, dtype=torch.complex128)}, {})
    assert not list(tmp_path.iterdir())


# ---- what is read -----------------------------------------------------------------------------------------------------------------------


def test_what_is_no_file_is_foreign(tmp_path, socket_at):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder", "socket", "/dev/zero"):
        with pytest.raises(ForeignFile, match="not a vesalius file"):
            store.read(tmp_path / name, "thing")


@pytest.mark.parametrize("length", [0, 1, 7, 1 << 20, 100_000_001, 1 << 41, (1 << 64) - 1])
def test_a_header_of_any_length_is_refused_before_it_is_read(tmp_path, length):
    path = tmp_path / "x"
    path.write_bytes(struct.pack("<Q", length) + b"{}" * 4)
    with pytest.raises(ForeignFile, match="corrupted or not a vesalius file"):
        store.read(path, "thing")


DEEP = "[" * 70 + "]" * 70


@pytest.mark.parametrize("text", [
    '{"kind": "thing", "format": 1, "tensors": ["a"], "facts": {"x": 1, "x": 2}}',
    '{"kind": "thing", "kind": "thing", "format": 1, "tensors": ["a"], "facts": {}}',
    '{"kind": "thing", "format": 1, "tensors": ["a"], "facts": {"x": ' + "9" * 5000 + "}}",
    '{"kind": "thing", "format": 1, "tensors": ["a"], "facts": {"x": ' + DEEP + "}}",
    '{"kind": "thing", "format": 1, "tensors": ["a"], "facts": {"x": ' + "[" * 100_000 + "}}",
    '{"kind": "thing", "format": NaN, "tensors": ["a"], "facts": {}}',
    '{"kind": "thing", "format": true, "tensors": ["a"], "facts": {}}',
    '{"kind": "thing", "format": -1, "tensors": ["a"], "facts": {}}',
    '{"kind": "thing", "format": 1.0, "tensors": ["a"], "facts": {}}',
    '{"kind": "thing", "format": 1, "tensors": ["a"], "facts": []}',
    '{"kind": "thing", "format": 1, "tensors": ["a", "a"], "facts": {}}',
    '{"kind": "thing", "format": 1, "tensors": [["a"]], "facts": {}}',
    '{"kind": "thing", "format": 1, "tensors": [], "facts": {}}',
    '{"kind": "thing", "format": 1, "facts": {}}',
    '{"kind": ["thing"], "format": 1, "tensors": ["a"], "facts": {}}',
    "7", '"thing"', "[]", "{", "", "\\u0000",
])  # fmt: skip
def test_headers_that_say_something_else_are_foreign_even_with_their_digest(tmp_path, text):
    with pytest.raises(ForeignFile, match=str(tmp_path)):
        store.read(craft(tmp_path / "x", text, {"a": torch.ones(1)}), "thing")


def test_every_bit_is_in_the_digest(tmp_path):
    path = store.write(tmp_path / "x", "thing", {"a": torch.ones(2), "b": torch.zeros(2)}, {"n": 1})
    whole = path.read_bytes()
    for place in range(8, len(whole)):
        raw = bytearray(whole)
        raw[place] ^= 1
        path.write_bytes(raw)
        with pytest.raises(ForeignFile):
            store.read(path, "thing")


@pytest.mark.parametrize("change", [
    lambda held: held.update(a=held["a"].long()),
    lambda held: held.update(a=held["a"][None]),
    lambda held: held.update(a=held["b"], b=held["a"]),
    lambda held: held.update(a=-held["a"]),
    lambda held: held.update(c=held["a"]),
])  # fmt: skip
def test_tensors_that_were_changed_are_noticed(tmp_path, change):
    path = store.write(tmp_path / "x", "thing", {"a": torch.ones(2), "b": torch.zeros(2)}, {})
    text, held = header_text(path), load_file(path)
    digest = store.file_digest(text, held)
    change(held)
    with pytest.raises(ForeignFile, match="damaged"):
        store.read(craft(path, text, held, digest=digest), "thing")


def test_the_digest_is_of_what_a_tensor_is_and_not_of_how_it_lies(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    assert (
        store.file_digest("", {"a": whole.T}) == store.file_digest("", {"a": whole.T.contiguous()}) != store.file_digest("", {"a": whole})
    )
    assert store.file_digest("", {"a": torch.zeros(0, 3)}) != store.file_digest("", {"a": torch.zeros(3, 0)})
