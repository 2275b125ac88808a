"""What torch.export leaves in a model's Python modules: a list or a dictionary there may be handed a value that stands for a tensor."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch._subclasses.fake_tensor import FakeTensor


@contextmanager
def without_fake_leftovers(model: nn.Module) -> Iterator[None]:
    """Take back what is written inside to containers that the modules hold in which a model's classes are defined.

    Containers that belong to the model itself are copied with it, and need no care.
    """
    before = [(held, held.copy()) for held in _containers(model)]
    try:
        yield
    finally:
        for held, earlier in before:
            if len(held) != len(earlier) or any(new is not old for new, old in zip(_items(held), _items(earlier), strict=False)):
                _take_back(held, earlier)


def _containers(model: nn.Module) -> list[Any]:
    homes = {type(module).__module__ for module in model.modules()}
    users = sorted(home for home in homes if home.split(".")[0] not in ("torch", "vesalius") and home in sys.modules)
    namespaces = [vars(sys.modules[home]) for home in users]
    return [held for names in namespaces for name, held in names.items() if type(held) in (list, dict, set) and not name.startswith("__")]


def _items(held: Any) -> list[Any]:
    return list(held.values()) if isinstance(held, dict) else list(held)


def _take_back(held: Any, earlier: Any) -> None:
    """Put a container back, if what came into it holds no numbers."""
    if not any(_is_fake(item) for item in _items(held)):
        return
    held.clear()
    (held.extend if isinstance(held, list) else held.update)(earlier)


def _is_fake(item: Any) -> bool:
    inner = item if isinstance(item, (list, tuple)) else [item]
    return any(isinstance(part, FakeTensor) for part in inner)
