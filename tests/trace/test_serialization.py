"""Networks as files: what cannot be read says so, and no file can run code."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

import vesalius
from tests.crafted import rewrite_whole
from tests.zoo import specimen
from vesalius.core.errors import ForeignFile
from vesalius.core.store import write
from vesalius.trace import Network


@pytest.fixture(scope="module")
def mlp() -> Network:
    one = specimen("mlp")
    return vesalius.trace(one.build(), *one.example(1)[0])


def rewritten(path: Path, change) -> Path:
    """The file with other facts in its header."""
    return rewrite_whole(path, path, lambda header, tensors: change(header))


@pytest.fixture
def file(mlp: Network, tmp_path: Path) -> Path:
    return mlp.save(tmp_path / "mlp.safetensors")


def nodes(whole) -> list:
    return [row for row in whole["facts"]["graph"]["nodes"] if row["op"] == "call_function"]


def parameters(whole) -> list:
    return [row for row in whole["facts"]["graph"]["nodes"] if row["op"] == "get_attr"]


BROKEN = [
    ("an op that is no op of torch", lambda w: nodes(w)[1].update(target="os.system.default"), "asks for the op 'os.system.default'"),
    ("an op that torch does not have", lambda w: nodes(w)[1].update(target="aten.lineal.default"), "asks for the op 'aten.lineal.default'"),
    ("a builtin", lambda w: nodes(w)[1].update(target="builtins.eval"), "asks for the op 'builtins.eval'"),
    ("a newer format", lambda w: w.update(format=99), "format 99, newer than this version"),
    ("another kind", lambda w: w.update(kind="allocation"), "holds a 'allocation', not a 'network'"),
    ("no graph", lambda w: w["facts"].pop("graph"), "nobody|graph|corrupted"),
    ("a node without arguments", lambda w: nodes(w)[1].pop("args"), "nobody|graph|corrupted"),
    ("a node that is not there", lambda w: nodes(w)[1].update(args=[{"node": "nobody"}]), "nobody|graph|corrupted"),
    ("an output that is not there", lambda w: w["facts"]["graph"].update(output="nobody"), "nobody|graph|corrupted"),
    ("a parameter that is not there", lambda w: parameters(w)[0].update(target="nobody"), "nobody|graph|corrupted"),
]


@pytest.mark.parametrize(("change", "message"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_file_with_a_broken_graph_is_foreign(file: Path, change, message):
    with pytest.raises(ForeignFile, match=message):
        Network.load(rewritten(file, change))


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.95])
def test_a_cut_file_is_foreign(file: Path, keep: float):
    raw = file.read_bytes()
    file.write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(ForeignFile, match="corrupted or not a vesalius file"):
        Network.load(file)


def test_a_flipped_byte_among_the_weights_is_noticed(file: Path):
    raw = bytearray(file.read_bytes())
    raw[-3] ^= 0x40
    file.write_bytes(bytes(raw))
    with pytest.raises(ForeignFile, match="corrupted"):
        Network.load(file)


def test_files_of_others_are_foreign_and_absent_ones_absent(tmp_path: Path):
    (tmp_path / "pickle").write_bytes(pickle.dumps({"weights": [1, 2]}))
    with pytest.raises(ForeignFile, match="corrupted or not a vesalius file"):
        Network.load(tmp_path / "pickle")
    write(tmp_path / "other", "allocation", {"values": torch.ones(2)}, {})
    with pytest.raises(ForeignFile, match="holds a 'allocation', not a 'network'"):
        Network.load(tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="no file"):
        Network.load(tmp_path / "absent")


def test_a_file_needs_no_model_and_keeps_its_own_weights(file: Path, mlp: Network):
    loaded, x = Network.load(file), specimen("mlp").example(3)[0][0]
    assert torch.equal(loaded(x), mlp(x))
    loaded.parameters["fc1.weight"].mul_(0)
    assert not torch.equal(loaded(x), mlp(x))
    assert loaded.call is None
