"""Results in runs: TensorBoard as it is, MLflow and Weights & Biases by their public calls."""

import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.tensorboard import SummaryWriter

import vesalius as vs
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.logging import log
from vesalius.logging.record import MOST_VALUES, make_record
from vesalius.logging.runs import mlflow_name

NAMES = ["a", "b/c", "<d> & \N{GREEK SMALL LETTER ALPHA}"]


@pytest.fixture(scope="module")
def subject():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), torch.randn(5, 3)


@pytest.fixture(scope="module")
def found(subject):
    model, x = subject
    return vs.attribute(model, x[0], "occlusion", target=1, names=NAMES)


@pytest.fixture(scope="module")
def audited(subject):
    model, x = subject
    return vs.audit(model, x[0], methods=["occlusion", "shapley_value"], target=1)


def test_tensorboard_keeps_numbers_and_a_figure(tmp_path, found, audited):
    with SummaryWriter(tmp_path) as run:
        log(found, run, name="map", step=3)
        log({"one": audited}, run, name="audits", step=4)
    kept = EventAccumulator(str(tmp_path), size_guidance={"images": 0, "scalars": 0}).Reload()
    assert set(kept.Tags()["images"]) == {"map/figure", "audits/one/figure"}
    (gap,) = kept.Scalars("map/gap")
    assert gap.step == 3 and gap.value == pytest.approx(abs(float(found.gap)), rel=1e-6, abs=1e-12)
    for name, value in zip(NAMES, found.values.tolist(), strict=True):
        assert kept.Scalars(f"map/values/{name}")[0].value == pytest.approx(value, rel=1e-6)
    for method in audited:
        (error,) = kept.Scalars(f"audits/one/{method}/error")
        assert error.step == 4 and error.value == pytest.approx(audited[method].error, rel=1e-6, abs=1e-12)


class FakeClient:
    """The calls of ``mlflow.MlflowClient``, with its signatures."""

    kept: ClassVar[list] = []

    def log_metric(self, run_id, key, value, timestamp=None, step=None, synchronous=None):
        assert mlflow_name(key) == key and isinstance(value, float) and isinstance(step, int)
        self.kept.append((run_id, key, value, step))

    def log_figure(self, run_id, figure, artifact_file, *, save_kwargs=None):
        self.kept.append((run_id, artifact_file, type(figure).__name__))

    def log_text(self, run_id, text, artifact_file):
        self.kept.append((run_id, artifact_file, text))


FakeClient.__module__ = "mlflow.tracking.client"
FakeRun = type("ActiveRun", (SimpleNamespace,), {"__module__": "mlflow.tracking.fluent"})


@pytest.fixture
def mlflow(monkeypatch):
    module = ModuleType("mlflow")
    module.runs, module.MlflowClient = [], FakeClient
    module.active_run = lambda: module.runs[-1] if module.runs else None
    FakeClient.kept = []
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return module


def test_mlflow_keeps_metrics_and_artifacts(mlflow, found):
    run = FakeRun(info=SimpleNamespace(run_id="r1"))
    log(found, run, name="map", step=2)
    metrics = {one[1]: one[2:] for one in FakeClient.kept if len(one) == 4}
    files = {one[1]: one[2] for one in FakeClient.kept if len(one) == 3}
    assert {one[0] for one in FakeClient.kept} == {"r1"} and set(files) == {"map/2/figure.png", "map/2/page.html"}
    assert metrics["map/total"] == (pytest.approx(float(found.total)), 2)
    assert "map/values/_d_ _ \N{GREEK SMALL LETTER ALPHA}" in metrics
    assert (files["map/2/figure.png"] == "Figure" and files["map/2/page.html"].endswith("</html>\n")) or "</html>" in files[
        "map/2/page.html"
    ]


def test_the_module_mlflow_is_its_active_run(mlflow, found):
    with pytest.raises(InvalidInput, match=r"start_run\(\)"):
        log(found, mlflow)
    mlflow.runs.append(FakeRun(info=SimpleNamespace(run_id="active")))
    log(found, mlflow)
    assert {one[0] for one in FakeClient.kept} == {"active"}
    with pytest.raises(WrongType, match="SummaryWriter"):
        log(found, FakeClient())


class FakeWandbRun:
    def __init__(self):
        self.kept = []

    def log(self, data, step=None, commit=None):
        self.kept.append((data, step))


FakeWandbRun.__module__ = "wandb.sdk.wandb_run"


