"""Every noun that can be saved is the same when it is read, and a file that is damaged or another thing is refused in one sentence."""

import json
from dataclasses import fields, replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import prune

import vesalius as vs
from tests import nouns
from tests.crafted import craft, header_text, rewrite
from tests.nouns import NOUNS, assert_alike
from vesalius.core.errors import ForeignFile, InvalidInput
from vesalius.views.report import Report

SAVED = ["Network", "Allocation", "Allocation of coalitions", "Audit", "FlowGraph", "Complexity", "Circuit", "LinkImportance", "Sparsified"]
IN_MEMORY = {"Complexity": {"source": None}, "Sparsified": {"masked": None}}
"""The live model, which is not in a file."""


@pytest.fixture(scope="module", params=SAVED)
def saved(request, tmp_path_factory):
    """A noun, its name and its file."""
    noun = NOUNS[request.param]()
    return noun, request.param, noun.save(tmp_path_factory.mktemp("nouns") / "noun")


def as_a_file_holds_it(noun, name):
    """Without the live model; facts as JSON has them."""
    if name == "Network":
        return noun
    changed = dict(IN_MEMORY.get(name, {}))
    if name == "Complexity":
        changed["inputs"] = noun.source.inputs
    if "provenance" in {field.name for field in fields(noun)}:
        changed["provenance"] = json.loads(json.dumps(dict(noun.provenance)))
    return replace(noun, **changed)


@pytest.mark.slow
def test_what_was_saved_is_read(saved):
    noun, name, path = saved
    assert_alike(type(noun).load(path), as_a_file_holds_it(noun, name), name)


def test_what_was_read_is_saved_and_read_again(saved, tmp_path):
    noun, name, path = saved
    first = type(noun).load(path)
    assert_alike(type(noun).load(first.save(tmp_path / "again")), first, name)


def rewrite_without(path, target, name):
    """A file without one of its tensors."""
    held = load_file(path)
    del held[name]
    return craft(target, header_text(path), held)


def with_facts(change):
    """A change of the facts in a header's text."""

    def changed(text):
        header = json.loads(text)
        change(header["facts"])
        return json.dumps(header)

    return changed


def test_a_fact_that_is_missing_or_of_another_type_is_damage(saved, tmp_path):
    noun, _, path = saved
    for name, value in json.loads(header_text(path))["facts"].items():
        others = [other for other in (5, "x", ["y"], {"z": 1}) if type(other) is not type(value)]
        changes = [lambda facts, name=name: facts.pop(name)]
        changes += [lambda facts, name=name, other=other: facts.update({name: other}) for other in others]
        for change in changes:
            with pytest.raises(ForeignFile, match=r"damaged|corrupted"):
                type(noun).load(rewrite(path, tmp_path / "damaged", with_facts(change)))


def test_a_tensor_that_is_missing_is_damage(saved, tmp_path):
    noun, _, path = saved
    for name in load_file(path):
        with pytest.raises(ForeignFile, match=f"lacks the tensor '{name}'"):
            type(noun).load(rewrite_without(path, tmp_path / "damaged", name))


@pytest.mark.parametrize("header", [
    lambda text: "[" * 100_000,
    lambda text: text.replace('"format": 1', '"format": "1"'),
    lambda text: text.replace('"format": 1', '"format": true'),
    lambda text: text.replace('"format": 1', '"format": 2'),
    lambda text: json.dumps({**json.loads(text), "facts": 5}),
    lambda text: json.dumps({**json.loads(text), "tensors": 5}),
    lambda text: json.dumps({**json.loads(text), "kind": "something else"}),
    lambda text: "null",
])  # fmt: skip
def test_a_header_that_is_not_ours_is_refused(saved, tmp_path, header):
    noun, _, path = saved
    with pytest.raises(ForeignFile, match=str(tmp_path)):
        type(noun).load(rewrite(path, tmp_path / "foreign", header))


def test_other_files_are_refused(saved, tmp_path):
    noun, _, path = saved
    other = NOUNS["Network" if type(noun) is not vs.Network else "Allocation"]()
    with pytest.raises(ForeignFile, match="holds a"):
        type(noun).load(other.save(tmp_path / "other"))
    with pytest.raises(ForeignFile, match="corrupted or not a vesalius file"):
        type(noun).load(NOUNS["Report"]().save(tmp_path / "page"))
    half = tmp_path / "half"
    half.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ForeignFile, match="corrupted"):
        type(noun).load(half)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        type(noun).load(tmp_path / "nowhere")


