"""Whatever stops a run, the next one finds what was done, and the numbers are those of a run that was not disturbed."""

import json
import multiprocessing
import signal
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.scale.conftest import assert_same_survey, small
from vesalius.core import store
from vesalius.core.errors import InvalidInput

PAUSE = [0.0]
"""Seconds that a batch takes, so that a run can be met in the middle."""


def doubled(x):
    time.sleep(PAUSE[0])
    return vs.Allocation.from_array(x.double() * 2, base=0.0, total=1.0)


def killed_run(network, rows, folder, shards):
    """A run in a process of its own, killed as soon as there are so many shards."""
    process = multiprocessing.get_context("fork").Process(
        target=vs.survey, args=(network, rows, doubled), kwargs={"out": folder, "options": small(shard_rows=8)}
    )
    PAUSE[0] = 0.05
    process.start()
    PAUSE[0] = 0.0
    while process.is_alive() and len(list(folder.glob("rows-*"))) < shards:
        time.sleep(0.005)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it was not killed in the middle"


def test_kill_9_at_some_moments(model, rows, tmp_path):
    network, killed = vs.trace(model, rows[:2]), tmp_path / "killed"
    for shards in (0, 1, 4, 9):
        killed_run(network, rows, killed, shards)
        if not shards:
            continue
        found = vs.Survey.load(killed)
        assert not found.complete and shards * 8 <= len(found) < 100 and "NOT COMPLETE" in repr(found)
        assert found.column("row") == list(range(len(found)))
        assert len(found[:]) == len(found), "every shard that is there is whole"
    (killed / ".0123456789abcdef0123456789abcdef.draft").write_bytes(b"half of a shard")
    resumed = vs.survey(network, rows, doubled, out=killed, options=small(shard_rows=8))
    whole = vs.survey(network, rows, doubled, out=tmp_path / "whole", options=small(shard_rows=8))
    assert_same_survey(resumed, whole)
    expected = {"survey.json", ".survey.lock", *(shard.file for shard in whole.shards)}
    assert {path.name for path in killed.iterdir()} == expected


def counted(calls):
    def method(x):
        calls.append(len(x))
        return vs.Allocation.from_array(x.double(), base=0.0, total=1.0)

    return method


def test_what_is_there_is_not_computed_again(model, rows, tmp_path):
    calls = []
    method = counted(calls)
    one = vs.survey(model, rows, method, out=tmp_path, options=small())
    assert sum(calls) == 100
    again = vs.survey(model, rows, method, out=tmp_path, options=small())
    assert sum(calls) == 100
    assert_same_survey(one, again)
    damaged = tmp_path / one.shards[3].file
    damaged.write_bytes(damaged.read_bytes()[:-9])
    (tmp_path / one.shards[5].file).unlink()
    assert_same_survey(vs.survey(model, rows, method, out=tmp_path, options=small()), again)
    assert sum(calls) == 132
    vs.survey(model, rows, method, out=tmp_path, options=small(resume=False))
    assert sum(calls) == 232


def test_a_full_disk_is_told_and_nothing_is_lost(model, rows, tmp_path, monkeypatch):
    real, calls = store.write_bytes, []

    def full(path, content):
        calls.append(path)
        if len(calls) == 4:
            with store.replacing(Path(path)) as draft:
                draft.write_bytes(content[:100])
                raise OSError(28, "No space left on device")
        return real(path, content)

    monkeypatch.setattr(store, "write_bytes", full)
    with pytest.raises(InvalidInput, match=r"No space left on device.*make room, and call again"):
        vs.survey(model, rows, "occlusion", out=tmp_path, options=small())
    monkeypatch.setattr(store, "write_bytes", real)
    assert len(vs.Survey.load(tmp_path)) == 48 - 16 and not list(tmp_path.glob("*.draft"))
    resumed = vs.survey(model, rows, "occlusion", out=tmp_path, options=small())
    whole = vs.survey(model, rows, "occlusion", out=tmp_path.parent / "undisturbed", options=small())
    assert_same_survey(resumed, whole)


PAIR = vs.Players.groups(torch.zeros(5), {"a": [0, 1], "b": [2, 3, 4]})
CHANGES = {
    "method": lambda given: given | {"method": "gradient_x_input"},
    "option": lambda given: (
        given | {"method": vs.METHODS["occlusion"](players=vs.Players.groups(torch.zeros(5), {"a": [0, 1], "b": [2, 3, 4]}))}
    ),
    "target": lambda given: given | {"target": 2},
    "baseline": lambda given: given | {"baseline": 0.5},
    "batch_rows": lambda given: given | {"options": small(batch_rows=4)},
    "parameters": lambda given: given | {"model": altered(given["model"])},
    "graph": lambda given: given | {"model": nn.Sequential(given["model"][0], nn.ReLU(), given["model"][2])},
    "rows 16 to 31": lambda given: given | {"data": torch.cat([given["data"][:20], given["data"][20:] + 1e-3])},
    "or their labels": lambda given: given | {"labels": [1] * 100},
    "does not have any more": lambda given: given | {"data": given["data"][:32]},
}


def altered(model):
    other = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        other[2].bias[0] += 1e-3
    return other


@pytest.fixture(scope="module")
def begun(model, rows, tmp_path_factory):
    given = {"model": model, "data": rows, "method": "occlusion", "labels": None, "target": 1, "options": small()}
    folder = tmp_path_factory.mktemp("begun")
    vs.survey(**given, out=folder)
    return given, folder


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_question_is_noticed(begun, change):
    given, folder = begun
    before = {path.name: path.read_bytes() for path in folder.glob("rows-*")}
    with pytest.raises(InvalidInput, match=change) as refused:
        vs.survey(**CHANGES[change](given), out=folder)
    assert "name another folder" in str(refused.value)
    assert {path.name: path.read_bytes() for path in folder.glob("rows-*")} == before
    assert vs.Survey.load(folder).complete


def test_a_function_that_computes_something_else_is_noticed(rows, tmp_path):
    scale = [1.0]
    vs.survey(lambda x: x.sum(1) * scale[0], rows, "occlusion", out=tmp_path, options=small())
    scale[0] = 2.0
    with pytest.raises(InvalidInput, match="output on the first rows"):
        vs.survey(lambda x: x.sum(1) * scale[0], rows, "occlusion", out=tmp_path, options=small())


def test_two_writers_are_kept_apart(model, rows, tmp_path):
    met = []

    def method(x):
        if not met:
            met.append(1)
            with pytest.raises(InvalidInput, match="another survey is being written"):
                vs.survey(model, rows, "occlusion", out=tmp_path)
        return vs.Allocation.from_array(x.double())

    vs.survey(model, rows, method, out=tmp_path, options=small())
    assert met


def test_a_stranger_among_the_shards_is_not_removed(model, rows, tmp_path):
    vs.survey(model, rows, "occlusion", out=tmp_path, options=small())
    (tmp_path / "notes.txt").write_text("mine")
    shard = tmp_path / "rows-000000000016.safetensors"
    shard.unlink()
    shard.mkdir()
    with pytest.raises(InvalidInput, match="move it"):
        vs.survey(model, rows, "occlusion", out=tmp_path, options=small())
    shard.rmdir()
    vs.survey(model, rows, "occlusion", out=tmp_path, options=small(resume=False))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_manifest_says_what_was_asked(begun):
    _, folder = begun
    content = json.loads((folder / "survey.json").read_text())
    assert content["question"]["method"] == "occlusion" and content["question"]["target"] == 1
    assert [shard["rows"] for shard in content["shards"]] == [16] * 6 + [4]
