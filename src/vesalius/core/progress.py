"""How far long work has come: a bar with the time left on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vesalius.core.lazy import LazyModule

rich_console, rich_progress = LazyModule("rich.console"), LazyModule("rich.progress")

ProgressCallback = Callable[[int, int | None], None]
"""Told how much is done, out of how much; ``None`` where that is not known."""

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
    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
    seconds = time.monotonic() - began
    if seconds >= REPORT_AFTER_SECONDS:
        say(f"{what}: {seconds:.1f} s")


def _console() -> Any:
    """A console on stderr; rich draws a random number when it is imported, which is not to be taken from the user's generator."""
    state = random.getstate()
    try:
        return rich_console.Console(stderr=True)
    finally:
        random.setstate(state)
