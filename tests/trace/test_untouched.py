"""Kinds of models that keep something when they are called: explained, and as before."""

from __future__ import annotations

import copy
import os
import random
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from itertools import count
from types import MethodType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import vesalius
from vesalius.trace.structural_copy import copy_structure

RECORD: list[Any] = []
"""What a careless model or hook appends to."""


class Base(nn.Module):
    """A small network whose ``act`` does something on the side."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

    def act(self, h: Tensor) -> Tensor:
        return torch.tanh(h)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.act(self.a(x)))


class KeepsInDict(Base):
    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Any] = {"all": [], "deep": {"last": torch.zeros(1)}}

    def act(self, h: Tensor) -> Tensor:
        self.kept["all"].append(h)
        self.kept["deep"]["last"] = h
        return torch.tanh(h)


class KeepsInClass(Base):
    kept: ClassVar[list[Any]] = []

    def act(self, h: Tensor) -> Tensor:
        self.kept.append(h)
        return torch.tanh(h)


class KeepsInModule(Base):
    def act(self, h: Tensor) -> Tensor:
        RECORD.append(h)
        return torch.tanh(h)


class Recorder:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def look(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self.seen.append(output)


class KeepsInObject(Base):
    def __init__(self) -> None:
        super().__init__()
        self.recorder = Recorder()

    def act(self, h: Tensor) -> Tensor:
        self.recorder.look(self, (), h)
        return torch.tanh(h)


class CountsInBuffer(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def act(self, h: Tensor) -> Tensor:
        self.calls += 1
        return torch.tanh(h)


class MakesATable(Base):
    """A cache that is computed in the first call, as rotary embeddings have one."""

    table: Tensor | None = None

    def act(self, h: Tensor) -> Tensor:
        if self.table is None:
            self.register_buffer("made", torch.linspace(0, 1, h.shape[-1], dtype=h.dtype, device=h.device))
            self.table = self.made
        return torch.tanh(h) * self.table


class WritesToItsWeight(Base):
    def act(self, h: Tensor) -> Tensor:
        with torch.no_grad():
            self.b.weight.clamp_(-0.1, 0.1)
        return torch.tanh(h)


class OwnGenerator(Base):
    """Draws random numbers that its output does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.numbers, self.plain = torch.Generator(), np.random.default_rng(0), random.Random(0)

    def act(self, h: Tensor) -> Tensor:
        torch.rand(3, generator=self.generator)
        torch.rand(3)
        self.numbers.random()
        self.plain.random()
        return torch.tanh(h)


