"""Traces kept on disk: found again, bound to live weights, and never believed where the model has changed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vesalius
from tests.zoo import specimen

tracing = importlib.import_module("vesalius.trace.trace")  # the package's attribute of that name is the function


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every export."""
    done: list[int] = []
    build = tracing.export_graph
    monkeypatch.setattr(tracing, "export_graph", lambda *args, **kwargs: done.append(1) or build(*args, **kwargs))
    return done


class Act(nn.Module):
    """A layer whose activation, cap and slope are attributes of three kinds."""

    def __init__(self, act=F.relu, cap: float = 5.0, slope: float = 0.1) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.act, self.options, self.slope = act, {"cap": cap}, slope

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.fc(x), self.slope)
        return self.act(h).clamp(max=self.options["cap"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "two_input", "tied_autoencoder", "resnet", "lstm", "gru", "vit", "bert", "gpt2"])
def test_a_kept_trace_is_used_and_bound_to_new_weights(name: str, tmp_path: Path, exports: list[int]):
    one = specimen(name)
    args, kwargs = one.example(1, torch.float64)
    first = vesalius.trace(one.build().double(), *args, kwargs=kwargs, output=one.output, cache=tmp_path)
    model = one.build().double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    second = vesalius.trace(model, *args, kwargs=kwargs, output=one.output, cache=tmp_path)
    assert len(exports) == 1
    assert list(second.values.values()) == list(first.values.values())
    args, kwargs = one.example(3, torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(second(*args, **kwargs), one.scores(model(*args, **kwargs)), rtol=1e-10, atol=1e-10)
    assert not torch.allclose(second(*args, **kwargs), first(*args, **kwargs))


@pytest.mark.parametrize(
    "changed",
    [
        lambda: Act(slope=0.3),
        lambda: Act(cap=0.01),
        lambda: Act(act=torch.abs),
        lambda: Act().double(),
        lambda: nn.Sequential(nn.Linear(4, 3)),
    ],
    ids=["number", "entry of a dict", "function", "dtype", "class"],
)
def test_a_changed_model_is_noticed(changed, tmp_path: Path, exports: list[int]):
    """Even where the example does not show the difference: there all activations are zero or above."""
    vesalius.trace(at_zero(Act()), torch.zeros(1, 4), cache=tmp_path)
    model = at_zero(changed())
    dtype = next(model.parameters()).dtype
    net, x = vesalius.trace(model, torch.zeros(1, 4, dtype=dtype), cache=tmp_path), torch.randn(5, 4, dtype=dtype)
    torch.testing.assert_close(net(x), model(x).detach())
    assert len(exports) == 2


def at_zero(model: nn.Module) -> nn.Module:
    """Without biases, and so zero at zero."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.zero_()
    return model


def test_another_shape_is_another_trace(tmp_path: Path, exports: list[int]):
    model = nn.Linear(4, 3)
    vesalius.trace(model, torch.ones(1, 4), cache=tmp_path)
    net = vesalius.trace(model, torch.ones(1, 5, 4), cache=tmp_path)
    assert net(torch.ones(2, 5, 4)).shape == (2, 5, 3)
    vesalius.trace(model, torch.ones(7, 4), cache=tmp_path)
    assert len(exports) == 2


SOURCE = """
from torch import nn
from other import shift

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return shift(self.fc(x)).{op}()
"""


@pytest.mark.parametrize("file", ["model", "other"])
def test_an_edited_source_file_is_noticed(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The file of the class by its content; a function elsewhere by what it computes on the example."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def model(op: str, shift: float) -> nn.Module:
        (tmp_path / "model.py").write_text(SOURCE.format(op=op))
        (tmp_path / "other.py").write_text(f"def shift(h):\n    return h + {shift}\n")
        for name in ("model", "other"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("model").Model()

    x = torch.randn(3, 4)
    vesalius.trace(model("tanh", 1.0), x, cache=tmp_path / "kept")
    edited = model("sin", 1.0) if file == "model" else model("tanh", 2.0)
    net = vesalius.trace(edited, x, cache=tmp_path / "kept")
    torch.testing.assert_close(net(x), edited(x).detach())
    for name in ("model", "other"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"",
        lambda raw: raw.replace(b"aten.linear.default", b"aten.lineal.default"),
        lambda raw: raw.replace(b"batch_size", b"batch_sise"),
    ],
    ids=["cut", "empty", "unknown op", "missing key"],
)
def test_a_spoilt_file_is_traced_again(spoil, tmp_path: Path, exports: list[int]):
    model, x = specimen("norm_first").build().eval(), torch.randn(2, 10)
    vesalius.trace(model, x, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(spoil(file.read_bytes()))
    torch.testing.assert_close(vesalius.trace(model, x, cache=tmp_path)(x), model(x).detach())
    assert len(exports) == 2
    vesalius.trace(model, x, cache=tmp_path)
    assert len(exports) == 2


def test_a_model_with_an_op_of_its_own_is_traced_with_a_cache_too(tmp_path: Path):
    with torch.library._scoped_library("vesalius_tests", "DEF") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: x * 2, "CompositeExplicitAutograd")
        library.impl("twice", lambda x: torch.empty_like(x), "Meta")

        class Own(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc = nn.Linear(4, 3)

            def forward(self, x: Tensor) -> Tensor:
                return self.fc(torch.ops.vesalius_tests.twice(x))

        model, x = Own(), torch.randn(3, 4)
        for _ in range(2):
            torch.testing.assert_close(vesalius.trace(model, x, cache=tmp_path)(x), model(x).detach())


def test_an_opaque_model_keeps_nothing(tmp_path: Path):
    assert vesalius.trace(specimen("branching").build(), torch.ones(1, 8), cache=tmp_path / "kept").opaque
    assert not (tmp_path / "kept").exists()
