"""A question at the end of epochs, asked by a trainer that calls callbacks as Lightning's does."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.logging.test_log import NumbersOnly
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.logging import epoch_callback


class FakeCallback:
    """Base of callbacks, as in ``lightning.pytorch``; the hooks that are asked for here."""

    def on_train_epoch_end(self, trainer, pl_module):
        raise NotImplementedError


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def lightning(request, monkeypatch):
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    module = ModuleType(request.param)
    module.Callback = FakeCallback
    monkeypatch.setitem(sys.modules, request.param, module)
    if "." in request.param:
        monkeypatch.setitem(sys.modules, "lightning", ModuleType("lightning"))
    return module


def train(model, callback, epochs, loggers=(), rank_zero=True):
    """Epochs of a trainer: weights change, then the hook is called."""
    trainer = SimpleNamespace(is_global_zero=rank_zero, sanity_checking=False, loggers=list(loggers), current_epoch=0)
    for epoch in range(epochs):
        trainer.current_epoch = epoch
        with torch.no_grad():
            next(model.parameters()).add_(0.1)
        callback.on_train_epoch_end(trainer, model)


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    made[1].eval()
    return made


def test_every_second_epoch_is_audited_and_told(lightning, model):
    x, logger = torch.randn(3, generator=torch.Generator().manual_seed(0)), NumbersOnly()
    seen = []

    def question(module):
        seen.append([one.training for one in module.modules()])
        return vs.attribute(module, x, "occlusion", target=0)

    callback = epoch_callback(question, name="map", every=2)
    assert isinstance(callback, FakeCallback)
    train(model, callback, 5, [logger])
    assert sorted(callback.results) == [1, 3] and [step for _, step in logger.kept] == [1, 3]
    first, second = (callback.results[epoch] for epoch in (1, 3))
    assert not torch.equal(first.values, second.values), "the weights of that epoch"
    assert logger.kept[1][0]["map/total"] == pytest.approx(float(second.total))
    assert all(not any(modes) for modes in seen) and [one.training for one in model.modules()] == [True, True, False, True]


def test_a_survey_of_several_results_goes_to_loggers_of_its_own(lightning, model, tmp_path):
    x, own, other = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), NumbersOnly(), NumbersOnly()

    def questions(module):
        return {"all": vs.survey(module, x, "occlusion", target=1, out=tmp_path / str(len(list(tmp_path.iterdir()))))}

    train(model, epoch_callback(questions, loggers=[own]), 1, [other])
    assert not other.kept and own.kept[0][0]["vesalius/all/rows"] == 6


def test_one_process_asks(lightning, model):
    callback = epoch_callback(lambda module: 1 / 0)
    train(model, callback, 2, rank_zero=False)
    assert callback.results == {}


def test_a_question_that_fails_leaves_the_modes_as_they_were(lightning, model):
    with pytest.raises(ZeroDivisionError):
        train(model, epoch_callback(lambda module: 1 / 0), 1)
    assert [one.training for one in model.modules()] == [True, True, False, True]


def test_without_lightning_it_is_said(monkeypatch):
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidInput, match=r"pip install 'vesalius\[lightning\]'"):
        epoch_callback(lambda module: None)


@pytest.mark.parametrize(("question", "every"), [("audit", 1), (None, 1), (len, 0), (len, 1.5)])
def test_what_is_no_question_is_refused(lightning, question, every):
    with pytest.raises((WrongType, InvalidInput)):
        epoch_callback(question, every=every)
