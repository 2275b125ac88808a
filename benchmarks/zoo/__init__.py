"""Architectures people use, small and untrained: the specimens of the tests, models by hand, and those of transformers."""

from __future__ import annotations

from benchmarks.zoo.convolutional import CONVOLUTIONAL
from benchmarks.zoo.entry import Entry
from benchmarks.zoo.generative import GENERATIVE
from benchmarks.zoo.image_attention import IMAGE_ATTENTION
from benchmarks.zoo.sequences import SEQUENCES
from benchmarks.zoo.signals import SIGNALS
from benchmarks.zoo.specimens import specimens
from benchmarks.zoo.state_space import STATE_SPACES
from benchmarks.zoo.tabular import TABULAR
from benchmarks.zoo.text import TEXT
from benchmarks.zoo.unusual import UNUSUAL
from benchmarks.zoo.vision import VISION

BY_HAND: tuple[Entry, ...] = (*CONVOLUTIONAL, *IMAGE_ATTENTION, *SEQUENCES, *STATE_SPACES, *TABULAR, *GENERATIVE, *UNUSUAL)
ENTRIES: tuple[Entry, ...] = (*specimens(), *BY_HAND, *TEXT, *VISION, *SIGNALS)