class Locked(Base):
    """Holds what cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock, self.stream = threading.Lock(), sys.stdout

    def act(self, h: Tensor) -> Tensor:
        with self.lock:
            return torch.tanh(h)


class DataDependent(KeepsInDict):
    """One that does not export."""

    def act(self, h: Tensor) -> Tensor:
        return super().act(h) if float(h.sum()) < 1e9 else h


class RenamesItself(Base):
    def train(self, mode: bool = True) -> RenamesItself:
        RECORD.append("train() was called")
        return super().train(mode)


def _hooked(register: Callable[[nn.Module], Any]) -> nn.Module:
    model = Base()
    register(model.a)
    return model


def _listed(model: nn.Module) -> nn.Module:
    seen: list[Any] = []
    model.a.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    model.seen = seen
    return model


def _rebound() -> nn.Module:
    """A forward that was replaced on the instance, and closes over the model."""
    model = Base()
    inner = model.forward
    model.forward = MethodType(lambda self, x: 2 * inner(x), model)
    return model


def _tied() -> nn.Module:
    model = Base()
    model.c = nn.Linear(6, 2)
    model.c.weight = model.b.weight
    model.act = lambda h: torch.tanh(h)
    return model


KINDS: dict[str, Callable[[], nn.Module]] = {
    "dict and list": KeepsInDict,
    "class attribute": KeepsInClass,
    "global list": KeepsInModule,
    "object": KeepsInObject,
    "buffer": CountsInBuffer,
    "table of the first call": MakesATable,
    "writes to its weight": WritesToItsWeight,
    "generators": OwnGenerator,
    "lock and stream": Locked,
    "does not export": DataDependent,
    "train() of its own": RenamesItself,
    "hook to a global": lambda: _hooked(lambda layer: layer.register_forward_hook(lambda _m, _i, output: RECORD.append(output))),
    "hook to a closure": lambda: _listed(Base()),
    "hook of an object": lambda: _hooked(lambda layer: layer.register_forward_hook(Recorder().look)),
    "hook before": lambda: _hooked(lambda layer: layer.register_forward_pre_hook(lambda _m, inputs: RECORD.append(inputs))),
    "hook that changes": lambda: _hooked(lambda layer: layer.register_forward_hook(lambda _m, _i, output: RECORD.append(1) or output * 2)),
    "backward hook": lambda: _hooked(lambda layer: layer.register_full_backward_hook(lambda _m, grads, _o: RECORD.append(grads))),
    "weight norm": lambda: _hooked(parametrizations.weight_norm),
    "spectral norm": lambda: _hooked(parametrizations.spectral_norm),
    "old spectral norm": lambda: _hooked(torch.nn.utils.spectral_norm),
    "pruned": lambda: _hooked(lambda layer: prune.l1_unstructured(layer, "weight", 0.5)),
    "batch norm in training": lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 2)).train(),
    "embedding with a maximum": lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)),
    "forward replaced": _rebound,
    "tied": _tied,
    "scripted": lambda: torch.jit.script(nn.Sequential(nn.Linear(4, 6), nn.Dropout(), nn.Linear(6, 2))),
}


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """The first trace imports much, and sympy adds a filter of warnings when it is imported."""
    vesalius.trace(nn.Linear(2, 1), torch.zeros(1, 2))


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All that can be seen of a model and of what surrounds it; tensors by identity, version and content."""
    found: dict[str, Any] = {}
    for name, tensor in [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]:
        found[name] = (tensor.data_ptr(), tensor._version, tensor.detach().tolist(), tensor.requires_grad, tensor.grad is None)
    for name, module in model.named_modules():
        plain = {} if isinstance(module, torch.jit.ScriptModule) else vars(module)
        found[f"{name}."] = (module.training, type(module).__name__, {key: _seen(value) for key, value in plain.items()})
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("KMP", "PYTEST"))}  # scikit-learn sets the first
    surroundings = (sys.stdout, sys.stderr, variables, list(warnings.filters), torch.get_num_threads(), torch.is_grad_enabled())
    numbers = (torch.get_rng_state().tolist(), np.random.get_state(legacy=False)["state"]["key"].tolist())  # Python's beartype draws from
    return {**found, "around": surroundings, "numbers": numbers, "record": [id(item) for item in RECORD]}


