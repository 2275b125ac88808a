"""How far long work has come: a bar with the time left on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

ProgressCallback = Callable[[int, int], None]
"""Told how much is done, out of how much."""

REPORT_AFTER_SECONDS = 1.0
"""Seconds from which a finished piece of work gets a line where there is no bar."""


def say(text: str) -> None:
    """A line for the user, on stderr."""
    _console().print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(what: str) -> Iterator[ProgressCallback]:
    """Show how far one piece of work has come."""
    console = _console()
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
    seconds = time.monotonic() - began
    if seconds >= REPORT_AFTER_SECONDS:
        say(f"{what}: {seconds:.1f} s")


def _console() -> Console:
    return Console(stderr=True)
