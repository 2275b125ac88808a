"""How complex one value of the network is, and what its parts do for the task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from vesalius.complexity import Complexity, ComponentProfile, Training, complexity, cut_at
from vesalius.complexity.features import resolve_feature
from vesalius.core.errors import InvalidInput
from vesalius.core.fingerprint import json_description
from vesalius.core.progress import progress_bar
from vesalius.trace import Network
from vesalius.views.complexity.section import complexity_section
from vesalius.views.html import Section
from vesalius.workflow.job import Job
from vesalius.workflow.method_runs import cache_key, load_cached
from vesalius.workflow.samples import Samples

FILE = "complexity.safetensors"
MOST_ROWS = 5000
"""Rows of a data set that are looked at."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ComplexityResult:
    """One value, disentangled.

    Attributes:
        profile: its components, and what they do where labels are known.
        x: rows whose components are drawn.
    """

    profile: ComponentProfile
    x: Tensor

    @property
    def section(self) -> Section:
        """As it is shown on the page."""
        return complexity_section(self.profile, x=self.x)


@dataclass(frozen=True, eq=False, kw_only=True)
class ComplexityQuestion:
    """What to disentangle.

    Attributes:
        at: name of the value.
        data: rows to look at.
        train: rows the model was trained on; those of ``data`` if there are none.
        seed: of the disentanglers.
    """

    at: str
    data: Samples
    train: Samples | None
    seed: int


def check_complexity(network: Network, asked: ComplexityQuestion, *, labelled: bool) -> None:
    """Refuse what cannot be disentangled, before anything has run.

    Args:
        network: opened.
        asked: what to disentangle.
        labelled: whether classes of rows are known, so that the rest of the network judges components.

    Raises:
        NotTraceable, UnknownName: no graph, no such value.
        InvalidInput: something bypasses the value; other classes in the training rows.
    """
    resolve_feature(network, asked.at)
    if labelled:
        cut_at(network, asked.at)
    train, data = asked.train, asked.data
    if train is not None and train.y is not None and data.y is not None and train.classes != data.classes:
        raise InvalidInput(
            f"the training rows have the classes {', '.join(train.classes)}, the data {', '.join(data.classes)}; name them with classes="
            " (on the command line: --names)"
        )


def measure_complexity(job: Job, asked: ComplexityQuestion, folder: Path) -> ComplexityResult:
    """Components of the value, or what is kept of them in the folder if everything that matters is as it was.

    Raises:
        UnknownName: no such value.
        InvalidInput: too few rows, labels that do not fit, a value that does not vary.
    """
    rows, labels = _bind_labelled(job, asked.data if asked.train is None else asked.train)
    key = cache_key(job.of(0), ["complexity", asked.at, json_description(rows), asked.seed])
    found = _load_cached_complexity(job, folder / FILE, key)
    if found is None:
        with progress_bar(f"complexity of {asked.at} over {len(rows):,} rows") as step:
            found = complexity(job.network, rows, at=asked.at, training=Training(seed=asked.seed, report=step))
        found = replace(found, provenance={**found.provenance, "run": key})
        found.save(folder / FILE)
    x, y = _bind_labelled(job, asked.data)
    train = None if labels is None or job.target is None else (rows, labels)
    test = None if asked.train is None or y is None or train is None else (x, y)
    return ComplexityResult(profile=found.profile(train, test), x=x)


def _bind_labelled(job: Job, samples: Samples) -> tuple[Tensor, Tensor | None]:
    x = job.network.bind(samples.x)[0]
    return x, None if samples.y is None else samples.y.to(x.device)


def _load_cached_complexity(job: Job, file: Path, key: str) -> Complexity | None:
    found = load_cached(Complexity, file, key)
    return None if found is None else Complexity.load(file, network=job.network)
