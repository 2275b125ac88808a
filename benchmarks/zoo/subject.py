"""A model that is asked about, in one precision, and errors in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.zoo.entry import Entry, enliven

BATCHES = (1, 3)
BACKGROUND = 2


@dataclass(frozen=True)
class Subject:
    """A model in one precision and what it is asked about.

    Attributes:
        positional: how many of the inputs are given by position; the others by name.
        inputs, background: of ``max(BATCHES)`` samples, and of ``BACKGROUND`` others.
        scores: the output that is explained, at the inputs.
    """

    entry: Entry
    model: nn.Module
    positional: int
    names: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    background: tuple[Tensor, ...]
    scores: Tensor

    @classmethod
    def of(cls, entry: Entry, dtype: torch.dtype) -> Subject:
        """Built from seed 0, with weights that let nothing die out."""
        torch.manual_seed(0)
        model = enliven(entry.build()).eval().to(dtype)
        args, kwargs = entry.example(max(BATCHES))
        inputs = tuple(_cast(x, dtype) for x in (*args, *kwargs.values()))
        others, named = entry.example(BACKGROUND)
        background = tuple(_cast(x, dtype) for x in (*others, *named.values()))
        made = cls(entry, model, len(args), tuple(kwargs), inputs, background, torch.empty(0))
        with torch.no_grad():
            return cls(entry, model, len(args), tuple(kwargs), inputs, background, made.call(inputs))

    def call(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """The explained output."""
        args, kwargs = self.split(inputs)
        return read_output(self.model(*args, **kwargs), self.entry.output)

    def split(self, inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Inputs as the model takes them."""
        return inputs[: self.positional], dict(zip(self.names, inputs[self.positional :], strict=True))

    @property
    def target(self) -> Any:
        """The second class, at the first position of several."""
        axes = self.scores.ndim
        return (
            None
            if axes == 1
            else min(1, self.scores.shape[-1] - 1)
            if axes == 2
            else (0,) * (axes - 2) + (min(1, self.scores.shape[-1] - 1),)
        )

    def scored(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """[B] the number that is explained."""
        return pick(self.call(inputs), self.target)


def pick(scores: Tensor, target: Any) -> Tensor:
    """[B] one number of each sample."""
    return scores if target is None else scores[(slice(None), *target)] if isinstance(target, tuple) else scores[:, target]


def read_output(found: Any, name: str | None) -> Tensor:
    """A tensor of what a model returned."""
    tensor: Tensor = found if name is None else found[name] if isinstance(found, Mapping) else getattr(found, name)
    return tensor


def in_words(error: Exception) -> str:
    """An error in a line, without places of this machine."""
    return shorten(f"{type(error).__name__}: {error}")


def shorten(text: str) -> str:
    """One line of at most 240 characters; files by their place in their package."""
    line = re.sub(r"\S*/(?:site-packages|lib/python[\d.]+|wt-\w+)/", "", " ".join(text.split()))
    return line if len(line) <= 240 else line[:237] + "..."


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype) if x.is_floating_point() else x
