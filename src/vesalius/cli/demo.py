"""The words of ``vesalius demo``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Train three small networks, explain some decisions of two, make the third smaller, and write a page. Needs no connection."""

    out: Path = Path("vesalius-demo")
    """Folder to write to. What is finished there is not computed again."""
    cache: Path | None = None
    """Folder in which trained networks are kept; the user's cache by default."""
