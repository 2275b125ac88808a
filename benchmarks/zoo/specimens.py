"""The specimens of the tests, as entries."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from benchmarks.zoo.entry import Call, Entry
from tests.zoo import SPECIMENS, Specimen


def specimens() -> tuple[Entry, ...]:
    """All that have a graph."""
    return tuple(_entry(one) for one in SPECIMENS if one.exportable)


def _entry(one: Specimen) -> Entry:
    def build() -> nn.Module:
        model: nn.Module = one.build()
        return model

    return Entry(one.name, "specimen", build, partial(_example, one), one.output, embedded=one.integer_at is not None)


def _example(one: Specimen, samples: int) -> Call:
    args, kwargs = one.example(samples, torch.float32)
    return args, kwargs