def _seen(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return id(value), [_seen(item) for item in value]
    if isinstance(value, dict):
        return id(value), {str(key): _seen(item) for key, item in value.items()}
    if isinstance(value, Recorder):
        return id(value), _seen(value.seen)
    if isinstance(value, torch._C.Generator):
        return id(value), value.get_state().tolist()
    if isinstance(value, np.random.Generator):
        return id(value), str(value.bit_generator.state)
    return (id(value), value.getstate()) if isinstance(value, random.Random) else id(value)


def build(kind: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(3)
    RECORD.clear()
    KeepsInClass.kept.clear()
    return KINDS[kind]().train(), torch.randn(3, 4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_explaining_leaves_a_model_as_it_was(kind: str):
    model, x = build(kind)
    before = snapshot(model)
    network = vesalius.trace(model, x)
    found = [vesalius.attribute(network, x, method, target=0) for method in ("shapley_value", "gradient_x_input")]
    after = snapshot(model)
    assert {name for name in before if before[name] != after.get(name)} | (after.keys() - before.keys()) == set()
    assert not KeepsInClass.kept
    expected = copy_of(kind).eval()(x)[:, 0].detach()
    for allocation in found:
        torch.testing.assert_close(allocation.total, expected)


def copy_of(kind: str) -> nn.Module:
    """The same model again, to be called without regard for what it keeps."""
    return build(kind)[0]


@pytest.mark.parametrize("kind", ["dict and list", "hook to a closure", "weight norm", "batch norm in training", "does not export"])
def test_threads_get_the_serial_numbers_and_leave_the_model_alone(kind: str):
    model, x = build(kind)
    serial = vesalius.attribute(model, x, "gradient_x_input", target=0).values
    before, found = snapshot(model), []

    def work() -> None:
        for _ in range(2):
            found.append(vesalius.attribute(vesalius.trace(model, x), x, "gradient_x_input", target=0).values)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    for values in found:
        torch.testing.assert_close(values, serial)
    assert snapshot(model) == before


class Interrupted(KeepsInDict):
    """Stands for Ctrl-C in a call of a layer."""

    def act(self, h: Tensor) -> Tensor:
        if next(CALLS) == INTERRUPTED_CALL:
            raise KeyboardInterrupt
        return super().act(h)


CALLS = count()
INTERRUPTED_CALL = 0


@pytest.mark.parametrize("call", range(1, 6))
def test_an_interrupt_leaves_a_model_as_it_was(call: int, monkeypatch: pytest.MonkeyPatch):
    """The calls are the run with gradients, that without, a pair of samples and each of them, and the export."""
    model, x = Interrupted().train(), torch.randn(3, 4)
    before = snapshot(model)
    monkeypatch.setattr(sys.modules[__name__], "CALLS", count(1))
    monkeypatch.setattr(sys.modules[__name__], "INTERRUPTED_CALL", call)
    with pytest.raises(KeyboardInterrupt):
        vesalius.trace(model, x)
    assert snapshot(model) == before
    torch.testing.assert_close(vesalius.trace(model, x)(x), copy.deepcopy(model).eval()(x).detach())


def test_an_embedding_with_a_maximum_does_not_write_to_its_table():
    model, ids = nn.Sequential(nn.Embedding(5, 3, max_norm=0.1), nn.Flatten(), nn.Linear(6, 2)), torch.tensor([[0, 3], [1, 1]])
    before = snapshot(model)
    found = vesalius.attribute(model, ids, "occlusion", target=0)
    assert snapshot(model) == before
    torch.testing.assert_close(found.total, copy.deepcopy(model)(ids)[:, 0].detach())


def test_a_function_over_a_model_in_training_does_not_move_its_statistics():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.0), nn.BatchNorm1d(3)).eval(), torch.randn(4, 4)
    model[2].momentum, calls = 0.5, []
    before = snapshot(model)

    def function(rows: Tensor) -> Tensor:
        calls.append(len(rows))
        return model(rows)[:, 0]

    vesalius.attribute(function, x, "occlusion")
    assert snapshot(model) == before
    assert calls, "a function's own records are its own affair"


class Trained(nn.Module):
    """Held by a trainer that has a weak proxy of it, as a module of Lightning is while it is trained."""

    def __init__(self):
        super().__init__()
        self.line, self.calls = nn.Linear(3, 2), []

    def forward(self, x):
        self.trainer.module.calls.append(1)
        return self.line(x)


class Trainer:
    def __init__(self, module):
        self.module, module.trainer = weakref.proxy(module), self


def test_a_weak_proxy_of_the_model_is_one_of_its_copy():
    model, x = Trained(), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    trainer = Trainer(model)
    copied = copy_structure(model)
    assert copied.trainer is not trainer and copied.trainer.module.line is copied.line
    found = vesalius.attribute(model, x, "occlusion", target=1)
    torch.testing.assert_close(found.total, model.line(x)[:, 1].detach())
    assert model.calls == [] and trainer.module.line is model.line


def test_a_proxy_of_what_is_gone_is_left_as_it_is():
    model, gone = nn.Linear(3, 2), nn.Linear(1, 1)
    model.other = [weakref.proxy(gone)]
    del gone
    assert type(copy_structure(model).other[0]) is type(model.other[0])
