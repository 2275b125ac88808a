"""Files of pruned networks: nothing is lost, little is written, and nothing half."""

import os
from importlib.util import find_spec

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import vesalius as vs
from tests.reference import unit_removal
from vesalius.core import store
from vesalius.core.errors import ForeignFile, InvalidInput, UnknownName
from vesalius.sparsity import sparsify
from vesalius.sparsity.compact import compact
from vesalius.sparsity.compression.codec import decode, encode, encode_model, save_sparse
from vesalius.sparsity.compression.exporting import load_sparse
from vesalius.sparsity.compression.sparse_linear import SparseLinear

X = torch.randn(300, 30, generator=torch.Generator().manual_seed(0))


def mlp(seed=0, wide=80):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(30, wide), nn.ReLU(), nn.Linear(wide, 50), nn.ReLU(), nn.Linear(50, 5)).eval()


@pytest.fixture(scope="module")
def pruned():
    return sparsify(mlp(), X, sparsity=0.9)


@pytest.fixture(scope="module")
def small(pruned):
    ticks = iter(range(1 << 30))
    return compact(pruned.network, dense=pruned.dense, rows=X, batches=(2,), clock=lambda: float(next(ticks)))


@given(st.lists(st.integers(0, 3000), unique=True, max_size=40), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_any_pattern_comes_back(places, dtype):
    tensor = torch.zeros(3001, dtype=dtype)
    tensor[places] = torch.arange(1, len(places) + 1).to(dtype)
    parts, facts = encode(tensor)
    assert torch.equal(decode(parts, facts), tensor)
    if facts["encoding"].startswith("delta"):
        most = {"delta8": 255, "delta16": 65535}[facts["encoding"]]
        assert parts["where"].tolist() == unit_removal.gap_encoding(sorted(places), most)


@pytest.mark.parametrize(("share", "way"), [(0.5, "bitmask"), (0.95, "delta8"), (0.999, "delta16"), (0.0, "dense")])
def test_the_smallest_way_is_taken(share, way):
    generator = torch.Generator().manual_seed(0)
    tensor = torch.randn(500, 600, generator=generator)
    tensor[torch.rand(500, 600, generator=generator) < share] = 0
    parts, facts = encode(tensor)
    assert facts["encoding"] == way
    assert torch.equal(decode(parts, facts), tensor)
    kept = int(tensor.count_nonzero())
    least = {"bitmask": 300_000 // 8, "delta8": kept, "delta16": 2 * kept, "dense": 0}[way]
    assert sum(part.nbytes for part in parts.values()) <= 4 * kept + least * 1.1


def test_tensors_of_all_kinds_come_back():
    for tensor in (torch.zeros(7), torch.zeros(0, 3), torch.arange(5), torch.tensor(2.0), torch.eye(9).bool(), torch.eye(40)[::2].t()):
        assert torch.equal(decode(*encode(tensor)), tensor)


@pytest.mark.parametrize("form", ["dense", "csr", "picked", "block"])
def test_weights_round_trip_into_a_model_with_other_weights(pruned, small, tmp_path, form):
    with torch.no_grad():
        expected = pruned.model(X)
        for number, one in enumerate((pruned, small)):
            path = one.export(tmp_path / f"{number}.safetensors")
            other = mlp(seed=5)
            found = load_sparse(path, other, form=form)
            torch.testing.assert_close(found(X), expected, rtol=1e-5, atol=1e-5)
            assert torch.equal(other[0].weight, mlp(seed=5)[0].weight), "the model given was changed"
    assert any(isinstance(layer, SparseLinear) for layer in found) is (form in ("csr", "block"))
    assert found[0].out_features < 80


def test_at_90_percent_the_file_is_at_most_a_quarter(tmp_path):
    model = mlp(wide=300)
    result = sparsify(model, X, sparsity=0.9)
    dense = save_sparse(tmp_path / "dense.safetensors", model)
    small = result.export(tmp_path / "sparse.safetensors")
    assert small.stat().st_size <= 0.25 * dense.stat().st_size


def test_tied_weights_are_written_once(tmp_path):
    model = vs.models.Autoencoder([30, 12], tied=True)
    facts = encode_model(model)[1]
    assert sum("same_as" in one for one in facts.values()) == 1
    path = save_sparse(tmp_path / "tied.safetensors", model)
    found = load_sparse(path, vs.models.Autoencoder([30, 12], tied=True, seed=4))
    assert found.encoder[0].weight is found.decoder[0].weight
    torch.testing.assert_close(found(X.sigmoid()), model(X.sigmoid()))
    with pytest.raises(InvalidInput, match=r"are one tensor in .* and two in this model"):
        load_sparse(path, _untied(model))


def _untied(model):
    other = vs.models.Autoencoder([30, 12], tied=True)
    other.decoder[0].weight = nn.Parameter(model.encoder[0].weight.detach().clone())
    return other


def test_programs_open_in_pytorch_with_any_batch(pruned, small, tmp_path):
    with torch.no_grad():
        expected = pruned.model(X)
        for number, one in enumerate((pruned, small)):
            program = torch.export.load(one.export(tmp_path / f"{number}.pt2")).module()
            torch.testing.assert_close(program(X[:7]), expected[:7], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(program(X[:1]), expected[:1], rtol=1e-5, atol=1e-5)
    assert os.path.getsize(tmp_path / "1.pt2") < os.path.getsize(tmp_path / "0.pt2")


@pytest.mark.skipif(not (find_spec("onnx") and find_spec("onnxscript")), reason="the extra 'onnx' is not installed")
def test_onnx_programs_compute_the_same(pruned, small, tmp_path):
    import onnx
    from onnx.reference import ReferenceEvaluator

    session = ReferenceEvaluator(onnx.load(small.export(tmp_path / "small.onnx")))
    (found,) = session.run(None, {session.input_names[0]: X[:7].numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), pruned.model(X[:7]), rtol=1e-5, atol=1e-5)


def test_without_the_package_onnx_says_what_to_install(small, tmp_path, monkeypatch):
    monkeypatch.setattr("vesalius.sparsity.compression.exporting.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"needs onnx and onnxscript; install them with: pip install 'vesalius\[onnx\]'"):
        small.export(tmp_path / "small.onnx")


@pytest.mark.parametrize("suffix", ["safetensors", "pt2"])
def test_an_interrupted_write_leaves_the_old_file(small, tmp_path, monkeypatch, suffix):
    path = small.export(tmp_path / f"net.{suffix}")
    before = path.read_bytes()

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(store.os, "replace", fail)
    with pytest.raises(OSError, match="disk is full"):
        small.export(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_files_and_models_that_do_not_fit_are_refused(small, pruned, tmp_path, as_a_user):
    path = small.export(tmp_path / "net.safetensors")
    with pytest.raises(InvalidInput, match=r"'net.bin' ends with none of .safetensors, .pt2, .onnx"):
        small.export(tmp_path / "net.bin")
    with pytest.raises(InvalidInput, match=r"it lacks '5\.bias'"):
        load_sparse(path, nn.Sequential(*mlp(), nn.Linear(5, 5)))
    with pytest.raises(InvalidInput, match=r"'4\.bias' is not in this model"):
        load_sparse(path, mlp()[:4])
    with pytest.raises(InvalidInput, match="give the model that was pruned"):
        load_sparse(path, mlp(wide=20))
    with pytest.raises(UnknownName, match="there is no form 'coo'"):
        load_sparse(path, mlp(), form="coo")
    with pytest.raises(ForeignFile, match="holds a 'network'"):
        load_sparse(pruned.dense.save(tmp_path / "other.safetensors"), mlp())
    with pytest.raises(FileNotFoundError):
        load_sparse(tmp_path / "none.safetensors", mlp())
    tensor = torch.eye(40)
    parts, facts = encode(tensor)
    with pytest.raises(ForeignFile, match="the file is damaged"):
        decode({**parts, "values": parts["values"][:-1]}, facts)
