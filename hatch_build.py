"""The page that a package index shows: the README with links that lead somewhere from there.

In a clone the README's links and pictures are relative, so that they are right on every branch; an index knows no such files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<path>(?!https?:|#)[^)\s]+)\)")
"""A link or picture of Markdown that stands for a file of the repository."""
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
"""A block of code, in which brackets are no links."""


def with_absolute_links(text: str, repository: str) -> str:
    """Markdown whose relative links and pictures are those of the main branch.

    Args:
        text: Markdown with links relative to the root of the repository.
        repository: its address, without a slash at the end.
    """

    def absolute(found: re.Match[str]) -> str:
        kind = "raw" if found["picture"] else "blob"
        return f"{found['picture']}[{found['text']}]({repository}/{kind}/main/{found['path']})"

    return "".join(part if FENCED.match(part) else RELATIVE.sub(absolute, part) for part in FENCED.split(text))


class ReadmeHook(MetadataHookInterface):
    """Fills in the dynamic ``readme`` field of pyproject.toml."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling with the ``[project]`` table."""
        text = (Path(self.root) / "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": with_absolute_links(text, metadata["urls"]["Homepage"])}
