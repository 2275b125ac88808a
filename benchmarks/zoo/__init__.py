"""Architectures people use, small and untrained: the specimens of the tests, and transformers' models from configurations."""

from __future__ import annotations

from benchmarks.zoo.entry import Entry
from benchmarks.zoo.signals import SIGNALS
from benchmarks.zoo.specimens import specimens
from benchmarks.zoo.text import TEXT
from benchmarks.zoo.vision import VISION

ENTRIES: tuple[Entry, ...] = (*specimens(), *TEXT, *VISION, *SIGNALS)
