"""Every public verb in every mode a user's code may be in: the numbers of the plain run, bit for bit, and nothing of the user's changed."""

from __future__ import annotations

import contextlib
import math
import os
import random
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import config
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import vesalius as vs
from tests.verbs import VERBS, Subject

TIMES = re.compile(r"[\d.,]+ m?s\b")
"""How long something took, on a page."""
ROUNDED = ("predict_accuracy", "audit_map")
"""Verbs whose last bits are not the same in two runs without any mode: how a solver of LAPACK rounds depends on where its memory lies."""


def leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """What a result says, piece by piece; what it takes to compute it, and how long that took, is left out."""
    parts = parts_of(value)
    if parts is not None:
        for name, part in parts.items():
            yield from leaves(part, f"{where}.{name}")
    elif not callable(value):
        yield where or "result", value


def parts_of(value: Any) -> dict[Any, Any] | None:
    """The parts of a result by name; nothing for one that has none."""
    if isinstance(value, vs.Network):
        return {name: getattr(value, name) for name in ("inputs", "parameters", "opaque")} | {"digest": value.digest()}
    if isinstance(value, vs.Game):
        return {name: getattr(value, name) for name in ("players", "provenance", "explained")}
    if isinstance(value, nn.Module):
        return {"training": value.training} | {name: tensor.detach() for name, tensor in value.state_dict().items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {known.name: getattr(value, known.name) for known in fields(value)}
    if isinstance(value, Mapping):
        return {name: item for name, item in value.items() if name != "seconds"}
    return dict(enumerate(value)) if isinstance(value, (list, tuple)) else None


def same(one: Any, other: Any, close: float = 0.0) -> bool:
    """Whether two pieces say the same, to the bit or closely."""
    if isinstance(one, Tensor):
        alike = isinstance(other, Tensor) and one.dtype == other.dtype and one.shape == other.shape
        return alike and torch.allclose(one, other, rtol=close, atol=close, equal_nan=True)
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, str):
        return TIMES.sub("", one) == TIMES.sub("", str(other))
    if isinstance(one, float):
        return type(other) is float and (one == other or (math.isnan(one) and math.isnan(other)) or abs(one - other) <= close)
    return type(one) is type(other) and one == other


def faults(name: str, found: list[tuple[str, Any]], expected: list[tuple[str, Any]]) -> list[str]:
    """Where a result is not that of the plain run, or holds tensors that its user cannot compute with."""
    if [where for where, _ in found] != [where for where, _ in expected]:
        return ["has other pieces"]
    close = 1e-9 if name in ROUNDED else 0.0
    wrong = [f"{where} differs" for (where, one), (_, other) in zip(found, expected, strict=True) if not same(one, other, close)]
    if name.startswith(OBEYING):
        return wrong
    bound = [where for where, one in found if isinstance(one, Tensor) and (one.is_inference() or one.requires_grad)]
    return wrong + [f"{where} is not an ordinary tensor" for where in bound]


# ---- what must stay as it was ---------------------------------------------------------------------------------------------------------


def surroundings() -> dict[str, Any]:
    """Whatever of the process and the thread a library could change."""
    return {
        "gradients": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": [(kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")],
        "autocast cache": torch.is_autocast_cache_enabled(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        "anomaly": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "threads": torch.get_num_threads(),
        "warnings": list(warnings.filters),
        "NumPy errors": np.geterr(),
        "streams": (id(sys.stdout), id(sys.stderr)),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "random, torch": torch.get_rng_state().tolist(),
        "random, NumPy": repr(np.random.get_state()),
        "random, Python": random.getstate(),
    }


def belongings(subject: Subject) -> dict[str, Any]:
    """The user's models and data, to the bit, and how often they were written to."""
    tensors = {"x": subject.x, "pictures": subject.pictures}
    for name, model in (("model", subject.model), ("picture_model", subject.picture_model)):
        tensors |= {f"{name}.{key}": tensor for key, tensor in (*model.named_parameters(), *model.named_buffers())}
    found: dict[str, Any] = {name: (tensor.detach().tolist(), tensor.requires_grad, tensor.grad) for name, tensor in tensors.items()}
    found |= {f"{name}, version": None if tensor.is_inference() else tensor._version for name, tensor in tensors.items()}
    modules = (*subject.model.named_modules(), *subject.picture_model.named_modules())
    return found | {"modules": [(name, module.training, sorted(vars(module))) for name, module in modules]}


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [f"changes {name}" for name in before if before[name] != after[name]]


# ---- the table ------------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def switched(switch: Callable[[Any], object], on: Any, off: Any) -> Iterator[None]:
    """A switch of the whole process."""
    switch(on)
    try:
        yield
    finally:
        switch(off)


@contextlib.contextmanager
def strict_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


