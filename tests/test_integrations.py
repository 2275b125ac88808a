"""Every door of ``docs/integrations.md``: its lines are as many as it says, and they do what it says."""

import ast
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import onnx
import pytest
import torch
from sklearn.neural_network import MLPClassifier
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import vesalius as vs
from tests.inputs import test_onnx as onnx_tests
from tests.logging import test_log as log_tests
from tests.logging.test_lightning import FakeCallback, train
from tests.logging.test_log import FakeClient, FakeRun, FakeWandbRun, NumbersOnly

PAGE = (Path(__file__).parent.parent / "docs" / "integrations.md").read_text("utf-8")
DOORS = dict(re.findall(r"^## (.+)\n(?:.*\n)*?```python\n((?:.*\n)*?)```", PAGE, re.MULTILINE))
TABLE = {name: int(lines) for name, lines in re.findall(r"^\| \[([^\]]+)\]\(#[^)]+\) \| (\d+) \|", PAGE, re.MULTILINE)}


torchvision, mlflow, wandb = onnx_tests.torchvision, log_tests.mlflow, log_tests.wandb


@pytest.fixture(scope="module")
def session():
    """What the page says there is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), torch.randn(20, 3)
    return {"vs": vs, "model": model, "x": x, "a": vs.attribute(model, x[0], "occlusion", target=1)}


def opened(door, session, **names):
    """The names that a door's lines leave."""
    made = {**session, **names}
    exec(DOORS[door], made)
    return made


def test_the_table_has_every_door_with_its_lines():
    assert set(TABLE) == set(DOORS) and len(DOORS) == 9
    for name, code in DOORS.items():
        statements = [one for one in ast.parse(code).body if not isinstance(one, (ast.Import, ast.ImportFrom))]
        assert sum(one.end_lineno - one.lineno + 1 for one in statements) == TABLE[name], name


def test_tensorboard(session, tmp_path):
    opened("TensorBoard", session, folder=tmp_path)
    kept = EventAccumulator(str(tmp_path)).Reload()
    (total,) = kept.Scalars("explained/map/total")
    assert total.value == pytest.approx(float(session["a"].total)) and total.step == 10
    assert "explained/audit/occlusion/error" in kept.Tags()["scalars"]


def test_mlflow(session, mlflow):
    class Started(FakeRun):
        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    Started.__module__ = FakeRun.__module__
    mlflow.start_run = lambda: Started(info=SimpleNamespace(run_id="r"))
    opened("MLflow", session)
    assert ("r", "explained/total", pytest.approx(float(session["a"].total)), 10) in FakeClient.kept


def test_weights_and_biases(session, wandb):
    wandb.init = lambda project: FakeWandbRun()
    run = opened("Weights & Biases", session)["run"]
    assert run.kept[0][0]["explained/total"] == pytest.approx(float(session["a"].total))


def test_lightning(session, monkeypatch):
    logger = NumbersOnly()

    class Trainer:
        def __init__(self, max_epochs, callbacks):
            self.epochs, self.callbacks = max_epochs, callbacks

        def fit(self, model):
            with torch.random.fork_rng(devices=[]):
                train(model, *self.callbacks, self.epochs, [logger])

    module = ModuleType("lightning.pytorch")
    module.Callback, module.Trainer = FakeCallback, Trainer
    monkeypatch.setitem(sys.modules, "lightning", ModuleType("lightning"))
    monkeypatch.setitem(sys.modules, "lightning.pytorch", module)
    model = nn.Linear(3, 2)
    audits = opened("Lightning", session, model=model)["audits"]
    assert sorted(audits.results) == [1, 3] and "audit/occlusion/error" in logger.kept[0][0]


def test_hugging_face_datasets(session):
    found = opened("Hugging Face datasets", session)["found"]
    assert found.players.names == ("length", "width", "height")
    torch.testing.assert_close(found.values, vs.attribute(session["model"], session["x"], "occlusion", target=1).values)


def test_scikit_learn(session):
    x = session["x"].numpy()
    estimator = MLPClassifier((3,), solver="lbfgs", random_state=0).fit(x, x[:, 0] > 0)
    display = opened("scikit-learn", session, estimator=estimator, x=x)["display"]
    assert display.allocation.players.names == ("a", "b", "c") and display.ax_ is not None


def test_onnx(session, torchvision, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(onnx_tests.graph(), "net.onnx")
    found = opened("ONNX", session, x=torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))["found"]
    assert float(found.gap.abs().max()) < 1e-4


def test_shap(session):
    explanation = opened("shap", session)["explanation"]
    sums = explanation.values.sum(1) + explanation.base_values
    assert sums.tolist() == pytest.approx(session["model"](session["x"])[:, 1].tolist(), abs=1e-5)


def test_captum(session):
    made = opened("captum", session)
    torch.testing.assert_close(made["found"].values, made["theirs"].detach())
    assert made["found"].method == "captum_input_x_gradient"
