"""Every file a command is given may be anything: it ends in one plain line, never in a traceback or in a fault of ours."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save, save_file

from vesalius.cli import arrays, pictures
from vesalius.core.errors import MemoryExhausted


def npy(array, **options):
    held = io.BytesIO()
    np.lib.format.write_array(held, array, **options)
    return held.getvalue()


def npy_head(shape, descr="<f4", version=b"\x01\x00"):
    """A head of an array, and four bytes of it."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + bytes(4)


def npz(members, compression=zipfile.ZIP_STORED):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as box:
        for name, content in members.items():
            box.writestr(name, content)
    return held.getvalue()


def changed(content, place, byte):
    raw = bytearray(content)
    raw[place] = byte
    return bytes(raw)


def encrypted(content):
    """With the flag of a password set, in both places."""
    raw = bytearray(content)
    raw[6] |= 1
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(raw)


def torch_file(value):
    held = io.BytesIO()
    torch.save(value, held)
    return held.getvalue()


X = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
GOOD = npz({"x.npy": npy(X)})
TERA = 1 << 40
RECORD = np.zeros(10, [("a", "f4"), ("b", "f4")])

DATA = {
    "empty.npz": b"",
    "none.npz": npz({}),
    "text.npz": npz({"readme.txt": b"hello"}),
    "torn.npz": GOOD[: len(GOOD) // 2],
    "end.npz": GOOD[:-10],
    "checksum.npz": changed(GOOD, 200, 77),
    "password.npz": encrypted(GOOD),
    "method.npz": changed(changed(GOOD, 8, 99), GOOD.rindex(b"PK\x01\x02") + 10, 99),
    "liar.npz": npz({"x.npy": npy_head((TERA, 4))}),
    "objects.npz": npz({"x.npy": npy(np.array([{"a": 1}, None], object), allow_pickle=True)}),
    "record.npz": npz({"x.npy": npy(RECORD)}),
    "scalar.npz": npz({"x.npy": npy(np.float32(3))}),
    "dates.npz": npz({"x.npy": npy(np.zeros((3, 4), "M8[s]"))}),
    "labels.npz": npz({"x.npy": npy(X), "y.npy": npy(RECORD)}),
    "complex.npz": npz({"x.npy": npy(X), "y.npy": npy(np.zeros(10, complex))}),
    "twice.npz": npz({"x.npy": npy(X), "x": b"y"}),
    "path.npz": npz({"../../x.npy": npy(X), "y.npy": npy(np.arange(10.0))}),
    "empty.npy": b"",
    "magic.npy": b"\x93NUMPY",
    "liar.npy": npy_head((TERA, TERA)),
    "negative.npy": npy_head((-1, 4)),
    "code.npy": npy_head("__import__('os').getcwd()"),
    "version.npy": npy_head((1, 1), version=b"\x09\x00"),
    "kind.npy": npy_head((1, 1), descr="<z9"),
    "pickle.npy": pickle.dumps(X),
    "record.npy": npy(RECORD),
    "long.npy": npy(X.astype(np.longdouble)),
    "empty.safetensors": b"",
    "header.safetensors": struct.pack("<Q", 1 << 41) + b"{}",
    "json.safetensors": struct.pack("<Q", 2) + b"[]",
    "kind.safetensors": struct.pack("<Q", 64) + b'{"x":{"dtype":"F9","shape":[2,4],"data_offsets":[0,32]}}'.ljust(64) + bytes(32),
    "offsets.safetensors": struct.pack("<Q", 64) + b'{"x":{"dtype":"F32","shape":[9,4],"data_offsets":[0,32]}}'.ljust(64) + bytes(32),
    "eight.safetensors": save({"x": torch.zeros(3, 4).to(torch.float8_e4m3fn)}),
    "complex.safetensors": save({"x": torch.zeros(3, 4), "y": torch.zeros(3, dtype=torch.complex64)}),
    "empty.csv": b"",
    "nul.csv": b"a,b,c,d\n1,2,\x00,4\n",
    "utf16.csv": "a,b,c,d\n1,2,3,4\n".encode("utf-16"),
    "latin.csv": "größe,b,c,d\n1,2,3,4\n".encode("latin-1"),
    "binary.csv": bytes(range(256)) * 4,
    "ragged.csv": b"a,b,c,d\n1,2,3,4\n1,2\n",
    "field.csv": b"a,b,c,d\n" + b"1" * 200_000 + b",2,3,4\n",
    "quote.csv": b'a,b,c,d\n"1,2,3,4\n',
    "infinity.csv": b"a,b,c,d\n1,2,3,1e999\n",
    "underscore.csv": b"a,b,c,d\n1,2,3,1_000\n",
    "page.csv": b"<html><body>not found</body></html>",
    "empty.parquet": b"",
    "magic.parquet": b"PAR1" + bytes(40) + b"PAR1",
    "file.txt": b"1,2,3,4\n",
    "no suffix": b"1,2,3,4\n",
}


def assert_plain(ran):
    lines = ran.err.strip().splitlines()
    assert ran.code == 2 and ran.out == "" and len(lines) == 1 and lines[0].startswith("vesalius: "), ran
    assert "fault" not in lines[0] and "Traceback" not in ran.err


@pytest.mark.parametrize("name", sorted(DATA))
def test_data(name, explain):
    Path(name).write_bytes(DATA[name])
    assert_plain(explain("models.py:net", name))


SOME = ["liar.npz", "torn.npz", "objects.npz", "record.npy", "eight.safetensors", "binary.csv", "magic.parquet"]


@pytest.mark.parametrize("name", SOME)
def test_data_to_be_pruned_by_tested_on_and_trained_on(name, vesalius, explain, home):
    Path(name).write_bytes(DATA[name])
    assert_plain(vesalius("sparsify", "models.py:net", name, "--out", "out"))
    assert_plain(vesalius("sparsify", "models.py:net", "x.npz", "--test", name, "--out", "out"))
    assert_plain(explain("models.py:net", "x.npz", "--complexity", "relu", "--train", name))


WEIGHTS = {
    "empty.pt": b"",
    "text.pt": b"not at all",
    "torn.pt": torch_file({"a.weight": torch.zeros(8, 4)})[:-100],
    "numbers.pt": torch_file({1: torch.zeros(2), 2: torch.zeros(3)}),
    "mixed.pt": torch_file({"state_dict": {"a.weight": 3}}),
    "nothing.pt": torch_file(None),
    "sparse.pt": torch_file({name: torch.zeros(shape).to_sparse() for name, shape in (("a.weight", (8, 4)), ("a.bias", (8,)))}),
    "pickle.pt": pickle.dumps({"a.weight": X}),
    "protocol.pt": b"\x80\x09K\x01.",
    "zip.pt": GOOD,
    "eval.pt": b"c__builtin__\neval\n(S'1'\ntR.",
    "empty.safetensors": b"",
    "header.safetensors": struct.pack("<Q", 1 << 41) + b"{}",
}


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_weights(name, explain):
    Path(name).write_bytes(WEIGHTS[name])
    assert_plain(explain("models.py:net", "x.npz", "--weights", name))


MODELS = {
    "empty.safetensors": b"",
    "others.safetensors": save({"x": torch.zeros(2)}),
    "header.safetensors": struct.pack("<Q", 1 << 41) + b"{}",
    "empty.pt2": b"",
    "zip.pt2": GOOD,
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_models(name, explain):
    Path(name).write_bytes(MODELS[name])
    assert_plain(explain(name, "x.npz", "--trust"))


LABELS = {
    "binary.txt": bytes(range(256)),
    "empty.txt": b"",
    "objects.npy": npy(np.array([{"a": 1}] * 10, object), allow_pickle=True),
    "record.npy": npy(RECORD),
    "complex.npy": npy(np.zeros(10, complex)),
    "liar.npy": npy_head((TERA,)),
    "huge.npy": npy(np.full(10, 1e300)),
}


@pytest.mark.parametrize("name", sorted(LABELS))
def test_labels_and_names(name, explain):
    np.save("only.npy", X)
    Path(name).write_bytes(LABELS[name])
    assert_plain(explain("models.py:net", "only.npy", "--labels", name))
    if name == "binary.txt":
        assert_plain(explain("models.py:net", "only.npy", "--names", name))
        assert_plain(explain("models.py:net", "only.npy", "--features", name))


def png(width, height):
    """A picture that says it is so large."""
    held = io.BytesIO()
    Image.new("L", (2, 2)).save(held, "png")
    raw = bytearray(held.getvalue())
    raw[16:24] = struct.pack(">II", width, height)

    raw[29:33] = struct.pack(">I", zlib.crc32(bytes(raw[12:29])))
    return bytes(raw)


PICTURES = {
    "empty.png": b"",
    "torn.png": png(2, 2)[:40],
    "large.png": png(50_000, 50_000),
    "larger.png": png(1 << 30, 1 << 30),
    "name.jpg": b"not a picture",
    "head.bmp": b"BM" + bytes(60),
    "frames.gif": b"GIF89a" + bytes(20),
    "tags.tif": b"II*\x00\xff\xff\xff\x7f",
}


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_pictures(name, explain):
    Path("photos").mkdir()
    Path("photos", name).write_bytes(PICTURES[name])
    assert_plain(explain("models.py:pictures", "photos"))
    assert_plain(explain("models.py:pictures", "photos", "--size", "8", "--baseline", "mean"))


@pytest.mark.parametrize("size", ["0", "-3", "1000000"])
def test_sizes_of_pictures(size, explain):
    Path("photos").mkdir()
    Image.new("L", (9, 9)).save("photos/a.png")
    assert_plain(explain("models.py:pictures", "photos", "--size", size))


@pytest.mark.parametrize("name", ["data.npz", "data.npy", "data.csv", "data.safetensors"])
def test_a_pipe_is_not_waited_for(name, explain):
    os.mkfifo(name)
    assert_plain(explain("models.py:net", name))
    assert_plain(explain("models.py:net", "x.npz", "--weights", name))
    assert_plain(explain("models.py:net", "x.npz", "--labels", name))


def test_a_pipe_among_pictures_is_not_waited_for(explain):
    Path("photos").mkdir()
    os.mkfifo("photos/a.png")
    assert_plain(explain("models.py:pictures", "photos"))


def test_folders_with_the_name_of_a_picture_are_passed_over(tmp_path):
    (tmp_path / "cats.png").mkdir()
    Image.new("L", (9, 9)).save(tmp_path / "cats.png" / "a.png")
    assert pictures.listed(tmp_path) == [tmp_path / "cats.png" / "a.png"]


def test_what_unpacks_to_more_than_its_size_can_mean_is_refused(explain, monkeypatch):
    monkeypatch.setattr(arrays, "MAX_UNPACKED_BYTES", 1 << 20)
    np.savez_compressed("bomb.npz", x=np.zeros((1 << 20, 4), np.float32))
    ran = explain("models.py:net", "bomb.npz")
    assert_plain(ran)
    assert "would unpack to" in ran.err
    np.savez("plain.npz", x=np.zeros((1 << 20, 4), np.float32))
    assert explain("models.py:net", "plain.npz").code == 0


def test_what_is_compressed_is_read(explain):
    np.savez_compressed("small.npz", x=X)
    assert explain("models.py:net", "small.npz").code == 0


def test_a_full_memory_is_said_to_be_full(explain, monkeypatch):
    def full(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(arrays.np, "load", full)
    ran = explain("models.py:net", "x.npz")
    assert_plain(ran)
    assert "does not fit into memory" in ran.err
    with pytest.raises(MemoryExhausted, match="fewer rows"):
        arrays.read_npz(Path("x.npz"))


def test_whole_numbers_of_every_width_are_read(tmp_path):
    save_file({"x": torch.ones(2, 3, dtype=torch.int16)}, tmp_path / "x.safetensors")
    assert arrays.read_safetensors(tmp_path / "x.safetensors")["x"].dtype == torch.int64
