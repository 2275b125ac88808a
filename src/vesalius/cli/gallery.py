"""The words of ``vesalius gallery``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Explain the same few inputs by every method, and write a page. Examples whose files are not here are left out."""

    out: Path = Path("vesalius-gallery")
    """Folder to write to. What is finished there is not computed again."""
    methods: tuple[str, ...] = ()
    """Methods to show, in order; all of them by default."""
    examples: tuple[str, ...] = ()
    """Inputs to show: digit, misread, picture, mistaken, photo, sentence, row; all of them by default."""
    cache: Path | None = None
    """Folder in which trained networks are kept; the user's cache by default."""
