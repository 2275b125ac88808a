"""Options are held to the types and limits that they declare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

import vesalius as vs
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.numbers import Limit
from vesalius.core.options import Options

SOURCE = Path(vs.__file__).parent


@dataclass(frozen=True, kw_only=True)
class Recipe(Options):
    """Options of a user."""

    limits: ClassVar[Mapping[str, Limit]] = {"steps": Limit(least=1)}
    steps: int = 3
    rate: float | None = None
    keep: bool = True
    names: Sequence[str] = ()
    report: Callable[[int], None] | None = None
    anything: object = None


def test_numbers_of_numpy_and_torch_become_those_of_python():
    made = Recipe(steps=np.int64(4), rate=torch.tensor(0.5), keep=np.bool_(False), names=iter("ab"), anything=np.int64(1))
    assert (made.steps, made.rate, made.keep, made.names) == (4, 0.5, False, ("a", "b"))
    assert type(made.steps) is int
    assert type(made.anything) is np.int64


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"steps": 0}, InvalidInput),
        ({"steps": 2.5}, InvalidInput),
        ({"steps": True}, WrongType),
        ({"rate": float("nan")}, InvalidInput),
        ({"keep": "no"}, WrongType),
        ({"names": "ab"}, WrongType),
        ({"report": 3}, WrongType),
    ],
)
def test_what_an_option_is_not_is_refused_by_its_name(wrong, error):
    (name,) = wrong
    with pytest.raises(error, match=name):
        Recipe(**wrong)


def option_classes():
    """All classes of options in the house."""
    for path in sorted(SOURCE.rglob("*.py")):
        if "Options" in path.read_text():
            import_module(".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"))
    found, queue = [], [Options]
    while queue:
        kinds = queue.pop().__subclasses__()
        queue += kinds
        found += [kind for kind in kinds if kind.__module__.startswith("vesalius.")]
    return sorted(set(found), key=lambda kind: kind.__qualname__)


def test_every_limit_is_of_a_field_that_is_there():
    kinds = option_classes()
    assert len(kinds) > 30
    assert [(kind.__name__, name) for kind in kinds for name in kind.limits if name not in {field.name for field in fields(kind)}] == []