MODES: dict[str, Callable[[], Any]] = {
    "no_grad": torch.no_grad,
    "set_grad_enabled(False)": lambda: torch.set_grad_enabled(False),
    "inference_mode": torch.inference_mode,
    "autocast to bfloat16": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", dtype=torch.float16),
    "default dtype float64": lambda: switched(torch.set_default_dtype, torch.float64, torch.float32),
    "default dtype bfloat16": lambda: switched(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "default device meta": lambda: switched(torch.set_default_device, "meta", None),
    "deterministic algorithms": lambda: switched(torch.use_deterministic_algorithms, True, False),
    "anomaly detection": lambda: switched(torch.autograd.set_detect_anomaly, True, False),
    "warnings as errors": strict_warnings,
    "NumPy errors raised": lambda: np.errstate(all="raise"),
    "plain again": contextlib.nullcontext,
}
LIKE_ANOTHER = ("set_grad_enabled(False)", "autocast to float16", "plain again")
"""Modes in which a part of the verbs is enough, as in pairs of them."""
SOME = 4
"""One verb of so many is run there."""
PAIRS = (
    ("inference_mode", "autocast to bfloat16"),
    ("inference_mode", "default device meta"),
    ("no_grad", "default dtype float64"),
    ("autocast to bfloat16", "default dtype bfloat16"),
    ("default device meta", "default dtype float64"),
    ("warnings as errors", "anomaly detection"),
)


def made_in_inference_mode() -> Subject:
    with torch.inference_mode():
        return Subject.make()


def frozen() -> Subject:
    subject = Subject.make()
    for model in (subject.model, subject.picture_model):
        model.requires_grad_(False)
    return subject


def with_gradients() -> Subject:
    subject = Subject.make()
    subject.x.requires_grad_()
    subject.pictures.requires_grad_()
    return subject


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "made in inference_mode": made_in_inference_mode,
    "frozen model": frozen,
    "data that requires grad": with_gradients,
}
OBEYING = (
    "Network.__call__",
    "Network.read",
    "Network.split",
    "Network.cast, called",
    "trace, opaque",
    "cut_at",
    "Complexity.replace",
    "Players.expand",
)
"""Calls of a network, and operations on the caller's own tensors, which obey the caller's mode of gradients as any of PyTorch's do."""


@pytest.fixture(scope="module", autouse=True)
def as_users_have_it() -> Iterator[None]:
    """Without the checks that only tests have: they draw from Python's random numbers which element of a list to look at."""
    before, config.jaxtyping_disable = config.jaxtyping_disable, True
    yield
    config.jaxtyping_disable = before


@pytest.fixture(scope="module")
def plain() -> dict[str, list[tuple[str, Any]]]:
    """What every verb says without any mode."""
    subject = Subject.make()
    return {name: list(leaves(call(subject))) for name, call in VERBS.items()}


def table_of_faults(
    subject: Subject, plain: dict[str, list[tuple[str, Any]]], mode: Callable[[], Any] = contextlib.nullcontext, every: int = 1
) -> dict[str, list[str]]:
    """Every verb, or every n-th, on one subject in a mode: what went wrong, by verb."""
    told: dict[str, list[tuple[str, Any]]] = {}
    wrong: dict[str, list[str]] = {}
    with mode():
        for name, call in list(VERBS.items())[::every]:
            around, own = surroundings(), belongings(subject)
            try:
                told[name], wrong[name] = list(leaves(call(subject))), []
            except Exception as error:
                wrong[name] = [f"{type(error).__name__}: {str(error)[:150]}"]
            wrong[name] += changes(around, surroundings()) + changes(own, belongings(subject))
    for name, pieces in told.items():
        wrong[name] += faults(name, pieces, plain[name])
    return {name: found for name, found in wrong.items() if found}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_verb_in_every_mode(mode, plain):
    assert table_of_faults(Subject.make(), plain, MODES[mode], every=SOME if mode in LIKE_ANOTHER else 1) == {}


@pytest.mark.slow
@pytest.mark.parametrize("modes", PAIRS, ids=" and ".join)
def test_verbs_in_two_modes_at_once(modes, plain):
    @contextlib.contextmanager
    def both() -> Iterator[None]:
        with MODES[modes[0]](), MODES[modes[1]]():
            yield

    assert table_of_faults(Subject.make(), plain, both, every=SOME) == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SUBJECTS)
def test_every_verb_on_models_and_data_of_every_kind(kind, plain):
    assert table_of_faults(SUBJECTS[kind](), plain) == {}


class DefaultDtypeWatch(TorchDispatchMode):
    """Notes the lines of the library in which a tensor of the default dtype is made of tensors, or of numbers, that are not of it."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.lines: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if self._holds(found) and not self._holds((args, kwargs)):
            ours = [frame for frame in traceback.extract_stack() if f"{os.sep}src{os.sep}vesalius{os.sep}" in frame.filename]
            self.lines |= {f"{ours[-1].filename}:{ours[-1].lineno} {ours[-1].line}"} if ours else set()
        return found

    def _holds(self, values: Any) -> bool:
        return any(isinstance(value, Tensor) and value.dtype == self.dtype for value in tree_leaves(values))


@pytest.mark.slow
def test_no_tensor_is_made_in_the_default_dtype():
    """Neither by a factory without a dtype nor by an operation on integers: float16 is nobody's here but the default's."""
    subject, watch = Subject.make(), DefaultDtypeWatch(torch.float16)
    for name in ("trace", "attribute, grad_cam", "attribute, inner", "sparsify"):
        VERBS[name](subject)  # traced before, since torch.export has modes of its own
    with switched(torch.set_default_dtype, torch.float16, torch.float32), watch:
        for name, call in VERBS.items():
            if not name.startswith(("trace", "attribute, opaque")):
                call(subject)
    assert watch.lines == set()


def test_the_watch_sees_a_division_of_integers():
    with switched(torch.set_default_dtype, torch.float16, torch.float32), DefaultDtypeWatch(torch.float16) as watch:
        assert watch._holds(torch.arange(3) / 2) and not watch._holds(torch.arange(3).double() / 2)
