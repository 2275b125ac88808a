"""What an experiment measured, kept in a file, and tables of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from vesalius.core import store

Record = dict[str, Any]


class Results:
    """What was measured before, by key, in a file."""

    def __init__(self, path: Path) -> None:
        self.path, self.known = path, json.loads(path.read_text()) if path.exists() else {}

    def get(self, key: str, measure: Callable[[], Record]) -> Record:
        """A record, measured if it is new."""
        if key not in self.known:
            began = time.monotonic()
            self.known[key] = measure()
            store.write_text(self.path, json.dumps(self.known))
            print(f"{key}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        found: Record = self.known[key]
        return found


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