# ---- with the model again -------------------------------------------------------------------------------------------------------------


def test_complexity_finds_its_network_again_however_often_it_was_saved(tmp_path):
    before, x = NOUNS["Complexity"](), nouns.rows()[:3]
    alone = vs.Complexity.load(before.save(tmp_path / "first"))
    with pytest.raises(InvalidInput, match="without its network"):
        alone.components(x)
    again = vs.Complexity.load(alone.save(tmp_path / "second"), network=nouns.network())
    torch.testing.assert_close(again.components(x).parts, before.components(x).parts)


def test_a_pruned_network_finds_a_model_of_its_architecture_again(tmp_path):
    before, x = nouns.thin(), nouns.rows()[:5]
    other = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).eval()
    path, kept = before.save(tmp_path / "thin"), other[0].weight.clone()
    found = type(before).load(path, network=vs.trace(other, x))
    counter = "1.num_batches_tracked"  # nothing that is computed depends on it, and it is in no graph
    mine, theirs = ({name: tensor for name, tensor in one.model.state_dict().items() if name != counter} for one in (found, before))
    assert_alike(mine, theirs)
    torch.testing.assert_close(found.model(x), before.model(x))
    torch.testing.assert_close(found.dense.call.model(x), nouns.model()(x))
    assert found.network.digest() == before.network.digest() and found.dense.digest() == before.dense.digest()
    assert prune.is_pruned(found.model) and torch.equal(other[0].weight, kept), "the given model is left as it was"
    assert found.compact(nouns.rows(), batches=(1,)).row("masked").difference == 0


def test_without_a_model_a_pruned_network_still_computes_and_says_what_is_missing(tmp_path):
    before = nouns.thin()
    alone = type(before).load(before.save(tmp_path / "thin"))
    torch.testing.assert_close(alone.network(nouns.rows()), before.network(nouns.rows()))
    assert repr(alone) == repr(before) and alone.sparsity == before.sparsity and "links" in vs.report(alone, title="Pruned").html
    with pytest.raises(InvalidInput, match=r"network=vesalius\.trace\(model, x\)"):
        alone.model(nouns.rows())


@pytest.mark.parametrize("layers", [
    lambda: (nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 3)),
    lambda: (nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)),
    lambda: (nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)),
])  # fmt: skip
def test_a_pruned_network_refuses_another_architecture(tmp_path, layers):
    path = nouns.thin().save(tmp_path / "thin")
    with pytest.raises(InvalidInput, match="another architecture"):
        type(nouns.thin()).load(path, network=vs.trace(nn.Sequential(*layers()).eval(), nouns.rows()[:2]))


def test_a_pruned_network_refuses_a_network_without_a_model(tmp_path):
    path, loaded = nouns.thin().save(tmp_path / "thin"), vs.Network.load(nouns.network().save(tmp_path / "network"))
    with pytest.raises(InvalidInput, match="has no model"):
        type(nouns.thin()).load(path, network=loaded)


def test_a_tensor_that_pruning_left_alone_is_written_once(tmp_path):
    held = load_file(nouns.thin().save(tmp_path / "thin"))
    assert "dense.1.weight" in held and "pruned.1.weight" not in held and {"dense.0.weight", "pruned.0.weight"} <= held.keys()


# ---- pages ----------------------------------------------------------------------------------------------------------------------------


def test_a_page_is_read_back_and_other_files_are_not(tmp_path):
    page = NOUNS["Report"]()
    path = page.save(tmp_path / "page.html")
    assert Report.load(path) == page
    path.write_text(page.html[: len(page.html) // 2], encoding="utf-8")
    with pytest.raises(ForeignFile, match="its end is missing"):
        Report.load(path)
    for content in (b"<!doctype html><html><head></head></html>", b"\xff\xfe\x00", b""):
        path.write_bytes(content)
        with pytest.raises(ForeignFile, match="no page of vesalius"):
            Report.load(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Report.load(tmp_path / "nowhere")
