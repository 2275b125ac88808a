"""A cluster of this machine: the numbers of the local run bit for bit, and a killed worker takes nothing with it."""

import os
import signal
import time

import pytest
import torch

import vesalius as vs
from tests.language.models import CORPUS, Mood, piece_tokenizer
from tests.scale.conftest import assert_same_survey, small
from vesalius.core.errors import InvalidInput
from vesalius.scale import LinkImportances, RayOptions
from vesalius.scale.ray_engine import QUIET


def on_ray(workers=2, *, shard_rows=16, **options):
    return small(shard_rows=shard_rows, ray=RayOptions(workers=workers, object_store_bytes=100_000_000, **options))


@pytest.fixture(scope="module")
def cluster():
    """One cluster for all tests, as a user has who is connected already."""
    ray = pytest.importorskip("ray")
    before = {name: os.environ.get(name) for name in QUIET}
    os.environ.update(QUIET)
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100_000_000,
        log_to_driver=False,
        logging_level="ERROR",
        configure_logging=False,
    )
    yield ray
    ray.shutdown()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def slow_once(marker):
    """A method that kills its own worker the first time it meets row 40."""

    def method(x):
        if bool((x[:, 0] == 40).any()) and not os.path.exists(marker):
            with open(marker, "w") as file:
                file.write(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return vs.Allocation.from_array(x.double(), base=0.0, total=1.0)

    return method


@pytest.mark.usefixtures("cluster")
def test_two_workers_give_the_numbers_of_the_local_run(model, rows, labels, tmp_path):
    """And so do they after one of them was killed in the middle, and when the driver's folder is taken up by the other engine."""
    method = vs.METHODS["shapley_value"](budget=14, estimator="permutation")
    local = vs.survey(model, (rows, labels), method, out=tmp_path / "local", options=small())
    remote = vs.survey(model, (rows, labels), method, out=tmp_path / "ray", engine="ray", options=on_ray())
    assert_same_survey(remote, local)
    (tmp_path / "ray" / local.shards[2].file).unlink()
    assert_same_survey(vs.survey(model, (rows, labels), method, out=tmp_path / "ray", options=small()), local)


@pytest.mark.usefixtures("cluster")
def test_a_killed_worker_takes_nothing_with_it(model, tmp_path):
    numbered = torch.arange(100.0)[:, None].expand(100, 5).contiguous()
    marker = tmp_path / "marker"
    network = vs.trace(model, numbered[:2])
    found = vs.survey(network, numbered, slow_once(str(marker)), out=tmp_path / "s", engine="ray", options=on_ray())
    assert marker.exists() and int(marker.read_text()) != os.getpid()
    assert found.column("row") == list(range(100)) and torch.equal(found[:].values, numbered.double())


@pytest.mark.usefixtures("cluster")
def test_errors_are_those_of_the_local_run(model, rows, tmp_path):
    nan = rows.clone()
    nan[50, 2] = torch.nan
    with pytest.raises(InvalidInput, match=r"rows 48 to 55 of the data: .*NaN"):
        vs.survey(model, nan, "occlusion", out=tmp_path / "a", engine="ray", options=on_ray(1))
    with pytest.raises(InvalidInput, match="use engine='local'"):
        vs.survey(lambda x: x.sum(1), rows, "occlusion", out=tmp_path / "b", engine="ray", options=on_ray())


@pytest.mark.usefixtures("cluster")
def test_rows_are_read_as_fast_as_they_are_used(model, rows, tmp_path):
    read = []

    def batches():
        for start in range(0, 100, 4):
            read.append((time.monotonic(), len(list((tmp_path / "s").glob("rows-*")))))
            yield rows[start : start + 4]

    network = vs.trace(model, rows[:2])
    vs.survey(network, batches(), lambda x: vs.Allocation.from_array(x), out=tmp_path / "s", engine="ray", options=on_ray(1, ahead=1))
    ahead = [4 * place - 16 * done for place, (_, done) in enumerate(read)]
    assert max(ahead) <= 16 * 4, "no more than what waits at the worker, and what is on its way"


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_sums_and_texts_are_those_of_the_local_run(model, rows, tmp_path):
    local = vs.survey(model, rows, LinkImportances(estimator="permutation"), out=tmp_path / "local", options=small())
    remote = vs.survey(model, rows, LinkImportances(estimator="permutation"), out=tmp_path / "ray", engine="ray", options=on_ray())
    assert [one.header for one in remote.shards] == [one.header for one in local.shards]
    for mine, theirs in zip(remote.result().layers.values(), local.result().layers.values(), strict=True):
        assert torch.equal(mine.values, theirs.values) and torch.equal(mine.stderr, theirs.stderr)
    texts = [f"{text} indeed" * (1 + place % 2) for place, text in enumerate(CORPUS)]
    reader, asked = Mood(60).eval(), {"method": "occlusion", "tokenizer": piece_tokenizer(), "players": "word"}
    local = vs.survey(reader, texts, out=tmp_path / "texts", options=small(shard_rows=2), **asked)
    remote = vs.survey(reader, texts, out=tmp_path / "sent", engine="ray", options=on_ray(1, shard_rows=2), **asked)
    assert_same_survey(remote, local)
