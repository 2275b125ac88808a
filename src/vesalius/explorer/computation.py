"""One computation at a time, which can be stopped: by whoever asked for it, or when its time is up."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vesalius.core.errors import VesaliusError

STOP_SECONDS = 10.0
"""Seconds that a computation is given to end when it is stopped, which it does between two operations."""
LOOK_SECONDS = 0.05
"""Seconds between two looks at whether it goes on."""


class ExplorerBusy(VesaliusError):
    """Another computation is still running."""


class ComputationStopped(VesaliusError):
    """A computation was cancelled, or ran out of time."""


class _Stop(SystemExit):
    """Raised inside of a computation that is to end.

    No ``except Exception`` on its way takes it for something else, and a thread that ends by it is quiet.
    """


@dataclass(eq=False)
class _Work:
    """A function in a thread of its own, and what became of it."""

    function: Callable[[], Any]
    asker: str
    cancelled: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    error: Exception | None = None
    finished: bool = False
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name="vesalius-explorer", daemon=True)

    def _run(self) -> None:
        try:
            try:
                self.result = self.function()
                self.finished = True
            except Exception as error:  # told to whoever waits
                self.error = error
        except _Stop:
            pass

    def stop(self) -> None:
        """Raise :class:`_Stop` in the thread, between two steps of Python, as Ctrl-C does in the main one."""
        if self.thread.ident is not None and self.thread.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread.ident), ctypes.py_object(_Stop))


class SingleComputation:
    """Runs one function at a time.

    Args:
        seconds: that each may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._work: _Work | None = None

    def run(self, function: Callable[[], Any], asker: str = "") -> Any:
        """What a function gives back, from a thread of its own.

        Args:
            function: that is run.
            asker: who may cancel it.

        Raises:
            ExplorerBusy: another one is running.
            ComputationStopped: it was cancelled, or took too long.
        """
        work = self._begin(function, asker)
        ends = time.monotonic() + self.seconds
        while work.thread.is_alive() and not work.cancelled.is_set() and time.monotonic() < ends:
            work.thread.join(LOOK_SECONDS)
        late = work.thread.is_alive() and not work.cancelled.is_set()
        _end(work)
        if work.error is not None:
            raise work.error
        if work.finished:
            return work.result
        raise ComputationStopped(
            f"stopped after {self.seconds:g} seconds, the limit of this explorer (seconds=); ask for fewer or larger parts, a smaller"
            " budget, or call the verb yourself"
            if late
            else "cancelled"
        )

    def _begin(self, function: Callable[[], Any], asker: str) -> _Work:
        with self._lock:
            if self._work is not None and self._work.thread.is_alive():
                raise ExplorerBusy("another computation is running; cancel it, or wait until it is done")
            work = self._work = _Work(function, asker)
            work.thread.start()
            return work

    def cancel(self, asker: str | None = None) -> bool:
        """Stop what is running, or only what was asked for by one; whether there was something."""
        with self._lock:
            work = self._work
        if work is None or not work.thread.is_alive() or asker not in (None, work.asker):
            return False
        work.cancelled.set()
        _end(work)
        return True


def _end(work: _Work) -> None:
    """Stop a computation that has not ended, and wait until it has."""
    ends = time.monotonic() + STOP_SECONDS
    while work.thread.is_alive() and time.monotonic() < ends:
        work.stop()
        work.thread.join(LOOK_SECONDS)
