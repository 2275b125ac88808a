"""Tests against a copy of the source, in a process of their own that has most libraries loaded already.

Starting Python, torch and the rest takes longer than most tests. A server does it once; every run is a fork of it.
"""

import multiprocessing
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PRELOADED = ["hypothesis", "igraph", "pytest", "scipy.stats", "sklearn.linear_model", "torch", "torch.export", "torch.fx"]
LONGEST = 300
"""Seconds a run may take."""


@dataclass(frozen=True)
class Outcome:
    """Exit status of pytest and what it printed."""

    code: int | None
    text: str


def run(source: Path, tests: str, into: Path) -> Outcome:
    """Outcome of some tests, with the package taken from ``source``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_tests, args=(str(source), shlex.split(tests), str(into)))
    process.start()
    process.join(LONGEST)
    if process.is_alive():
        process.kill()
        process.join()
    return Outcome(process.exitcode, into.read_text())


def _tests(source: str, tests: list[str], into: str) -> None:
    """In the fork: shapes are not checked, since a test and not a type must find the wrong piece, and the hook costs most of the time."""
    descriptor = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(ROOT)
    os.environ["JAXTYPING_DISABLE"] = "1"
    sys.path[:0] = [source, str(ROOT)]
    import pytest  # loaded by the server; the session that starts it has one of its own

    import vesalius

    print(vesalius.__file__)
    sys.exit(pytest.main(["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))