@pytest.fixture
def wandb(monkeypatch):
    module = ModuleType("wandb")
    module.Image, module.Html = (lambda data: ("image", data)), (lambda data: ("html", data))
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_is_told_once(wandb, found):
    run = FakeWandbRun()
    log(found, run, name="map", step=7)
    ((data, step),) = run.kept
    assert step == 7 and data["map/total"] == pytest.approx(float(found.total))
    assert data["map/figure"][0] == "image" and data["map/page"][0] == "html" and "&lt;d&gt;" in data["map/page"][1]


@pytest.mark.parametrize(("library", "run"), [("wandb", FakeWandbRun()), ("mlflow", FakeRun(info=SimpleNamespace(run_id="r")))])
def test_a_tool_that_is_not_installed_is_named(monkeypatch, found, library, run):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InvalidInput, match=rf"pip install 'vesalius\[{library}\]'"):
        log(found, run)


class NumbersOnly:
    """A logger of Lightning that writes to no tool known here."""

    def __init__(self, experiment=None):
        self.kept, self.experiment, self.run_id = [], experiment, "held"

    def log_metrics(self, metrics, step=None):
        self.kept.append((metrics, step))


def test_loggers_of_lightning_are_told_by_what_they_hold(mlflow, wandb, found):
    plain, of_wandb, of_mlflow = NumbersOnly(), NumbersOnly(FakeWandbRun()), NumbersOnly(FakeClient())
    for one in (plain, of_wandb, of_mlflow):
        log(found, one, name="map", step=1)
    ((numbers, step),) = plain.kept
    assert step == 1 and numbers["map/total"] == pytest.approx(float(found.total))
    assert not of_wandb.kept and len(of_wandb.experiment.kept) == 1
    assert not of_mlflow.kept and {one[0] for one in FakeClient.kept} == {"held"}


@pytest.mark.slow
def test_every_kind_of_result_has_a_record(subject, tmp_path):
    model, x = subject
    batch = vs.attribute(model, x, "occlusion", target=1)
    record = make_record(batch, "batch")
    assert record.numbers["gap"] == pytest.approx(float(batch.gap.abs().max())) and "values/a" not in record.numbers
    assert record.numbers["total"] == pytest.approx(float(batch.total.double().mean()))
    effects = make_record(vs.interactions(model, x[0], target=1), "effects")
    assert sum("values/" in name for name in effects.numbers) == 7 <= MOST_VALUES
    survey = vs.survey(model, x, "occlusion", target=1, out=tmp_path / "survey")
    numbers = make_record(survey, "survey").numbers
    sizes = vs.attribute(model, x, "occlusion", target=1).values.abs().mean(0)
    assert numbers["rows"] == 5 and sorted(value for name, value in numbers.items() if name.startswith("importance/")) == pytest.approx(
        sorted(sizes.tolist()), rel=1e-5
    )
    thin = vs.sparsify(model, x.repeat(8, 1), sparsity=0.5)
    assert make_record(thin, "thin").numbers["sparsity"] == pytest.approx(0.5, abs=0.1)
    page = vs.report(batch, title="A page")
    assert make_record(page, "page").html == page.html and make_record(page, "page").figure is None


def test_numbers_that_are_none_are_left_out(found):
    broken = replace(found, values=torch.tensor([float("nan"), 1.0, 2.0], dtype=found.values.dtype))
    numbers = make_record(broken, "x").numbers
    assert "gap" not in numbers and numbers["values/b/c"] == 1.0


@pytest.mark.parametrize(("result", "run"), [(3, FakeWandbRun()), (None, FakeWandbRun()), ([1], FakeWandbRun())])
def test_what_is_no_result_is_refused(wandb, result, run):
    with pytest.raises(WrongType, match="a result of vesalius"):
        log(result, run)
    assert not run.kept


@pytest.mark.parametrize("run", [None, 3, "run", object(), SimpleNamespace(log=print), torch])
def test_what_is_no_run_is_refused(found, run):
    with pytest.raises(WrongType, match="SummaryWriter"):
        log(found, run)


def test_names_and_results_are_not_empty(wandb, found):
    for wrong in ("", "/", "  "):
        with pytest.raises(InvalidInput, match="name="):
            log(found, FakeWandbRun(), name=wrong)
    with pytest.raises(InvalidInput, match="no results"):
        log({}, FakeWandbRun())


@pytest.mark.parametrize("name", ["a/b", "x<y>", "../..", " a ", "a" * 500, "\N{SNOWMAN}", "tab\tnew\nline", "$&'\"`"])
def test_names_are_those_that_mlflow_takes(name):
    made = mlflow_name(name)
    assert 0 < len(made) <= 250 and all(letter.isalnum() or letter in "_-. /" for letter in made) and ".." not in made.split("/")
