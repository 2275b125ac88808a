"""torch.export without what it prints and warns of, which a user can do nothing about."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NOISY_LOGGERS = ("torch.fx.experimental.symbolic_shapes", "torch.export", "torch.fx.experimental.proxy_tensor", "torch._dynamo")


@contextmanager
def silence_torch() -> Iterator[None]:
    """Loggers and warnings off, what this thread prints to the error stream passed over, and no new environment variables; for one
    thread at a time."""
    loggers = [logging.getLogger(name) for name in NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    before, quiet = sys.stderr, _OtherThreadsOnly(sys.stderr)
    variables = set(os.environ)
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        sys.stderr = quiet
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if sys.stderr is quiet:  # else somebody else has redirected it in the meantime
            sys.stderr = before
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name in set(os.environ) - variables:
            if name.startswith("TORCH"):
                del os.environ[name]


class _OtherThreadsOnly:
    """A stream that passes over what is written by the thread that made it."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
